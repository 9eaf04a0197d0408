/* steps_protect: checkpoints of a guest that goes on, and a start out of one; see work_posix.h.
 *
 * A checkpoint is no statement about who may run. Resuming from one is a start like any other:
 * under its own epoch, a live lease, and an index that is not below the floor (docs/leases.md).
 */
#include <errno.h>
#include <string.h>

#include "agent/guard/work_posix.h"

/* ---- the guest runs here */

static enum step checkpoint_check(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;

    if (check_copy(op) == STEP_FAIL)
        return STEP_FAIL;
    if (record->state != GUEST_RUNNING || record->frozen_by != 0)
        return operation_fail(op, -EAGAIN, "guest '%s' does not run now (%s)", op->guest->name,
                              guard_guest_state_name(record->state));
    if (roster_is_lapsed(work->config.roster))
        return operation_fail(op, -EKEYEXPIRED, "this node's lease has lapsed: it is frozen");
    return STEP_NEXT;
}

static enum step checkpoint_job(struct work *work, struct operation *op)
{
    struct job job;

    job_init(&job);
    job.kind = JOB_CHECKPOINT;
    job.since_us = op->request.since_us;
    return operation_job(work, op, &work->config.cells, &job);
}

static enum step checkpoint_done(struct work *work, struct operation *op)
{
    (void)work;
    op->reply.frozen_us = op->result.frozen_us;
    op->reply.handed_over_us = op->result.handed_over_us;
    op->reply.mode = op->result.mode;
    return STEP_NEXT;
}

const step_fn steps_checkpoint[] = {checkpoint_check, checkpoint_job, checkpoint_done, NULL};

/* ---- it is to run here again */

static enum step restore_prepare(struct work *work, struct operation *op)
{
    return operation_plain_job(work, op, &work->config.cells, JOB_PREPARE);
}

static enum step restore_job(struct work *work, struct operation *op)
{
    struct job job;

    job_init(&job);
    job.kind = JOB_RESTORE;
    job.fds[0] = op->request.fds[0];
    memcpy(job.digest, op->request.digest, DIGEST_SIZE);
    return operation_job(work, op, &work->config.cells, &job);
}

static enum step restore_activate(struct work *work, struct operation *op)
{
    struct job job;

    job_init(&job);
    job.kind = JOB_ACTIVATE;
    job.is_kept = true;
    return operation_job(work, op, &work->config.cells, &job);
}

static enum step reset_job(struct work *work, struct operation *op)
{
    op->is_soft = true; /* its peers find out when they send */
    return operation_plain_job(work, op, &work->config.cells, JOB_RESET);
}

static enum step discard_job(struct work *work, struct operation *op)
{
    op->is_soft = true; /* files that stay behind are only in the way */
    return operation_plain_job(work, op, &work->config.cells, JOB_DISCARD);
}

static const step_fn steps_tidy[] = {reset_job, discard_job, NULL};

/* It runs; the rest goes when that has been said. */
static enum step restore_tidy(struct work *work, struct operation *op)
{
    struct guard_request none;

    guard_request_init(&none);
    operation_begin(work, &none, 0, steps_tidy, NULL, op->guest->name);
    return STEP_NEXT;
}

const step_fn steps_restore[] = {
    step_start_check, step_make_cgroup, restore_prepare, step_plug,    restore_job,
    restore_activate, step_take_pid,    step_port_up,    restore_tidy, NULL};

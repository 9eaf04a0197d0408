/* steps_move: this node's part in a migration as its target, and what both sides share
 * (steps_source_posix.c is the other); see work_posix.h
 * and migrate/mover.h. What is law about it: no packet of the guest leaves or is answered on the
 * source from the freeze to the clean-up, and a target runs only under a live lease.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/guard/clock_posix.h"
#include "agent/guard/job_run_posix.h"
#include "agent/guard/process_posix.h"
#include "agent/guard/work_posix.h"
#include "base/log.h"
#include "migrate/mover.h"

enum {
    SWITCH_UP_LIMIT_US = 5000000,   /* while the source stands frozen, and may be thawed */
    SWITCH_VIEW_LIMIT_US = 5000000, /* of the commit: asked for again after it */
    SWITCH_AHEAD_LIMIT_US = 500000, /* likewise, with the guest restored and not let go */
};

void guest_mover_file(const struct local_guest *guest, const char *name, char ret[MOVER_FILE_SIZE])
{
    struct guest_paths paths;

    guest_paths_init(&paths, guest->name, guest->record.run.digest);
    snprintf(ret, MOVER_FILE_SIZE, "%s%s", paths.checkpoint, name);
}

enum step step_move_job(struct work *work, struct operation *op, enum job_kind kind)
{
    struct job job;

    job_init(&job);
    job.kind = kind;
    job.fds[0] = op->request.fds[0];
    if (kind == JOB_SURVEY || kind == JOB_COPY || kind == JOB_CAPTURE)
        job.wish = op->request.wish;
    return operation_job(work, op, &work->config.cells, &job);
}

static bool is_target_of(const struct operation *op)
{
    const struct guest_record *record = &op->guest->record;

    return guest_record_is_target(record) && record->migration == op->request.migration;
}

static enum step fail_no_target(struct operation *op)
{
    return operation_fail(op, -ENOENT, "guest '%s' is not prepared here for migration %llu",
                          op->guest->name, (unsigned long long)op->request.migration);
}

/* Of the guard's own, behind what the guest is at. */
static void begin_behind(struct work *work, const char *guest, const step_fn *steps)
{
    struct guard_request none;

    guard_request_init(&none);
    operation_begin(work, &none, 0, steps, NULL, guest);
}

void operation_report(struct operation *op)
{
    op->reply.bytes = op->result.bytes;
    op->reply.frozen_us = op->result.frozen_us;
    op->reply.handed_over_us = op->result.handed_over_us;
    op->reply.mode = op->result.mode;
}

/* ---- target: everything that it will live in stands, nothing runs */

static enum step prepare_check(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;
    struct guest_run *run = &op->request.run;
    struct roster_entry entry = {
        .epoch = run->epoch, .port = run->port, .stays = run->spec.failover == FAILOVER_STAY};
    struct err err;

    if (check_run(op) == STEP_FAIL)
        return STEP_FAIL;
    if (run->epoch != op->request.migration)
        return operation_fail(op, -EINVAL, "a target's epoch is its migration's id until it owns");
    if (record->state != 0 && record->state != GUEST_EXITED)
        return operation_fail(op, -EEXIST, "guest '%s' is on this node already", op->guest->name);
    memcpy(entry.guest, op->guest->name, sizeof(entry.guest));
    roster_cluster(work->config.roster, entry.cluster);
    if (roster_put(work->config.roster, &entry, false, 0, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    guest_clear(op->guest);
    record->run = *run; /* takes it */
    *run = (struct guest_run){0};
    memcpy(record->cluster, entry.cluster, sizeof(record->cluster));
    record->migration = op->request.migration;
    record->state = GUEST_PREPARED;
    op->has_begun = true;
    return save_record(work, op);
}

static enum step prepare_job(struct work *work, struct operation *op)
{
    struct job job;

    job_init(&job);
    job.kind = JOB_PREPARE;
    job.is_target = true;
    return operation_job(work, op, &work->config.cells, &job);
}

/* The next job's result takes the place of this one's. */
static enum step prepare_room(struct work *work, struct operation *op)
{
    (void)work;
    op->reply.room = op->result.room;
    return STEP_NEXT;
}

const step_fn steps_prepare[] = {prepare_check, step_make_cgroup, prepare_job,
                                 prepare_room,  step_plug,        NULL};
const step_fn undo_prepare[] = {step_undo,          step_unplug, step_clean_up,
                                step_remove_cgroup, step_forget, NULL};

/* ---- target: the whole state is here and verified */

static enum step receive_check(struct work *work, struct operation *op)
{
    (void)work;
    if (!is_target_of(op))
        return fail_no_target(op);
    if (op->guest->record.state != GUEST_PREPARED)
        return operation_fail(op, -EEXIST, "guest '%s' was received already", op->guest->name);
    return STEP_NEXT;
}

static bool can_stand_by(const struct operation *op)
{
    const struct guest_kind_ops *kind = job_kind_of_guest(op->guest->record.run.spec.kind);

    return kind != NULL && kind->mover != NULL && kind->mover->stand_by != NULL;
}

/* Nothing of the guest's own runs before ACTIVATE says so. Whoever stood by frozen would be in the
 * way. */
static enum step receive_stand_by(struct work *work, struct operation *op)
{
    if (!can_stand_by(op) || roster_is_lapsed(work->config.roster))
        return STEP_NEXT;
    op->is_soft = true; /* then ACTIVATE does it all */
    return step_move_job(work, op, JOB_STAND_BY);
}

static enum step receive_job(struct work *work, struct operation *op)
{
    return step_move_job(work, op, JOB_RECEIVE);
}

/* Before the hand-over is said to be whole: a guest whose switch is dead or hangs would be cut off
 * here, while it can still stay where it was. A switch that starts again is waited for. */
static enum step receive_await_switch(struct work *work, struct operation *op)
{
    if (op->guest->record.run.vni == 0 || work->is_switch_up)
        return STEP_NEXT;
    if (op->until_us != 0 && clock_now_us() >= op->until_us)
        return operation_fail(op, -EHOSTDOWN, "the switch of this node is down");
    return operation_await_switch(op, SWITCH_UP_LIMIT_US);
}

static enum step receive_probe(struct work *work, struct operation *op)
{
    struct job job;

    if (op->guest->record.run.vni == 0)
        return STEP_NEXT;
    job_init(&job);
    job.kind = JOB_PROBE;
    return operation_job(work, op, &work->config.fabric, &job);
}

/* Whose death ends what was received: watched from here on. */
static enum step receive_watch(struct work *work, struct operation *op)
{
    struct local_guest *guest = op->guest;
    struct err err;

    operation_report(op);
    guest->record.pid = op->result.pid;
    if (guest->record.pid == 0) /* it is files */
        return STEP_NEXT;
    guest->record.start_time = process_start_time((pid_t)guest->record.pid);
    if (work_watch_guest(work, guest, &err) < 0)
        return operation_fail(op, err.code, "what was received has ended: %s", err.text);
    return STEP_NEXT;
}

static enum step receive_done(struct work *work, struct operation *op)
{
    op->guest->record.state = GUEST_RECEIVED;
    return save_record(work, op);
}

const step_fn steps_receive[] = {
    receive_check,        receive_stand_by, receive_job,  receive_watch,
    receive_await_switch, receive_probe,    receive_done, NULL};

/* ---- target: it owns the guest now and brings it to life */

static enum step activate_check(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;
    struct roster_entry entry = {.epoch = op->request.copy.epoch,
                                 .port = record->run.port,
                                 .stays = guest_record_stays(record),
                                 .has_copy = true};
    struct err err;

    if (!is_target_of(op))
        return fail_no_target(op);
    if (record->state != GUEST_RECEIVED)
        return operation_fail(op, -EINVAL, "guest '%s' was not received yet", op->guest->name);
    if (op->request.copy.epoch <= op->request.migration)
        return operation_fail(op, -EINVAL, "the commit comes behind the reservation");
    memcpy(entry.guest, op->guest->name, sizeof(entry.guest));
    if (roster_put(work->config.roster, &entry, true, op->request.index, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    memcpy(record->cluster, entry.cluster, sizeof(record->cluster));
    record->run.epoch = op->request.copy.epoch;
    record->n_starts = 1;
    record->state = GUEST_RESTORING;
    op->has_begun = true;
    return save_record(work, op);
}

static bool switch_knows(const struct work *work, const struct operation *op)
{
    return op->guest->record.run.vni == 0 ||
           (work->has_view && work->view.index >= op->request.copy.epoch);
}

static bool is_restored(const struct operation *op)
{
    char path[MOVER_FILE_SIZE];

    guest_mover_file(op->guest, MOVER_RESTORED, path);
    return access(path, F_OK) == 0;
}

/* The word that it may run can come before it is restored. */
static enum step activate_await_restored(struct work *work, struct operation *op)
{
    if (!can_stand_by(op) || is_restored(op))
        return STEP_NEXT;
    op->is_soft = true; /* then JOB_ACTIVATE does it all */
    return step_move_job(work, op, JOB_AWAIT_RESTORED);
}

/* Who waits for too long is let go, and stands frozen (activate_await_switch). */
static enum step activate_await_view(struct work *work, struct operation *op)
{
    bool is_late = op->until_us != 0 && clock_now_us() >= op->until_us;

    if (is_late || switch_knows(work, op) || !is_restored(op))
        return STEP_NEXT;
    return operation_await_switch(op, SWITCH_AHEAD_LIMIT_US);
}

/* With its connections there, no packet is lost between its first instruction and the port's step
 * behind that: who is let go sends at once, and is sent to. */
static enum step activate_ahead(struct work *work, struct operation *op)
{
    return switch_knows(work, op) && is_restored(op) ? step_port_up(work, op) : STEP_NEXT;
}

static enum step activate_job(struct work *work, struct operation *op)
{
    return step_move_job(work, op, JOB_ACTIVATE);
}

/* Memory that follows is given out once: to kill this copy, so as to try again, would lose it. */
static bool is_irreplaceable(const struct work *work, const struct operation *op)
{
    return op->result.mode == MOVE_POST &&
           !roster_is_destroyed(work->config.roster, op->guest->name);
}

/* The restore and the switch's own change go side by side; a guest that is first stands frozen
 * behind its closed port until its switch chose it. It is not yet said to run. */
static enum step activate_await_switch(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;
    bool is_known = switch_knows(work, op);
    struct err err;

    if (is_known && record->frozen_by == 0)
        return STEP_NEXT;
    if (is_known == (record->frozen_by != 0)) {
        record->frozen_by = is_known ? 0 : FROZEN_BY_MIGRATION;
        if (guest_follow_freezer(work, op->guest, &err) < 0)
            return operation_fail(op, err.code, "%s", err.text);
    }
    if (is_known)
        return STEP_NEXT;
    if (op->until_us != 0 && clock_now_us() >= op->until_us) {
        if (!is_irreplaceable(work, op))
            return operation_fail(op, -ETIMEDOUT,
                                  "the switch of this node does not take the guest's rules");
        op->until_us = 0;
    }
    return operation_await_switch(op, SWITCH_VIEW_LIMIT_US);
}

/* The switch's step has no job of its own: what the restore said is still there. */
static enum step activate_done(struct work *work, struct operation *op)
{
    operation_report(op);
    op->guest->record.migration = 0;
    return step_take_pid(work, op);
}

static enum step discard_job(struct work *work, struct operation *op)
{
    op->is_soft = true; /* files that stay behind are only in the way */
    return step_move_job(work, op, JOB_DISCARD);
}

static const step_fn steps_tidy[] = {discard_job, NULL};

static void tidy(struct work *work, const char *guest)
{
    begin_behind(work, guest, steps_tidy);
}

/* It runs; what is left of the move goes when that has been said, or when its memory has come. */
static enum step activate_tidy(struct work *work, struct operation *op)
{
    if (op->reply.mode != MOVE_POST)
        tidy(work, op->guest->name);
    return STEP_NEXT;
}

/* Before what it has is killed: the kernel would reset its connections. */
static enum step activate_port_down(struct work *work, struct operation *op)
{
    struct err err;

    if (roster_set_port(work->config.roster, op->guest->name, false, &err) < 0)
        operation_fail(op, err.code, "%s", err.text);
    return STEP_NEXT;
}

/* Received and whole as before: it can be tried again, or thrown away. */
static enum step activate_back(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;
    struct roster_entry entry = {.epoch = op->request.migration,
                                 .port = record->run.port,
                                 .stays = guest_record_stays(record)};
    struct err err;

    memcpy(entry.guest, op->guest->name, sizeof(entry.guest));
    memcpy(entry.cluster, record->cluster, sizeof(entry.cluster));
    if (roster_put(work->config.roster, &entry, false, 0, &err) < 0)
        operation_fail(op, err.code, "%s", err.text);
    record->frozen_by = 0;
    if (guest_follow_freezer(work, op->guest, &err) < 0) /* killing has frozen it */
        operation_fail(op, err.code, "%s", err.text);
    record->run.epoch = op->request.migration;
    record->state = GUEST_RECEIVED;
    return save_record(work, op);
}

const step_fn steps_activate[] = {activate_check,      activate_await_restored,
                                  activate_await_view, activate_ahead,
                                  activate_job,        activate_await_switch,
                                  activate_done,       step_port_up,
                                  activate_tidy,       NULL};
const step_fn undo_activate[] = {step_undo, activate_port_down, step_kill, activate_back, NULL};

/* ---- either side: what does not run is thrown away */

static enum step discard_check(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;

    (void)work;
    if (record->state == 0)
        return step_to_end(op); /* a retry */
    if (guest_record_is_target(record) ? !is_target_of(op)
                                       : record->migration != op->request.migration)
        return operation_fail(op, -ENOENT, "guest '%s' is here for another reason",
                              op->guest->name);
    if (!guest_record_is_target(record) && check_copy(op) == STEP_FAIL)
        return STEP_FAIL;
    if (!guest_record_is_target(record) && record->state != GUEST_HANDED_OVER)
        return operation_fail(op, -EBUSY, "guest '%s' runs: stop it instead", op->guest->name);
    record->keep_upper = false;
    return STEP_NEXT;
}

/* Of a cluster that this node has left; nothing of it runs. */
const step_fn steps_clear[] = {step_kill,          discard_job, step_unplug, step_clean_up,
                               step_remove_cgroup, step_forget, NULL};

/* Received, and ended before it ran: its source has all of it, or the guest starts anew. */
static enum step lost_begin(struct work *work, struct operation *op)
{
    (void)work;
    log_warn("guest %s: what was received has ended", op->guest->name);
    return STEP_NEXT;
}

const step_fn steps_lost[] = {lost_begin,    step_kill,          discard_job, step_unplug,
                              step_clean_up, step_remove_cgroup, step_forget, NULL};

/* What was restored ahead is taken back by who stood by, who leaves nothing behind, before the rest
 * is killed. */
static enum step discard_ahead(struct work *work, struct operation *op)
{
    bool is_ahead = guest_record_is_target(&op->guest->record) && can_stand_by(op);

    return is_ahead && !roster_is_lapsed(work->config.roster) ? discard_job(work, op) : STEP_NEXT;
}

const step_fn steps_discard[] = {discard_check,      discard_ahead, step_kill,
                                 discard_job,        step_unplug,   step_clean_up,
                                 step_remove_cgroup, step_forget,   NULL};

/* ---- target, of a guest that runs: its memory */

static enum step await_job(struct work *work, struct operation *op)
{
    return job_beside(work, op, JOB_AWAIT);
}

static enum step await_tidy(struct work *work, struct operation *op)
{
    tidy(work, op->request.copy.guest);
    return STEP_NEXT;
}

const step_fn steps_await[] = {await_job, await_tidy, NULL};

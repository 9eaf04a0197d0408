/* steps_source: this node's part in a migration as its source; see work_posix.h, migrate/mover.h
 * and steps_move_posix.c.
 */
#include <errno.h>
#include <string.h>

#include "agent/guard/job_run_posix.h"
#include "agent/guard/work_posix.h"
#include "migrate/mover.h"
#include "migrate/progress_posix.h"

static void reply_progress(struct operation *op, const struct local_guest *guest)
{
    char path[MOVER_FILE_SIZE];

    guest_mover_file(guest, MOVER_PROGRESS, path);
    (void)progress_read(path, &op->reply.progress);
}

/* ---- source: captured, and frozen for good unless it is resumed */

/* A mover that copies a running guest freezes at the end. */
static bool is_copied_live(const struct operation *op)
{
    const struct guest_kind_ops *kind = job_kind_of_guest(op->guest->record.run.spec.kind);

    return kind != NULL && kind->mover != NULL && kind->mover->is_live;
}

/* The guest runs on while the mode is picked and all is made ready; all else is looked at when that
 * is done. */
static enum step capture_survey(struct work *work, struct operation *op)
{
    if (check_copy(op) == STEP_FAIL)
        return STEP_FAIL;
    if (is_copied_live(op))
        mode_begin_live(&op->request.wish);
    return is_copied_live(op) ? STEP_NEXT : step_move_job(work, op, JOB_SURVEY);
}

/* What was picked. What does not converge goes on by post-copy where nothing was insisted on. */
static void set_mode(struct operation *op)
{
    struct mode_wish *wish = &op->request.wish;

    if (is_copied_live(op))
        return;
    wish->allows_post = wish->allows_post && wish->terms.mode == MOVE_AUTO;
    if (wish->terms.mode == MOVE_AUTO)
        wish->terms.mode = op->result.mode;
    op->is_copied_first = wish->terms.mode == MOVE_PRE || op->result.copies_files;
}

static bool runs_meanwhile(const struct operation *op)
{
    return is_copied_live(op) || op->is_copied_first;
}

static enum step capture_check(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;

    if (check_copy(op) == STEP_FAIL)
        return STEP_FAIL;
    set_mode(op);
    if (record->state != GUEST_RUNNING)
        return operation_fail(op, -EBUSY, "guest '%s' does not run (%s)", op->guest->name,
                              guard_guest_state_name(record->state));
    if (record->frozen_by & FROZEN_BY_USER)
        return operation_fail(op, -EBUSY, "guest '%s' is frozen: thaw it first", op->guest->name);
    if (!guest_record_stays(record) && roster_is_lapsed(work->config.roster))
        return operation_fail(op, -EKEYEXPIRED, "this node's lease has lapsed: it is frozen");
    /* Written down as handed over before the first byte is: should this guard die meanwhile, its
     * successor cannot know how far it came, and only a committed abort may thaw it then. */
    record->state = GUEST_HANDED_OVER;
    record->frozen_by = runs_meanwhile(op) ? 0 : FROZEN_BY_MIGRATION;
    op->has_begun = true;
    record->migration = op->request.migration;
    return save_record(work, op);
}

/* Its port stays up, and the lease alone may freeze it. */
static enum step capture_copy(struct work *work, struct operation *op)
{
    return op->is_copied_first ? step_move_job(work, op, JOB_COPY) : STEP_NEXT;
}

/* From here on as one that was not copied first; what did not converge follows. */
static enum step capture_halt(struct work *work, struct operation *op)
{
    if (!op->is_copied_first)
        return STEP_NEXT;
    op->request.wish.terms.mode = op->result.mode;
    op->guest->record.frozen_by = FROZEN_BY_MIGRATION;
    return save_record(work, op);
}

/* Those that are not copied live close the port themselves, right before the guest stands still:
 * until then it is served, and from there on no lease may open it again. */
static enum step capture_job(struct work *work, struct operation *op)
{
    if (!is_copied_live(op))
        roster_want_port_down(work->config.roster, op->guest->name);
    return step_move_job(work, op, JOB_CAPTURE);
}

static enum step capture_done(struct work *work, struct operation *op)
{
    struct err err;

    operation_report(op);
    reply_progress(op, op->guest);
    /* One that gives its memory out itself stands still without it. */
    if (op->result.mode != MOVE_POST || !is_copied_live(op))
        op->guest->record.frozen_by = FROZEN_BY_MIGRATION;
    if (guest_follow_freezer(work, op->guest, &err) < 0 ||
        roster_set_port(work->config.roster, op->guest->name, false, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    return save_record(work, op);
}

static enum step thaw_source(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;
    struct err err;

    record->state = GUEST_RUNNING;
    record->frozen_by = 0;
    record->migration = 0;
    if (guest_follow_freezer(work, op->guest, &err) < 0)
        operation_fail(op, err.code, "%s", err.text);
    return save_record(work, op);
}

const step_fn steps_capture[] = {capture_survey, capture_check, capture_copy, capture_halt,
                                 capture_job,    capture_done,  NULL};
const step_fn undo_capture[] = {step_undo, thaw_source, step_port_up, NULL};

/* ---- source, after an abort */

static enum step resume_check(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;

    (void)work;
    if (check_copy(op) == STEP_FAIL)
        return STEP_FAIL;
    if (record->state == GUEST_RUNNING) /* the capture had failed, or a retry */
        return step_to_end(op);
    if (record->state != GUEST_HANDED_OVER || record->migration != op->request.migration)
        return operation_fail(op, -EINVAL, "guest '%s' was not captured by migration %llu",
                              op->guest->name, (unsigned long long)op->request.migration);
    return STEP_NEXT;
}

static enum step resume_job(struct work *work, struct operation *op)
{
    op->is_soft = true; /* what stays of the mover must not hold the guest */
    return step_move_job(work, op, JOB_RESUME);
}

const step_fn steps_resume[] = {resume_check, resume_job, thaw_source, step_port_up, NULL};

/* ---- source: how far it is */

static enum step read_progress(struct work *work, struct operation *op)
{
    const struct guest_copy *copy = &op->request.copy;
    struct local_guest *guest = guests_find(&work->guests, copy->guest);

    if (guest == NULL || guest->record.run.epoch != copy->epoch)
        return operation_fail(op, -ENOENT, "guest '%s' is not on this node", copy->guest);
    if (guest->record.migration == op->request.migration)
        reply_progress(op, guest);
    return STEP_NEXT;
}

const step_fn steps_progress[] = {read_progress, NULL};

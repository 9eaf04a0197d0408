/* fabric: the switch is set up at the start and again whenever it has died; see work_posix.h.
 *
 * The view that skeind sent last is applied again by itself then: guests' traffic comes back
 * without anybody's word.
 */
#include <errno.h>

#include "agent/guard/work_posix.h"
#include "base/log.h"

enum { RETRY_MIN_US = 50000, RETRY_MAX_US = 800000, LOG_EVERY = 60 };

static void take_view(struct work *work, struct operation *op)
{
    fabric_view_deinit(&work->view);
    work->view = op->request.view;
    op->request.view = (struct fabric_view){0};
    work->has_view = true;
    operations_switch_changed(work);
}

static enum step view_job(struct work *work, struct operation *op, const struct fabric_view *view)
{
    struct job job;

    job_init(&job);
    job.kind = JOB_APPLY;
    job.has_view = true;
    job.view = *view;
    return operation_job(work, op, &work->config.fabric, &job);
}

static enum step apply(struct work *work, struct operation *op)
{
    return view_job(work, op, &op->request.view);
}

static enum step applied(struct work *work, struct operation *op)
{
    take_view(work, op);
    return STEP_NEXT;
}

const step_fn steps_fabric[] = {apply, applied, NULL};

static enum step setup(struct work *work, struct operation *op)
{
    return operation_plain_job(work, op, &work->config.fabric, JOB_SETUP);
}

static enum step apply_again(struct work *work, struct operation *op)
{
    return work->has_view ? view_job(work, op, &work->view) : STEP_NEXT;
}

static enum step watch(struct work *work, struct operation *op)
{
    log_info("the switch is set up%s", work->has_view ? ", with the last rules" : "");
    work->n_setup_failures = 0;
    work->is_switch_up = true;
    operations_switch_changed(work);
    return operation_plain_job(work, op, &work->config.fabric, JOB_WATCH);
}

static enum step died(struct work *work, struct operation *op)
{
    (void)op;
    work->is_switch_up = false;
    log_warn("the switch has died: it is set up again");
    fabric_begin(work);
    return STEP_NEXT;
}

/* A switch that is just starting is there soon; one that is not there costs little. */
static enum step wait_a_little(struct work *work, struct operation *op)
{
    uint64_t us = RETRY_MIN_US << (work->n_setup_failures < 4 ? work->n_setup_failures : 4);

    if (op->until_us != 0)
        return STEP_NEXT;
    op->until_us = 1;
    if (work->n_setup_failures++ % LOG_EVERY == 0)
        log_warn("the switch is not set up: %s", op->err.text);
    return operation_again(op, us < RETRY_MAX_US ? us : RETRY_MAX_US);
}

static enum step try_again(struct work *work, struct operation *op)
{
    (void)op;
    fabric_begin(work);
    return STEP_NEXT;
}

static const step_fn steps_setup[] = {setup, apply_again, watch, died, NULL};
static const step_fn undo_setup[] = {wait_a_little, try_again, NULL};

void fabric_begin(struct work *work)
{
    struct guard_request none;

    guard_request_init(&none);
    operation_begin(work, &none, 0, steps_setup, undo_setup, NULL);
}

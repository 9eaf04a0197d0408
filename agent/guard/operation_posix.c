/* operation: runs the steps of operations; see work_posix.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/guard/clock_posix.h"
#include "agent/guard/work_posix.h"
#include "base/log.h"

static void operation_free(struct work *work, struct operation *op)
{
    if (op->previous != NULL)
        op->previous->next = op->next;
    else
        work->operations = op->next;
    if (op->next != NULL)
        op->next->previous = op->previous;
    work->n_operations--;
    for (int i = 0; i < GUARD_MAX_FDS; i++) {
        if (op->request.fds[i] >= 0)
            close(op->request.fds[i]);
    }
    guard_request_deinit(&op->request);
    guard_reply_deinit(&op->reply);
    free(op);
}

static void next_of_guest(struct work *work, struct local_guest *guest);

static void log_end(const struct operation *op)
{
    unsigned int ms = (unsigned int)((clock_now_us() - op->begun_us) / 1000);
    const char *guest = op->guest != NULL ? op->guest->name : op->request.copy.guest;

    if (op->err.code != 0 && (op->client != 0 || op->guest != NULL))
        log_warn("%s %s: %s (%u ms)", guard_op_name(op->request.op), guest, op->err.text, ms);
    else if (op->err.code == 0 && op->client != 0 && op->guest != NULL)
        log_info("%s %s: done (%u ms)", guard_op_name(op->request.op), guest, ms);
}

static void finish(struct work *work, struct operation *op)
{
    struct local_guest *guest = op->guest;

    log_end(op);
    if (op->err.code != 0) {
        op->reply.code = op->err.code;
        memcpy(op->reply.text, op->err.text, sizeof(op->reply.text));
    }
    if (op->client != 0)
        work_answer(work, op->client, &op->reply);
    operation_free(work, op);
    if (guest != NULL) {
        guest->current = NULL;
        next_of_guest(work, guest);
    }
}

/* A failed step of the way back is said and passed over: the others still have their work. */
static void step_failed(struct operation *op)
{
    if (op->undoing) {
        op->at++;
        return;
    }
    op->undoing = true;
    op->steps = op->undo;
    op->at = 0;
}

static void run_steps(struct work *work, struct operation *op)
{
    if (op->begun_us == 0)
        op->begun_us = clock_now_us();
    while (op->steps != NULL && op->steps[op->at] != NULL) {
        op->wake_us = UINT64_MAX;
        op->is_soft = op->awaits_switch = false;
        switch (op->steps[op->at](work, op)) {
        case STEP_NEXT:
            op->at++;
            op->until_us = 0;
            break;
        case STEP_JOB:
        case STEP_AGAIN:
            return;
        case STEP_FAIL:
            step_failed(op);
            op->until_us = 0;
            break;
        }
    }
    finish(work, op);
}

static struct operation *operation_new(struct work *work, struct guard_request *request)
{
    struct operation *op = calloc(1, sizeof(*op));

    if (op == NULL)
        return NULL;
    op->request = *request;
    guard_request_init(request);
    guard_reply_init(&op->reply);
    op->reply.serial = op->request.serial;
    op->reply.op = op->request.op;
    op->wake_us = UINT64_MAX;
    op->next = work->operations;
    if (op->next != NULL)
        op->next->previous = op;
    work->operations = op;
    work->n_operations++;
    return op;
}

static void next_of_guest(struct work *work, struct local_guest *guest)
{
    struct operation *op = guest->first_waiting;

    if (operations_look_after(work, guest))
        return;
    if (op == NULL) {
        guests_release(&work->guests, guest);
        return;
    }
    guest->first_waiting = op->next_waiting;
    if (guest->first_waiting == NULL)
        guest->last_waiting = NULL;
    guest->current = op;
    run_steps(work, op);
}

static void refuse(struct work *work, struct guard_request *request, uint32_t client,
                   const char *text)
{
    struct guard_reply reply;

    guard_reply_init(&reply);
    reply.serial = request->serial;
    reply.op = request->op;
    reply.code = -EBUSY;
    snprintf(reply.text, sizeof(reply.text), "%s", text);
    if (client != 0)
        work_answer(work, client, &reply);
}

void operation_begin(struct work *work, struct guard_request *request, uint32_t client,
                     const step_fn *steps, const step_fn *undo, const char *guest_name)
{
    struct local_guest *guest = NULL;
    struct operation *op = NULL;

    if (guest_name != NULL) {
        guest = guests_need(&work->guests, guest_name);
        if (guest == NULL) {
            refuse(work, request, client, "this node holds as many guests as it can");
            return;
        }
    }
    /* What the guard itself has to do always finds room. */
    if (client == 0 || work->n_operations < WORK_MAX_OPERATIONS)
        op = operation_new(work, request);
    if (op == NULL) {
        refuse(work, request, client, "too much is under way: try again");
        if (guest != NULL)
            guests_release(&work->guests, guest);
        return;
    }
    op->client = client;
    op->steps = steps;
    op->undo = undo;
    op->guest = guest;
    if (guest != NULL && guest->current != NULL) {
        if (guest->last_waiting != NULL)
            guest->last_waiting->next_waiting = op;
        else
            guest->first_waiting = op;
        guest->last_waiting = op;
        return;
    }
    if (guest != NULL)
        guest->current = op;
    run_steps(work, op);
}

enum step operation_fail(struct operation *op, int code, const char *format, ...)
{
    char text[ERR_TEXT_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (op->err.code == 0)
        err_set(&op->err, code, "%s", text);
    else
        log_warn("%s: and then: %s", guard_op_name(op->request.op), text);
    return STEP_FAIL;
}

enum step step_to_end(struct operation *op)
{
    while (op->steps[op->at + 1] != NULL)
        op->at++;
    return STEP_NEXT;
}

enum step operation_again(struct operation *op, uint64_t us)
{
    op->wake_us = clock_now_us() + us;
    return STEP_AGAIN;
}

enum step operation_await_switch(struct operation *op, uint64_t limit_us)
{
    if (op->until_us == 0)
        op->until_us = clock_now_us() + limit_us;
    op->wake_us = op->until_us;
    op->awaits_switch = true;
    return STEP_AGAIN;
}

enum step operation_job(struct work *work, struct operation *op, struct executor *executor,
                        struct job *job)
{
    int rc;

    if (op->guest != NULL && op->guest->record.state != 0) {
        job->has_run = true;
        job->run = op->guest->record.run; /* borrowed for the encoding */
        job->pid = op->guest->record.pid;
        job->start_time = op->guest->record.start_time;
    }
    job->id = ++work->last_job;
    if (job->id == 0)
        job->id = ++work->last_job;
    rc = executor_submit(executor, job);
    if (rc == -EAGAIN)
        return STEP_AGAIN;
    if (rc < 0)
        return operation_fail(op, rc, "cannot %s: %s", job_kind_name(job->kind), strerror(-rc));
    op->job = job->id;
    return STEP_JOB;
}

enum step operation_plain_job(struct work *work, struct operation *op, struct executor *executor,
                              enum job_kind kind)
{
    struct job job;

    job_init(&job);
    job.kind = kind;
    return operation_job(work, op, executor, &job);
}

static struct operation *find_by_job(const struct work *work, uint32_t job)
{
    struct operation *op = work->operations;

    while (op != NULL && op->job != job)
        op = op->next;
    return op;
}

/* Steps that found an executor full try again, each once, the oldest first. Operations end and
 * begin meanwhile: look anew each time. */
static void run_blocked(struct work *work)
{
    uint32_t round = ++work->round;

    for (;;) {
        struct operation *oldest = NULL;

        for (struct operation *op = work->operations; op != NULL; op = op->next) {
            bool is_running = op->guest == NULL || op->guest->current == op;

            if (is_running && op->job == 0 && op->wake_us == UINT64_MAX && op->round != round)
                oldest = op; /* new ones stand first */
        }
        if (oldest == NULL)
            return;
        oldest->round = round;
        run_steps(work, oldest);
    }
}

void operation_result(struct work *work, struct executor *executor, const struct job_result *result)
{
    struct operation *op = find_by_job(work, result->id);

    if (op == NULL)
        return;
    executor_job_ended(executor, result->id);
    op->job = 0;
    op->result = *result;
    if (result->code < 0 && op->is_soft) {
        log_warn("%s %s: %s", guard_op_name(op->request.op),
                 op->guest != NULL ? op->guest->name : "", result->text);
        op->at++;
    } else if (result->code < 0) {
        operation_fail(op, result->code, "%s", result->text);
        step_failed(op);
    } else {
        op->at++;
    }
    op->until_us = 0;
    run_steps(work, op);
    run_blocked(work);
}

void operations_switch_changed(struct work *work)
{
    for (struct operation *op = work->operations; op != NULL; op = op->next) {
        if (op->awaits_switch)
            op->wake_us = 0; /* at the end of this turn of the loop */
    }
}

void operations_wake(struct work *work, uint64_t now)
{
    struct operation *op = work->operations;

    while (op != NULL) {
        if (op->wake_us <= now) {
            run_steps(work, op);
            op = work->operations; /* the list may have changed */
            continue;
        }
        op = op->next;
    }
}

uint64_t operations_next_wake(const struct work *work)
{
    uint64_t next = UINT64_MAX;

    for (const struct operation *op = work->operations; op != NULL; op = op->next)
        next = op->wake_us < next ? op->wake_us : next;
    return next;
}

static void begin_own(struct work *work, const char *guest, const step_fn *steps)
{
    struct guard_request request;

    guard_request_init(&request);
    operation_begin(work, &request, 0, steps, NULL, guest);
}

/* Nothing of it runs, and a lease of another cluster than its own has begun since. */
static bool is_left_over(struct work *work, const struct guest_record *record)
{
    static const uint8_t none[NONCE_SIZE];
    uint8_t cluster[NONCE_SIZE];

    if ((record->state != GUEST_EXITED && !guest_record_is_target(record)) ||
        guest_record_is_of(record, none) || roster_is_lapsed(work->config.roster))
        return false;
    roster_cluster(work->config.roster, cluster);
    return !guest_record_is_of(record, cluster);
}

bool operations_look_after(struct work *work, struct local_guest *guest)
{
    enum guard_guest_state state = guest->record.state;

    if (guest->current != NULL || state == 0)
        return false;
    if (roster_is_destroyed(work->config.roster, guest->name))
        begin_own(work, guest->name, steps_destroy);
    else if (is_left_over(work, &guest->record))
        begin_own(work, guest->name, steps_clear);
    else if (guest->has_ended && (state == GUEST_RUNNING || state == GUEST_HANDED_OVER))
        begin_own(work, guest->name, steps_exit);
    else if (guest->has_ended && state == GUEST_RECEIVED)
        begin_own(work, guest->name, steps_lost);
    else if (state == GUEST_STARTING || state == GUEST_STOPPING)
        begin_own(work, guest->name, steps_end);
    else
        return false;
    return true;
}

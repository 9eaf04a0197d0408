/* model_ops: what a guard does to its guests: one operation of a guest at a time, each with its
 * checks, its time, and now and then a failure. The rules are those of agent/guard/proto.h; see
 * model_ops.h. */
#include "tests/sim/model_ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool copy_runs(const struct sim_node *node, const struct sim_copy *copy)
{
    if (!node->is_on || copy->is_destroyed || (node->guard.is_frozen && !copy->stays))
        return false;
    switch (copy->state) {
    case GUEST_STARTING:
    case GUEST_RUNNING:
    case GUEST_STOPPING:
    case GUEST_RESTORING:
        return copy->frozen_by == 0;
    case GUEST_HANDED_OVER:
        return copy->is_unfrozen;
    default:
        return false;
    }
}

void ops_clear(struct sim_copy *copy)
{
    uint32_t token = copy->token;

    ops_abandon(copy);
    *copy = (struct sim_copy){.token = token + 1};
}

void ops_abandon(struct sim_copy *copy)
{
    if (copy->op != NULL)
        guard_request_free(copy->op);
    for (size_t i = 0; i < copy->n_waiting; i++)
        guard_request_free(copy->waiting[i].request);
    copy->op = NULL;
    copy->n_waiting = 0;
    copy->is_finishing = false;
    copy->token++;
}

void ops_forget(struct sim_copy *copy)
{
    struct sim_copy empty = {.op = copy->op,
                             .op_core_run = copy->op_core_run,
                             .token = copy->token,
                             .is_finishing = copy->is_finishing,
                             .n_waiting = copy->n_waiting};

    memcpy(empty.waiting, copy->waiting, sizeof(empty.waiting));
    *copy = empty;
}

struct sim_copy *ops_copy_of(struct sim_node *node, int guest)
{
    return &node->guard.copies[guest];
}

bool ops_is_target(const struct sim_copy *copy)
{
    return copy->state == GUEST_PREPARED || copy->state == GUEST_RECEIVED;
}

bool ops_fails(struct sim *sim)
{
    if (sim->is_calm || !sim_chance(sim, sim->op_failure_permille))
        return false;
    sim_count(sim, COUNT_GUARD_OP_FAILED);
    return true;
}

void ops_after(struct sim *sim, struct sim_node *node, int guest, uint64_t delay)
{
    struct event event = sim_event(EV_OP_DONE, node, ACTOR_GUARD);

    event.a = (uint64_t)guest;
    event.b = ops_copy_of(node, guest)->token;
    sim_push(sim, event, delay);
}

void ops_ran(struct sim *sim, struct sim_node *node, int guest)
{
    if (ops_copy_of(node, guest)->epoch > sim->ran[guest])
        sim->ran[guest] = ops_copy_of(node, guest)->epoch;
}

/* ---- the way of an operation */

static void begin(struct sim *sim, struct sim_node *node, int guest);

static void next(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->is_destroyed) {
        ops_destroy(sim, node, guest);
        return;
    }
    if (copy->n_waiting == 0)
        return;
    copy->op = copy->waiting[0].request;
    copy->op_core_run = copy->waiting[0].core_run;
    copy->n_waiting--;
    memmove(&copy->waiting[0], &copy->waiting[1], copy->n_waiting * sizeof(copy->waiting[0]));
    begin(sim, node, guest);
}

void ops_finish(struct sim *sim, struct sim_node *node, int guest, int code, const char *text,
                struct guard_reply *reply)
{
    struct sim_copy *copy = ops_copy_of(node, guest);
    struct guard_request *request = copy->op;

    copy->token++;
    copy->is_finishing = false;
    copy->op = NULL;
    if (request != NULL) {
        guard_reply(sim, node, copy->op_core_run, request, code, text, reply);
        guard_request_free(request);
    }
    guard_news(sim, node);
    check_guest(sim, guest);
    next(sim, node, guest);
}

void ops_refuse(struct sim *sim, struct sim_node *node, int guest, int code, const char *text)
{
    ops_finish(sim, node, guest, code, text, NULL);
}

/* A checkpoint on its way to its buddy; what it is called by is the model's own count. */
static void send_kept(struct sim *sim, struct sim_node *node, struct guard_request *request,
                      uint32_t core_run)
{
    struct guard_reply reply;
    bool failed = ops_fails(sim);

    guard_reply_init(&reply);
    reply.bytes = ++sim->n_checkpoints;
    guard_reply(sim, node, core_run, request, failed ? -EREMOTEIO : 0, failed ? "a fault" : "",
                &reply);
    guard_request_free(request);
}

void ops_begin(struct sim *sim, struct sim_node *node, struct guard_request *request,
               uint32_t core_run)
{
    int guest = sim_guest_of(guard_guest_of(request));
    struct sim_copy *copy;

    if (request->op == GUARD_FABRIC || request->op == GUARD_UNPACK ||
        request->op == GUARD_DROP_IMAGE || request->op == GUARD_PROGRESS ||
        request->op == GUARD_KEEP_VOLUMES) {
        bool failed = request->op != GUARD_PROGRESS && ops_fails(sim);

        guard_reply(sim, node, core_run, request, failed ? -EIO : 0, failed ? "a fault" : "", NULL);
        guard_request_free(request);
        return;
    }
    if (guest < 0)
        abort();
    if (request->op == GUARD_SEND) {
        send_kept(sim, node, request, core_run);
        return;
    }
    copy = ops_copy_of(node, guest);
    if (copy->op != NULL || copy->is_finishing) {
        if (copy->n_waiting == 4) {
            guard_reply(sim, node, core_run, request, -EBUSY, "too much waits", NULL);
            guard_request_free(request);
            return;
        }
        copy->waiting[copy->n_waiting].request = request;
        copy->waiting[copy->n_waiting++].core_run = core_run;
        return;
    }
    copy->op = request;
    copy->op_core_run = core_run;
    begin(sim, node, guest);
}

/* ---- start and stop */

bool ops_may_start(struct sim *sim, struct sim_node *node, int guest)
{
    const struct guard_request *request = ops_copy_of(node, guest)->op;
    int code = holder_may_start(&node->guard.holder, request->index, node_clock(sim, node));

    if (code == 0) {
        check_start(sim, node, guest);
        return true;
    }
    sim_count(sim, COUNT_START_REFUSED);
    ops_refuse(sim, node, guest, code,
               code == -ESTALE ? "older than the floor" : "the lease is out");
    return false;
}

static void start(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);
    const struct guest_run *run = &copy->op->run;
    uint32_t n_starts = 1;

    if (copy->state != 0 && copy->state != GUEST_EXITED) {
        ops_refuse(sim, node, guest, -EEXIST, "is on this node already");
        return;
    }
    if (copy->state == GUEST_EXITED && run->epoch < copy->epoch) {
        ops_refuse(sim, node, guest, -ESTALE, "is here with a newer epoch");
        return;
    }
    if (copy->state == GUEST_EXITED && run->epoch == copy->epoch)
        n_starts = copy->n_starts + 1;
    if (!ops_may_start(sim, node, guest))
        return;
    copy->state = GUEST_STARTING;
    copy->epoch = run->epoch;
    copy->migration = 0;
    copy->frozen_by = 0;
    copy->stays = run->spec.failover == FAILOVER_STAY;
    copy->has_copy = true;
    copy->is_destroyed = false;
    copy->n_starts = n_starts;
    copy->life = ++sim->n_lives;
    copy->pid = ++node->guard.pids;
    sim_trace(sim, node, "starts g%d of epoch %llu", guest, (unsigned long long)copy->epoch);
    guard_news(sim, node);
    check_guest(sim, guest);
    ops_after(sim, node, guest, sim_between(sim, 15 * MS, 150 * MS));
}

bool ops_waits_for_lease(struct sim *sim, struct sim_node *node, int guest)
{
    const struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->is_destroyed || copy->stays || !node->guard.is_frozen)
        return false;
    ops_after(sim, node, guest, 20 * MS);
    return true;
}

static void started(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (ops_waits_for_lease(sim, node, guest))
        return;
    if (copy->is_destroyed || ops_fails(sim)) {
        ops_forget(copy);
        ops_refuse(sim, node, guest, -EIO, "it does not come up");
        return;
    }
    copy->state = GUEST_RUNNING;
    ops_ran(sim, node, guest);
    ops_finish(sim, node, guest, 0, "", NULL);
}

static void stop(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->state == 0 || ops_is_target(copy) || copy->epoch > copy->op->copy.epoch) {
        ops_finish(sim, node, guest, 0, "", NULL);
        return;
    }
    if (copy->epoch != copy->op->copy.epoch) {
        ops_refuse(sim, node, guest, -ESTALE, "is here with another epoch");
        return;
    }
    if (copy->state == GUEST_HANDED_OVER) {
        ops_refuse(sim, node, guest, -EBUSY, "is being moved");
        return;
    }
    if (copy->state != GUEST_EXITED)
        copy->state = GUEST_STOPPING;
    copy->frozen_by = 0;
    guard_news(sim, node);
    check_guest(sim, guest);
    ops_after(sim, node, guest,
              copy->op->grace_ms > 0 && sim_chance(sim, 700) ? sim_between(sim, 5 * MS, 400 * MS)
                                                             : sim_between(sim, 2 * MS, 30 * MS));
}

/* ---- checkpoints */

static void keep(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->state != GUEST_RUNNING || copy->frozen_by != 0 ||
        copy->epoch != copy->op->copy.epoch || node->guard.holder.lapsed)
        ops_refuse(sim, node, guest, -EAGAIN, "does not run now");
    else
        ops_after(sim, node, guest, sim_between(sim, 10 * MS, 100 * MS));
}

static void kept(struct sim *sim, struct sim_node *node, int guest)
{
    uint64_t now = node_clock(sim, node);
    struct guard_reply reply;

    if (ops_fails(sim)) {
        ops_refuse(sim, node, guest, -EIO, "a fault");
        return;
    }
    guard_reply_init(&reply);
    reply.frozen_us = now > 10 * MS ? now - 10 * MS : now;
    reply.handed_over_us = now;
    ops_finish(sim, node, guest, 0, "", &reply);
}

/* ---- begin and end */

static void begin(struct sim *sim, struct sim_node *node, int guest)
{
    switch (ops_copy_of(node, guest)->op->op) {
    case GUARD_START:
    case GUARD_RESTORE:
        start(sim, node, guest);
        break;
    case GUARD_CHECKPOINT:
        keep(sim, node, guest);
        break;
    case GUARD_STOP:
        stop(sim, node, guest);
        break;
    case GUARD_PREPARE:
        ops_prepare(sim, node, guest);
        break;
    case GUARD_CAPTURE:
        ops_capture(sim, node, guest);
        break;
    case GUARD_RECEIVE:
        ops_receive(sim, node, guest);
        break;
    case GUARD_ACTIVATE:
        ops_activate(sim, node, guest);
        break;
    case GUARD_RESUME:
        ops_resume(sim, node, guest);
        break;
    case GUARD_DISCARD:
        ops_discard(sim, node, guest);
        break;
    default:
        abort();
    }
}

void ops_done(struct sim *sim, struct sim_node *node, int guest, uint32_t token)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->token != token)
        return;
    if (copy->op == NULL) { /* the guard's own clearing away */
        ops_forget(copy);
        ops_finish(sim, node, guest, 0, "", NULL);
        return;
    }
    switch (copy->op->op) {
    case GUARD_START:
    case GUARD_RESTORE:
        started(sim, node, guest);
        break;
    case GUARD_CHECKPOINT:
        kept(sim, node, guest);
        break;
    case GUARD_ACTIVATE:
        ops_activated(sim, node, guest);
        break;
    case GUARD_PREPARE:
        if (ops_fails(sim)) {
            ops_forget(copy);
            ops_refuse(sim, node, guest, -EIO, "a fault");
        } else {
            ops_finish(sim, node, guest, 0, "", NULL);
        }
        break;
    case GUARD_STOP:
    case GUARD_DISCARD:
        ops_forget(copy);
        ops_finish(sim, node, guest, 0, "", NULL);
        break;
    default:
        ops_finish(sim, node, guest, 0, "", NULL);
    }
}

/* ---- what happens by itself */

/* Destroyed by a lift: nothing of it runs; what is left goes when no operation is at it. */
void ops_destroy(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->op != NULL || copy->is_finishing)
        return;
    copy->is_finishing = true;
    ops_after(sim, node, guest, sim_between(sim, MS, 30 * MS));
}

void ops_exit(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    copy->state = GUEST_EXITED;
    copy->exit_status = (int32_t)sim_below(sim, 2);
    copy->pid = 0;
    copy->has_copy = false;
    copy->migration = 0;
    sim_trace(sim, node, "g%d ends by itself with %d", guest, copy->exit_status);
    guard_news(sim, node);
}

/* A new guard takes up what lives; what was half done it ends. */
void ops_adopt(struct sim_node *node)
{
    for (int i = 0; i < SIM_GUESTS; i++) {
        struct sim_copy *copy = ops_copy_of(node, i);

        copy->is_unfrozen = false;
        if (copy->state == GUEST_RESTORING)
            ops_back_to_received(copy);
        else if (copy->is_destroyed || copy->state == GUEST_STOPPING ||
                 copy->state == GUEST_STARTING)
            ops_clear(copy);
    }
}

/* model_guard: a guard around the real lease holder: stamps, acks, the freeze and its lift, and the
 * connection to skeind; see sim.h. What it does to guests is in model_ops*.c.
 *
 * How late it may be: its timer, a stall and a restart together stay below the freeze budget F,
 * because the law promises nothing beyond that. In seeds that hang guards for longer, only what
 * leaves before the deadline in the kernel's own map counts as reaching anybody (checks.c).
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMER_LATE_US = 4000 };

/* ---- to skeind, in order */

static void reply_free(void *data)
{
    guard_reply_deinit(data);
    free(data);
}

void guard_request_free(void *request)
{
    guard_request_deinit(request);
    free(request);
}

static uint64_t channel_delay(struct sim *sim, struct sim_node *node)
{
    uint64_t at = sim->now + sim_between(sim, 20, 300);

    if (at < node->guard.channel_us)
        at = node->guard.channel_us;
    node->guard.channel_us = at;
    return at - sim->now;
}

static void push_reply(struct sim *sim, struct sim_node *node, uint32_t core_run,
                       const struct guard_reply *reply, bool is_event)
{
    struct event event = sim_event(EV_GUARD_REPLY, node, ACTOR_CORE);
    struct guard_reply *copy = malloc(sizeof(*copy));

    if (copy == NULL)
        abort();
    *copy = *reply;
    event.run = core_run;
    event.a = is_event;
    event.data = copy;
    event.dispose = reply_free;
    sim_push(sim, event, channel_delay(sim, node));
}

const char *guard_guest_of(const struct guard_request *request)
{
    bool has_run =
        request->op == GUARD_START || request->op == GUARD_RESTORE || request->op == GUARD_PREPARE;

    return has_run ? request->run.spec.name : request->copy.guest;
}

void guard_reply(struct sim *sim, struct sim_node *node, uint32_t core_run,
                 const struct guard_request *request, int code, const char *text,
                 struct guard_reply *reply)
{
    struct guard_reply empty;

    if (reply == NULL) {
        guard_reply_init(&empty);
        reply = &empty;
    }
    reply->serial = request->serial;
    reply->op = request->op;
    reply->code = code;
    snprintf(reply->text, sizeof(reply->text), "%s", text);
    if (code < 0)
        sim_trace(sim, node, "guard: %s %s: %s", guard_op_name(request->op),
                  guard_guest_of(request), text);
    push_reply(sim, node, core_run, reply, false);
}

static void report(const struct sim_node *node, int guest, struct guard_report *ret)
{
    const struct sim_copy *copy = &node->guard.copies[guest];
    bool is_target = copy->state == GUEST_PREPARED || copy->state == GUEST_RECEIVED;

    memset(ret, 0, sizeof(*ret));
    sim_guest_name(guest, ret->guest);
    ret->epoch = is_target ? 0 : copy->epoch;
    ret->migration = copy->migration;
    ret->state = copy->state;
    ret->frozen_by = copy->frozen_by;
    ret->exit_status = copy->exit_status;
    ret->pid = copy->pid;
    ret->n_starts = copy->n_starts;
    if (node->guard.holder.lapsed && copy->pid != 0 && !copy->stays)
        ret->frozen_by |= FROZEN_BY_LEASE;
    if (ret->state == GUEST_RUNNING && ret->frozen_by != 0)
        ret->state = GUEST_FROZEN;
}

static void fill_list(const struct sim_node *node, struct guard_reply *ret)
{
    ret->reports = calloc(SIM_GUESTS, sizeof(*ret->reports));
    if (ret->reports == NULL)
        abort();
    for (int i = 0; i < SIM_GUESTS; i++) {
        if (node->guard.copies[i].state != 0)
            report(node, i, &ret->reports[ret->n_reports++]);
    }
}

static void tell(struct sim *sim, struct sim_node *node, enum guard_event what)
{
    struct guard_reply reply;

    if (!node->is_connected || !node->actors[ACTOR_CORE].up)
        return;
    guard_reply_init(&reply);
    reply.event = what;
    if (what == GUARD_EVENT_LIST)
        fill_list(node, &reply);
    push_reply(sim, node, node->actors[ACTOR_CORE].run, &reply, true);
}

void guard_news(struct sim *sim, struct sim_node *node)
{
    tell(sim, node, GUARD_EVENT_LIST);
}

void guard_hello(const struct sim_node *node, struct guard_hello *ret)
{
    memcpy(ret->boot_nonce, node->guard.boot_nonce, NONCE_SIZE);
    ret->run = node->guard.run;
    ret->lapsed = node->guard.holder.lapsed;
}

/* ---- the lease */

static void arm_timer(struct sim *sim, struct sim_node *node)
{
    struct sim_guard *guard = &node->guard;
    uint64_t freeze_us = holder_freeze_at(&guard->holder);
    uint64_t at;

    if (freeze_us == UINT64_MAX)
        return;
    at = node_sim_time(node, freeze_us) + sim_below(sim, TIMER_LATE_US);
    if (guard->timer_us > sim->now && guard->timer_us <= at)
        return; /* looks again then */
    if (at <= sim->now)
        at = sim->now + 1;
    guard->timer_us = at;
    sim_push(sim, sim_event(EV_LEASE_TIMER, node, ACTOR_GUARD), at - sim->now);
}

static void expire(struct sim *sim, struct sim_node *node)
{
    struct sim_guard *guard = &node->guard;

    if (!holder_expire(&guard->holder, node_clock(sim, node)))
        return;
    guard->is_frozen = true;
    sim_count(sim, COUNT_LAPSE);
    sim_trace(sim, node, "lease out -> freeze");
    tell(sim, node, GUARD_EVENT_LAPSED);
    guard_news(sim, node);
}

/* Destroying takes its time; the lease may run out meanwhile. */
static void lift(struct sim *sim, struct sim_node *node, const struct lease_ack *ack)
{
    struct sim_guard *guard = &node->guard;
    bool is_slow = !sim->is_calm && sim_chance(sim, 30);

    for (int i = 0; i < SIM_GUESTS; i++) {
        struct sim_copy *copy = &guard->copies[i];
        char name[NAME_SIZE];

        sim_guest_name(i, name);
        if (copy->state == 0 || !copy->has_copy ||
            lease_ack_keeps(ack, ack->cluster, name, copy->epoch))
            continue;
        sim_trace(sim, node, "destroys g%d of epoch %llu", i, (unsigned long long)copy->epoch);
        sim_count(sim, COUNT_COPY_DESTROYED);
        check_destroy(sim, node, i);
        copy->is_destroyed = true;
        ops_destroy(sim, node, i);
    }
    guard->is_lifting = true;
    if (is_slow)
        sim_count(sim, COUNT_SLOW_LIFT);
    sim_push(sim, sim_event(EV_LIFTED, node, ACTOR_GUARD),
             is_slow ? sim_between(sim, MS, 900 * MS) : sim_below(sim, 300));
}

static void lifted(struct sim *sim, struct sim_node *node)
{
    struct sim_guard *guard = &node->guard;

    guard->is_lifting = false;
    if (holder_lifted(&guard->holder, node_clock(sim, node))) {
        guard->deadline_us = guard->holder.lease_end_us;
        guard->is_frozen = false;
        sim_count(sim, COUNT_LIFT);
        sim_trace(sim, node, "lease is back -> thaw");
        arm_timer(sim, node);
        tell(sim, node, GUARD_EVENT_LIFTED);
    }
    guard_news(sim, node);
    check_guests(sim);
}

static void acked(struct sim *sim, struct sim_node *node, const struct lease_ack *ack)
{
    struct sim_guard *guard = &node->guard;

    expire(sim, node); /* before anything else */
    switch (holder_ack(&guard->holder, ack, node_clock(sim, node))) {
    case HOLDER_IGNORED:
        break;
    case HOLDER_EXTENDED:
        guard->deadline_us = guard->holder.lease_end_us;
        arm_timer(sim, node);
        break;
    case HOLDER_LIFT:
        lift(sim, node, ack);
        break;
    }
}

/* A connection ends with the guard that it was made to, whether skeind has heard so or not. */
static bool is_reached(const struct sim_node *node)
{
    return node->is_connected && node->actors[ACTOR_GUARD].up &&
           node->connected_run == node->guard.run;
}

void guard_take_ack(struct sim *sim, struct sim_node *node, struct lease_ack *ack)
{
    struct event event = sim_event(EV_GUARD_ACK, node, ACTOR_GUARD);

    event.data = ack;
    event.dispose = free;
    if (!is_reached(node))
        event_dispose(&event);
    else
        sim_push(sim, event, sim_between(sim, 10, 200));
}

static void issue_stamp(struct sim *sim, struct sim_node *node, uint32_t core_run)
{
    struct event event = sim_event(EV_STAMP, node, ACTOR_CORE);
    struct stamp stamp;

    holder_issue(&node->guard.holder, node_clock(sim, node), &stamp);
    event.run = core_run;
    event.a = stamp.run;
    event.b = stamp.sequence;
    sim_push(sim, event, sim_between(sim, 20, 300));
}

void guard_want_stamp(struct sim *sim, struct sim_node *node)
{
    struct event event = sim_event(EV_GUARD_STAMP, node, ACTOR_GUARD);

    event.a = node->actors[ACTOR_CORE].run;
    if (!is_reached(node))
        return;
    if (actor_is_stalled(sim, node, ACTOR_GUARD) || node->guard.is_lifting)
        sim_push(sim, event, 10);
    else
        issue_stamp(sim, node, node->actors[ACTOR_CORE].run);
}

/* ---- work */

void guard_ask(struct sim *sim, struct sim_node *node, struct guard_request *request)
{
    struct event event = sim_event(EV_GUARD_ASK, node, ACTOR_GUARD);

    if (!is_reached(node)) {
        guard_reply(sim, node, node->actors[ACTOR_CORE].run, request, -ENOTCONN,
                    "the guard is not there", NULL);
        guard_request_free(request);
        return;
    }
    event.a = node->actors[ACTOR_CORE].run;
    event.data = request;
    event.dispose = guard_request_free;
    sim_push(sim, event, sim_between(sim, 20, 300));
}

static void asked(struct sim *sim, struct sim_node *node, struct event *event)
{
    struct guard_request *request = event->data;
    uint32_t core_run = (uint32_t)event->a;
    struct guard_reply reply;

    if (request->op == GUARD_LIST) {
        guard_reply_init(&reply);
        fill_list(node, &reply);
        guard_reply(sim, node, core_run, request, 0, "", &reply);
        return;
    }
    event->data = NULL;
    ops_begin(sim, node, request, core_run);
}

void guard_resumed(struct sim *sim, struct sim_node *node)
{
    expire(sim, node);
    check_guests(sim);
}

/* The lease thread is busy: later. */
static bool must_wait(struct sim *sim, struct sim_node *node, struct event *event)
{
    bool is_lease = event->kind == EV_GUARD_STAMP || event->kind == EV_GUARD_ACK;

    if (!is_lease || !node->guard.is_lifting)
        return false;
    sim_push(sim, *event, MS);
    event->data = NULL;
    return true;
}

void guard_handle(struct sim *sim, struct sim_node *node, struct event *event)
{
    if (must_wait(sim, node, event))
        return;
    switch ((enum event_kind)event->kind) {
    case EV_LEASE_TIMER:
        if (event->at != node->guard.timer_us && node->guard.timer_us > sim->now)
            break;
        node->guard.timer_us = 0;
        if (node_clock(sim, node) >= holder_freeze_at(&node->guard.holder) &&
            aims_at_lease_end(sim, node))
            break;
        expire(sim, node);
        arm_timer(sim, node);
        break;
    case EV_LIFTED:
        lifted(sim, node);
        break;
    case EV_GUARD_STAMP:
        issue_stamp(sim, node, (uint32_t)event->a);
        break;
    case EV_GUARD_ACK:
        acked(sim, node, event->data);
        break;
    case EV_GUARD_ASK:
        asked(sim, node, event);
        break;
    case EV_OP_DONE:
        ops_done(sim, node, (int)event->a, (uint32_t)event->b);
        break;
    default:
        abort();
    }
}

/* ---- life */

void guard_start(struct sim *sim, struct sim_node *node)
{
    struct sim_guard *guard = &node->guard;

    actor_start(&node->actors[ACTOR_GUARD]);
    guard->run++;
    guard->timer_us = 0;
    guard->is_lifting = false;
    guard->is_frozen = true; /* until the first lift */
    holder_init(&guard->holder, guard->boot_nonce, guard->run, DEFAULT_FREEZE_MS);
    sim_trace(sim, node, "guard starts, run %u", guard->run);
    ops_adopt(node);
    node_connect(sim, node);
}

static void gone(struct sim *sim, struct sim_node *node)
{
    for (int i = 0; i < SIM_GUESTS; i++)
        ops_abandon(&node->guard.copies[i]);
    actor_stop(&node->actors[ACTOR_GUARD]);
    move_break(sim, node);
}

void guard_crash(struct sim *sim, struct sim_node *node)
{
    if (!node->actors[ACTOR_GUARD].up)
        return;
    sim_trace(sim, node, "guard crashes");
    gone(sim, node);
    if (node->actors[ACTOR_CORE].up)
        sim_push(sim, sim_event(EV_GUARD_GONE, node, ACTOR_CORE), channel_delay(sim, node));
}

void guard_stop(struct sim *sim, struct sim_node *node)
{
    gone(sim, node);
    for (int i = 0; i < SIM_GUESTS; i++)
        ops_clear(&node->guard.copies[i]);
}

/* model_move: streams of migrations between two skeinds and their guards; see sim.h.
 *
 * The source's shell opens the stream and gives it to its guard with CAPTURE; the target's shell
 * waits for it with RECEIVE. When both guards are at it, it takes its time; then the target has all
 * and verified it, and its last word tells the source so. A cut of a link, an end that dies, or a
 * planned fault breaks it for both, or for the target while the source thinks that all is sent; a
 * fault at the last word breaks it for the source alone.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>

#include "migrate/saga.h"

enum { RECEIVE_LIMIT_US = 15000000 };

static struct sim_move *move_of(struct sim *sim, uint64_t id)
{
    for (size_t i = 0; i < sim->n_moves; i++) {
        if (sim->moves[i].id == id)
            return &sim->moves[i];
    }
    return NULL;
}

static uint64_t cuts_of(const struct sim *sim, const struct sim_move *move)
{
    return sim->links[move->from][move->to].n_cuts + sim->links[move->to][move->from].n_cuts;
}

static void forget(struct sim *sim, struct sim_move *move)
{
    if (move->waits != NULL)
        guard_request_free(move->waits);
    *move = sim->moves[--sim->n_moves];
}

void moves_free(struct sim *sim)
{
    while (sim->n_moves > 0)
        forget(sim, &sim->moves[0]);
}

static bool is_idle(const struct sim_move *move)
{
    return move->waits == NULL && !move->is_open && !move->captures && !move->receives;
}

static struct sim_move *move_made(struct sim *sim, uint64_t id, unsigned from, unsigned to,
                                  int guest)
{
    struct sim_move *move = move_of(sim, id);
    static const size_t limit = sizeof(sim->moves) / sizeof(sim->moves[0]);

    if (move != NULL)
        return move;
    for (size_t i = 0; sim->n_moves == limit && i < limit; i++) {
        if (is_idle(&sim->moves[i]))
            forget(sim, &sim->moves[i]);
    }
    if (sim->n_moves == limit)
        abort();
    move = &sim->moves[sim->n_moves++];
    *move = (struct sim_move){.id = id, .from = (uint8_t)from, .to = (uint8_t)to, .guest = guest};
    return move;
}

static void refuse(struct sim *sim, struct sim_node *node, struct guard_request *request, int code,
                   const char *text)
{
    guard_reply(sim, node, node->actors[ACTOR_CORE].run, request, code, text, NULL);
    guard_request_free(request);
}

static bool is_reachable(const struct sim *sim, unsigned a, unsigned b)
{
    return sim->nodes[a].actors[ACTOR_CORE].up && sim->nodes[b].actors[ACTOR_CORE].up &&
           !sim->links[a][b].is_cut && !sim->links[b][a].is_cut;
}

static void break_move(struct sim *sim, struct sim_move *move);

/* ---- the shells */

static void ask_capture(struct sim *sim, struct sim_node *node, struct guard_request *request,
                        struct sim_node *to)
{
    struct sim_move *move =
        move_made(sim, request->migration, node->at, to->at, sim_guest_of(request->copy.guest));
    struct event event = sim_event(EV_STREAM, to, ACTOR_CORE);

    if (!is_reachable(sim, node->at, to->at)) {
        refuse(sim, node, request, -EHOSTUNREACH, "the stream to the target cannot be had");
        return;
    }
    if (move->is_open) /* a guard that still is at the one before hears its end */
        break_move(sim, move);
    move->is_open = true;
    move->drops = false;
    move->token++;
    move->cuts = cuts_of(sim, move);
    event.a = move->id;
    sim_push(sim, event, sim_between(sim, MS, 20 * MS));
    guard_ask(sim, node, request);
}

static void ask_receive(struct sim *sim, struct sim_node *node, struct guard_request *request,
                        struct sim_node *from)
{
    struct sim_move *move =
        move_made(sim, request->migration, from->at, node->at, sim_guest_of(request->copy.guest));
    struct event event = sim_event(EV_STREAM_LIMIT, node, ACTOR_CORE);

    if (move->waits != NULL)
        guard_request_free(move->waits);
    move->waits = request;
    event.a = move->id;
    event.b = request->serial;
    sim_push(sim, event, RECEIVE_LIMIT_US);
    if (move->is_open) {
        event = sim_event(EV_STREAM, node, ACTOR_CORE);
        event.a = move->id;
        sim_push(sim, event, MS);
    }
}

void move_ask(struct sim *sim, struct sim_node *node, struct core_action *action)
{
    struct sim_node *other = sim_node_of(sim, action->to);

    if (other == NULL || other == node)
        refuse(sim, node, action->guard, -EINVAL, "no such peer");
    else if (action->guard->op == GUARD_CAPTURE)
        ask_capture(sim, node, action->guard, other);
    else
        ask_receive(sim, node, action->guard, other);
}

/* At the target: the source's stream is here. */
void move_stream(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct sim_move *move = move_of(sim, event->a);
    struct guard_request *request;

    if (move == NULL || !move->is_open || move->waits == NULL || move->to != node->at)
        return;
    request = move->waits;
    move->waits = NULL;
    guard_ask(sim, node, request);
}

void move_stream_limit(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct sim_move *move = move_of(sim, event->a);

    if (move == NULL || move->waits == NULL || move->waits->serial != event->b)
        return;
    refuse(sim, node, move->waits, -ETIMEDOUT, "the source's stream did not come");
    move->waits = NULL;
}

void move_end(struct sim *sim, struct sim_node *node, uint64_t migration)
{
    struct sim_move *move = move_of(sim, migration);

    if (move == NULL)
        return;
    if (move->waits != NULL && move->to == node->at) {
        refuse(sim, node, move->waits, -ECANCELED, "the migration is over");
        move->waits = NULL;
    } else if (move->is_open && !move->is_moving && move->to == node->at) {
        break_move(sim, move);
    }
}

/* ---- the guards */

static struct sim_copy *source(struct sim *sim, const struct sim_move *move)
{
    struct sim_copy *copy = &sim->nodes[move->from].guard.copies[move->guest];

    return move->captures && copy->op != NULL && copy->op->op == GUARD_CAPTURE &&
                   copy->op->migration == move->id
               ? copy
               : NULL;
}

static struct sim_copy *target(struct sim *sim, const struct sim_move *move)
{
    struct sim_copy *copy = &sim->nodes[move->to].guard.copies[move->guest];

    return move->receives && copy->op != NULL && copy->op->op == GUARD_RECEIVE &&
                   copy->op->migration == move->id
               ? copy
               : NULL;
}

static void captured(struct sim *sim, struct sim_move *move, bool is_whole)
{
    struct sim_node *node = &sim->nodes[move->from];
    struct sim_copy *copy = source(sim, move);
    struct guard_reply reply;

    move->captures = false;
    if (copy == NULL)
        return;
    guard_reply_init(&reply);
    reply.bytes = 1000000;
    reply.frozen_us = node_clock(sim, node);
    copy->is_unfrozen = false;
    if (!is_whole) {
        copy->state = GUEST_RUNNING;
        copy->frozen_by = 0;
        copy->migration = 0;
    } else {
        sim_trace(sim, node, "has handed over g%d", move->guest);
    }
    ops_finish(sim, node, move->guest, is_whole ? 0 : -EPIPE, is_whole ? "" : "the stream broke",
               is_whole ? &reply : NULL);
}

static void received(struct sim *sim, struct sim_move *move, bool is_whole)
{
    struct sim_node *node = &sim->nodes[move->to];
    struct sim_copy *copy = target(sim, move);

    move->receives = false;
    if (copy == NULL)
        return;
    if (is_whole) {
        copy->state = GUEST_RECEIVED;
        copy->life = sim->nodes[move->from].guard.copies[move->guest].life;
        sim_trace(sim, node, "has received g%d", move->guest);
    }
    ops_finish(sim, node, move->guest, is_whole ? 0 : -EPIPE, is_whole ? "" : "the stream broke",
               NULL);
}

/* Neither end's guard is stopped right now: a hung one answers when it goes on. */
static bool is_hung(const struct sim *sim, const struct sim_move *move)
{
    return actor_is_stalled(sim, &sim->nodes[move->from], ACTOR_GUARD) ||
           actor_is_stalled(sim, &sim->nodes[move->to], ACTOR_GUARD);
}

static void push_done(struct sim *sim, struct sim_move *move, uint64_t delay)
{
    struct event event = sim_event(EV_MOVE_DONE, NULL, ACTOR_NONE);

    event.a = move->id;
    event.b = move->token;
    sim_push(sim, event, delay);
}

void move_begin(struct sim *sim, struct sim_node *node, int guest)
{
    const struct guard_request *request = node->guard.copies[guest].op;
    struct sim_move *move = move_of(sim, request->migration);

    if (move == NULL || !move->is_open) {
        if (request->op == GUARD_CAPTURE) {
            struct sim_copy *copy = &node->guard.copies[guest];

            copy->state = GUEST_RUNNING;
            copy->frozen_by = 0;
            copy->migration = 0;
            copy->is_unfrozen = false;
        }
        ops_finish(sim, node, guest, -EPIPE, "the stream broke", NULL);
        return;
    }
    if (request->op == GUARD_CAPTURE)
        move->captures = true;
    else
        move->receives = true;
    if (move->captures && !move->receives) /* nobody takes it for ever */
        push_done(sim, move, 5000 * MS);
    aims_in_move(sim, sim->nodes[move->from].id, sim->nodes[move->to].id);
    if (!move->captures || !move->receives)
        return;
    move->is_moving = true;
    move->token++;
    push_done(sim, move,
              sim_chance(sim, 50) ? sim_between(sim, 500 * MS, 3000 * MS)
                                  : sim_between(sim, 15 * MS, 400 * MS));
}

static void break_move(struct sim *sim, struct sim_move *move)
{
    move->is_open = move->is_moving = false;
    move->token++;
    received(sim, move, false);
    captured(sim, move, false);
}

/* What the source wrote is in buffers of its kernel, so it is done. It learns that nothing of it
 * arrived, and the target learns the same by itself, but later. */
static void lose_end(struct sim *sim, struct sim_move *move)
{
    struct event event = sim_event(EV_STREAM_SILENT, &sim->nodes[move->from], ACTOR_CORE);

    sim_count(sim, COUNT_STREAM_SILENT);
    event.a = move->id;
    sim_push(sim, event, SAGA_PATIENCE_MS * MS);
    move->is_moving = false;
    move->token++;
    captured(sim, move, true);
    push_done(sim, move, 5000 * MS);
}

void move_done(struct sim *sim, const struct event *event)
{
    struct sim_move *move = move_of(sim, event->a);
    struct sim_copy *copy;
    bool is_unsure;

    if (move == NULL || move->token != event->b)
        return;
    if (move->is_moving && is_hung(sim, move)) {
        push_done(sim, move, 20 * MS);
        return;
    }
    if (!move->is_moving || cuts_of(sim, move) != move->cuts || move->drops) {
        if (move->is_moving)
            sim_count(sim, COUNT_STREAM_DROPPED);
        if (move->is_moving && sim_chance(sim, 500))
            lose_end(sim, move);
        else
            break_move(sim, move);
        return;
    }
    copy = source(sim, move);
    if (copy != NULL)
        copy->is_unfrozen = false;
    is_unsure = !sim->is_calm && sim_chance(sim, 30);
    if (is_unsure)
        sim_count(sim, COUNT_STREAM_UNSURE);
    move->is_open = move->is_moving = false;
    move->token++;
    received(sim, move, true);
    captured(sim, move, !is_unsure);
    aims_in_move(sim, sim->nodes[move->from].id, sim->nodes[move->to].id);
}

void move_break(struct sim *sim, const struct sim_node *node)
{
    for (size_t i = sim->n_moves; i-- > 0;) {
        struct sim_move *move = &sim->moves[i];

        if (move->from != node->at && move->to != node->at)
            continue;
        if (move->to == node->at && move->waits != NULL && !node->actors[ACTOR_CORE].up) {
            guard_request_free(move->waits);
            move->waits = NULL;
        }
        if (move->captures || move->receives || move->is_open) {
            if (move->is_moving)
                sim_count(sim, COUNT_STREAM_DROPPED);
            break_move(sim, move);
        }
    }
}

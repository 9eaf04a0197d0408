#include "tests/support/world_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct guard_report *world_guard_copy(struct world_guard *g, const char *name)
{
    for (uint32_t i = 0; i < g->n_guests; i++) {
        if (strcmp(g->guests[i].guest, name) == 0)
            return &g->guests[i];
    }
    return NULL;
}

const struct guard_report *world_copy(const struct world *w, unsigned node, const char *name)
{
    return world_guard_copy((struct world_guard *)&w->nodes[node].guard, name);
}

static struct guard_report *copy_made(struct world_guard *g, const char *name)
{
    struct guard_report *copy = world_guard_copy(g, name);

    if (copy != NULL)
        return copy;
    assert(g->n_guests < WORLD_MAX_GUESTS);
    copy = &g->guests[g->n_guests++];
    *copy = (struct guard_report){0};
    snprintf(copy->guest, sizeof(copy->guest), "%s", name);
    return copy;
}

static void copy_remove(struct world_guard *g, struct guard_report *copy)
{
    if (copy != NULL)
        *copy = g->guests[--g->n_guests];
}

static bool is_alive(const struct guard_report *copy)
{
    return copy->state == GUEST_RUNNING || copy->state == GUEST_FROZEN;
}

void world_guard_refreeze(struct guard_report *copy)
{
    if (is_alive(copy))
        copy->state = copy->frozen_by != 0 ? GUEST_FROZEN : GUEST_RUNNING;
}

void world_guard_set_lapsed(struct world *w, unsigned i, bool lapsed)
{
    struct world_guard *g = &w->nodes[i].guard;
    struct core_event lease = {.type = CORE_GUARD_LEASE, .lapsed = lapsed};
    struct core_event list = {.type = CORE_GUARD_LIST};

    for (uint32_t k = 0; k < g->n_guests; k++) {
        struct guard_report *copy = &g->guests[k];

        copy->frozen_by = (uint8_t)(lapsed ? copy->frozen_by | FROZEN_BY_LEASE
                                           : copy->frozen_by & ~FROZEN_BY_LEASE);
        world_guard_refreeze(copy);
    }
    world_step(w, i, &lease);
    list.n_reports = g->n_guests;
    list.reports = g->guests;
    world_step(w, i, &list);
}

static bool is_listed(const struct lease_ack *ack, const struct guard_report *copy)
{
    for (uint32_t i = 0; i < ack->n_copies; i++) {
        uint64_t epoch = copy->epoch != 0 ? copy->epoch : copy->migration;

        if (strcmp(ack->copies[i].guest, copy->guest) == 0 && ack->copies[i].epoch == epoch)
            return true;
    }
    return false;
}

void world_guard_ack(struct world *w, unsigned i, const struct lease_ack *ack)
{
    struct world_guard *g = &w->nodes[i].guard;

    if (!g->up || holder_ack(&g->holder, ack, w->now) != HOLDER_LIFT)
        return;
    for (uint32_t k = g->n_guests; k-- > 0;) {
        if (!is_listed(ack, &g->guests[k]))
            copy_remove(g, &g->guests[k]);
    }
    if (holder_lifted(&g->holder, w->now))
        world_guard_set_lapsed(w, i, false);
}

uint64_t world_guard_work_us(const struct guard_request *request)
{
    switch (request->op) {
    case GUARD_START:
    case GUARD_RESTORE:
    case GUARD_PREPARE:
    case GUARD_ACTIVATE:
        return WORLD_START_US;
    case GUARD_CHECKPOINT:
        return WORLD_FREEZE_US;
    case GUARD_SEND:
        return WORLD_COPY_US;
    case GUARD_CAPTURE:
        return WORLD_COPY_US;
    case GUARD_CHECK:
        return WORLD_CHECK_US;
    case GUARD_AWAIT:
        return WORLD_MEMORY_US;
    case GUARD_RECEIVE:
        return 1000; /* looked at again until the stream is here */
    default:
        return 100;
    }
}

static int do_start(struct world *w, struct world_guard *g, const struct guard_request *request)
{
    int code = holder_may_start(&g->holder, request->index, w->now);
    struct guard_report *copy = world_guard_copy(g, request->copy.guest);

    if (code < 0)
        return code;
    if (copy != NULL && copy->state != GUEST_EXITED)
        return -EEXIST;
    copy = copy_made(g, request->run.spec.name);
    copy->n_starts = copy->epoch == request->run.epoch ? copy->n_starts + 1 : 1;
    copy->epoch = request->run.epoch;
    copy->state = GUEST_RUNNING;
    copy->pid = 100 + 1000 * copy->n_starts + (uint32_t)request->run.epoch;
    return 0;
}

static int do_prepare(struct world_guard *g, const struct guard_request *request)
{
    struct guard_report *copy = world_guard_copy(g, request->run.spec.name);

    if (copy != NULL)
        return -EEXIST;
    copy = copy_made(g, request->run.spec.name);
    copy->migration = request->migration;
    copy->state = GUEST_PREPARED;
    return 0;
}

static int do_capture(struct world *w, struct world_guard *g, const struct guard_request *request,
                      struct guard_reply *reply)
{
    struct guard_report *copy = world_guard_copy(g, request->copy.guest);
    const struct room_need brings = {.files_bytes = 300 << 20};
    struct err err;

    if (copy == NULL || copy->state != GUEST_RUNNING)
        return -EBUSY;
    if (room_check(&request->wish.room, &brings, request->wish.target, &err) < 0) {
        snprintf(reply->text, sizeof(reply->text), "%s", err.text);
        return err.code;
    }
    copy->state = GUEST_HANDED_OVER;
    copy->frozen_by |= FROZEN_BY_MIGRATION;
    copy->migration = request->migration;
    reply->bytes = 4096;
    reply->mode = w->mode != 0 ? w->mode : MOVE_STOP;
    reply->frozen_us = w->now - WORLD_COPY_US / 2;
    return 0;
}

static bool stream_is_here(const struct world *w, uint64_t migration)
{
    for (unsigned i = 1; i <= w->n; i++) {
        for (uint32_t k = 0; w->nodes[i].up && k < w->nodes[i].guard.n_guests; k++) {
            const struct guard_report *copy = &w->nodes[i].guard.guests[k];

            if (copy->migration == migration && copy->state == GUEST_HANDED_OVER)
                return true;
        }
    }
    return false;
}

/* Its memory is where its source's copy is. */
static int do_await(const struct world *w, const struct guard_request *request,
                    struct guard_report *copy)
{
    if (copy == NULL || copy->state != GUEST_RUNNING)
        return -ENOENT;
    if (copy->n_starts > 1 || stream_is_here(w, request->migration))
        return 0;
    copy->state = GUEST_EXITED;
    copy->exit_status = 137;
    copy->pid = 0;
    return -EREMOTEIO;
}

static int do_activate(struct world *w, struct world_guard *g, const struct guard_request *request)
{
    int code = holder_may_start(&g->holder, request->index, w->now);
    struct guard_report *copy = world_guard_copy(g, request->copy.guest);

    if (code < 0)
        return code;
    if (copy == NULL || copy->state != GUEST_RECEIVED)
        return -ENOENT;
    copy->state = GUEST_RUNNING;
    copy->epoch = request->copy.epoch;
    copy->migration = 0;
    copy->n_starts = 1;
    return 0;
}

static int do_work(struct world *w, unsigned i, const struct guard_request *request,
                   struct guard_reply *reply)
{
    struct world_guard *g = &w->nodes[i].guard;
    struct guard_report *copy = world_guard_copy(g, request->copy.guest);

    switch (request->op) {
    case GUARD_START:
        return do_start(w, g, request);
    case GUARD_STOP:
        copy_remove(g, copy);
        return 0;
    case GUARD_CHECK:
        w->n_checks++;
        return copy != NULL && copy->state == GUEST_RUNNING ? w->check_code : -ENOENT;
    case GUARD_FAIL:
        if (copy == NULL || copy->state != GUEST_RUNNING)
            return -EAGAIN;
        copy->state = GUEST_EXITED;
        copy->exit_status = 143;
        copy->pid = 0;
        return 0;
    case GUARD_CHECKPOINT:
        if (copy == NULL || copy->state != GUEST_RUNNING)
            return -EAGAIN;
        reply->handed_over_us = w->now;
        reply->frozen_us = w->now - WORLD_FREEZE_US;
        reply->mode = w->tracks && request->since_us != 0 ? MOVE_PRE : MOVE_STOP;
        w->since_us = request->since_us;
        return 0;
    case GUARD_SEND:
        w->n_checkpoints++;
        w->since = request->digest[0];
        reply->bytes = 1000;
        return 0;
    case GUARD_RESTORE:
        w->restored = request->digest[0];
        return do_start(w, g, request);
    case GUARD_PREPARE:
        reply->room = (struct node_room){.is_known = true,
                                         .files_bytes = (i == w->full_node ? 120 : 1000) << 20};
        return do_prepare(g, request);
    case GUARD_CAPTURE:
        return do_capture(w, g, request, reply);
    case GUARD_RECEIVE:
        if (copy == NULL || copy->state != GUEST_PREPARED)
            return -ENOENT;
        copy->state = GUEST_RECEIVED;
        return 0;
    case GUARD_ACTIVATE:
        return do_activate(w, g, request);
    case GUARD_AWAIT:
        return do_await(w, request, copy);
    case GUARD_PROGRESS: /* as far as time is */
        reply->progress = (struct move_progress){w->rounds, false, w->now / 1000, 1u << 30, 500};
        return copy != NULL && (copy->state == GUEST_HANDED_OVER || w->rounds > 0) ? 0 : -ENOENT;
    case GUARD_RESUME:
        if (copy == NULL)
            return -ENOENT;
        copy->state = GUEST_RUNNING;
        copy->frozen_by &= (uint8_t)~FROZEN_BY_MIGRATION;
        copy->migration = 0;
        world_guard_refreeze(copy);
        return 0;
    case GUARD_DISCARD:
        copy_remove(g, copy);
        return 0;
    default:
        return 0;
    }
}

/* Amid the stream. */
static bool meets_full_disk(const struct world *w)
{
    return w->fail_op == GUARD_RECEIVE && w->fail_code == -ENOSPC;
}

void world_guard_reply(struct world *w, struct world_pending *p)
{
    struct guard_reply reply;
    struct core_event done = {.type = CORE_GUARD_DONE, .serial = p->serial, .reply = &reply};
    struct core_event list = {.type = CORE_GUARD_LIST};
    struct world_guard *g = &w->nodes[p->to].guard;

    if (p->request->op == GUARD_RECEIVE && !p->is_ended && !meets_full_disk(w) &&
        (w->loses_streams || !stream_is_here(w, p->request->migration)) &&
        world_guard_copy(g, p->request->copy.guest) != NULL) {
        struct world_pending *again = world_later(w, PENDING_REPLY, p->to, 1000);

        again->serial = p->serial;
        again->request = p->request;
        p->request = NULL;
        return;
    }
    guard_reply_init(&reply);
    reply.serial = p->serial;
    reply.op = p->request->op;
    if (w->fail_op == p->request->op && w->fail_code != 0) {
        reply.code = w->fail_code;
        w->fail_code = 0;
    } else if (p->is_ended) {
        reply.code = -ECANCELED;
    } else {
        reply.code = do_work(w, p->to, p->request, &reply);
    }
    done.digest[0] = w->n_checkpoints; /* SEND's, as are … */
    done.may_continue = !w->is_full;
    done.sent = w->since == 0 ? reply.bytes : 10;
    if (reply.code < 0 && reply.text[0] == '\0')
        snprintf(reply.text, sizeof(reply.text), "made to fail (%s)", strerror(-reply.code));
    reply.n_reports = p->request->op == GUARD_LIST ? g->n_guests : 0;
    reply.reports = g->guests;
    list.n_reports = g->n_guests;
    list.reports = g->guests;
    if (p->request->op != GUARD_LIST)
        world_step(w, p->to, &list);
    world_step(w, p->to, &done);
}

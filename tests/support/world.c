#include "tests/support/world_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- small tools */

static unsigned number_of(const struct world *w, uint64_t id)
{
    for (unsigned i = 1; i <= w->n; i++) {
        if (w->nodes[i].id == id)
            return i;
    }
    return 0;
}

struct world_pending *world_later(struct world *w, enum pending_type type, unsigned to,
                                  uint64_t delay_us)
{
    struct world_pending *p;

    w->pending = realloc(w->pending, (w->n_pending + 1) * sizeof(*w->pending));
    assert(w->pending != NULL);
    p = &w->pending[w->n_pending++];
    *p = (struct world_pending){
        .type = type, .to = to, .at_us = w->now + delay_us, .boot = w->nodes[to].n_boots};
    return p;
}

void world_pending_deinit(struct world_pending *p)
{
    free(p->data);
    if (p->request != NULL)
        guard_request_deinit(p->request);
    free(p->request);
}

static void note(struct world *w, unsigned node, const struct core_record *record)
{
    size_t used = strlen(w->records);

    if (node == w->leader || record->index == 0)
        snprintf(w->records + used, sizeof(w->records) - used, "[%4llu] n%u %s %s: %s\n",
                 (unsigned long long)(w->now / 1000), node, record->what, record->guest,
                 record->text);
}

/* ---- the log */

static bool has_majority(const struct world *w)
{
    unsigned reached = 1;

    for (unsigned i = 1; i <= w->n; i++)
        reached +=
            i != w->leader && w->nodes[i].up && !w->cut[w->leader][i] && !w->cut[i][w->leader];
    return w->leader != 0 && w->nodes[w->leader].up && reached > w->n / 2;
}

static void propose(struct world *w, unsigned i, struct core_action *action)
{
    struct core_event failed = {.type = CORE_PROPOSE_FAILED, .code = -ENOTCONN};
    struct world_entry *entry;

    if (i != w->leader) {
        memcpy(failed.request, action->request, NONCE_SIZE);
        world_step(w, i, &failed);
        return;
    }
    if (!has_majority(w))
        return; /* waits for ever: the core must notice by itself */
    w->entries = realloc(w->entries, (w->n_entries + 1) * sizeof(*w->entries));
    assert(w->entries != NULL);
    entry = &w->entries[w->n_entries];
    *entry = (struct world_entry){.index = w->first_index + w->n_entries,
                                  .term = w->term,
                                  .at_us = w->now + WORLD_COMMIT_US,
                                  .data = action->data,
                                  .size = action->size};
    action->data = NULL;
    w->n_entries++;
}

bool world_sees_log(const struct world *w, unsigned i)
{
    return w->nodes[i].up && w->leader != 0 &&
           (i == w->leader || (!w->cut[w->leader][i] && !w->cut[i][w->leader]));
}

static bool deliver_entries(struct world *w)
{
    bool any = false;

    for (unsigned i = 1; i <= w->n; i++) {
        struct world_node *node = &w->nodes[i];

        while (world_sees_log(w, i) && node->applied < w->n_entries &&
               w->entries[node->applied].at_us <= w->now) {
            const struct world_entry *entry = &w->entries[node->applied++];
            struct core_event event = {.type = CORE_COMMITTED,
                                       .index = entry->index,
                                       .term = entry->term,
                                       .data = entry->data,
                                       .size = entry->size};

            any = true;
            world_step(w, i, &event);
        }
    }
    return any;
}

/* ---- carrying out actions */

static void send(struct world *w, unsigned from, struct core_action *action)
{
    unsigned to = number_of(w, action->to);
    struct world_pending *p;

    if (to == 0 || w->cut[from][to])
        return;
    p = world_later(w, PENDING_MESSAGE, to, WORLD_DELAY_US);
    p->from = from;
    p->data = action->data;
    p->size = action->size;
    action->data = NULL;
}

static void ask_guard(struct world *w, unsigned i, struct core_action *action)
{
    enum guard_op op = action->guard->op;
    bool is_whole = action->guard->digest[0] == 0;
    uint64_t us = op == GUARD_SEND && is_whole ? w->send_us : op == GUARD_CAPTURE ? w->copy_us : 0;
    struct world_pending *p;

    p = world_later(w, PENDING_REPLY, i, us != 0 ? us : world_guard_work_us(action->guard));
    if (action->guard->op == GUARD_CAPTURE) {
        w->patience_ms = action->patience_ms;
        w->manner = action->manner;
    }
    p->request = action->guard;
    p->serial = action->guard->serial;
    action->guard = NULL;
}

static void end_stream(struct world *w, unsigned i, uint64_t migration)
{
    for (size_t k = 0; k < w->n_pending; k++) {
        struct world_pending *p = &w->pending[k];

        if (p->type == PENDING_REPLY && p->to == i && p->request->op == GUARD_RECEIVE &&
            p->request->migration == migration)
            p->is_ended = true;
    }
}

static void carry_out(struct world *w, unsigned i, struct core_action *action)
{
    switch (action->type) {
    case CORE_SEND:
        send(w, i, action);
        break;
    case CORE_PROPOSE:
        propose(w, i, action);
        break;
    case CORE_WANT_STAMP:
        w->nodes[i].stamps++;
        world_later(w, PENDING_STAMP, i, 50);
        break;
    case CORE_ACK_GUARD:
        world_guard_ack(w, i, action->ack);
        break;
    case CORE_ASK_GUARD:
        ask_guard(w, i, action);
        break;
    case CORE_MEMBERSHIP:
        w->n_promoted += action->member_op == MEMBER_ASSIGN && action->role == ROLE_VOTER;
        if (action->member_op == MEMBER_TRANSFER)
            w->successor = number_of(w, action->node);
        else
            world_later(w, PENDING_MEMBERSHIP, i, WORLD_COMMIT_US)->serial = action->serial;
        break;
    case CORE_STOP:
        w->n_stopped++;
        break;
    case CORE_RESPOND:
        w->has_answer = true;
        w->answer = *action->answer;
        w->answered_us = w->now;
        break;
    case CORE_PROGRESS:
        w->n_progress++;
        w->progress = *action->answer;
        break;
    case CORE_EVENT:
        note(w, i, action->record);
        break;
    case CORE_FETCH_IMAGE: {
        struct core_event held = {.type = CORE_IMAGE_HELD};

        memcpy(held.digest, action->digest, DIGEST_SIZE);
        world_step(w, i, &held);
        break;
    }
    case CORE_END_STREAM:
        end_stream(w, i, action->migration);
        break;
    case CORE_SET_STREAM:
        w->n_calmed += action->manner == PACE_AWAITED;
        break;
    default:
        break;
    }
}

void world_step(struct world *w, unsigned i, struct core_event *event)
{
    struct core_actions actions = {0};

    if (!w->nodes[i].up || w->nodes[i].core == NULL)
        return;
    event->wall_s = 1000 + w->now / 1000000;
    core_step(w->nodes[i].core, event, w->now, &actions);
    for (size_t k = 0; k < actions.n; k++)
        carry_out(w, i, &actions.list[k]);
    core_actions_deinit(&actions);
}

/* ---- time */

static void deliver(struct world *w, struct world_pending *p)
{
    struct world_node *node = &w->nodes[p->to];
    struct core_event event = {0};

    if (!node->up || p->boot != node->n_boots)
        return;
    switch (p->type) {
    case PENDING_MESSAGE:
        event.type = CORE_PEER_MESSAGE;
        event.from = w->nodes[p->from].id;
        event.data = p->data;
        event.size = p->size;
        world_step(w, p->to, &event);
        break;
    case PENDING_REPLY:
        world_guard_reply(w, p);
        break;
    case PENDING_STAMP:
        if (!node->guard.up)
            return;
        event.type = CORE_STAMP;
        holder_issue(&node->guard.holder, w->now, &event.stamp);
        event.published_term = node->published_term;
        world_step(w, p->to, &event);
        break;
    case PENDING_MEMBERSHIP:
        event.type = CORE_MEMBERSHIP_DONE;
        event.serial = p->serial;
        world_step(w, p->to, &event);
        break;
    }
}

/* The pending thing that is due first; n_pending = none. */
static size_t first_pending(const struct world *w)
{
    size_t first = w->n_pending;

    for (size_t i = 0; i < w->n_pending; i++) {
        if (first == w->n_pending || w->pending[i].at_us < w->pending[first].at_us)
            first = i;
    }
    return first;
}

static uint64_t next_time(const struct world *w)
{
    size_t first = first_pending(w);
    uint64_t next = first < w->n_pending ? w->pending[first].at_us : UINT64_MAX;

    for (unsigned i = 1; i <= w->n; i++) {
        const struct world_node *node = &w->nodes[i];
        uint64_t at;

        if (!node->up)
            continue;
        at = core_next_deadline(node->core);
        next = at < next ? at : next;
        at = node->guard.up ? holder_freeze_at(&node->guard.holder) : UINT64_MAX;
        next = at < next ? at : next;
        if (world_sees_log(w, i) && node->applied < w->n_entries &&
            w->entries[node->applied].at_us < next)
            next = w->entries[node->applied].at_us;
    }
    return next < w->now ? w->now : next;
}

static void tick(struct world *w)
{
    size_t first = first_pending(w);

    if (first < w->n_pending && w->pending[first].at_us <= w->now) {
        struct world_pending p = w->pending[first];

        memmove(&w->pending[first], &w->pending[first + 1], (w->n_pending - first - 1) * sizeof(p));
        w->n_pending--;
        deliver(w, &p);
        world_pending_deinit(&p);
        return;
    }
    if (deliver_entries(w))
        return;
    for (unsigned i = 1; i <= w->n; i++) {
        struct core_event event = {.type = CORE_TICK};
        struct world_node *node = &w->nodes[i];

        if (!node->up)
            continue;
        if (node->guard.up && holder_expire(&node->guard.holder, w->now))
            world_guard_set_lapsed(w, i, true);
        if (core_next_deadline(node->core) <= w->now)
            world_step(w, i, &event);
    }
}

void world_run(struct world *w, uint64_t ms)
{
    uint64_t until = w->now + ms * 1000;
    uint64_t steps = 0;

    for (;;) {
        uint64_t next = next_time(w);

        if (next > until)
            break;
        steps = next == w->now ? steps + 1 : 0;
        assert(steps < 100000 && "the world does not get on");
        w->now = next;
        tick(w);
    }
    w->now = until;
}

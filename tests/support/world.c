#include "tests/support/world.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world_entry {
    uint64_t index, term, at_us;
    uint8_t *data;
    size_t size;
};

enum pending_type { PENDING_MESSAGE = 1, PENDING_REPLY, PENDING_STAMP, PENDING_MEMBERSHIP };

struct world_pending {
    enum pending_type type;
    uint64_t at_us;
    unsigned from, to;
    uint32_t boot; /* of `to`: what is for an earlier one is lost */
    uint32_t serial;
    uint8_t *data;
    size_t size;
    struct guard_request *request;
    bool is_ended; /* RECEIVE: nobody waits for the stream any more */
};

static void step(struct world *w, unsigned i, struct core_event *event);

/* ---- small tools */

static unsigned number_of(const struct world *w, uint64_t id)
{
    for (unsigned i = 1; i <= w->n; i++) {
        if (w->nodes[i].id == id)
            return i;
    }
    return 0;
}

static struct world_pending *later(struct world *w, enum pending_type type, unsigned to,
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

static void pending_deinit(struct world_pending *p)
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

/* ---- the fake guard */

static struct guard_report *copy_of(struct world_guard *g, const char *name)
{
    for (uint32_t i = 0; i < g->n_guests; i++) {
        if (strcmp(g->guests[i].guest, name) == 0)
            return &g->guests[i];
    }
    return NULL;
}

const struct guard_report *world_copy(const struct world *w, unsigned node, const char *name)
{
    return copy_of((struct world_guard *)&w->nodes[node].guard, name);
}

static struct guard_report *copy_made(struct world_guard *g, const char *name)
{
    struct guard_report *copy = copy_of(g, name);

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

static void refreeze(struct guard_report *copy)
{
    if (is_alive(copy))
        copy->state = copy->frozen_by != 0 ? GUEST_FROZEN : GUEST_RUNNING;
}

static void set_lapsed(struct world *w, unsigned i, bool lapsed)
{
    struct world_guard *g = &w->nodes[i].guard;
    struct core_event lease = {.type = CORE_GUARD_LEASE, .lapsed = lapsed};
    struct core_event list = {.type = CORE_GUARD_LIST};

    for (uint32_t k = 0; k < g->n_guests; k++) {
        struct guard_report *copy = &g->guests[k];

        copy->frozen_by = (uint8_t)(lapsed ? copy->frozen_by | FROZEN_BY_LEASE
                                           : copy->frozen_by & ~FROZEN_BY_LEASE);
        refreeze(copy);
    }
    step(w, i, &lease);
    list.n_reports = g->n_guests;
    list.reports = g->guests;
    step(w, i, &list);
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

static void take_ack(struct world *w, unsigned i, const struct lease_ack *ack)
{
    struct world_guard *g = &w->nodes[i].guard;

    if (!g->up || holder_ack(&g->holder, ack, w->now) != HOLDER_LIFT)
        return;
    for (uint32_t k = g->n_guests; k-- > 0;) {
        if (!is_listed(ack, &g->guests[k]))
            copy_remove(g, &g->guests[k]);
    }
    if (holder_lifted(&g->holder, w->now))
        set_lapsed(w, i, false);
}

static uint64_t work_us(const struct guard_request *request)
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
    struct guard_report *copy = copy_of(g, request->copy.guest);

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
    struct guard_report *copy = copy_of(g, request->run.spec.name);

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
    struct guard_report *copy = copy_of(g, request->copy.guest);

    if (copy == NULL || copy->state != GUEST_RUNNING)
        return -EBUSY;
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
    struct guard_report *copy = copy_of(g, request->copy.guest);

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
    struct guard_report *copy = copy_of(g, request->copy.guest);

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
        return 0;
    case GUARD_SEND:
        w->n_checkpoints++;
        reply->bytes = 1000;
        return 0;
    case GUARD_RESTORE:
        w->restored = request->digest[0];
        return do_start(w, g, request);
    case GUARD_PREPARE:
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
        reply->progress = (struct move_progress){0, w->now / 1000, 1u << 30};
        return copy != NULL && copy->state == GUEST_HANDED_OVER ? 0 : -ENOENT;
    case GUARD_RESUME:
        if (copy == NULL)
            return -ENOENT;
        copy->state = GUEST_RUNNING;
        copy->frozen_by &= (uint8_t)~FROZEN_BY_MIGRATION;
        copy->migration = 0;
        refreeze(copy);
        return 0;
    case GUARD_DISCARD:
        copy_remove(g, copy);
        return 0;
    default:
        return 0;
    }
}

static void reply_to(struct world *w, struct world_pending *p)
{
    struct guard_reply reply;
    struct core_event done = {.type = CORE_GUARD_DONE, .serial = p->serial, .reply = &reply};
    struct core_event list = {.type = CORE_GUARD_LIST};
    struct world_guard *g = &w->nodes[p->to].guard;

    if (p->request->op == GUARD_RECEIVE && !p->is_ended &&
        !stream_is_here(w, p->request->migration) && copy_of(g, p->request->copy.guest) != NULL) {
        struct world_pending *again = later(w, PENDING_REPLY, p->to, 1000);

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
    done.digest[0] = w->n_checkpoints; /* SEND's */
    if (reply.code < 0)
        snprintf(reply.text, sizeof(reply.text), "made to fail (%s)", strerror(-reply.code));
    reply.n_reports = p->request->op == GUARD_LIST ? g->n_guests : 0;
    reply.reports = g->guests;
    list.n_reports = g->n_guests;
    list.reports = g->guests;
    if (p->request->op != GUARD_LIST)
        step(w, p->to, &list);
    step(w, p->to, &done);
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
        step(w, i, &failed);
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

static bool sees_log(const struct world *w, unsigned i)
{
    return w->nodes[i].up && w->leader != 0 &&
           (i == w->leader || (!w->cut[w->leader][i] && !w->cut[i][w->leader]));
}

static bool deliver_entries(struct world *w)
{
    bool any = false;

    for (unsigned i = 1; i <= w->n; i++) {
        struct world_node *node = &w->nodes[i];

        while (sees_log(w, i) && node->applied < w->n_entries &&
               w->entries[node->applied].at_us <= w->now) {
            const struct world_entry *entry = &w->entries[node->applied++];
            struct core_event event = {.type = CORE_COMMITTED,
                                       .index = entry->index,
                                       .term = entry->term,
                                       .data = entry->data,
                                       .size = entry->size};

            any = true;
            step(w, i, &event);
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
    p = later(w, PENDING_MESSAGE, to, WORLD_DELAY_US);
    p->from = from;
    p->data = action->data;
    p->size = action->size;
    action->data = NULL;
}

static void ask_guard(struct world *w, unsigned i, struct core_action *action)
{
    struct world_pending *p;

    p = later(w, PENDING_REPLY, i,
              action->guard->op == GUARD_SEND && w->send_us != 0 ? w->send_us
                                                                 : work_us(action->guard));
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
        later(w, PENDING_STAMP, i, 50);
        break;
    case CORE_ACK_GUARD:
        take_ack(w, i, action->ack);
        break;
    case CORE_ASK_GUARD:
        ask_guard(w, i, action);
        break;
    case CORE_MEMBERSHIP:
        w->n_promoted += action->member_op == MEMBER_ASSIGN && action->role == ROLE_VOTER;
        if (action->member_op == MEMBER_TRANSFER)
            w->successor = number_of(w, action->node);
        else
            later(w, PENDING_MEMBERSHIP, i, WORLD_COMMIT_US)->serial = action->serial;
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
        step(w, i, &held);
        break;
    }
    case CORE_END_STREAM:
        end_stream(w, i, action->migration);
        break;
    default:
        break;
    }
}

static void step(struct world *w, unsigned i, struct core_event *event)
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
        step(w, p->to, &event);
        break;
    case PENDING_REPLY:
        reply_to(w, p);
        break;
    case PENDING_STAMP:
        if (!node->guard.up)
            return;
        event.type = CORE_STAMP;
        holder_issue(&node->guard.holder, w->now, &event.stamp);
        event.published_term = node->published_term;
        step(w, p->to, &event);
        break;
    case PENDING_MEMBERSHIP:
        event.type = CORE_MEMBERSHIP_DONE;
        event.serial = p->serial;
        step(w, p->to, &event);
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
        if (sees_log(w, i) && node->applied < w->n_entries &&
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
        pending_deinit(&p);
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
            set_lapsed(w, i, true);
        if (core_next_deadline(node->core) <= w->now)
            step(w, i, &event);
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

/* ---- life */

static void new_core(struct world *w, unsigned i)
{
    struct world_node *node = &w->nodes[i];
    struct core_config config = {
        .id = node->id, .max_voters = w->max_voters, .stream_delay_ms = 25};
    struct core_event restored = {.type = CORE_RESTORED,
                                  .index = w->snapshot_index,
                                  .term = 1,
                                  .data = w->snapshot,
                                  .size = w->snapshot_size};
    struct core_event held = {.type = CORE_IMAGE_HELD, .digest = {1}};
    struct core_event hello = {.type = CORE_GUARD_HELLO};
    int code;

    config.timers = *timers_of_profile("default");
    config.salt[0] = (uint8_t)i;
    config.salt[1] = (uint8_t)++node->n_boots;
    cluster_facts(i, 4, &config.facts);
    code = core_new(&config, &node->core, NULL);
    assert(code == 0);
    (void)code;
    node_facts_deinit(&config.facts);
    node->applied = 0;
    step(w, i, &restored);
    step(w, i, &held);
    memcpy(hello.hello.boot_nonce, node->guard.holder.boot_nonce, NONCE_SIZE);
    hello.hello.run = node->guard.holder.run;
    hello.hello.lapsed = node->guard.holder.lapsed;
    step(w, i, &hello);
}

static void new_guard(struct world *w, unsigned i)
{
    struct world_node *node = &w->nodes[i];
    uint8_t nonce[NONCE_SIZE] = {(uint8_t)i, (uint8_t)(node->n_boots + 1)};

    node->guard = (struct world_guard){.up = true};
    holder_init(&node->guard.holder, nonce, 1, 20);
}

static void tell_role(struct world *w, unsigned i)
{
    struct core_event role = {.type = CORE_ROLE,
                              .is_leader = i == w->leader,
                              .term = w->term,
                              .leader = w->leader != 0 ? w->nodes[w->leader].id : 0};

    if (!w->nodes[i].up || (w->leader != 0 && !sees_log(w, i)))
        return;
    w->nodes[i].published_term = w->term;
    step(w, i, &role);
}

void world_lead(struct world *w, unsigned i)
{
    w->leader = i;
    w->term++;
    for (unsigned k = 1; k <= w->n; k++)
        tell_role(w, k);
}

void world_init(struct world *w, unsigned n)
{
    struct cluster c;
    struct writer snapshot;

    *w = (struct world){.n = n, .term = 1, .now = 1000000, .max_voters = 5};
    cluster_form(&c, n);
    for (unsigned i = 1; i <= n; i++) {
        struct command role = {.type = COMMAND_NODE_SET_ROLE};
        char name[NAME_SIZE];

        snprintf(name, sizeof(name), "n%u", i);
        w->nodes[i].id = cluster_node(&c, name);
        role.node_set_role.node = w->nodes[i].id;
        role.node_set_role.role = ROLE_VOTER;
        cluster_apply(&c, &role);
    }
    writer_init_growing(&snapshot, SNAPSHOT_MAX_SIZE);
    state_snapshot(&c.state, &snapshot);
    w->snapshot = writer_steal(&snapshot, &w->snapshot_size);
    w->snapshot_index = c.state.index;
    w->first_index = c.state.index + 1;
    cluster_deinit(&c);
    for (unsigned i = 1; i <= n; i++) {
        w->nodes[i].up = true;
        new_guard(w, i);
        new_core(w, i);
    }
    world_lead(w, 1);
}

void world_deinit(struct world *w)
{
    for (unsigned i = 1; i <= w->n; i++)
        core_free(w->nodes[i].core);
    for (size_t i = 0; i < w->n_pending; i++)
        pending_deinit(&w->pending[i]);
    for (size_t i = 0; i < w->n_entries; i++)
        free(w->entries[i].data);
    free(w->pending);
    free(w->entries);
    free(w->snapshot);
}

void world_kill(struct world *w, unsigned i)
{
    w->nodes[i].up = false;
    core_free(w->nodes[i].core);
    w->nodes[i].core = NULL;
    w->nodes[i].guard = (struct world_guard){0};
}

void world_boot(struct world *w, unsigned i)
{
    w->nodes[i].up = true;
    new_guard(w, i);
    new_core(w, i);
    tell_role(w, i);
}

void world_restart_skeind(struct world *w, unsigned i)
{
    core_free(w->nodes[i].core);
    w->nodes[i].core = NULL;
    new_core(w, i);
    tell_role(w, i);
}

void world_restart_guard(struct world *w, unsigned i)
{
    struct world_guard *g = &w->nodes[i].guard;
    struct core_event lost = {.type = CORE_GUARD_LOST};
    struct core_event hello = {.type = CORE_GUARD_HELLO};
    uint8_t nonce[NONCE_SIZE];

    memcpy(nonce, g->holder.boot_nonce, NONCE_SIZE);
    holder_init(&g->holder, nonce, g->holder.run + 1, 20);
    for (size_t k = w->n_pending; k-- > 0;) { /* what the old one was at is lost */
        if (w->pending[k].to != i || w->pending[k].type != PENDING_REPLY)
            continue;
        pending_deinit(&w->pending[k]);
        memmove(&w->pending[k], &w->pending[k + 1], (--w->n_pending - k) * sizeof(*w->pending));
    }
    for (uint32_t k = 0; k < g->n_guests; k++) {
        g->guests[k].frozen_by |= FROZEN_BY_LEASE;
        refreeze(&g->guests[k]);
    }
    step(w, i, &lost);
    memcpy(hello.hello.boot_nonce, nonce, NONCE_SIZE);
    hello.hello.run = g->holder.run;
    hello.hello.lapsed = true;
    step(w, i, &hello);
}

void world_isolate(struct world *w, unsigned i, bool cut)
{
    for (unsigned k = 1; k <= w->n; k++) {
        if (k != i)
            w->cut[i][k] = w->cut[k][i] = cut;
    }
}

/* ---- wishes */

void world_ask(struct world *w, struct command *command)
{
    struct core_event event = {.type = CORE_REQUEST, .ticket = 7, .command = command};

    w->has_answer = false;
    step(w, w->leader, &event);
}

bool world_answered(struct world *w, uint64_t limit_ms)
{
    for (uint64_t ms = 0; ms < limit_ms && !w->has_answer; ms++)
        world_run(w, 1);
    return w->has_answer;
}

void world_create(struct world *w, const char *name, enum restart_policy restart)
{
    struct command command = {.type = COMMAND_GUEST_CREATE};
    struct guest_spec *spec = &command.guest_create.spec;

    snprintf(spec->name, sizeof(spec->name), "%s", name);
    spec->kind = KIND_CELL;
    strcpy(spec->image, "web");
    strcpy(spec->slice, "red");
    spec->n_cores = 1;
    spec->memory_mib = 64;
    spec->priority = 100;
    spec->restart = restart;
    spec->failover = w->protect_ms != 0 ? FAILOVER_RESTORE : FAILOVER_RESTART;
    spec->protect_ms = w->protect_ms;
    spec->health = w->health;
    spec->n_argv = 1;
    spec->argv = calloc(1, sizeof(char *));
    assert(spec->argv != NULL);
    spec->argv[0] = strdup("/bin/server");
    world_ask(w, &command);
}

void world_by_name(struct world *w, enum command_type type, const char *name)
{
    struct command command = {.type = type};

    snprintf(command.by_name.name, sizeof(command.by_name.name), "%s", name);
    world_ask(w, &command);
}

void world_migrate(struct world *w, const char *name, unsigned to)
{
    struct command command = {.type = COMMAND_MIGRATION_RESERVE};

    snprintf(command.migration_reserve.guest, NAME_SIZE, "%s", name);
    command.migration_reserve.target.node = to != 0 ? w->nodes[to].id : 0;
    command.migration_reserve.terms = MOVE_TERMS_DEFAULT;
    world_ask(w, &command);
}

void world_end_guest(struct world *w, unsigned i, const char *name, int32_t status)
{
    struct world_guard *g = &w->nodes[i].guard;
    struct guard_report *copy = copy_of(g, name);
    struct core_event list = {.type = CORE_GUARD_LIST};

    if (copy == NULL)
        return;
    copy->state = GUEST_EXITED;
    copy->exit_status = status;
    copy->pid = 0;
    list.n_reports = g->n_guests;
    list.reports = g->guests;
    step(w, i, &list);
}

unsigned world_n_running(const struct world *w, const char *name, unsigned *ret_node)
{
    unsigned n = 0;

    for (unsigned i = 1; i <= w->n; i++) {
        const struct guard_report *copy = w->nodes[i].up ? world_copy(w, i, name) : NULL;

        if (copy == NULL || copy->state != GUEST_RUNNING)
            continue;
        n++;
        if (ret_node != NULL)
            *ret_node = i;
    }
    return n;
}

const struct state *world_state(const struct world *w)
{
    return core_state(w->nodes[w->leader].core);
}

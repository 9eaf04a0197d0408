/* model_raft: elections, what a server tells its owner, its life; see model_raft.h. */
#include "tests/sim/model_raft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool raft_is_voter(const struct raft *raft, unsigned node)
{
    return raft->roles[node] == ROLE_VOTER;
}

unsigned raft_n_voters(const struct sim *sim, const struct raft *raft)
{
    unsigned n = 0;

    for (unsigned i = 0; i < sim->n; i++)
        n += raft_is_voter(raft, i);
    return n;
}

/* ---- to the owner: everything in order, some time later */

static void feed(struct sim *sim, struct sim_node *node, struct event event)
{
    struct raft *raft = &node->raft;
    uint64_t at = sim->now + sim_between(sim, 30, 400);

    if (sim_chance(sim, 10)) /* a slow turn of the owner's loop */
        at += sim_between(sim, MS, 30 * MS);
    if (at < raft->feed_us)
        at = raft->feed_us;
    raft->feed_us = at;
    event.actor = ACTOR_CORE;
    event.node = (uint8_t)node->at;
    event.run = node->actors[ACTOR_CORE].run;
    sim_push(sim, event, at - sim->now);
}

static void tell_role(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;
    struct event event = {.kind = EV_ROLE, .dispose = free};
    struct core_event *role;

    if (raft->told.any && raft->told.state == raft->state && raft->told.term == raft->term &&
        raft->told.leader == raft->leader)
        return;
    raft->told.any = true;
    raft->told.state = raft->state;
    raft->told.term = raft->term;
    raft->told.leader = raft->leader;
    role = calloc(1, sizeof(*role));
    if (role == NULL)
        abort();
    role->type = CORE_ROLE;
    role->is_leader = raft->state == RAFT_LEADER;
    role->term = raft->term;
    role->leader = raft->leader >= 0 ? sim->nodes[raft->leader].id : 0;
    event.data = role;
    feed(sim, node, event);
}

static void tell_configuration(struct sim *sim, struct sim_node *node,
                               const uint8_t roles[SIM_MAX_NODES])
{
    struct event event = {.kind = EV_CONFIGURATION};

    for (unsigned i = 0; i < sim->n; i++)
        event.a |= (uint64_t)roles[i] << (8 * i);
    feed(sim, node, event);
}

void raft_tell_propose_failed(struct sim *sim, struct sim_node *node,
                              const uint8_t request[NONCE_SIZE], int code)
{
    struct event event = {.kind = EV_PROPOSE_FAILED, .dispose = free};

    event.data = malloc(NONCE_SIZE);
    if (event.data == NULL)
        abort();
    memcpy(event.data, request, NONCE_SIZE);
    event.b = (uint64_t)(int64_t)code;
    sim_count(sim, code == -EAGAIN ? COUNT_UNKNOWN_OUTCOME : COUNT_NOT_LEADER);
    feed(sim, node, event);
}

void raft_tell_restored(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;
    struct event event = {.kind = EV_RESTORED};

    event.data = (void *)(uintptr_t)raft->snapshot;
    raft->delivered = raft->snapshot->index;
    sim_count(sim, COUNT_RESTORED);
    feed(sim, node, event);
    tell_configuration(sim, node, raft->snapshot->roles);
}

void raft_deliver(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;

    while (raft->delivered < raft->commit) {
        struct raft_entry *entry = raft_entry_at(raft, ++raft->delivered);
        struct event event = {.kind = EV_COMMITTED, .a = raft->delivered, .data = entry};

        oracle_commit(sim, node, raft->delivered, entry);
        feed(sim, node, event);
        if (entry->kind == RAFT_ENTRY_CONFIG)
            tell_configuration(sim, node, entry->roles);
    }
}

/* ---- messages */

struct raft_message *raft_message_new(struct sim *sim, const struct raft *raft,
                                      enum raft_message_type type)
{
    struct raft_message *m = sim->free_messages;

    if (m != NULL)
        sim->free_messages = m->next;
    else
        m = malloc(sizeof(*m));
    if (m == NULL)
        abort();
    *m = (struct raft_message){.pool = &sim->free_messages, .type = type, .term = raft->term};
    return m;
}

static void message_free(void *message)
{
    struct raft_message *m = message;

    m->next = *m->pool;
    *m->pool = m;
}

void raft_send(struct sim *sim, struct sim_node *from, unsigned to, struct raft_message *m)
{
    struct event event = {
        .kind = EV_RAFT_MESSAGE, .actor = ACTOR_RAFT, .data = m, .dispose = message_free};

    net_send(sim, from, &sim->nodes[to], &event);
}

/* ---- roles */

static void arm_timer(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;
    uint64_t at = raft->state == RAFT_LEADER ? sim->now + RAFT_HEARTBEAT_US : raft->election_us;

    if (at <= sim->now)
        at = sim->now + 1;
    raft->timer_us = at;
    sim_push(sim, sim_event(EV_RAFT_TIMER, node, ACTOR_RAFT), at - sim->now);
}

void raft_put_off_election(struct sim *sim, struct raft *raft)
{
    raft->election_us = sim->now + RAFT_ELECTION_US + sim_below(sim, RAFT_ELECTION_US);
}

/* What this server proposed as leader and did not see committed. */
static void give_up_proposals(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;

    for (uint64_t i = raft->commit + 1; i <= raft_last_index(raft); i++) {
        const struct raft_entry *entry = raft_entry_at(raft, i);

        if (entry->kind == RAFT_ENTRY_COMMAND && entry->term == raft->term &&
            entry->proposer == node->at)
            raft_tell_propose_failed(sim, node, entry->request, -EAGAIN);
    }
    raft_change_fail(sim, node, -EAGAIN);
}

void raft_become_follower(struct sim *sim, struct sim_node *node, uint64_t term, int leader)
{
    struct raft *raft = &node->raft;
    bool led = raft->state == RAFT_LEADER;

    if (led)
        give_up_proposals(sim, node);
    if (term > raft->term) {
        raft->term = term;
        raft->voted_for = -1;
        node->published_term = term; /* before anything of that term leaves */
    }
    if (raft->state != RAFT_FOLLOWER)
        raft_put_off_election(sim, raft);
    raft->state = RAFT_FOLLOWER;
    raft->leader = leader;
    if (led)
        arm_timer(sim, node);
    tell_role(sim, node);
}

static void become_leader(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;

    raft->state = RAFT_LEADER;
    raft->leader = (int)node->at;
    for (unsigned i = 0; i < sim->n; i++) {
        raft->next[i] = raft_last_index(raft) + 1;
        raft->match[i] = 0;
        raft->heard_us[i] = sim->now;
        raft->silent_us[i] = 0;
    }
    sim_trace(sim, node, "raft: leader of term %llu", (unsigned long long)raft->term);
    tell_role(sim, node);
    if (sim->noops)
        raft_append_as_leader(sim, node, raft_entry_new(sim, RAFT_ENTRY_NOOP, raft->term, NULL, 0));
    raft_replicate_all(sim, node);
    arm_timer(sim, node);
}

static void count_votes(struct sim *sim, struct sim_node *node)
{
    unsigned n = 0;

    for (unsigned i = 0; i < sim->n; i++)
        n += raft_is_voter(&node->raft, i) && (node->raft.votes & 1u << i) != 0;
    if (n > raft_n_voters(sim, &node->raft) / 2)
        become_leader(sim, node);
}

static void stand_for_election(struct sim *sim, struct sim_node *node, bool is_transfer)
{
    struct raft *raft = &node->raft;

    if (!raft_is_voter(raft, node->at))
        return;
    raft->state = RAFT_CANDIDATE;
    raft->leader = -1;
    raft->term++;
    raft->voted_for = (int)node->at;
    node->published_term = raft->term;
    raft->votes = 1u << node->at;
    raft_put_off_election(sim, raft);
    tell_role(sim, node);
    for (unsigned i = 0; i < sim->n; i++) {
        struct raft_message *m;

        if (i == node->at || !raft_is_voter(raft, i))
            continue;
        m = raft_message_new(sim, raft, RAFT_VOTE);
        m->index = raft_last_index(raft);
        m->log_term = raft_term_at(raft, m->index);
        m->is_transfer = is_transfer;
        raft_send(sim, node, i, m);
    }
    count_votes(sim, node);
}

/* A leader that hears no majority gives up, where this seed's servers do. */
static bool has_quorum(const struct sim *sim, const struct sim_node *node)
{
    const struct raft *raft = &node->raft;
    unsigned n = 0;

    for (unsigned i = 0; i < sim->n; i++) {
        if (raft_is_voter(raft, i) &&
            (i == node->at || sim->now < raft->heard_us[i] + 2 * RAFT_ELECTION_US))
            n++;
    }
    return n > raft_n_voters(sim, raft) / 2;
}

static void timer(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct raft *raft = &node->raft;

    if (!raft->is_loaded || event->at < raft->timer_us)
        return;
    if (raft->state == RAFT_LEADER) {
        if (sim->checks_quorum && !has_quorum(sim, node)) {
            sim_trace(sim, node, "raft: no majority answers: no leader any more");
            raft_become_follower(sim, node, raft->term, -1);
            return;
        }
        raft_replicate_all(sim, node);
        raft_change_run(sim, node);
        if (raft->state == RAFT_LEADER)
            arm_timer(sim, node);
        return;
    }
    if (sim->now >= raft->election_us) {
        raft_put_off_election(sim, raft);
        stand_for_election(sim, node, false);
        if (raft->state == RAFT_LEADER)
            return;
    }
    arm_timer(sim, node);
}

/* ---- votes */

static bool is_up_to_date(const struct raft *raft, const struct raft_message *m)
{
    uint64_t last = raft_last_index(raft);
    uint64_t term = raft_term_at(raft, last);

    return m->log_term > term || (m->log_term == term && m->index >= last);
}

static bool clings_to_leader(const struct sim *sim, const struct sim_node *node,
                             const struct raft_message *m)
{
    const struct raft *raft = &node->raft;

    return sim->sticky_votes && !m->is_transfer &&
           (raft->state == RAFT_LEADER ||
            (raft->leader >= 0 && sim->now < raft->leader_heard_us + RAFT_ELECTION_US));
}

static void vote(struct sim *sim, struct sim_node *node, unsigned from,
                 const struct raft_message *m)
{
    struct raft *raft = &node->raft;
    struct raft_message *answer;

    answer = raft_message_new(sim, raft, RAFT_VOTE_RESULT);
    answer->ok = m->term == raft->term && raft->state == RAFT_FOLLOWER &&
                 (raft->voted_for == -1 || raft->voted_for == (int)from) && is_up_to_date(raft, m);
    if (answer->ok) {
        raft->voted_for = (int)from;
        raft_put_off_election(sim, raft);
        aims_at_vote(sim, node, from);
    }
    raft_send(sim, node, from, answer);
}

static void vote_result(struct sim *sim, struct sim_node *node, unsigned from,
                        const struct raft_message *m)
{
    if (node->raft.state != RAFT_CANDIDATE || m->term != node->raft.term || !m->ok)
        return;
    node->raft.votes |= 1u << from;
    count_votes(sim, node);
}

static void message(struct sim *sim, struct sim_node *node, struct event *event)
{
    struct raft *raft = &node->raft;
    const struct raft_message *m = event->data;

    if (!net_arrives(sim, event) || !raft->is_loaded)
        return;
    if (m->type == RAFT_VOTE && clings_to_leader(sim, node, m))
        return;
    if (m->term > raft->term)
        raft_become_follower(sim, node, m->term, -1);
    switch (m->type) {
    case RAFT_VOTE:
        vote(sim, node, event->from, m);
        break;
    case RAFT_VOTE_RESULT:
        vote_result(sim, node, event->from, m);
        break;
    case RAFT_APPEND:
        raft_handle_append(sim, node, event->from, m);
        break;
    case RAFT_APPENDED:
        raft_handle_appended(sim, node, event->from, m);
        break;
    case RAFT_INSTALL:
        raft_handle_install(sim, node, event->from, m);
        break;
    case RAFT_TIMEOUT_NOW:
        if (m->term == raft->term && raft->state == RAFT_FOLLOWER)
            stand_for_election(sim, node, true);
        break;
    }
}

/* The leader asks one who has everything to stand for election at once. */
void raft_transfer(struct sim *sim, struct sim_node *node, int wanted)
{
    struct raft *raft = &node->raft;
    unsigned first = sim_below(sim, sim->n);

    for (unsigned i = 0; i < sim->n; i++) {
        unsigned to = (first + i) % sim->n;

        if (wanted >= 0 && to != (unsigned)wanted)
            continue;
        if (to == node->at || !raft_is_voter(raft, to) || raft->match[to] != raft_last_index(raft))
            continue;
        sim_trace(sim, node, "raft: hands leadership to n%u", to + 1);
        raft_send(sim, node, to, raft_message_new(sim, raft, RAFT_TIMEOUT_NOW));
        sim_count(sim, COUNT_TRANSFER);
        return;
    }
}

/* ---- life */

void raft_start(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;

    raft->is_loaded = false;
    raft->state = RAFT_FOLLOWER;
    raft->leader = -1;
    raft->commit = raft->delivered = 0;
    raft->feed_us = 0;
    raft->change.serial = 0;
    raft->told.any = false;
    raft->leader_heard_us = 0;
    node->published_term = 0;
    actor_start(&node->actors[ACTOR_RAFT]);
    sim_push(sim, sim_event(EV_RAFT_LOADED, node, ACTOR_RAFT), sim_between(sim, 2 * MS, 250 * MS));
}

void raft_stop(struct sim *sim, struct sim_node *node)
{
    (void)sim;
    actor_stop(&node->actors[ACTOR_RAFT]);
    node->raft.is_loaded = false;
}

static void loaded(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;

    raft->is_loaded = true;
    node->published_term = raft->term;
    if (raft->snapshot != NULL) {
        raft->commit = raft->snapshot->index;
        raft_tell_restored(sim, node);
    }
    tell_role(sim, node);
    raft_put_off_election(sim, raft);
    arm_timer(sim, node);
}

void raft_handle(struct sim *sim, struct sim_node *node, struct event *event)
{
    switch ((enum event_kind)event->kind) {
    case EV_RAFT_LOADED:
        loaded(sim, node);
        break;
    case EV_RAFT_TIMER:
        timer(sim, node, event);
        break;
    case EV_RAFT_MESSAGE:
        message(sim, node, event);
        break;
    case EV_PROPOSE:
        raft_handle_proposal(sim, node, event->data);
        break;
    case EV_MEMBERSHIP:
        raft_change_begin(sim, node, event);
        break;
    default:
        abort();
    }
}

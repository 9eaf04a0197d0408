/* model_raft_replication: an entry's way from its proposal to its commit, on the leader and on who
 * follows, and snapshots for those who are too far behind; see model_raft.h. */
#include "tests/sim/model_raft.h"

#include <errno.h>
#include <string.h>

/* ---- proposals */

void raft_propose(struct sim *sim, struct sim_node *node, struct core_action *action)
{
    struct raft_entry *entry =
        raft_entry_new(sim, RAFT_ENTRY_COMMAND, 0, action->data, action->size);
    struct event event = sim_event(EV_PROPOSE, node, ACTOR_RAFT);

    memcpy(entry->request, action->request, NONCE_SIZE);
    event.data = entry;
    sim_push(sim, event,
             sim_between(sim, 10, 200) +
                 (node->handover_us > sim->now ? node->handover_us - sim->now : 0));
}

void raft_handle_proposal(struct sim *sim, struct sim_node *node, struct raft_entry *entry)
{
    if (node->raft.state != RAFT_LEADER) {
        raft_tell_propose_failed(sim, node, entry->request, -ENOTCONN);
        return;
    }
    entry->term = node->raft.term;
    raft_append_as_leader(sim, node, entry);
    raft_replicate_all(sim, node);
}

/* ---- replication */

static bool gets_entries(const struct raft *raft, unsigned node)
{
    return raft->roles[node] == ROLE_VOTER || raft->roles[node] == ROLE_STANDBY ||
           (raft->change.serial != 0 && raft->change.node == (int)node);
}

/* What stands before it is not known any more. */
static bool needs_snapshot(const struct raft *raft, uint64_t next)
{
    return next < raft->first || (next > 1 && raft_term_at(raft, next - 1) == 0);
}

void raft_replicate(struct sim *sim, struct sim_node *node, unsigned to)
{
    struct raft *raft = &node->raft;
    struct raft_message *m;
    uint64_t last = raft_last_index(raft);

    if (needs_snapshot(raft, raft->next[to])) {
        if (raft->snapshot == NULL || sim->now < raft->silent_us[to])
            return;
        raft->silent_us[to] = sim->now + 200 * MS;
        m = raft_message_new(sim, raft, RAFT_INSTALL);
        m->snapshot = raft->snapshot;
        sim_count(sim, COUNT_SNAPSHOT_SENT);
        raft_send(sim, node, to, m);
        return;
    }
    m = raft_message_new(sim, raft, RAFT_APPEND);
    m->index = raft->next[to] - 1;
    m->log_term = raft_term_at(raft, m->index);
    m->commit = raft->commit;
    while (m->n < RAFT_BATCH && m->index + m->n < last) {
        m->entries[m->n] = raft_entry_at(raft, m->index + m->n + 1);
        m->n++;
    }
    raft->next[to] += m->n; /* pipelined; a refusal takes it back */
    raft_send(sim, node, to, m);
}

void raft_replicate_all(struct sim *sim, struct sim_node *node)
{
    for (unsigned i = 0; i < sim->n; i++) {
        if (i != node->at && gets_entries(&node->raft, i))
            raft_replicate(sim, node, i);
    }
}

static void advance_commit(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;

    for (uint64_t i = raft_last_index(raft); i > raft->commit; i--) {
        unsigned n = 0;

        if (raft_term_at(raft, i) != raft->term)
            break;
        for (unsigned k = 0; k < sim->n; k++)
            n += raft_is_voter(raft, k) && (k == node->at || raft->match[k] >= i);
        if (n <= raft_n_voters(sim, raft) / 2)
            continue;
        raft->commit = i;
        raft_deliver(sim, node);
        raft_change_run(sim, node);
        break;
    }
}

void raft_append_as_leader(struct sim *sim, struct sim_node *node, struct raft_entry *entry)
{
    entry->proposer = (uint8_t)node->at;
    raft_log_append(&node->raft, entry);
    advance_commit(sim, node);
}

static void take_entries(struct sim *sim, struct raft *raft, const struct raft_message *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        uint64_t index = m->index + i + 1;
        uint64_t term = raft_term_at(raft, index);

        if (index <= raft->commit || term == m->entries[i]->term)
            continue;
        if (index <= raft_last_index(raft)) {
            sim->counts->n[COUNT_TAIL_LOST] += raft_last_index(raft) - index + 1;
            raft_log_truncate(raft, index);
        }
        raft_log_append(raft, m->entries[i]);
    }
}

void raft_handle_append(struct sim *sim, struct sim_node *node, unsigned from,
                        const struct raft_message *m)
{
    struct raft *raft = &node->raft;
    struct raft_message *answer;
    uint64_t last = m->index + m->n;

    if (m->term == raft->term) {
        raft_put_off_election(sim, raft);
        raft->leader_heard_us = sim->now;
        if (raft->state != RAFT_FOLLOWER || raft->leader != (int)from)
            raft_become_follower(sim, node, m->term, (int)from);
    }
    answer = raft_message_new(sim, raft, RAFT_APPENDED);
    answer->ok = m->term == raft->term &&
                 (m->index <= raft->commit || (m->index <= raft_last_index(raft) &&
                                               raft_term_at(raft, m->index) == m->log_term));
    answer->index = m->index <= raft_last_index(raft) ? raft->commit : raft_last_index(raft);
    if (answer->ok) {
        take_entries(sim, raft, m);
        answer->index = last;
        if (m->commit > raft->commit) {
            raft->commit =
                m->commit < last ? m->commit : (last > raft->commit ? last : raft->commit);
            raft_deliver(sim, node);
        }
    }
    raft_send(sim, node, from, answer);
}

void raft_handle_install(struct sim *sim, struct sim_node *node, unsigned from,
                         const struct raft_message *m)
{
    struct raft *raft = &node->raft;
    struct raft_message *answer;

    if (m->term < raft->term) { /* the leader hears of the newer term, as of libraft */
        answer = raft_message_new(sim, raft, RAFT_APPENDED);
        answer->index = raft_last_index(raft);
        raft_send(sim, node, from, answer);
        return;
    }
    raft_put_off_election(sim, raft);
    raft->leader_heard_us = sim->now;
    if (raft->state != RAFT_FOLLOWER || raft->leader != (int)from)
        raft_become_follower(sim, node, m->term, (int)from);
    if (m->snapshot->index > raft->commit) {
        raft->commit = m->snapshot->index;
        raft_log_install(raft, m->snapshot);
        raft_tell_restored(sim, node);
    }
    answer = raft_message_new(sim, raft, RAFT_APPENDED);
    answer->ok = true;
    answer->index = m->snapshot->index;
    raft_send(sim, node, from, answer);
}

void raft_handle_appended(struct sim *sim, struct sim_node *node, unsigned from,
                          const struct raft_message *m)
{
    struct raft *raft = &node->raft;

    if (raft->state != RAFT_LEADER || m->term != raft->term)
        return;
    raft->heard_us[from] = sim->now;
    if (!m->ok) {
        uint64_t next = m->index + 1 < raft->next[from] ? m->index + 1 : raft->next[from] - 1;

        if (next <= raft->match[from])
            next = raft->match[from] + 1;
        raft->next[from] = next > 0 ? next : 1;
        if (sim->now >= raft->refused_us[from] + 5 * MS) /* one answer to a burst of them */
            raft_replicate(sim, node, from);
        raft->refused_us[from] = sim->now;
        return;
    }
    raft->silent_us[from] = 0;
    if (m->index > raft->match[from])
        raft->match[from] = m->index;
    if (raft->next[from] <= m->index)
        raft->next[from] = m->index + 1;
    advance_commit(sim, node);
    if (raft->state == RAFT_LEADER && raft->next[from] <= raft_last_index(raft))
        raft_replicate(sim, node, from);
}

/* ---- snapshots */

void raft_snapshot_if_due(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;
    const struct state *state = core_state(node->core);
    struct raft_snapshot *snapshot;
    struct writer w;

    if (!raft->is_loaded || state->index > raft->commit ||
        state->index < (raft->snapshot != NULL ? raft->snapshot->index : 0) + sim->snapshot_every)
        return;
    writer_init_growing(&w, SNAPSHOT_MAX_SIZE);
    state_snapshot(state, &w);
    snapshot =
        raft_snapshot_new(sim, state->index, raft_term_at(raft, state->index), w.data, w.size);
    writer_deinit(&w);
    raft_configuration_at(raft, state->index, snapshot->roles);
    raft->snapshot = snapshot;
    raft_log_trim(raft, RAFT_TRAILING);
}

/* model_raft_members: changes of the log's configuration, one at a time; see model_raft.h.
 *
 * Who becomes a voter is caught up first. A change counts from its entry's place in the log on, and
 * is done when that is committed.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/model_raft.h"

enum { CATCH_UP_LIMIT_US = 5000000 };

static void tell(struct sim *sim, struct sim_node *node, uint32_t serial, int code)
{
    struct event event = sim_event(EV_MEMBERSHIP_DONE, node, ACTOR_CORE);

    event.a = serial;
    event.b = (uint64_t)(int64_t)code;
    sim_push(sim, event, sim_between(sim, 30, 300));
}

void raft_membership(struct sim *sim, struct sim_node *node, const struct core_action *action)
{
    struct event event = sim_event(EV_MEMBERSHIP, node, ACTOR_RAFT);
    const struct sim_node *subject = sim_node_of(sim, action->node);

    if (subject == NULL) {
        tell(sim, node, action->serial, -ENOENT);
        return;
    }
    event.a = action->serial;
    event.b =
        (uint64_t)action->member_op | (uint64_t)subject->at << 8 | (uint64_t)action->role << 16;
    sim_push(sim, event, sim_between(sim, 10, 200));
}

void raft_change_fail(struct sim *sim, struct sim_node *node, int code)
{
    struct raft *raft = &node->raft;

    if (raft->change.serial == 0)
        return;
    tell(sim, node, raft->change.serial, code);
    raft->change.serial = 0;
}

static void append_change(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;
    struct raft_entry *entry = raft_entry_new(sim, RAFT_ENTRY_CONFIG, raft->term, NULL, 0);

    memcpy(entry->roles, raft->roles, SIM_MAX_NODES);
    entry->roles[raft->change.node] = (uint8_t)raft->change.role;
    raft->change.index = raft_last_index(raft) + 1;
    sim_trace(sim, node, "raft: n%d becomes %s", raft->change.node + 1,
              raft->change.role != 0 ? raft_role_name(raft->change.role) : "a stranger");
    raft_append_as_leader(sim, node, entry);
    raft_replicate_all(sim, node);
}

void raft_change_begin(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct raft *raft = &node->raft;
    enum member_op op = event->b & 0xff;
    int subject = event->b >> 8 & 0xff;
    enum raft_role role = event->b >> 16 & 0xff;
    uint32_t serial = (uint32_t)event->a;

    if (op == MEMBER_ADD)
        role = ROLE_SPARE;
    else if (op == MEMBER_REMOVE)
        role = 0;
    if (raft->state != RAFT_LEADER)
        tell(sim, node, serial, -ENOTCONN);
    else if (raft->change.serial != 0)
        tell(sim, node, serial, -EBUSY);
    else if (op == MEMBER_ADD && raft->roles[subject] != 0)
        tell(sim, node, serial, -EEXIST);
    else if (op != MEMBER_ADD && raft->roles[subject] == 0)
        tell(sim, node, serial, -ENOENT);
    else if (raft->roles[subject] == role)
        tell(sim, node, serial, -EALREADY);
    else if (raft_term_at(raft, raft->commit) != raft->term) /* not before a commit of its own */
        tell(sim, node, serial, -EBUSY);
    else {
        raft->change.serial = serial;
        raft->change.node = subject;
        raft->change.role = role;
        raft->change.index = 0;
        raft->change.limit_us = sim->now + CATCH_UP_LIMIT_US;
        raft_change_run(sim, node);
    }
}

void raft_change_run(struct sim *sim, struct sim_node *node)
{
    struct raft *raft = &node->raft;

    if (raft->state != RAFT_LEADER || raft->change.serial == 0)
        return;
    if (raft->change.index != 0) {
        if (raft->commit < raft->change.index)
            return;
        sim_count(sim, COUNT_MEMBER_CHANGE);
        raft_change_fail(sim, node, 0);
        return;
    }
    if (raft->change.role != ROLE_VOTER || raft->change.node == (int)node->at ||
        raft->match[raft->change.node] + RAFT_BATCH >= raft_last_index(raft))
        append_change(sim, node);
    else if (sim->now >= raft->change.limit_us)
        raft_change_fail(sim, node, -EHOSTUNREACH);
    else
        raft_replicate(sim, node, (unsigned)raft->change.node);
}

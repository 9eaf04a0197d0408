/* remove: the leader's part of `node remove`: drains the node, hands leadership over when it
 * is the leader itself, takes the node's vote, then takes it out of the state; see
 * core/internal.h.
 *
 * The vote goes before the node does: at every moment a majority of Raft's voters is one of nodes
 * that the state knows. A node without a vote still gets the log (as a standby), and so learns
 * from it that it was removed; Raft forgets it afterwards (core/members.c). Whoever leads next
 * finds a node that drains, and nothing that is half done.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/internal.h"

enum { REMOVE_LIMIT_MS = 600000 };

uint64_t core_remove_leaving(const struct core *core)
{
    for (size_t i = 0; i < core->lead.n_wishes; i++) {
        const struct wish *wish = &core->lead.wishes[i];
        bool leaves = wish->phase == WISH_LEAVING ||
                      (wish->phase == WISH_PROPOSED && wish->type == COMMAND_NODE_REMOVE);
        const struct node *node = leaves ? state_node_by_name(&core->state, wish->name) : NULL;

        if (node != NULL)
            return node->id;
    }
    return 0;
}

/* ---- refusals */

static bool answers(const struct core *core, uint64_t node)
{
    return node == core->config.id || detector_is_present(&core->lead.detector, node, core->now);
}

/* A lost node keeps the guests that stay on it: nobody can say that they do not run there. */
static bool keeps_guests(const struct core *core, const struct node *node, char *ret, size_t size)
{
    for (size_t i = 0; node->state == NODE_LOST && i < core->state.n_guests; i++) {
        const struct guest *guest = &core->state.guests[i];

        if (guest->placement.node != node->id)
            continue;
        snprintf(ret, size,
                 "node %s is lost, and guest %s stays with it: it may still run there, and only "
                 "that node can say that it does not",
                 node->name, guest->spec.name);
        return true;
    }
    return false;
}

/* A guest that runs takes its volumes along; those of one that does not would go with the node. A
 * lost node's are given up. */
static bool keeps_volumes(const struct core *core, const struct node *node, char *ret, size_t size)
{
    for (size_t i = 0; node->state == NODE_UP && i < core->state.n_guests; i++) {
        const struct guest *guest = &core->state.guests[i];

        if (guest->spec.n_volumes == 0 || guest->home != node->id || guest->placement.node != 0)
            continue;
        snprintf(ret, size,
                 "node %s keeps the volumes of guest %s, which does not run: start it, so that it "
                 "moves with them, or remove it",
                 node->name, guest->spec.name);
        return true;
    }
    return false;
}

/* Without its vote the others must still be able to decide. */
static bool breaks_quorum(const struct core *core, const struct node *leaving, char *ret,
                          size_t size)
{
    size_t n = 0, n_answer = 0;

    if (leaving->role != ROLE_VOTER)
        return false;
    for (size_t i = 0; i < core->state.n_nodes; i++) {
        const struct node *node = &core->state.nodes[i];

        if (node->role != ROLE_VOTER || node == leaving)
            continue;
        n++;
        n_answer += answers(core, node->id);
    }
    if (n_answer > n / 2)
        return false;
    if (n == 0)
        snprintf(ret, size, "node %s is the only voter; another node gets a vote soon: try again",
                 leaving->name);
    else
        snprintf(ret, size,
                 "without node %s only %zu of the other %zu voters would answer, and the cluster "
                 "could not decide any more; bring the others back first",
                 leaving->name, n_answer, n);
    return true;
}

bool core_removal_is_refused(const struct core *core, const char *name, char *ret, size_t size)
{
    const struct node *node = state_node_by_name(&core->state, name);

    if (node == NULL)
        snprintf(ret, size, "there is no node '%.40s'; skein node list", name);
    else if (core->state.n_nodes == 1)
        snprintf(ret, size, "node %s is the only node of this cluster", name);
    else
        return keeps_guests(core, node, ret, size) || keeps_volumes(core, node, ret, size) ||
               breaks_quorum(core, node, ret, size);
    return true;
}

/* ---- begin */

void core_remove_begin(struct core *core, const struct core_event *event)
{
    const char *name = event->command->by_name.name;
    struct command drain = {.type = COMMAND_NODE_DRAIN, .node_flag.flag = true};
    struct wish *wish;
    char text[REASON_SIZE];

    if (core_removal_is_refused(core, name, text, sizeof(text))) {
        core_refuse(core, event->ticket, ANSWER_REFUSED, text);
        command_deinit(event->command);
        return;
    }
    memcpy(drain.node_flag.name, name, NAME_SIZE);
    wish = core_wish_keep(core, event, WISH_DRAINING);
    wish->limit_us = core->now + (uint64_t)REMOVE_LIMIT_MS * 1000;
    core->lead.dirty = true;
    if (!state_node_by_name(&core->state, drain.node_flag.name)->draining)
        core_wish_propose(core, wish, &drain);
}

/* ---- step by step; each returns true when the wish is ended */

static bool is_touched_by_a_move(const struct core *core, uint64_t node)
{
    for (size_t i = 0; i < core->state.n_migrations; i++) {
        if (core->state.migrations[i].from == node || core->state.migrations[i].to == node)
            return true;
    }
    return false;
}

/* The voter that is up to date best. */
static uint64_t successor(const struct core *core)
{
    const struct peer *best = NULL;

    for (size_t i = 0; i < core->state.n_nodes; i++) {
        const struct node *node = &core->state.nodes[i];
        const struct peer *peer = core_peer(core, node->id);

        if (node->role == ROLE_VOTER && node->id != core->config.id && peer != NULL &&
            answers(core, node->id) && (best == NULL || peer->applied_index > best->applied_index))
            best = peer;
    }
    return best != NULL ? best->id : 0;
}

static bool drained(struct core *core, struct wish *wish, const struct node *node)
{
    if (!node->draining && core_is_proposed(core, PROPOSAL_WISH, wish->ticket, NULL))
        return false;
    if (node->draining && is_touched_by_a_move(core, node->id))
        return false;
    if (core_drain_is_stuck(core, wish, node))
        return true;
    if (core_is_placed_on(core, node->id) || is_touched_by_a_move(core, node->id))
        return false;
    wish->phase = node->id == core->config.id ? WISH_HANDING : WISH_LEAVING;
    core->lead.dirty = true;
    return false;
}

static bool handed_over(struct core *core, struct wish *wish)
{
    char text[REASON_SIZE];

    if (core->lead.change.serial != 0)
        return false;
    if (core->lead.change.failed && wish->to != 0) {
        snprintf(text, sizeof(text), "node %s leads, and %s did not take over: try again",
                 wish->name, core_node_name(core, wish->to));
        core_end_wish(core, wish, ANSWER_NOT_NOW, text);
        return true;
    }
    wish->to = successor(core);
    if (wish->to == 0) {
        snprintf(text, sizeof(text), "node %s leads, and no other voter answers to take over",
                 wish->name);
        core_end_wish(core, wish, ANSWER_NOT_NOW, text);
        return true;
    }
    core_members_transfer(core, wish->to);
    return false;
}

static bool left(struct core *core, struct wish *wish, const struct node *node)
{
    char text[REASON_SIZE];

    if (core_is_placed_on(core, node->id) || !node->draining) {
        core_end_wish(core, wish, ANSWER_REFUSED, "the drain was called off");
        return true;
    }
    if (breaks_quorum(core, node, text, sizeof(text))) {
        core_end_wish(core, wish, ANSWER_NOT_NOW, text);
        return true;
    }
    if (core_members_votes(core, node) || core->lead.change.serial != 0)
        return false;
    wish->phase = WISH_PROPOSED;
    wish->limit_us = core->now + (uint64_t)CORE_PROPOSAL_LIMIT_MS * 1000;
    return !core_wish_propose(core, wish, wish->command);
}

bool core_remove_run(struct core *core, struct wish *wish)
{
    const struct node *node = state_node_by_name(&core->state, wish->name);

    if (wish->phase != WISH_DRAINING && wish->phase != WISH_HANDING && wish->phase != WISH_LEAVING)
        return false;
    if (node == NULL) {
        core_end_wish(core, wish, ANSWER_DONE, "");
        return true;
    }
    if (wish->phase == WISH_DRAINING && drained(core, wish, node))
        return true;
    if (wish->phase == WISH_HANDING)
        return handed_over(core, wish);
    return wish->phase == WISH_LEAVING && left(core, wish, node);
}

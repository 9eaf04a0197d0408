/* members: keeps Raft's configuration as the cluster wants it: new nodes in, the right number
 * of voters, lost ones replaced, removed ones out; see core/internal.h.
 *
 * One change at a time, each followed by its NODE_SET_ROLE, so that the voters that authority
 * counts differ from Raft's own by at most one (any two majorities then still share a voter).
 */
#include <errno.h>
#include <string.h>

#include "agent/core/internal.h"

enum { CHANGE_RETRY_MS = 500, MAX_STANDBYS = 2, HEARD_BEATS = 3 };

static const struct core_member *member_of(const struct core *core, uint64_t id)
{
    for (size_t i = 0; i < core->n_members; i++) {
        if (core->members[i].id == id)
            return &core->members[i];
    }
    return NULL;
}

void core_members_voters(struct core *core)
{
    uint64_t voters[DETECTOR_MAX_VOTERS];
    size_t n = 0;

    for (size_t i = 0; core->has_members && i < core->n_members; i++) {
        if (core->members[i].role == ROLE_VOTER && n < DETECTOR_MAX_VOTERS)
            voters[n++] = core->members[i].id;
    }
    for (size_t i = 0; !core->has_members && i < core->state.n_nodes; i++) {
        if (core->state.nodes[i].role == ROLE_VOTER && n < DETECTOR_MAX_VOTERS)
            voters[n++] = core->state.nodes[i].id;
    }
    detector_set_voters(&core->lead.detector, voters, n);
}

/* ---- asking for a change */

static void change(struct core *core, enum member_op op, uint64_t node, enum raft_role role)
{
    struct leader_part *lead = &core->lead;
    struct core_action *action = core_act(core, CORE_MEMBERSHIP);

    lead->change.serial = core_serial(core);
    lead->change.op = op;
    lead->change.node = node;
    lead->change.role = role;
    action->serial = lead->change.serial;
    action->member_op = op;
    action->node = node;
    action->role = role;
}

static void set_role(struct core *core, uint64_t node, enum raft_role role)
{
    struct command command = {.type = COMMAND_NODE_SET_ROLE};

    command.node_set_role.node = node;
    command.node_set_role.role = role;
    core_propose(core, &command, PROPOSAL_ROLE, node, NULL);
}

/* Its word may be here before Raft's own configuration is. */
static void note_role(struct core *core, uint64_t node, enum raft_role role)
{
    for (size_t i = 0; i < core->n_members; i++) {
        if (core->members[i].id == node) {
            core->members[i].role = role;
            core_members_voters(core);
            return;
        }
    }
    if (core->has_members && core->n_members < CORE_MAX_MEMBERS)
        core->members[core->n_members++] = (struct core_member){node, role};
    core_members_voters(core);
}

static void note_gone(struct core *core, uint64_t node)
{
    for (size_t i = 0; i < core->n_members; i++) {
        if (core->members[i].id == node)
            core->members[i] = core->members[--core->n_members];
    }
}

void core_members_done(struct core *core, uint32_t serial, int code)
{
    struct leader_part *lead = &core->lead;
    uint64_t node = lead->change.node;

    if (serial != lead->change.serial || serial == 0)
        return;
    lead->change.serial = 0;
    lead->dirty = true;
    if (lead->change.op == MEMBER_REMOVE && code == -ENOENT)
        code = 0;
    lead->change.failed = code < 0 && code != -EALREADY && code != -EEXIST && code != -EBUSY;
    if (code < 0 && code != -EALREADY && code != -EEXIST) {
        lead->change.retry_us = core->now + (uint64_t)CHANGE_RETRY_MS * 1000;
        if (code != -EBUSY)
            core_record(core, "member-change-failed", NULL, node, 0, "%s: %s",
                        core_node_name(core, node), strerror(-code));
        return;
    }
    if (lead->change.op == MEMBER_REMOVE)
        note_gone(core, node);
    if (lead->change.op == MEMBER_REMOVE || lead->change.op == MEMBER_TRANSFER)
        return; /* a new leader's first word is what counts */
    note_role(core, node, lead->change.op == MEMBER_ADD ? ROLE_SPARE : lead->change.role);
    if (lead->change.op == MEMBER_ADD)
        change(core, MEMBER_ASSIGN, node, lead->change.role);
    else
        set_role(core, node, lead->change.role);
}

void core_members_transfer(struct core *core, uint64_t node)
{
    change(core, MEMBER_TRANSFER, node, ROLE_VOTER);
}

/* ---- what is to be changed */

bool core_members_votes(const struct core *core, const struct node *node)
{
    const struct core_member *member = core->has_members ? member_of(core, node->id) : NULL;

    return node->role == ROLE_VOTER || (member != NULL && member->role == ROLE_VOTER);
}

/* One that was never seen in any boot counts too: it needs the log to find its leader. */
static bool is_well(const struct core *core, const struct node *node)
{
    static const uint8_t no_boot[NONCE_SIZE];

    return node->state == NODE_UP && node->id != core_remove_leaving(core) &&
           (detector_is_present(&core->lead.detector, node->id, core->now) ||
            memcmp(node->boot_nonce, no_boot, NONCE_SIZE) == 0);
}

/* A lease says only that it was there once: a new voter that is cut off by now would count in the
 * quorum and not answer. */
static bool is_heard_lately(const struct core *core, const struct node *node)
{
    const struct detector_node *row = detector_node(&core->lead.detector, node->id);
    uint64_t beat_us = (uint64_t)core->config.timers.beat_ms * 1000;

    return node->id == core->config.id ||
           (row != NULL && row->heard && core->now <= row->heard_us + HEARD_BEATS * beat_us);
}

struct census {
    size_t n_voters;            /* all, lost ones too */
    size_t n_good;              /* voters that are not lost */
    size_t n_standbys;          /* not lost */
    const struct node *spare;   /* well, no member yet or without a role */
    const struct node *ready;   /* a standby that is well and heard lately */
    const struct node *silent;  /* a standby that is well, but not heard lately */
    const struct node *lost;    /* a voter that is lost */
    const struct node *behind;  /* its Raft role is other than the state says */
    const struct node *leaving; /* its vote is to go; counts for nothing else */
};

static void count(const struct core *core, const struct node *node, struct census *ret)
{
    const struct core_member *member = member_of(core, node->id);

    if (core->has_members && member != NULL && member->role != node->role && ret->behind == NULL)
        ret->behind = node;
    if (node->id == core_remove_leaving(core)) {
        ret->leaving = node;
    } else if (node->role == ROLE_VOTER) {
        ret->n_voters++;
        ret->n_good += node->state == NODE_UP;
        if (node->state == NODE_LOST && ret->lost == NULL)
            ret->lost = node;
    } else if (node->role == ROLE_STANDBY) {
        ret->n_standbys += node->state == NODE_UP;
        if (is_well(core, node))
            *(is_heard_lately(core, node) ? &ret->ready : &ret->silent) = node;
    } else if (is_well(core, node) && ret->spare == NULL) {
        ret->spare = node;
    }
}

/* A new member is added as a spare, then given its role. */
static void admit(struct core *core, const struct node *node, enum raft_role role)
{
    bool is_member = core->has_members && member_of(core, node->id) != NULL;

    change(core, is_member ? MEMBER_ASSIGN : MEMBER_ADD, node->id, role);
}

/* A standby gets the log still, and so learns that it was removed. */
static void take_vote(struct core *core, const struct node *node)
{
    if (core_members_votes(core, node))
        change(core, MEMBER_ASSIGN, node->id, ROLE_STANDBY);
}

/* Others take its place first, as far as there are any and they can be had. */
static void decide(struct core *core, const struct census *census)
{
    size_t wanted = core->config.max_voters;

    if (census->behind != NULL) /* a change whose word was lost: the state is told */
        set_role(core, census->behind->id, member_of(core, census->behind->id)->role);
    else if (core->lead.change.failed && census->leaving != NULL)
        take_vote(core, census->leaving);
    else if (census->n_good < wanted && census->ready != NULL)
        change(core, MEMBER_ASSIGN, census->ready->id, ROLE_VOTER);
    else if (census->n_good < wanted && census->spare != NULL)
        admit(core, census->spare, ROLE_VOTER);
    else if (census->n_good < wanted && census->silent != NULL)
        core_wake_at(&core->lead.wake_us, core->now + (uint64_t)core->config.timers.beat_ms * 1000);
    else if (census->n_voters > wanted && census->lost != NULL)
        change(core, MEMBER_ASSIGN, census->lost->id, ROLE_SPARE);
    else if (census->spare != NULL && census->n_standbys < MAX_STANDBYS)
        admit(core, census->spare, ROLE_STANDBY);
    else if (census->leaving != NULL)
        take_vote(core, census->leaving);
}

/* A member that the state does not know (any more); 0 = none. */
static uint64_t stranger(const struct core *core)
{
    for (size_t i = 0; core->has_members && core->state.n_nodes > 0 && i < core->n_members; i++) {
        if (state_node(&core->state, core->members[i].id) == NULL)
            return core->members[i].id;
    }
    return 0;
}

void core_members_run(struct core *core)
{
    struct leader_part *lead = &core->lead;
    struct census census = {0};

    if (lead->change.serial != 0 || core_is_proposed(core, PROPOSAL_ROLE, 0, NULL))
        return;
    if (core->now < lead->change.retry_us) {
        core_wake_at(&lead->wake_us, lead->change.retry_us);
        return;
    }
    if (stranger(core) != 0) {
        change(core, MEMBER_REMOVE, stranger(core), ROLE_SPARE);
        return;
    }
    for (size_t i = 0; i < core->state.n_nodes; i++)
        count(core, &core->state.nodes[i], &census);
    decide(core, &census);
}

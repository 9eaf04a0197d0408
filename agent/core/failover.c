/* failover: the timeline of each guest that a loss or a reboot took from its node, for people:
 * from the last beat to the moment when its new copy can be reached; see core/internal.h.
 *
 * The log says when it began (consensus/loss_origin.h), so all that may lead keep the open ones, and
 * whoever leads in the end tells the whole way, by its own clock and word: it hears of a start by a
 * beat, so up to a beat late, and of a loss that another leader decided when it is applied. A guest
 * serves when it runs and its node's switch shows the state that put it there. Those that may lead
 * next are told, so that the record outlives the leader. */
#include <stdio.h>
#include <string.h>

#include "agent/core/internal.h"

enum { KEPT_MS = 600000 };

/* A dead leader's beats were its own affair: the last that the others know of it is its last answer
 * to one of theirs. */
static bool was_answered_by(const struct core *core, uint64_t node)
{
    return core->node.answered_by == node && core->node.answered_us != 0 &&
           core->node.answered_us < core->lead.detector.became_us;
}

static uint32_t ms_between(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (uint32_t)((to_us - from_us) / 1000) : 0;
}

void core_loss_origin(const struct core *core, uint64_t node, enum command_type type,
                      struct loss_origin *ret)
{
    const struct detector_node *row = detector_node(&core->lead.detector, node);
    const struct peer *peer = core_peer(core, node);
    uint64_t became_us = core->lead.detector.became_us;
    uint64_t from_us = 0;

    *ret = (struct loss_origin){.since = LOSS_SINCE_BEAT};
    if (type == COMMAND_NODE_REBOOTED)
        from_us = peer != NULL ? peer->boot_heard_us : 0;
    else if (row != NULL && row->heard)
        from_us = row->heard_us;
    if (from_us == 0 && was_answered_by(core, node)) {
        ret->since = LOSS_SINCE_ANSWER;
        from_us = core->node.answered_us;
        ret->elected_ms = ms_between(from_us, became_us);
    } else if (from_us == 0) {
        ret->since = LOSS_SINCE_ELECTION;
        from_us = became_us;
    }
    ret->ago_ms = ms_between(from_us, core->now);
    if (row != NULL && row->granted_us != 0)
        ret->lease_end_ms = ms_between(from_us, row->granted_us) + row->granted_ms;
}

static void drop(struct core *core, const char *guest)
{
    for (size_t i = core->lead.n_failovers; i-- > 0;) {
        if (strcmp(core->lead.failovers[i].guest, guest) == 0)
            core_take_out(core->lead.failovers, &core->lead.n_failovers,
                          sizeof(*core->lead.failovers), i);
    }
}

void core_failover_lost(struct core *core, const struct command *command, uint64_t index,
                        uint64_t proposed_us)
{
    const struct loss_origin *origin = &command->node_event.origin;
    const struct node *self = state_node(&core->state, core->config.id);
    uint64_t ago_us = (uint64_t)origin->ago_ms * 1000;

    if (origin->since == LOSS_SINCE_NOTHING || self == NULL || self->role == ROLE_SPARE)
        return;
    for (size_t i = 0; i < core->state.n_guests; i++) {
        const struct guest *guest = &core->state.guests[i];
        struct failover *f;

        if (guest->placement.epoch != index || guest->placement.node != 0 ||
            guest->desired != DESIRED_RUNNING)
            continue;
        drop(core, guest->spec.name); /* lost again: a timeline of its own */
        f = core_append(&core->lead.failovers, &core->lead.n_failovers, sizeof(*f));
        memcpy(f->guest, guest->spec.name, NAME_SIZE);
        f->from = command->node_event.node;
        f->is_rebooted = command->type == COMMAND_NODE_REBOOTED;
        f->origin = *origin;
        f->began_us = proposed_us > ago_us ? proposed_us - ago_us : 0;
        f->committed_us = core->now;
        f->epoch = index;
    }
}

/* ---- the record */

static struct timeline timeline_of(const struct core *core, const struct failover *f)
{
    return (struct timeline){
        .from = f->from,
        .is_rebooted = f->is_rebooted,
        .origin = f->origin,
        .committed_ms = ms_between(f->began_us, f->committed_us),
        .placed_ms = ms_between(f->began_us, f->placed_us),
        .started_ms = ms_between(f->began_us, f->started_us),
        .serving_ms = ms_between(f->began_us, core->now),
    };
}

/* From the checkpoint that it resumed from to the beginning of the timeline. */
static void add_lost(const struct core *core, const struct failover *f, struct timeline *ret)
{
    const struct guest *guest = state_guest(&core->state, f->guest);
    const struct protection *p =
        core_protection_at(core, guest->placement.node, f->guest, f->epoch);

    ret->is_protected = guest->spec.failover == FAILOVER_RESTORE;
    ret->is_resumed = ret->is_protected && p != NULL && p->resumed != 0;
    for (size_t i = 0; ret->is_resumed && i < core->n_taken; i++) {
        uint64_t taken_us = core->taken[i].taken_us;

        if (core->taken[i].index != p->resumed)
            continue;
        ret->has_lost = true;
        ret->lost_ms = ms_between(taken_us, f->began_us);
    }
}

static void record(struct core *core, const char *guest, uint64_t to, const struct timeline *t)
{
    const struct loss_origin *origin = &t->origin;
    char lease[24] = "unknown", elected[32] = "", lost[80] = "";

    if (origin->lease_end_ms != 0)
        snprintf(lease, sizeof(lease), "%u", origin->lease_end_ms);
    if (origin->elected_ms != 0)
        snprintf(elected, sizeof(elected), "elected %u, ", origin->elected_ms);
    if (t->has_lost)
        snprintf(lost, sizeof(lost), "; resumed from %u ms before", t->lost_ms);
    else if (t->is_protected)
        snprintf(lost, sizeof(lost), "; %s", t->is_resumed ? "resumed" : "started afresh");
    core_record(
        core, "failover", guest, to, 0,
        "ms after %s%s%s: lease end %s, %scommitted %u, placed %u, started %u, serving %u%s",
        origin->since == LOSS_SINCE_BEAT     ? "the last beat of "
        : origin->since == LOSS_SINCE_ANSWER ? "the last answer of the leader "
                                             : "the election, silence of ",
        core_node_name(core, t->from), t->is_rebooted ? ", which rebooted" : "", lease, elected,
        t->committed_ms, t->placed_ms, t->started_ms, t->serving_ms, lost);
    core_newest_record(core)->timeline = *t;
}

void core_failover_told(struct core *core, const char *guest, uint64_t to,
                        const struct timeline *t)
{
    drop(core, guest);
    record(core, guest, to, t);
}

/* Voters and standbys: few, whatever the size of the cluster. */
static void tell(struct core *core, const struct failover *f, uint64_t to)
{
    struct message message = {.type = MESSAGE_TIMELINE};

    memcpy(message.told.guest, f->guest, NAME_SIZE);
    message.told.node = to;
    message.told.timeline = timeline_of(core, f);
    add_lost(core, f, &message.told.timeline);
    record(core, f->guest, to, &message.told.timeline);
    for (size_t i = 0; i < core->state.n_nodes; i++) {
        const struct node *node = &core->state.nodes[i];

        if (node->id != core->config.id && node->role != ROLE_SPARE && node->state == NODE_UP)
            core_send(core, node->id, &message);
    }
}

/* True when there is nothing more to wait for. */
static bool is_over(struct core *core, struct failover *f)
{
    const struct guest *guest = state_guest(&core->state, f->guest);
    const struct guard_report *report;
    const struct peer *peer;

    if (guest == NULL || guest->desired != DESIRED_RUNNING ||
        core->now > f->committed_us + (uint64_t)KEPT_MS * 1000)
        return true;
    if (guest->placement.node == 0)
        return guest->placement.epoch != f->epoch;
    if (f->placed_us == 0) {
        f->placed_us = core->now;
        f->epoch = guest->placement.epoch;
    }
    if (guest->placement.epoch != f->epoch)
        return true;
    report = core_report_of(core, guest->placement.node, f->guest, f->epoch);
    if (f->started_us == 0 && report != NULL && report->state == GUEST_RUNNING)
        f->started_us = core->now;
    peer = core_peer(core, guest->placement.node);
    if (f->started_us == 0 || peer == NULL || !core->leads ||
        (guest->spec.slice[0] != '\0' && peer->fabric_index < f->epoch))
        return false;
    tell(core, f, guest->placement.node);
    return true;
}

void core_failovers_run(struct core *core)
{
    for (size_t i = core->lead.n_failovers; i-- > 0;) {
        if (is_over(core, &core->lead.failovers[i]))
            core_take_out(core->lead.failovers, &core->lead.n_failovers,
                          sizeof(*core->lead.failovers), i);
    }
}

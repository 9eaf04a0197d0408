/* failover: the timeline of each guest that a loss or a reboot took from its node, for people:
 * from the last beat to the moment when its new copy can be reached; see core/internal.h.
 *
 * All by this leader's clock and word: it hears of a start by a beat, so up to a beat late. A guest
 * serves when it runs and its node's switch shows the state that put it there. Those that may lead
 * next are told, so that the timeline outlives this leader. */
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

/* When the timeline begins. */
static void begin(const struct core *core, struct failover *f)
{
    const struct detector_node *row = detector_node(&core->lead.detector, f->from);
    const struct peer *peer = core_peer(core, f->from);
    uint64_t heard_us = f->is_rebooted ? (peer != NULL ? peer->boot_heard_us : 0)
                        : row->heard   ? row->heard_us
                                       : 0;

    f->since = TIMELINE_BEAT;
    f->began_us = heard_us;
    if (heard_us == 0 && was_answered_by(core, f->from)) {
        f->since = TIMELINE_ANSWER;
        f->began_us = core->node.answered_us;
    } else if (heard_us == 0) {
        f->since = TIMELINE_ELECTION;
        f->began_us = core->lead.detector.became_us;
    }
    f->lease_us = row->granted_us != 0 ? row->granted_us + (uint64_t)row->granted_ms * 1000 : 0;
}

void core_failover_lost(struct core *core, uint64_t node, bool is_rebooted, uint64_t index)
{
    if (!core->leads || detector_node(&core->lead.detector, node) == NULL)
        return;
    for (size_t i = 0; i < core->state.n_guests; i++) {
        const struct guest *guest = &core->state.guests[i];
        struct failover *f;

        if (guest->placement.epoch != index || guest->placement.node != 0 ||
            guest->desired != DESIRED_RUNNING)
            continue;
        f = core_append(&core->lead.failovers, &core->lead.n_failovers, sizeof(*f));
        memcpy(f->guest, guest->spec.name, NAME_SIZE);
        f->from = node;
        f->is_rebooted = is_rebooted;
        f->committed_us = core->now;
        f->epoch = index;
        begin(core, f);
    }
}

/* ---- the record */

static uint32_t ms_of(const struct failover *f, uint64_t at_us)
{
    return at_us > f->began_us ? (uint32_t)((at_us - f->began_us) / 1000) : 0;
}

static struct timeline timeline_of(const struct core *core, const struct failover *f)
{
    return (struct timeline){
        .from = f->from,
        .is_rebooted = f->is_rebooted,
        .since = f->since,
        .has_lease_end = f->lease_us != 0,
        .lease_end_ms = f->lease_us != 0 ? ms_of(f, f->lease_us) : 0,
        .has_elected = f->since == TIMELINE_ANSWER,
        .elected_ms = f->since == TIMELINE_ANSWER ? ms_of(f, core->lead.detector.became_us) : 0,
        .committed_ms = ms_of(f, f->committed_us),
        .placed_ms = ms_of(f, f->placed_us),
        .started_ms = ms_of(f, f->started_us),
        .serving_ms = ms_of(f, core->now),
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
        ret->lost_ms = f->began_us > taken_us ? (uint32_t)((f->began_us - taken_us) / 1000) : 0;
    }
}

void core_timeline_record(struct core *core, const char *guest, uint64_t to,
                          const struct timeline *t)
{
    char lease[24] = "unknown", elected[32] = "", lost[80] = "";

    if (t->has_lease_end)
        snprintf(lease, sizeof(lease), "%u", t->lease_end_ms);
    if (t->has_elected)
        snprintf(elected, sizeof(elected), "elected %u, ", t->elected_ms);
    if (t->has_lost)
        snprintf(lost, sizeof(lost), "; resumed from %u ms before", t->lost_ms);
    else if (t->is_protected)
        snprintf(lost, sizeof(lost), "; %s", t->is_resumed ? "resumed" : "started afresh");
    core_record(
        core, "failover", guest, to, 0,
        "ms after %s%s%s: lease end %s, %scommitted %u, placed %u, started %u, serving %u%s",
        t->since == TIMELINE_BEAT     ? "the last beat of "
        : t->since == TIMELINE_ANSWER ? "the last answer of the leader "
                                      : "the election, silence of ",
        core_node_name(core, t->from), t->is_rebooted ? ", which rebooted" : "", lease, elected,
        t->committed_ms, t->placed_ms, t->started_ms, t->serving_ms, lost);
    core_newest_record(core)->timeline = *t;
}

/* Voters and standbys: few, whatever the size of the cluster. */
static void tell(struct core *core, const struct failover *f, uint64_t to)
{
    struct message message = {.type = MESSAGE_TIMELINE};

    memcpy(message.told.guest, f->guest, NAME_SIZE);
    message.told.node = to;
    message.told.timeline = timeline_of(core, f);
    add_lost(core, f, &message.told.timeline);
    core_timeline_record(core, f->guest, to, &message.told.timeline);
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
        return guest->placement.epoch != f->epoch; /* lost again: a timeline of its own */
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
    if (f->started_us == 0 || peer == NULL ||
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

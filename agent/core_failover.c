/* core_failover: the timeline of each guest that a loss took from its node, for people: from the
 * last beat to the moment when its new copy can be reached; see core_internal.h.
 *
 * All by this leader's clock and word: it hears of a start by a beat, so up to a beat late. A guest
 * serves when it runs and its node's switch shows the state that put it there. */
#include <stdio.h>
#include <string.h>

#include "agent/core_internal.h"

enum { KEPT_MS = 600000 };

void core_failover_lost(struct core *core, uint64_t node, uint64_t index)
{
    const struct detector_node *row = detector_node(&core->lead.detector, node);

    if (!core->leads || row == NULL)
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
        f->is_heard = row->heard;
        f->began_us = row->heard ? row->heard_us : core->lead.detector.became_us;
        f->lease_us =
            row->granted_us != 0 ? row->granted_us + (uint64_t)row->granted_ms * 1000 : f->began_us;
        f->committed_us = core->now;
        f->epoch = index;
    }
}

static unsigned ms_of(const struct failover *f, uint64_t at_us)
{
    return at_us > f->began_us ? (unsigned)((at_us - f->began_us) / 1000) : 0;
}

static void record(struct core *core, const struct failover *f, uint64_t to)
{
    char lease[24] = "unknown";

    if (f->is_heard && f->lease_us != f->began_us)
        snprintf(lease, sizeof(lease), "%u", ms_of(f, f->lease_us));
    core_record(core, "failover", f->guest, to, 0,
                "ms after %s of %s: lease end %s, committed %u, placed %u, started %u, serving %u",
                f->is_heard ? "the last beat" : "the election, silence",
                core_node_name(core, f->from), lease, ms_of(f, f->committed_us),
                ms_of(f, f->placed_us), ms_of(f, f->started_us), ms_of(f, core->now));
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
    record(core, f, guest->placement.node);
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

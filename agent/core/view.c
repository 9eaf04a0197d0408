/* view: what the API shows of a core; see core/core.h. */
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

enum { LINKS_KEPT_MS = 5000 };

const struct state *core_state(const struct core *core)
{
    return &core->state;
}

bool core_is_leader(const struct core *core)
{
    return core->leads;
}

uint64_t core_leader(const struct core *core)
{
    return core->raft_leads ? core->config.id : core->raft_leader;
}

uint64_t core_answered_us(const struct core *core)
{
    return core->node.answered_us;
}

bool core_has_authority(const struct core *core, uint64_t now)
{
    return core->leads && detector_has_authority(&core->lead.detector, now);
}

static uint64_t since(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

/* What was measured long ago is not how the link is. */
static void links_view(const struct backhaul *links, uint64_t links_us, uint64_t now,
                       struct node_view *ret)
{
    ret->has_links = links_us != 0 && since(links_us, now) < LINKS_KEPT_MS * 1000;
    ret->links = *links;
    ret->links_ms_ago = since(links_us, now) / 1000;
    ret->backhaul_permille = ret->has_links ? backhaul_use_permille(links) : 0;
}

static void own_view(const struct core *core, uint64_t now, struct node_view *ret)
{
    ret->applied_index = core->state.index;
    ret->lapsed = core->node.lapsed;
    ret->round_trip_us = core->node.round_trip_us;
    links_view(&core->node.links, core->node.links_us, now, ret);
    core_node_count_beats(core, &ret->n_beats, &ret->n_beats_unanswered);
}

static void others_view(const struct core *core, const struct detector_node *node, uint64_t now,
                        struct node_view *ret)
{
    const struct inquiry *inquiry = core_inquiry(core, node->id);

    ret->is_silent = core_is_silent(core, node->id);
    if (!ret->is_silent)
        return;
    ret->silent_ms =
        since(node->heard ? node->heard_us : core->lead.detector.became_us, now) / 1000;
    for (size_t i = 0; inquiry != NULL && i < inquiry->n; i++) {
        const struct helper *helper = &inquiry->helpers[i];

        ret->others[ret->n_others++] =
            (struct other_view){helper->id, helper->is_answered, helper->is_heard,
                                since(helper->answered_us, now) / 1000};
    }
}

void core_node_view(const struct core *core, uint64_t id, uint64_t now, struct node_view *ret)
{
    const struct detector_node *node = detector_node(&core->lead.detector, id);
    const struct peer *peer = core_peer(core, id);
    uint64_t over_us;

    *ret = (struct node_view){0};
    if (id == core->config.id)
        own_view(core, now, ret);
    if (!core->leads || node == NULL)
        return;
    ret->present = detector_is_present(&core->lead.detector, id, now);
    ret->heard = node->heard;
    ret->heard_ms_ago = node->heard ? since(node->heard_us, now) / 1000 : 0;
    ret->lapsed = node->lapsed;
    if (ret->present)
        ret->lease_left_ms =
            (uint32_t)((node->granted_us + (uint64_t)node->granted_ms * 1000 - now) / 1000);
    over_us = detector_over_us(&core->lead.detector, &core->state, id);
    ret->may_be_lost = over_us != 0 && !core->state.maintenance;
    ret->lost_in_ms = ret->may_be_lost ? (uint32_t)(since(now, over_us) / 1000) : 0;
    others_view(core, node, now, ret);
    if (peer == NULL)
        return;
    ret->n_beats = peer->n_beats;
    ret->n_beats_unanswered = peer->n_beats_unanswered;
    ret->round_trip_us = peer->round_trip_us;
    ret->applied_index = peer->applied_index;
    links_view(&peer->links, peer->links_us, now, ret);
}

/* The newest word on the guest's present copy: the node's own guard, or a beat to the leader. */
static const struct guard_report *known_report(const struct core *core, const struct guest *guest)
{
    for (size_t i = 0; i < core->node.n_guests; i++) {
        const struct local_guest *local = &core->node.guests[i];

        if (local->has_report && strcmp(local->name, guest->spec.name) == 0 &&
            local->report.epoch == guest->placement.epoch)
            return &local->report;
    }
    return core_report_of(core, guest->placement.node, guest->spec.name, guest->placement.epoch);
}

static const struct condition *told_condition(const struct core *core, const struct guest *guest,
                                              uint64_t *ret_age_ms)
{
    const struct peer *peer = core_peer(core, guest->placement.node);

    for (uint32_t i = 0; peer != NULL && i < peer->report.n_conditions; i++) {
        const struct condition *condition = &peer->report.conditions[i];

        if (condition->epoch != guest->placement.epoch ||
            strcmp(condition->guest, guest->spec.name) != 0)
            continue;
        *ret_age_ms = since(peer->report_us, core->now) / 1000;
        return condition;
    }
    return NULL;
}

static bool own_condition(const struct core *core, const struct guest *guest, struct condition *ret)
{
    for (size_t i = 0; i < core->node.n_guests; i++) {
        if (strcmp(core->node.guests[i].name, guest->spec.name) == 0)
            return core->node.guests[i].epoch == guest->placement.epoch &&
                   core_condition_of(core, &core->node.guests[i], ret);
    }
    return false;
}

static void view_condition(const struct core *core, const struct guest *guest,
                           struct guest_view *ret)
{
    static const char *const words[] = {NULL, "starting", "healthy", "unhealthy"};
    const struct condition *told;
    struct condition condition;
    uint64_t age_ms = 0;

    if (!own_condition(core, guest, &condition)) {
        told = told_condition(core, guest, &age_ms);
        if (told == NULL)
            return;
        condition = *told;
    }
    ret->health = words[condition.health];
    ret->n_check_failures = condition.n_failures;
    ret->n_ends = condition.n_ends;
    ret->next_start_ms =
        condition.next_start_ms > age_ms ? (uint32_t)(condition.next_start_ms - age_ms) : 0;
    memcpy(ret->text, condition.text, sizeof(ret->text));
}

void core_guest_view(const struct core *core, const char *name, struct guest_view *ret)
{
    const struct guest *guest = state_guest(&core->state, name);
    const struct guard_report *report = guest != NULL ? known_report(core, guest) : NULL;

    *ret = (struct guest_view){0};
    if (guest != NULL)
        view_condition(core, guest, ret);
    if (report == NULL)
        return;
    ret->known = true;
    ret->state = report->state;
    ret->frozen_by = report->frozen_by;
    ret->exit_status = report->exit_status;
    ret->pid = report->pid;
    ret->n_starts = report->n_starts;
}

static bool knows_about(const struct core *core, uint64_t node)
{
    const struct peer *peer = core_peer(core, node);

    return node == core->config.id ? core->node.is_listed : peer != NULL && peer->has_report;
}

static const char *placed_word(const struct core *core, const struct guest *guest)
{
    const struct node *node = state_node(&core->state, guest->placement.node);
    const struct guard_report *report = known_report(core, guest);

    if (node != NULL && node->state == NODE_LOST)
        return "lost";
    if (guest_is_leaving(guest))
        return "stopping";
    if (guest->migration != 0)
        return "migrating";
    if (report != NULL)
        return report->state == GUEST_EXITED ? "restarting" : guard_guest_state_name(report->state);
    return knows_about(core, guest->placement.node) ? "starting" : "unknown";
}

const char *core_guest_state_word(const struct core *core, const char *name)
{
    const struct guest *guest = state_guest(&core->state, name);

    if (guest == NULL)
        return "unknown";
    if (guest->placement.node == 0)
        return guest->desired == DESIRED_RUNNING ? "pending" : "stopped";
    return placed_word(core, guest);
}

struct node_telemetry *core_telemetry(const struct core *core, uint64_t now, size_t *ret_n)
{
    struct node_telemetry *rows = calloc(core->state.n_nodes + 1, sizeof(*rows));

    if (rows == NULL)
        abort();
    for (size_t i = 0; i < core->state.n_nodes; i++) {
        const struct peer *peer = core_peer(core, core->state.nodes[i].id);

        rows[i].node = core->state.nodes[i].id;
        rows[i].present = detector_is_present(&core->lead.detector, rows[i].node, now);
        rows[i].backhaul_permille = peer != NULL ? peer->backhaul_permille : 0;
    }
    *ret_n = core->state.n_nodes;
    return rows;
}

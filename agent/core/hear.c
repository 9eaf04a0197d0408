/* hear: the leader hears beats, keeps what they report, and answers with leases; see
 * core/internal.h and docs/leases.md. */
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

/* ---- peers */

struct peer *core_peer(const struct core *core, uint64_t id)
{
    for (size_t i = 0; i < core->lead.n_peers; i++) {
        if (core->lead.peers[i].id == id)
            return &core->lead.peers[i];
    }
    return NULL;
}

static struct peer *peer_made(struct core *core, uint64_t id)
{
    struct peer *peer = core_peer(core, id);

    if (peer == NULL) {
        peer = core_append(&core->lead.peers, &core->lead.n_peers, sizeof(*peer));
        peer->id = id;
    }
    return peer;
}

const struct guard_report *core_report_of(const struct core *core, uint64_t node, const char *guest,
                                          uint64_t epoch)
{
    const struct peer *peer = core_peer(core, node);

    for (uint32_t i = 0; peer != NULL && i < peer->report.n_guests; i++) {
        const struct guard_report *report = &peer->report.guests[i];

        if (report->epoch == epoch && strcmp(report->guest, guest) == 0)
            return report;
    }
    return NULL;
}

static void record_running(struct core *core, uint64_t node, const struct node_report *report)
{
    for (uint32_t i = 0; i < report->n_guests; i++) {
        const struct guard_report *now = &report->guests[i];
        const struct guard_report *before = core_report_of(core, node, now->guest, now->epoch);

        if (now->state == GUEST_RUNNING && (before == NULL || before->state != GUEST_RUNNING))
            core_record(core, "guest-running", now->guest, node, 0, "%s",
                        before != NULL && before->state == GUEST_FROZEN ? "again" : "");
        else if (now->state == GUEST_FROZEN && (now->frozen_by & FROZEN_BY_LEASE) != 0 &&
                 (before == NULL || before->state != GUEST_FROZEN))
            core_record(core, "guest-frozen", now->guest, node, 0, "the lease of its node ran out");
    }
}

static void take_report(struct core *core, uint64_t from, struct beat *beat)
{
    struct peer *peer = peer_made(core, from);
    const struct node *node = state_node(&core->state, from);

    if (node != NULL && memcmp(node->boot_nonce, beat->stamp.boot_nonce, NONCE_SIZE) == 0)
        peer->boot_heard_us = core->now;
    if (beat->applied_index != peer->applied_index || beat->fabric_index != peer->fabric_index)
        core->lead.dirty = true;
    peer->applied_index = beat->applied_index;
    peer->fabric_index = beat->fabric_index;
    peer->backhaul_permille = beat->backhaul_permille;
    peer->round_trip_us = beat->round_trip_us;
    peer->n_beats = beat->n_beats;
    peer->n_beats_unanswered = beat->n_beats_unanswered;
    /* What is said of guests counts only from one who is known to live in this leadership: an
     * earlier run of its skeind may have sent the beat long ago (docs/leases.md, lemma 4). */
    if (!beat->has_report || beat->echo.term != core->term)
        return;
    if (peer->has_report) /* else it is only new to us */
        record_running(core, from, &beat->report);
    node_report_deinit(&peer->report);
    peer->report = beat->report;
    memset(&beat->report, 0, sizeof(beat->report));
    peer->has_report = true;
    peer->report_us = core->now;
    peer->report_version = beat->report_version;
    core->lead.dirty = true;
}

bool core_peer_has_image(const struct peer *peer, const uint8_t digest[DIGEST_SIZE])
{
    for (uint32_t i = 0; i < peer->report.n_images; i++) {
        if (memcmp(peer->report.images[i], digest, DIGEST_SIZE) == 0)
            return true;
    }
    return false;
}

/* ---- answers to beats */

static bool add_copy(struct lease_ack *ack, const char *guest, uint64_t epoch)
{
    struct guest_copy *copy;

    if (ack->n_copies == MAX_NODE_GUESTS)
        return false;
    copy = &ack->copies[ack->n_copies++];
    memcpy(copy->guest, guest, NAME_SIZE);
    copy->epoch = epoch;
    return true;
}

/* All copies that the node may have: of its own guests, and of migrations in flight (a target's
 * copy bears the migration's id until it runs). False when they do not fit. */
static bool list_copies(const struct core *core, uint64_t node, struct lease_ack *ack)
{
    bool fits = true;

    ack->has_copies = true;
    for (size_t i = 0; i < core->state.n_guests; i++) {
        const struct guest *guest = &core->state.guests[i];

        if (guest->placement.node == node)
            fits = fits && add_copy(ack, guest->spec.name, guest->placement.epoch);
    }
    for (size_t i = 0; i < core->state.n_migrations; i++) {
        const struct migration *m = &core->state.migrations[i];

        if (m->to == node)
            fits = fits && add_copy(ack, m->guest, m->id);
        if (m->from == node && m->phase != MIGRATION_RESERVED)
            fits = fits && add_copy(ack, m->guest, m->source_epoch);
    }
    return fits;
}

static void grant(struct core *core, uint64_t node, const struct beat *beat, uint32_t lease_ms,
                  struct ack *ack)
{
    bool was_present = detector_is_present(&core->lead.detector, node, core->now);

    if (beat->lapsed && !list_copies(core, node, &ack->lease)) {
        ack->lease.has_copies = false;
        ack->lease.n_copies = 0;
        return;
    }
    ack->lease.lease_ms = lease_ms;
    detector_granted(&core->lead.detector, node, lease_ms, core->now);
    if (!was_present)
        core->lead.dirty = true;
}

static void answer(struct core *core, uint64_t to, const struct beat *beat,
                   enum detector_verdict verdict, uint32_t lease_ms)
{
    const struct peer *peer = core_peer(core, to);
    struct ack *ack = malloc(sizeof(*ack));
    struct message message = {.type = MESSAGE_ACK, .ack = ack};

    if (ack == NULL)
        return;
    ack->stamp = (struct leader_stamp){core->term, core->now};
    ack->report_version = peer != NULL && peer->has_report ? peer->report_version : 0;
    ack->again = verdict == DETECTOR_UNPROVEN || beat->echo.term != core->term;
    ack->lease.stamp = beat->stamp;
    memcpy(ack->lease.cluster, core->state.cluster, NONCE_SIZE);
    ack->lease.term = core->term;
    ack->lease.freeze_ms = core->config.timers.freeze_ms;
    ack->lease.lease_ms = 0;
    ack->lease.index = core->state.index;
    ack->lease.has_copies = false;
    ack->lease.n_copies = 0;
    if (verdict == DETECTOR_GRANT)
        grant(core, to, beat, lease_ms, ack);
    if (to == core->config.id)
        core_node_ack(core, to, ack);
    else
        core_send(core, to, &message);
    free(ack);
}

static void redirect(struct core *core, uint64_t to)
{
    struct message message = {.type = MESSAGE_NOT_LEADER};

    message.not_leader.leader = core->raft_leader != 0 ? core->raft_leader : core->node.leader_hint;
    message.not_leader.term = core->term;
    core_send(core, to, &message);
}

void core_lead_hear(struct core *core, uint64_t from, struct beat *beat)
{
    uint32_t lease_ms = 0;
    enum detector_verdict verdict;
    bool had_authority;

    if (!core->raft_leads) {
        redirect(core, from);
        return;
    }
    had_authority = detector_has_authority(&core->lead.detector, core->now);
    verdict = detector_beat(&core->lead.detector, &core->state, from, beat, core->now, &lease_ms);
    if (!had_authority && detector_has_authority(&core->lead.detector, core->now))
        core->lead.dirty = true;
    if (verdict == DETECTOR_STALE || verdict == DETECTOR_STRANGER)
        return;
    if (verdict != DETECTOR_UNPROVEN)
        take_report(core, from, beat);
    if (!core->leads)
        verdict = verdict == DETECTOR_UNPROVEN ? verdict : DETECTOR_WITHHELD;
    if (verdict == DETECTOR_REBOOTED)
        core_propose_event(core, COMMAND_NODE_REBOOTED, PROPOSAL_REBOOTED, from,
                           beat->stamp.boot_nonce);
    else if (verdict == DETECTOR_RETURNED)
        core_propose_event(core, COMMAND_NODE_RETURNED, PROPOSAL_RETURNED, from, NULL);
    answer(core, from, beat, verdict, lease_ms);
}

void core_lead_facts(struct core *core, uint64_t from, const struct node_facts *facts)
{
    struct command command = {.type = COMMAND_NODE_FACTS};

    if (!core->leads || state_node(&core->state, from) == NULL ||
        core_is_proposed(core, PROPOSAL_FACTS, from, NULL))
        return;
    command.node_facts.node = from;
    command.node_facts.facts = *facts; /* borrowed for the encoding */
    core_propose(core, &command, PROPOSAL_FACTS, from, NULL);
}

void core_lead_nudge(struct core *core, uint64_t to)
{
    const struct detector_node *node = detector_node(&core->lead.detector, to);
    const struct peer *peer = core_peer(core, to);
    struct ack ack = {.again = true};
    struct message message = {.type = MESSAGE_ACK, .ack = &ack};

    if (to == core->config.id) {
        core->node.beat_soon = true;
        return;
    }
    if (node == NULL || !node->heard)
        return;
    ack.stamp = (struct leader_stamp){core->term, core->now};
    ack.report_version = peer != NULL && peer->has_report ? peer->report_version : 0;
    ack.lease.stamp = node->newest;
    ack.lease.term = core->term;
    core_send(core, to, &message);
}

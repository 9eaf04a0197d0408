/* leader: begins and ends, decides losses, takes what nodes say into the log, and has every part
 * of the leader run; see core/internal.h and docs/leases.md. */
#include <string.h>

#include "agent/core/internal.h"

enum { TERM_RETRY_MS = 50, CEILING_CHECK_MS = 1000 };

/* ---- leadership */

static void forget(struct core *core)
{
    struct leader_part *lead = &core->lead;

    for (size_t i = 0; i < lead->n_peers; i++)
        node_report_deinit(&lead->peers[i].report);
    lead->n_peers = 0;
    lead->n_sagas = 0;
    lead->n_drains = 0;
    lead->n_inquiries = 0;
    lead->change.serial = 0;
    lead->change.retry_us = 0;
    lead->change.failed = false;
    lead->no_authority_us = 0;
    lead->authority_us = 0;
    lead->steady_us = 0;
    lead->propose_after_us = 0;
    lead->term_proposed = false;
}

void core_lead_begin(struct core *core)
{
    forget(core);
    core->lead.n_proposals = 0; /* of an earlier term: resolved before ours begins to apply */
    detector_lead(&core->lead.detector, core->term, core->now);
    detector_sync(&core->lead.detector, &core->state, core->now);
    core_members_voters(core);
    core->lead.no_authority_us = core->now;
    core->lead.dirty = true;
    core->node.beat_soon = true;
}

void core_lead_end(struct core *core)
{
    core_wishes_end(core);
    detector_yield(&core->lead.detector);
    forget(core);
}

static void announce_term(struct core *core)
{
    struct command command = {.type = COMMAND_TERM_STARTED};

    command.term_started.node = core->config.id;
    command.term_started.term = core->term;
    core->lead.term_proposed = core_propose(core, &command, PROPOSAL_TERM, core->term, NULL);
}

void core_propose_event(struct core *core, enum command_type type, enum proposal_kind kind,
                        uint64_t id, const uint8_t *boot_nonce)
{
    struct command command = {.type = type};
    const struct node *node = state_node(&core->state, id);
    char others[CORE_OTHERS_SIZE];

    if (node == NULL || core_is_proposed(core, kind, id, NULL))
        return;
    command.node_event.node = id;
    command.node_event.expect_epoch = node->epoch;
    command.node_event.term = core->term;
    if (type != COMMAND_NODE_RETURNED)
        core_loss_origin(core, id, type, &command.node_event.origin);
    if (boot_nonce != NULL)
        memcpy(command.node_event.boot_nonce, boot_nonce, NONCE_SIZE);
    if (core_propose(core, &command, kind, id, NULL) && kind == PROPOSAL_LOST) {
        detector_decide(&core->lead.detector, id, true);
        core_ask_words(core, id, others, sizeof(others));
        core_record(core, "node-silent", NULL, id, 0, "no beat of %s, its lease is over%s%s",
                    node->name, others[0] != '\0' ? "; " : "", others);
    }
}

/* The outcome of a proposal of ours (a wish's is core/request.c's), or that it surely is not in the
 * log: code < 0. */
void core_lead_outcome(struct core *core, const struct proposal *proposal, int code)
{
    core->lead.dirty = true;
    if (proposal->kind == PROPOSAL_LOST)
        detector_decide(&core->lead.detector, proposal->subject, false);
    if ((proposal->kind == PROPOSAL_REBOOTED || proposal->kind == PROPOSAL_RETURNED) && code == 0)
        core_lead_nudge(core, proposal->subject);
    if (proposal->kind == PROPOSAL_TERM && code < 0)
        core->lead.term_proposed = false;
    if (code < 0 && core->lead.propose_after_us < core->now + 20000)
        core->lead.propose_after_us = core->now + 20000; /* refused: not again at once */
}

/* ---- decisions */

/* More careful than the law asks: a leader that was cut off itself gives the others two beats'
 * time to be heard again before it calls them lost. */
static bool hears_well(struct core *core)
{
    uint64_t from_us = core->lead.steady_us + 2000ull * core->config.timers.beat_ms;

    if (core->lead.steady_us == 0)
        return false;
    if (core->now < from_us)
        core_wake_at(&core->lead.wake_us, from_us);
    return core->now >= from_us;
}

static void losses_run(struct core *core)
{
    const struct detector *d = &core->lead.detector;
    uint64_t id = 0;

    if (core->state.maintenance || !hears_well(core))
        return;
    while ((id = detector_next_lost(d, &core->state, id, core->now)) != 0) {
        if (core_saga_holds_loss(core, id))
            core_wake_at(&core->lead.wake_us, core->now + 20000);
        else
            core_propose_event(core, COMMAND_NODE_LOST, PROPOSAL_LOST, id, NULL);
    }
    id = detector_deadline(d, &core->state);
    if (id > core->now)
        core_wake_at(&core->lead.wake_us, id);
}

/* A command is large: made only when it is proposed. */
static void propose_ceiling(struct core *core, uint64_t node, uint32_t ceiling_ms)
{
    struct command command = {.type = COMMAND_NODE_CEILING};

    command.node_ceiling.node = node;
    command.node_ceiling.ceiling_ms = ceiling_ms;
    core_propose(core, &command, PROPOSAL_CEILING, node, NULL);
}

/* A lease may only be as long as the state says; a longer one is agreed on before it is granted, a
 * shorter one after. */
static void ceilings_run(struct core *core)
{
    core_wake_at(&core->lead.wake_us, core->now + (uint64_t)CEILING_CHECK_MS * 1000);
    for (size_t i = 0; i < core->state.n_nodes; i++) {
        const struct node *node = &core->state.nodes[i];
        uint32_t ceiling_ms =
            detector_ceiling(&core->lead.detector, &core->state, node->id, core->now);

        if (ceiling_ms != 0 && !core_is_proposed(core, PROPOSAL_CEILING, node->id, NULL))
            propose_ceiling(core, node->id, ceiling_ms);
    }
}

static void claim_run(struct core *core, uint64_t node, const struct claim *claim)
{
    const struct guest *guest = state_guest(&core->state, claim->guest);
    struct command command = {.type = COMMAND_GUEST_STOPPED};

    if (claim->kind != CLAIM_STOPPED && claim->kind != CLAIM_EXITED)
        return;
    if (guest == NULL || guest->placement.node != node || guest->placement.epoch != claim->epoch ||
        (claim->kind == CLAIM_STOPPED && !guest_is_leaving(guest)) ||
        core_is_proposed(core, PROPOSAL_STOPPED, 0, claim->guest))
        return;
    memcpy(command.guest_stopped.name, claim->guest, NAME_SIZE);
    command.guest_stopped.epoch = claim->epoch;
    command.guest_stopped.exited = claim->kind == CLAIM_EXITED;
    core_propose(core, &command, PROPOSAL_STOPPED, node, claim->guest);
}

static void claims_run(struct core *core)
{
    for (size_t p = 0; p < core->lead.n_peers; p++) {
        const struct peer *peer = &core->lead.peers[p];

        for (uint32_t i = 0; i < peer->report.n_claims; i++)
            claim_run(core, peer->id, &peer->report.claims[i]);
    }
}

static void propose_held(struct core *core, const struct image *image, uint64_t node)
{
    struct command command = {.type = COMMAND_IMAGE_HELD};

    memcpy(command.image_held.name, image->name, NAME_SIZE);
    memcpy(command.image_held.digest, image->digest, DIGEST_SIZE);
    command.image_held.node = node;
    core_propose(core, &command, PROPOSAL_HELD, node, image->name);
}

static void holders_run(struct core *core)
{
    for (size_t i = 0; i < core->state.n_images; i++) {
        const struct image *image = &core->state.images[i];

        for (size_t p = 0; p < core->lead.n_peers; p++) {
            const struct peer *peer = &core->lead.peers[p];

            if (!image_is_held(image, peer->id) && core_peer_has_image(peer, image->digest) &&
                state_node(&core->state, peer->id) != NULL &&
                !core_is_proposed(core, PROPOSAL_HELD, peer->id, image->name))
                propose_held(core, image, peer->id);
        }
    }
}

/* ---- the whole */

static void authority_run(struct core *core)
{
    struct leader_part *lead = &core->lead;
    uint64_t end = detector_authority_end(&lead->detector);

    if (end == 0 || end + detector_grace_us(&lead->detector) < core->now)
        lead->steady_us = 0;
    else if (lead->steady_us == 0)
        lead->steady_us = core->now;
    if (end >= core->now) {
        lead->no_authority_us = 0;
        if (lead->authority_us == 0)
            lead->authority_us = core->now;
        core_wake_at(&lead->wake_us, end + 1);
        return;
    }
    lead->authority_us = 0;
    if (lead->no_authority_us == 0)
        lead->no_authority_us = core->now;
}

void core_lead_run(struct core *core)
{
    if (!core->raft_leads)
        return;
    if (!core->lead.term_proposed) {
        announce_term(core);
        core_wake_at(&core->lead.wake_us, core->now + (uint64_t)TERM_RETRY_MS * 1000);
    }
    if (!core->leads)
        return;
    authority_run(core);
    core_sagas_run(core);
    losses_run(core);
    ceilings_run(core);
    claims_run(core);
    holders_run(core);
    core_copies_run(core);
    core_places_run(core);
    core_buddies_run(core);
    core_failovers_run(core);
    core_asks_run(core);
    core_drains_run(core);
    core_members_run(core);
    core_wishes_run(core);
}

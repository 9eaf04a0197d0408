/* node: beats to the leader, its acks to the guard, and when the node's state may be acted on;
 * see core/internal.h and docs/leases.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

enum { UNANSWERED_BEFORE_ASKING_AROUND = 3 };

bool core_node_is_current(const struct core *core)
{
    return core->node.is_acked && core->state.index >= core->node.current_index;
}

void core_node_changed(struct core *core)
{
    core->node.report_version++;
    core->node.beat_soon = true;
}

/* ---- the guard comes and goes */

void core_node_hello(struct core *core, const struct guard_hello *hello)
{
    struct node_part *node = &core->node;

    core_node_lost(core);
    node->is_connected = true;
    node->hello = *hello;
    node->lapsed = hello->lapsed;
    node->fabric_dirty = true; /* the switch may have been made anew with the guard */
    free(node->fabric_bytes);
    node->fabric_bytes = NULL;
    node->fabric_size = 0;
    core_ask_list(core);
    node->next_beat_us = core->now;
    node->dirty = true;
}

void core_node_lost(struct core *core)
{
    struct node_part *node = &core->node;

    node->is_connected = false;
    node->lapsed = true; /* what is not known is not counted on */
    node->is_listed = false;
    node->list_serial = 0;
    node->list_again = false;
    node->stamp_wanted = false;
    node->fabric_serial = 0;
    node->keeps_serial = 0;
    node->keeps_told = false;
    node->n_asked = 0;
    core_guests_forget_busy(core);
    for (size_t i = 0; i < node->n_images; i++) {
        node->images[i].unpack = UNPACK_WANTED;
        node->images[i].retry_us = 0;
    }
    node->dirty = true;
}

/* ---- beats */

void core_node_beats(struct core *core)
{
    struct node_part *node = &core->node;

    if (!node->is_connected)
        return;
    if (core->now < node->next_beat_us && (!node->beat_soon || node->stamp_wanted))
        return;
    core_act(core, CORE_WANT_STAMP);
    node->stamp_wanted = true;
    node->stamp_us = core->now;
    node->next_beat_us = core->now + (uint64_t)core->config.timers.beat_ms * 1000;
}

/* Peers to ask: those of the state, before it is loaded those of the last run. */
static uint64_t next_peer(struct core *core)
{
    size_t n = core->state.n_nodes > 0 ? core->state.n_nodes : core->config.n_hints;

    for (size_t tried = 0; tried < n; tried++) {
        size_t at = core->node.next_peer++ % n;
        uint64_t id = core->state.n_nodes > 0 ? core->state.nodes[at].id : core->hints[at];

        if (id != core->config.id)
            return id;
    }
    return 0;
}

uint64_t core_node_leader(const struct core *core)
{
    if (core->raft_leads)
        return core->config.id;
    if (core->raft_leader != 0)
        return core->raft_leader;
    return core->node.leader_hint;
}

static void fill_guests(const struct core *core, struct node_report *ret)
{
    const struct node_part *node = &core->node;
    struct guard_report *guests = calloc(node->n_guests + 1, sizeof(*guests));
    struct claim *claims = calloc(node->n_guests + node->n_images + 1, sizeof(*claims));

    ret->conditions = calloc(node->n_guests + 1, sizeof(*ret->conditions));
    ret->protections = calloc(node->n_guests + 1, sizeof(*ret->protections));
    if (guests == NULL || claims == NULL || ret->conditions == NULL || ret->protections == NULL)
        abort();
    for (size_t i = 0; i < node->n_guests; i++) {
        const struct local_guest *local = &node->guests[i];

        if (local->has_report && ret->n_guests < MAX_NODE_GUESTS)
            guests[ret->n_guests++] = core_move_masked(core, &local->report);
        if (local->claim.kind != 0 && ret->n_claims < MESSAGE_MAX_CLAIMS)
            claims[ret->n_claims++] = local->claim;
        if (ret->n_conditions < MAX_NODE_GUESTS &&
            core_condition_of(core, local, &ret->conditions[ret->n_conditions]))
            ret->n_conditions++;
        if (ret->n_protections < MAX_NODE_GUESTS &&
            core_protection_of(core, local, &ret->protections[ret->n_protections]))
            ret->n_protections++;
    }
    ret->guests = guests;
    ret->claims = claims;
}

static void fill_image_claim(const struct core *core, const struct local_image *image,
                             struct node_report *ret)
{
    for (size_t i = 0; i < core->state.n_images; i++) {
        struct claim *claim = &ret->claims[ret->n_claims];

        if (memcmp(core->state.images[i].digest, image->digest, DIGEST_SIZE) != 0)
            continue;
        claim->kind = CLAIM_IMAGE_FAILED;
        memcpy(claim->guest, core->state.images[i].name, NAME_SIZE);
        memcpy(claim->text, image->text, sizeof(claim->text));
        ret->n_claims++;
        return;
    }
}

static void fill_report(const struct core *core, struct node_report *ret)
{
    const struct node_part *node = &core->node;

    fill_guests(core, ret);
    ret->images = calloc(node->n_images + 1, sizeof(*ret->images));
    if (ret->images == NULL)
        abort();
    for (size_t i = 0; i < node->n_images; i++) {
        const struct local_image *image = &node->images[i];

        if (image->is_held && image->unpack == UNPACK_DONE && ret->n_images < MAX_IMAGES)
            memcpy(ret->images[ret->n_images++], image->digest, DIGEST_SIZE);
        else if (image->unpack == UNPACK_FAILED && ret->n_claims < MESSAGE_MAX_CLAIMS)
            fill_image_claim(core, image, ret);
    }
    for (size_t i = 0; i < node->n_moves && ret->n_moves < MESSAGE_MAX_MOVES; i++) {
        ret->moves =
            ret->n_moves == 0 ? calloc(MESSAGE_MAX_MOVES, sizeof(*ret->moves)) : ret->moves;
        if (ret->moves == NULL)
            abort();
        ret->moves[ret->n_moves++] = node->moves[i].report;
    }
}

void core_node_count_beats(const struct core *core, uint8_t *ret_n, uint8_t *ret_unanswered)
{
    uint8_t n = 0, unanswered = 0;

    for (size_t i = 0; i < CORE_SENT_KEPT; i++) {
        uint64_t sent_us = core->node.sent[i].sent_us;
        bool is_answered = core->node.sent[i].is_answered;

        if (sent_us == 0 ||
            (!is_answered && core->now < sent_us + (uint64_t)CORE_ANSWER_DUE_MS * 1000))
            continue;
        n++;
        unanswered += !is_answered;
    }
    *ret_n = n;
    *ret_unanswered = unanswered;
}

static void fill_beat(struct core *core, const struct core_event *event, uint64_t to,
                      struct beat *ret)
{
    struct node_part *node = &core->node;

    *ret = (struct beat){
        .stamp = event->stamp,
        .echo = node->echo,
        .published_term = event->published_term,
        .lapsed = node->lapsed,
        .applied_index = core->state.index,
        .fabric_index = node->fabric_index,
        .backhaul_permille = node->backhaul_permille,
        .round_trip_us = node->round_trip_us,
        .report_version = node->report_version,
    };
    core_node_count_beats(core, &ret->n_beats, &ret->n_beats_unanswered);
    /* Before the guard's list is here there is nothing to say about guests, and silence must not
     * read as "none". */
    ret->has_report =
        node->is_listed && (node->acked_by != to || node->acked_version != node->report_version);
    if (ret->has_report)
        fill_report(core, &ret->report);
}

static void send_beat(struct core *core, const struct core_event *event, uint64_t to)
{
    struct message message = {.type = MESSAGE_BEAT};

    if (to == 0)
        return;
    fill_beat(core, event, to, &message.beat);
    if (to == core->config.id)
        core_lead_hear(core, to, &message.beat);
    else
        core_send(core, to, &message);
    message_deinit(&message);
}

void core_node_stamp(struct core *core, const struct core_event *event)
{
    struct node_part *node = &core->node;
    uint64_t leader = core_node_leader(core);

    node->stamp_wanted = false;
    node->beat_soon = false;
    node->published_term = event->published_term;
    node->sent[event->stamp.sequence % CORE_SENT_KEPT].stamp = event->stamp;
    node->sent[event->stamp.sequence % CORE_SENT_KEPT].sent_us = core->now;
    node->sent[event->stamp.sequence % CORE_SENT_KEPT].is_answered = false;
    if (leader != core->config.id)
        node->n_unanswered++;
    send_beat(core, event, leader);
    if (leader == 0 || node->n_unanswered > UNANSWERED_BEFORE_ASKING_AROUND) {
        uint64_t other = next_peer(core);

        if (other != leader)
            send_beat(core, event, other);
    }
}

void core_node_not_leader(struct core *core, uint64_t from, uint64_t leader)
{
    struct node_part *node = &core->node;

    if (node->leader_hint == from)
        node->leader_hint = 0;
    if (leader == 0 || leader == core->config.id || leader == node->leader_hint)
        return;
    node->leader_hint = leader;
    if (core->raft_leader == 0)
        node->beat_soon = true;
}

/* ---- acks */

/* An answer to a beat of this run: when it left; 0 = none of ours. */
static uint64_t sent_at(const struct node_part *node, const struct stamp *stamp)
{
    size_t at = stamp->sequence % CORE_SENT_KEPT;

    return stamp_is_equal(&node->sent[at].stamp, stamp) ? node->sent[at].sent_us : 0;
}

/* Whether the state may be acted on. Before the log is loaded nobody can say whether a leader's
 * term is older than what the log has seen (docs/leases.md, lemma 4): the lease counts, this does
 * not. */
static void note_index(struct core *core, const struct lease_ack *ack)
{
    struct node_part *node = &core->node;

    if (node->published_term == 0 || ack->term < node->published_term ||
        (node->is_acked && !ack->has_copies))
        return;
    node->is_acked = true;
    if (ack->index > node->current_index)
        node->current_index = ack->index;
    if (ack->has_copies && ack->index > node->floor_index)
        node->floor_index = ack->index;
    node->dirty = true;
}

static void pass_to_guard(struct core *core, const struct lease_ack *ack)
{
    struct lease_ack *copy = lease_ack_copy(ack);

    if (copy == NULL)
        abort();
    core_act(core, CORE_ACK_GUARD)->ack = copy;
}

void core_node_ack(struct core *core, uint64_t from, const struct ack *ack)
{
    struct node_part *node = &core->node;
    uint64_t sent_us = sent_at(node, &ack->lease.stamp);

    if (ack->stamp.term > node->echo.term ||
        (ack->stamp.term == node->echo.term && ack->stamp.sent_us > node->echo.sent_us)) {
        node->beat_soon = node->beat_soon || ack->stamp.term > node->echo.term;
        node->echo = ack->stamp;
    }
    if (sent_us != 0) {
        node->round_trip_us = (uint32_t)(core->now - sent_us);
        node->sent[ack->lease.stamp.sequence % CORE_SENT_KEPT].is_answered = true;
        node->n_unanswered = 0;
        node->leader_hint = from;
        if (from != core->config.id) {
            core_pace_heard(core, from, node->round_trip_us);
            node->answered_by = from;
            node->answered_us = core->now;
        }
        node->acked_by = from;
        node->acked_version = ack->report_version;
        if (ack->again)
            node->beat_soon = true;
    }
    if (ack->lease.lease_ms == 0)
        return;
    pass_to_guard(core, &ack->lease);
    if (sent_us != 0)
        note_index(core, &ack->lease);
}

void core_node_run(struct core *core)
{
    if (core->node.list_again && core->node.list_serial == 0) {
        if (core->now >= core->node.list_retry_us)
            core_ask_list(core);
        else
            core_wake_at(&core->node.wake_us, core->node.list_retry_us);
    }
    core_goods_run(core);
    core_moves_tidy(core);
    core_protect_tidy(core);
    core_move_watch(core);
    core_volumes_run(core);
    core_guests_run(core);
    core_probes_run(core);
}

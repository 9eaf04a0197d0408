/* core: the door; see core/internal.h. */
#include "agent/core/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

/* ---- life */

int core_new(const struct core_config *config, struct core **ret, struct err *err)
{
    struct core *core = calloc(1, sizeof(*core));

    if (core == NULL)
        return err_set(err, -ENOMEM, "no memory for the core");
    core->config = *config;
    core->config.facts = (struct node_facts){0};
    if (node_facts_copy(&core->config.facts, &config->facts) < 0) {
        free(core);
        return err_set(err, -ENOMEM, "no memory for the core");
    }
    if (core->config.n_hints > CORE_MAX_HINTS)
        core->config.n_hints = CORE_MAX_HINTS;
    if (core->config.n_hints > 0)
        memcpy(core->hints, config->hints, core->config.n_hints * sizeof(core->hints[0]));
    core->config.hints = core->hints;
    state_init(&core->state);
    core->node.lapsed = true;
    core->node.wake_us = UINT64_MAX;
    core->lead.wake_us = UINT64_MAX;
    detector_init(&core->lead.detector, config->timers.authority_ms, config->timers.lease_ms);
    *ret = core;
    return 0;
}

void core_free(struct core *core)
{
    if (core == NULL)
        return;
    for (size_t i = 0; i < core->lead.n_peers; i++)
        node_report_deinit(&core->lead.peers[i].report);
    for (size_t i = 0; i < core->lead.n_wishes; i++) {
        if (core->lead.wishes[i].command != NULL)
            command_deinit(core->lead.wishes[i].command);
        free(core->lead.wishes[i].command);
    }
    free(core->lead.peers);
    free(core->lead.wishes);
    free(core->lead.proposals);
    free(core->lead.sagas);
    free(core->lead.failovers);
    free(core->lead.failures);
    free(core->lead.full);
    free(core->lead.drains);
    detector_deinit(&core->lead.detector);
    free(core->node.guests);
    free(core->node.images);
    free(core->node.moves);
    free(core->node.asked);
    free(core->node.paths);
    free(core->taken);
    free(core->node.fabric_bytes);
    free(core->node.keeps);
    node_facts_deinit(&core->config.facts);
    state_deinit(&core->state);
    free(core);
}

/* ---- Raft's role */

static void role(struct core *core, const struct core_event *event)
{
    bool is_new = event->is_leader && (!core->raft_leads || event->term != core->term);

    if (core->raft_leads && (!event->is_leader || is_new)) {
        core->raft_leads = false;
        core->leads = false;
        core->raft_leader = event->leader;
        core_lead_end(core);
    }
    if (event->leader != core->raft_leader && event->leader != 0)
        core->node.beat_soon = true;
    core->raft_leads = event->is_leader;
    core->raft_leader = event->is_leader ? core->config.id : event->leader;
    core->term = event->term;
    if (is_new)
        core_lead_begin(core);
    core_update_leads(core);
}

static void configuration(struct core *core, const struct core_event *event)
{
    core->n_members =
        event->n_members < CORE_MAX_MEMBERS ? event->n_members : (size_t)CORE_MAX_MEMBERS;
    if (core->n_members > 0)
        memcpy(core->members, event->members, core->n_members * sizeof(core->members[0]));
    core->has_members = true;
    core_members_voters(core);
    core->lead.dirty = true;
}

/* ---- messages and answers of the guard */

static void peer_message(struct core *core, const struct core_event *event)
{
    struct message message;

    if (message_decode(event->data, event->size, &message, NULL) < 0)
        return;
    switch (message.type) {
    case MESSAGE_BEAT:
        core_lead_hear(core, event->from, &message.beat);
        break;
    case MESSAGE_ACK:
        core_node_ack(core, event->from, message.ack);
        break;
    case MESSAGE_NOT_LEADER:
        core_node_not_leader(core, event->from, message.not_leader.leader);
        break;
    case MESSAGE_CAPTURE:
        core_move_order(core, event->from, message.capture.migration, &message.capture.room);
        break;
    case MESSAGE_RUNNING:
        core_move_notice(core, event->from, message.migration);
        break;
    case MESSAGE_FACTS:
        core_lead_facts(core, event->from, &message.facts);
        break;
    case MESSAGE_ASK:
        core_asked(core, event->from, message.about);
        break;
    case MESSAGE_PING:
        core_pinged(core, event->from, message.token);
        break;
    case MESSAGE_PONG:
        core_ponged(core, event->from, message.token);
        core_pace_ponged(core, event->from, message.token);
        break;
    case MESSAGE_HEARD:
        core_heard(core, event->from, message.heard.node, message.heard.is_heard);
        break;
    case MESSAGE_LINKS:
        core_lead_links(core, event->from, &message.links);
        break;
    case MESSAGE_TIMELINE:
        if (event->from == core_leader(core))
            core_failover_told(core, message.told.guest, message.told.node, &message.told.timeline);
        break;
    case MESSAGE_TYPE_END:
        break;
    }
    message_deinit(&message);
}

static void list_arrived(struct core *core, const struct guard_reply *reply)
{
    struct node_part *node = &core->node;

    node->list_serial = 0;
    if (reply->code < 0) {
        node->list_again = true;
        node->list_retry_us = core->now + (uint64_t)CORE_RETRY_MS * 1000;
        core_wake_at(&node->wake_us, node->list_retry_us);
        return;
    }
    node->list_done = node->list_generation;
    node->is_listed = true;
    core_guests_list(core, reply->reports, reply->n_reports);
    if (node->list_again) {
        node->list_again = false;
        core_ask_list(core);
    }
}

static void guard_done(struct core *core, const struct core_event *event)
{
    struct node_part *node = &core->node;

    if (event->serial == node->list_serial) {
        list_arrived(core, event->reply);
        return;
    }
    if (core_health_done(core, event->serial, event->reply) || core_protect_sent(core, event))
        return;
    if (event->serial == node->fabric_serial) {
        core_goods_wired(core, event->reply);
        return;
    }
    if (event->serial == node->keeps_serial) {
        core_volumes_kept(core, event->reply);
        return;
    }
    core_goods_unpacked(core, event->serial, event->reply);
    for (size_t i = 0; i < node->n_asked; i++) {
        struct asked asked = node->asked[i];

        if (asked.serial != event->serial)
            continue;
        core_take_out(node->asked, &node->n_asked, sizeof(asked), i);
        core_guests_done(core, &asked, event->reply);
        return;
    }
}

static void dispatch(struct core *core, const struct core_event *event)
{
    switch (event->type) {
    case CORE_TICK:
        break;
    case CORE_COMMITTED:
        core_log_committed(core, event);
        break;
    case CORE_RESTORED:
        core_log_restored(core, event);
        break;
    case CORE_ROLE:
        role(core, event);
        break;
    case CORE_MEMBERSHIP_DONE:
        core_members_done(core, event->serial, event->code);
        break;
    case CORE_PROPOSE_FAILED:
        core_log_failed(core, event);
        break;
    case CORE_STAMP:
        core_node_stamp(core, event);
        break;
    case CORE_PEER_MESSAGE:
        peer_message(core, event);
        break;
    case CORE_GUARD_HELLO:
        core_node_hello(core, &event->hello);
        break;
    case CORE_GUARD_LOST:
        core_node_lost(core);
        break;
    case CORE_GUARD_LIST:
        core_guests_list(core, event->reports, event->n_reports);
        break;
    case CORE_GUARD_LEASE:
        core->node.lapsed = event->lapsed;
        core->node.dirty = true;
        core_node_changed(core);
        break;
    case CORE_GUARD_DONE:
        guard_done(core, event);
        break;
    case CORE_REQUEST:
        core_wish(core, event);
        break;
    case CORE_REQUEST_GONE:
        core_wish_gone(core, event->ticket);
        break;
    case CORE_IMAGE_HELD:
        core_goods_held(core, event->digest);
        break;
    case CORE_IMAGE_FAILED:
        core_goods_failed(core, event->digest);
        break;
    case CORE_CONFIGURATION:
        configuration(core, event);
        break;
    case CORE_LINKS:
        core_links_measured(core, &event->links);
        break;
    case CORE_STREAMS:
        core_pace_streams(core, event->flows, event->n_flows);
        break;
    case CORE_STREAM_ENDED:
        core_move_stream_ended(core, event->migration, event->code);
        break;
    }
}

/* Each part may give the other something to do, but not for ever within one step. */
enum { MAX_ROUNDS = 3 };

static bool run_parts(struct core *core)
{
    bool node_runs = core->node.dirty || core->now >= core->node.wake_us;
    bool leader_runs;

    if (node_runs) {
        core->node.dirty = false;
        core->node.wake_us = UINT64_MAX;
        core_node_run(core);
    }
    leader_runs = core->lead.dirty || core->now >= core->lead.wake_us;
    if (leader_runs) {
        core->lead.dirty = false;
        core->lead.wake_us = UINT64_MAX;
        core_lead_run(core);
    }
    return node_runs || leader_runs;
}

void core_step(struct core *core, const struct core_event *event, uint64_t now,
               struct core_actions *actions)
{
    if (now > core->now)
        core->now = now;
    if (event->wall_s != 0)
        core->wall_s = event->wall_s;
    core->out = actions;
    dispatch(core, event);
    for (int round = 0; round < MAX_ROUNDS && run_parts(core); round++)
        ;
    core_node_beats(core);
    core->out = NULL;
}

uint64_t core_next_deadline(const struct core *core)
{
    uint64_t deadline = core->node.wake_us;

    if (core->node.dirty || core->lead.dirty) /* one part gave the other something to do */
        return core->now;
    if (core->lead.wake_us < deadline)
        deadline = core->lead.wake_us;
    if (core->node.is_connected && core->node.next_beat_us < deadline)
        deadline = core->node.next_beat_us;
    return deadline;
}

/* core: the door, the log, and what its parts share; see core_internal.h. */
#include "agent/core.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core_internal.h"

static const uint8_t no_nonce[NONCE_SIZE];

/* ---- arrays and actions */

void *core_append(void *array_pointer, size_t *n, size_t size)
{
    char *array, *old;

    memcpy(&old, array_pointer, sizeof(old));
    array = realloc(old, (*n + 1) * size);
    if (array == NULL)
        abort(); /* a decision that is half made must not go on */
    memcpy(array_pointer, &array, sizeof(array));
    memset(array + *n * size, 0, size);
    return array + (*n)++ * size;
}

void core_take_out(void *array, size_t *n, size_t size, size_t at)
{
    char *bytes = array;

    memmove(bytes + at * size, bytes + (at + 1) * size, (*n - at - 1) * size);
    *n -= 1;
}

static void action_deinit(struct core_action *action)
{
    free(action->data);
    free(action->ack);
    if (action->guard != NULL)
        guard_request_deinit(action->guard);
    free(action->guard);
    free(action->answer);
    free(action->record);
}

void core_actions_clear(struct core_actions *actions)
{
    for (size_t i = 0; i < actions->n; i++)
        action_deinit(&actions->list[i]);
    actions->n = 0;
}

void core_actions_deinit(struct core_actions *actions)
{
    core_actions_clear(actions);
    free(actions->list);
    *actions = (struct core_actions){0};
}

struct core_action *core_act(struct core *core, enum core_action_type type)
{
    struct core_actions *out = core->out;
    struct core_action *list;

    if (out->n == out->capacity) {
        size_t capacity = out->capacity == 0 ? 8 : out->capacity * 2;

        list = realloc(out->list, capacity * sizeof(*list));
        if (list == NULL)
            abort();
        out->list = list;
        out->capacity = capacity;
    }
    list = &out->list[out->n++];
    *list = (struct core_action){.type = type};
    return list;
}

void core_send(struct core *core, uint64_t to, const struct message *message)
{
    struct writer w;
    size_t size;
    uint8_t *data;
    struct core_action *action;

    writer_init_growing(&w, MESSAGE_MAX_SIZE);
    message_encode(message, &w);
    data = writer_steal(&w, &size);
    if (data == NULL) /* too large: as if it were lost */
        return;
    action = core_act(core, CORE_SEND);
    action->to = to;
    action->data = data;
    action->size = size;
}

void core_record(struct core *core, const char *what, const char *guest, uint64_t node,
                 uint64_t index, const char *format, ...)
{
    struct core_record *record = calloc(1, sizeof(*record));
    va_list args;

    if (record == NULL)
        return;
    snprintf(record->what, sizeof(record->what), "%s", what);
    snprintf(record->guest, sizeof(record->guest), "%s", guest != NULL ? guest : "");
    record->node = node;
    record->index = index;
    va_start(args, format);
    vsnprintf(record->text, sizeof(record->text), format, args);
    va_end(args);
    core_act(core, CORE_EVENT)->record = record;
}

uint32_t core_serial(struct core *core)
{
    core->last_serial = core->last_serial == UINT32_MAX ? 1 : core->last_serial + 1;
    return core->last_serial;
}

const char *core_node_name(const struct core *core, uint64_t id)
{
    const struct node *node = state_node(&core->state, id);

    return node != NULL ? node->name : "?";
}

void core_wake_at(uint64_t *wake_us, uint64_t at_us)
{
    if (at_us < *wake_us)
        *wake_us = at_us;
}

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
    detector_deinit(&core->lead.detector);
    free(core->node.guests);
    free(core->node.images);
    free(core->node.moves);
    free(core->node.asked);
    free(core->node.fabric_bytes);
    node_facts_deinit(&core->config.facts);
    state_deinit(&core->state);
    free(core);
}

/* ---- proposals */

/* Unlike any other request of any run: the salt is fresh at every start. */
static void make_request_id(struct core *core, uint8_t ret[NONCE_SIZE])
{
    uint64_t n = ++core->n_requests_made;

    memcpy(ret, core->config.salt, NONCE_SIZE);
    for (int i = 0; i < 8; i++)
        ret[NONCE_SIZE - 1 - i] ^= (uint8_t)(n >> (8 * i));
}

bool core_propose(struct core *core, struct command *command, enum proposal_kind kind,
                  uint64_t subject, const char *guest)
{
    struct leader_part *lead = &core->lead;
    struct proposal *proposal;
    struct core_action *action;
    struct writer w;
    uint8_t *data;
    size_t size;

    if (lead->n_proposals >= CORE_MAX_PROPOSALS || core->now < lead->propose_after_us) {
        core_wake_at(&lead->wake_us, lead->propose_after_us);
        return false;
    }
    if (memcmp(command->request, no_nonce, NONCE_SIZE) == 0)
        make_request_id(core, command->request);
    if (command->time_s == 0)
        command->time_s = core->wall_s;
    writer_init_growing(&w, COMMAND_MAX_SIZE);
    command_encode(command, &w);
    data = writer_steal(&w, &size);
    if (data == NULL)
        return false;
    proposal = core_append(&lead->proposals, &lead->n_proposals, sizeof(*proposal));
    memcpy(proposal->request, command->request, NONCE_SIZE);
    proposal->kind = kind;
    proposal->subject = subject;
    snprintf(proposal->guest, sizeof(proposal->guest), "%s", guest != NULL ? guest : "");
    proposal->sent_us = core->now;
    action = core_act(core, CORE_PROPOSE);
    memcpy(action->request, command->request, NONCE_SIZE);
    action->data = data;
    action->size = size;
    return true;
}

bool core_is_proposed(const struct core *core, enum proposal_kind kind, uint64_t subject,
                      const char *guest)
{
    for (size_t i = 0; i < core->lead.n_proposals; i++) {
        const struct proposal *p = &core->lead.proposals[i];

        if (p->kind == kind && (subject == 0 || p->subject == subject) &&
            (guest == NULL || strcmp(p->guest, guest) == 0))
            return true;
    }
    return false;
}

/* Takes the proposal of this request out of the list. */
static bool take_proposal(struct core *core, const uint8_t request[NONCE_SIZE],
                          struct proposal *ret)
{
    struct leader_part *lead = &core->lead;

    for (size_t i = 0; i < lead->n_proposals; i++) {
        if (memcmp(lead->proposals[i].request, request, NONCE_SIZE) != 0)
            continue;
        *ret = lead->proposals[i];
        core_take_out(lead->proposals, &lead->n_proposals, sizeof(*lead->proposals), i);
        return true;
    }
    return false;
}

static void proposal_applied(struct core *core, const struct proposal *proposal,
                             const struct outcome *outcome)
{
    if (proposal->kind == PROPOSAL_WISH)
        core_wish_outcome(core, proposal->subject, outcome);
    else
        core_lead_outcome(core, proposal, outcome->code);
}

static void proposal_failed(struct core *core, const struct core_event *event)
{
    struct proposal proposal;

    if (!take_proposal(core, event->request, &proposal))
        return;
    core->lead.propose_after_us = core->now + 20000;
    core->lead.dirty = true;
    if (proposal.kind == PROPOSAL_WISH)
        core_wish_failed(core, proposal.subject, event->code);
    else if (event->code != -EAGAIN) /* an unknown outcome stays open until the term is over */
        core_lead_outcome(core, &proposal, event->code);
}

/* ---- the log */

static void update_leads(struct core *core)
{
    bool leads = core->raft_leads && core->state.leader == core->config.id &&
                 core->state.leader_term == core->term;

    if (leads && !core->leads) {
        core->lead.dirty = true;
        core_record(core, "leader", NULL, core->config.id, core->state.index, "leads in term %llu",
                    (unsigned long long)core->term);
    }
    core->leads = leads;
}

/* The guest's record in the log, for people. */
static void record_guest(struct core *core, const char *what, const char *name,
                         const struct outcome *outcome)
{
    const struct guest *guest = state_guest(&core->state, name);
    uint64_t node = guest != NULL ? guest->placement.node : 0;

    core_record(core, what, name, node, outcome->index, "%s",
                node != 0 ? core_node_name(core, node) : "");
}

static void record_command(struct core *core, const struct command *command,
                           const struct outcome *outcome)
{
    const char *what = command_type_name(command->type);

    switch (command->type) {
    case COMMAND_GUEST_CREATE:
        record_guest(core, what, command->guest_create.spec.name, outcome);
        break;
    case COMMAND_GUEST_PLACE:
    case COMMAND_GUEST_START:
        record_guest(core, what, command->guest_place.name, outcome);
        break;
    case COMMAND_GUEST_STOPPED:
        record_guest(core, what, command->guest_stopped.name, outcome);
        break;
    case COMMAND_GUEST_STOP:
    case COMMAND_GUEST_REMOVE:
        record_guest(core, what, command->by_name.name, outcome);
        break;
    case COMMAND_MIGRATION_RESERVE:
        record_guest(core, what, command->migration_reserve.guest, outcome);
        break;
    case COMMAND_MIGRATION_COMMIT:
    case COMMAND_MIGRATION_ABORT:
    case COMMAND_MIGRATION_DONE:
        core_record(core, what, NULL, 0, outcome->index, "%llu %s",
                    (unsigned long long)command->migration_step.id, command->migration_step.reason);
        break;
    case COMMAND_NODE_LOST:
    case COMMAND_NODE_REBOOTED:
    case COMMAND_NODE_RETURNED:
        core_record(core, what, NULL, command->node_event.node, outcome->index, "%s",
                    core_node_name(core, command->node_event.node));
        break;
    case COMMAND_NODE_JOIN:
        core_record(core, what, NULL, outcome->id, outcome->index, "%s", command->node_join.name);
        break;
    case COMMAND_IMAGE_HELD:
        break;
    default:
        core_record(core, what, NULL, 0, outcome->index, "%s", "");
    }
}

static bool changes_members(enum command_type type)
{
    return type == COMMAND_CLUSTER_INIT || type == COMMAND_NODE_JOIN ||
           type == COMMAND_NODE_FACTS || type == COMMAND_NODE_REMOVE;
}

static void stop_when_removed(struct core *core, const struct command *command,
                              const struct outcome *outcome)
{
    struct answer *answer;

    if (command->type != COMMAND_NODE_REMOVE || outcome->id != core->config.id)
        return;
    answer = calloc(1, sizeof(*answer));
    if (answer == NULL)
        abort();
    answer->kind = ANSWER_DONE;
    snprintf(answer->text, sizeof(answer->text), "this node was removed from the cluster");
    core_act(core, CORE_STOP)->answer = answer;
}

/* An image's digest, before the command that removes it. */
static bool digest_to_drop(const struct core *core, const struct command *command,
                           uint8_t ret[DIGEST_SIZE])
{
    const struct image *image = command->type == COMMAND_IMAGE_REMOVE
                                    ? state_image(&core->state, command->by_name.name)
                                    : NULL;

    if (image != NULL)
        memcpy(ret, image->digest, DIGEST_SIZE);
    return image != NULL;
}

static void applied(struct core *core, const struct command *command, const struct outcome *outcome)
{
    if (changes_members(command->type))
        core_act(core, CORE_MEMBERS);
    if (command->type == COMMAND_GUEST_REMOVE)
        core_guests_removed(core, command->by_name.name);
    if (command->type == COMMAND_MIGRATION_DONE || command->type == COMMAND_MIGRATION_ABORT)
        core_wish_migration_over(core, command->migration_step.id,
                                 command->type == COMMAND_MIGRATION_ABORT,
                                 command->migration_step.reason);
    if (command->type != COMMAND_IMAGE_HELD)
        core->node.fabric_dirty = true;
    record_command(core, command, outcome);
    stop_when_removed(core, command, outcome);
}

static void everything_changed(struct core *core)
{
    update_leads(core);
    detector_sync(&core->lead.detector, &core->state, core->now);
    core_members_voters(core);
    core->node.dirty = true;
    core->lead.dirty = true;
}

static void committed(struct core *core, const struct core_event *event)
{
    struct command command;
    struct outcome outcome;
    struct proposal proposal;
    uint8_t digest[DIGEST_SIZE];
    bool drops, is_ours;

    if (event->index <= core->state.index) /* a snapshot brought it already */
        return;
    if (event->size == 0 || command_decode(event->data, event->size, &command, NULL) < 0) {
        state_skip(&core->state, event->index, event->term);
        core->node.dirty = true;
        return;
    }
    drops = digest_to_drop(core, &command, digest);
    is_ours = take_proposal(core, command.request, &proposal);
    state_apply(&core->state, event->index, event->term, &command, &outcome);
    everything_changed(core);
    if (outcome.code == 0 && outcome.index == event->index) {
        applied(core, &command, &outcome);
        if (drops)
            core_goods_dropped(core, digest);
    }
    if (is_ours)
        proposal_applied(core, &proposal, &outcome);
    command_deinit(&command);
}

/* Outcomes of what was proposed, as far as the snapshot remembers them. */
static void settle_proposals(struct core *core)
{
    for (size_t i = 0; i < core->state.n_requests; i++) {
        struct proposal proposal;

        if (take_proposal(core, core->state.requests[i].request, &proposal))
            proposal_applied(core, &proposal, &core->state.requests[i].outcome);
    }
}

static void restored(struct core *core, const struct core_event *event)
{
    struct state state;
    struct err err = {0};

    if (event->index < core->state.index)
        return;
    if (state_restore(&state, event->data, event->size, &err) < 0) {
        core_record(core, "snapshot-refused", NULL, 0, event->index, "%s", err.text);
        return;
    }
    state_deinit(&core->state);
    core->state = state;
    core->node.fabric_dirty = true;
    everything_changed(core);
    settle_proposals(core);
    core_act(core, CORE_MEMBERS);
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
    update_leads(core);
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
        core_move_order(core, event->from, message.migration);
        break;
    case MESSAGE_RUNNING:
        core_move_notice(core, event->from, message.migration);
        break;
    case MESSAGE_FACTS:
        core_lead_facts(core, event->from, &message.facts);
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
    if (event->serial == node->fabric_serial) {
        core_goods_wired(core, event->reply);
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
        committed(core, event);
        break;
    case CORE_RESTORED:
        restored(core, event);
        break;
    case CORE_ROLE:
        role(core, event);
        break;
    case CORE_MEMBERSHIP_DONE:
        core_members_done(core, event->serial, event->code);
        break;
    case CORE_PROPOSE_FAILED:
        proposal_failed(core, event);
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

/* log: what is proposed, and what the log brings; see core/internal.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

static const uint8_t no_nonce[NONCE_SIZE];

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

void core_log_failed(struct core *core, const struct core_event *event)
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

void core_update_leads(struct core *core)
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

/* The guest stays, or is again, where it was. */
static bool is_undone(const struct command *command)
{
    return command->type == COMMAND_MIGRATION_ABORT || command->type == COMMAND_MIGRATION_RETURN;
}

static bool had_no_room(const struct core *core, uint64_t node, uint64_t migration)
{
    const struct move_report *report = core_move_report(core, node, migration);

    return report != NULL && report->failed && report->no_room;
}

/* A migration, before the command that ends it. */
static bool move_to_end(const struct core *core, const struct command *command,
                        struct ended_move *ret)
{
    bool ends = command->type == COMMAND_MIGRATION_DONE || is_undone(command);
    const struct migration *m =
        ends ? state_migration(&core->state, command->migration_step.id) : NULL;

    if (m == NULL)
        return false;
    *ret = (struct ended_move){
        .id = m->id, .from = m->from, .to = m->to, .was_aborted = is_undone(command)};
    ret->had_no_room = had_no_room(core, m->from, m->id) || had_no_room(core, m->to, m->id);
    memcpy(ret->text, command->migration_step.reason, sizeof(ret->text));
    return true;
}

static void applied(struct core *core, const struct command *command, const struct outcome *outcome,
                    uint64_t proposed_us)
{
    if (changes_members(command->type))
        core_act(core, CORE_MEMBERS);
    if (command->type == COMMAND_NODE_LOST || command->type == COMMAND_NODE_REBOOTED)
        core_failover_lost(core, command, outcome->index, proposed_us);
    core_failovers_run(core);
    core_protect_applied(core, command, outcome);
    if (command->type != COMMAND_IMAGE_HELD && command->type != COMMAND_GUEST_CHECKPOINT)
        core->node.fabric_dirty = true;
    stop_when_removed(core, command, outcome);
}

/* What the log says counts from its first entry on, for leader and node alike. */
static void use_timers(struct core *core)
{
    const struct timers *timers = &core->state.timers;

    if (core->state.n_nodes == 0)
        return;
    core->config.timers = *timers;
    detector_set_timers(&core->lead.detector, timers->authority_ms, timers->lease_ms);
}

static void everything_changed(struct core *core)
{
    use_timers(core);
    core_update_leads(core);
    detector_sync(&core->lead.detector, &core->state, core->now);
    core_members_voters(core);
    core->node.dirty = true;
    core->lead.dirty = true;
}

void core_log_committed(struct core *core, const struct core_event *event)
{
    struct command command;
    struct outcome outcome;
    struct proposal proposal;
    struct core_subject subject;
    struct ended_move end = {0};
    uint8_t digest[DIGEST_SIZE];
    bool drops, ends, is_ours;

    if (event->index <= core->state.index) /* a snapshot brought it already */
        return;
    if (event->size == 0 || command_decode(event->data, event->size, &command, NULL) < 0) {
        state_skip(&core->state, event->index, event->term);
        core->node.dirty = true;
        return;
    }
    drops = digest_to_drop(core, &command, digest);
    ends = move_to_end(core, &command, &end);
    core_subject_of(core, &command, &subject);
    is_ours = take_proposal(core, command.request, &proposal);
    state_apply(&core->state, event->index, event->term, &command, &outcome);
    everything_changed(core);
    if (outcome.code == 0 && outcome.index == event->index) {
        applied(core, &command, &outcome, is_ours ? proposal.sent_us : core->now);
        core_record_command(core, &command, &subject, &outcome);
        if (end.had_no_room)
            core_target_full(core, subject.guest, end.to);
        if (is_undone(&command))
            core_drain_failed(core, subject.guest, end.text, end.had_no_room);
        if (drops)
            core_goods_dropped(core, digest);
        if (ends)
            core_move_ended(core, &end);
    }
    if (is_ours)
        proposal_applied(core, &proposal, &outcome);
    core_subject_deinit(&subject);
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

void core_log_restored(struct core *core, const struct core_event *event)
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

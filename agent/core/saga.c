/* saga: the leader's part of migrations: carries out what migrate/saga advises; see
 * core/internal.h. */
#include <stdio.h>
#include <string.h>

#include "agent/core/internal.h"

const struct move_report *core_move_report(const struct core *core, uint64_t node, uint64_t id)
{
    const struct peer *peer = core_peer(core, node);

    for (uint32_t i = 0; peer != NULL && i < peer->report.n_moves; i++) {
        if (peer->report.moves[i].id == id)
            return &peer->report.moves[i];
    }
    return NULL;
}

/* The source was lost, or booted again, since the migration began: what it had is gone. */
static bool source_is_gone(const struct core *core, const struct migration *m)
{
    const struct node *source = state_node(&core->state, m->from);

    return source == NULL || source->state != NODE_UP || source->epoch > m->id;
}

static enum saga_copy heard_copy(const struct core *core, const struct migration *m, bool is_source)
{
    const struct peer *peer = core_peer(core, is_source ? m->from : m->to);
    const struct guard_report *report = NULL;
    uint64_t since = m->phase == MIGRATION_RESERVED ? m->id : m->target.epoch;

    if (is_source && source_is_gone(core, m))
        return SAGA_COPY_NONE;
    /* A report of a state before the reservation says nothing of it, nor one of before the commit
     * what became of that. */
    if (peer == NULL || !peer->has_report || peer->applied_index < since)
        return SAGA_COPY_UNHEARD;
    for (uint32_t i = 0; i < peer->report.n_guests; i++) {
        if (strcmp(peer->report.guests[i].guest, m->guest) == 0)
            report = &peer->report.guests[i];
    }
    return core_copy_of(report, m, is_source);
}

static void leader_facts(const struct core *core, const struct migration *m, struct saga_facts *ret)
{
    const struct move_report *source = core_move_report(core, m->from, m->id);
    const struct move_report *target = core_move_report(core, m->to, m->id);

    *ret = (struct saga_facts){
        .phase = core_phase_of(m),
        .source = heard_copy(core, m, true),
        .target = heard_copy(core, m, false),
        .source_failed = source != NULL && source->failed,
        .target_failed = target != NULL && target->failed,
        .is_lazy = source != NULL && source->mode == MOVE_POST,
        .memory_here = target != NULL && target->memory_here,
        .target_activates = target != NULL && target->activates,
        .never_ran = target != NULL && target->never_ran,
        .source_text = source != NULL ? source->text : "",
        .target_text = target != NULL ? target->text : "",
    };
}

static void propose_step(struct core *core, const struct saga *saga, const struct saga_facts *facts,
                         enum command_type type)
{
    struct command command = {.type = type};

    if (core_is_proposed(core, PROPOSAL_SAGA, saga->id, NULL))
        return;
    command.migration_step.id = saga->id;
    command.migration_step.is_lazy =
        type == COMMAND_MIGRATION_COMMIT ? facts->is_lazy : facts->phase == SAGA_PHASE_HANDOVER;
    if (type == COMMAND_MIGRATION_ABORT || type == COMMAND_MIGRATION_RETURN)
        memcpy(command.migration_step.reason, saga->reason, sizeof(saga->reason));
    core_propose(core, &command, PROPOSAL_SAGA, saga->id, NULL);
}

static void order_capture(struct core *core, const struct migration *m)
{
    const struct move_report *target = core_move_report(core, m->to, m->id);
    struct message message = {.type = MESSAGE_CAPTURE, .capture.migration = m->id};

    if (target != NULL)
        message.capture.room = target->room;
    if (m->from == core->config.id)
        core_move_order(core, core->config.id, m->id, &message.capture.room);
    else
        core_send(core, m->from, &message);
}

static void saga_run(struct core *core, struct saga *saga, const struct migration *m)
{
    const struct move_report *source = core_move_report(core, m->from, m->id);
    struct saga_facts facts;

    leader_facts(core, m, &facts);
    /* Of one whose source picked rounds, or sends its files ahead. */
    if (source != NULL && (source->progress.is_files || source->progress.round > 0))
        saga->is_live = true;
    switch (saga_step(saga, &facts, core->now)) {
    case SAGA_WAIT:
        break;
    case SAGA_ORDER_CAPTURE:
        order_capture(core, m);
        break;
    case SAGA_PROPOSE_COMMIT:
        propose_step(core, saga, &facts, COMMAND_MIGRATION_COMMIT);
        break;
    case SAGA_PROPOSE_ABORT:
        propose_step(core, saga, &facts, COMMAND_MIGRATION_ABORT);
        break;
    case SAGA_PROPOSE_DONE:
        propose_step(core, saga, &facts, COMMAND_MIGRATION_DONE);
        break;
    case SAGA_PROPOSE_RETURN:
        propose_step(core, saga, &facts, COMMAND_MIGRATION_RETURN);
        break;
    }
    core_wake_at(&core->lead.wake_us, saga_deadline(saga));
    if (saga->step == SAGA_COPYING)
        core_wake_at(&core->lead.wake_us, core->now + (uint64_t)SAGA_ORDER_AGAIN_MS * 1000);
}

static struct saga *saga_of(struct core *core, const struct migration *m)
{
    const struct guest *guest = state_guest(&core->state, m->guest);
    struct leader_part *lead = &core->lead;
    struct saga *saga;

    for (size_t i = 0; i < lead->n_sagas; i++) {
        if (lead->sagas[i].id == m->id)
            return &lead->sagas[i];
    }
    saga = core_append(&lead->sagas, &lead->n_sagas, sizeof(*saga));
    saga_init(saga, m->id, core->now);
    saga->is_live = (guest != NULL && guest->spec.kind == KIND_VM) || m->terms.mode == MOVE_PRE;
    return saga;
}

void core_sagas_run(struct core *core)
{
    struct leader_part *lead = &core->lead;

    for (size_t i = lead->n_sagas; i-- > 0;) {
        uint64_t id = lead->sagas[i].id;

        if (state_migration(&core->state, id) != NULL)
            continue;
        core_take_out(lead->sagas, &lead->n_sagas, sizeof(*lead->sagas), i);
        core_move_ended(core, &(struct ended_move){
                                  .id = id, .was_aborted = true, .text = "a node of it was lost"});
    }
    for (size_t i = 0; i < core->state.n_migrations; i++)
        saga_run(core, saga_of(core, &core->state.migrations[i]), &core->state.migrations[i]);
}

bool core_saga_holds_loss(const struct core *core, uint64_t node)
{
    for (size_t i = 0; i < core->state.n_migrations; i++) {
        const struct migration *m = &core->state.migrations[i];
        struct saga_facts facts;

        leader_facts(core, m, &facts);
        if (m->from == node && saga_is_verified(&facts) && !facts.source_failed &&
            !facts.target_failed)
            return true;
    }
    return false;
}

void core_migration_view(const struct core *core, const struct migration *m, uint64_t now,
                         struct migration_view *ret)
{
    const struct move_report *source = core_move_report(core, m->from, m->id);

    *ret = (struct migration_view){.text = "", .bytes = source != NULL ? source->bytes : 0};
    if (source != NULL) {
        ret->progress = source->progress;
        ret->rate_kbps = source->rate_kbps;
    }
    for (size_t i = 0; core->leads && i < core->lead.n_sagas; i++) {
        const struct saga *saga = &core->lead.sagas[i];

        if (saga->id != m->id)
            continue;
        ret->step = saga_step_name(saga->step);
        ret->step_ms = now > saga->since_us ? (now - saga->since_us) / 1000 : 0;
        ret->text = saga->reason;
    }
}

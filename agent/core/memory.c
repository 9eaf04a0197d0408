/* memory: a guest's memory on its way: what its source is told, how far it is, and what
 * follows a handover; see core/internal.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/internal.h"

static uint32_t less_of(uint32_t a, uint32_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* What leaves this node in the classes that a move gives way to. */
static uint32_t used_kbps(const struct backhaul *links)
{
    uint32_t kbps = 0;

    if (!links->has_queues)
        return links->out.kbps;
    for (int i = 0; i < BACKHAUL_BULK; i++)
        kbps += links->queues[i].kbps;
    return kbps;
}

/* What is free of the slower uplink, as far as this node knows. */
static uint32_t free_kbps(const struct core *core, const struct node *from, const struct node *to)
{
    uint32_t kbps = from->facts.backhaul_kbps, used = used_kbps(&core->node.links);

    if (kbps != 0)
        kbps = used < kbps ? kbps - used : 1;
    return less_of(kbps, to->facts.backhaul_kbps);
}

void core_move_wish(const struct core *core, const struct guest *guest, uint64_t from, uint64_t to,
                    const struct move_terms *terms, struct mode_wish *ret)
{
    const struct node *source = state_node(&core->state, from);
    const struct node *target = state_node(&core->state, to);

    *ret = (struct mode_wish){.terms = *terms,
                              .allows_post = guest != NULL && core_allows_post(&guest->spec)};
    if (source == NULL || target == NULL)
        return;
    ret->link_kbps = free_kbps(core, source, target);
    ret->copy_kbps = from == core->config.id ? core->node.copy_kbps : 0;
    ret->target_can_lazy = target->facts.can_lazy;
    memcpy(ret->target, target->name, sizeof(ret->target));
}

/* One that kept to a bandwidth, or copied a guest that ran, says nothing of what can be had. */
void core_move_measured(struct core *core, uint64_t id, const struct guard_reply *reply)
{
    const struct migration *m = state_migration(&core->state, id);

    if (m == NULL || m->terms.bandwidth_kbps != 0 || reply->mode != MOVE_STOP ||
        reply->handed_over_us <= reply->frozen_us)
        return;
    core->node.copy_kbps = mode_measure(core->node.copy_kbps, reply->progress.total_bytes,
                                        reply->handed_over_us - reply->frozen_us);
}

void core_ask_beside(struct core *core, struct local_guest *local, enum guard_op op, uint64_t epoch,
                     uint64_t migration)
{
    uint32_t busy = local->busy;

    if (core_is_asked(core, op, migration))
        return;
    core_ask(core, op, local->name, epoch, migration);
    local->busy = busy;
}

/* How far a capture, or memory that follows, is: only while there is something to ask about. */
void core_move_watch(struct core *core)
{
    for (size_t i = 0; i < core->state.n_migrations; i++) {
        const struct migration *m = &core->state.migrations[i];
        struct local_guest *local = core_local_guest(core, m->guest);
        struct local_move *move = core_move_of(core, m->id);
        bool captures = core_is_asked(core, GUARD_CAPTURE, m->id);

        if (m->from != core->config.id || local == NULL || !core->node.is_connected ||
            (!captures && m->phase != MIGRATION_HANDOVER))
            continue;
        move = move != NULL ? move : core_move_made(core, m->id);
        if (core->now >= move->progress_us + (uint64_t)CORE_PROGRESS_MS * 1000) {
            move->progress_us = core->now;
            core_ask_beside(core, local, GUARD_PROGRESS, m->source_epoch, m->id);
        }
        core_wake_at(&core->node.wake_us, move->progress_us + (uint64_t)CORE_PROGRESS_MS * 1000);
    }
}

/* ---- the leader's and the target's words to the source */

void core_move_order(struct core *core, uint64_t from, uint64_t id, const struct node_room *room)
{
    const struct migration *m = state_migration(&core->state, id);
    struct local_guest *local;

    if (m == NULL || m->from != core->config.id || from != core->state.leader)
        return; /* the leader tells again */
    local = core_local_guest(core, m->guest);
    if (local == NULL)
        return;
    core_move_made(core, id)->room = *room;
    local->capture_order = id;
    core->node.dirty = true;
}

void core_move_notice(struct core *core, uint64_t from, uint64_t id)
{
    const struct migration *m = state_migration(&core->state, id);
    struct local_move *move = core_move_of(core, id);

    if (move == NULL || move->frozen_us == 0 || move->report.blackout_us != 0 ||
        core->now < move->frozen_us || (m != NULL && m->to != from))
        return;
    move->report.blackout_us = (uint32_t)(core->now - move->frozen_us);
    core_node_changed(core);
}

/* ---- the stream by which it left */

/* It may be an earlier attempt's, heard late: then the move is undone for nothing, and nothing is
 * lost but time. */
void core_move_stream_ended(struct core *core, uint64_t id, int code)
{
    const struct migration *m = state_migration(&core->state, id);
    struct local_move *move;

    if (m == NULL || m->from != core->config.id || code == 0)
        return;
    move = core_move_made(core, id);
    move->stream_code = code;
    move->word_us = core->now;
    if (code != -ETIMEDOUT)
        move->word_us += (uint64_t)SAGA_LAST_WORD_MS * 1000;
    core->node.dirty = true;
}

/* What was on its way when the stream broke is lost. One that was cut amid its capture has words of
 * its own; else the guest stands still. */
static void give_up_stream(struct core *core, const struct migration *m, struct local_move *move)
{
    move->report.failed = true;
    if (!move->is_cut)
        snprintf(move->report.text, sizeof(move->report.text), "%s: %s%s", m->guest,
                 move->stream_code == -ETIMEDOUT ? "nothing is acknowledged any more by node "
                                                 : "the stream broke to node ",
                 core_node_name(core, m->to));
    core_record(core, "migration-step-failed", m->guest, core->config.id, m->id, "%s",
                move->report.text);
    core_node_changed(core);
}

/* Nobody stands still while files or rounds of memory go ahead, nor for memory that follows. A
 * machine's stream is awaited all the way: it tells of its own halt too late. */
static bool is_calm(const struct core *core, const struct migration *m,
                    const struct local_move *move, enum guest_kind kind)
{
    const struct local_guest *local = core_local_guest((struct core *)core, m->guest);

    if (m->phase == MIGRATION_HANDOVER)
        return true;
    return kind != KIND_VM && m->phase == MIGRATION_RESERVED && !move->is_captured &&
           (move->report.progress.round > 0 || move->report.progress.is_files) && local != NULL &&
           (local->report.frozen_by & FROZEN_BY_MIGRATION) == 0;
}

static void set_stream(struct core *core, const struct migration *m, struct local_move *move)
{
    const struct guest *guest = state_guest(&core->state, m->guest);
    enum guest_kind kind = guest != NULL ? guest->spec.kind : KIND_CELL;
    bool calm = is_calm(core, m, move, kind);
    struct core_action *action;

    if (calm == move->is_calm)
        return;
    move->is_calm = calm;
    action = core_act(core, CORE_SET_STREAM);
    action->migration = m->id;
    action->patience_ms = calm ? 0 : saga_patience_ms(kind == KIND_VM, m->terms.downtime_ms);
    action->manner = calm ? PACE_AWAITED : core_pace_manner(kind, m->terms.mode);
}

/* A capture that is under way fails by itself. After it nobody at the source writes any more, and
 * the target may hear nothing of the end for long. */
void core_move_watch_stream(struct core *core, const struct migration *m)
{
    struct local_move *move = core_move_of(core, m->id);
    bool is_broken;

    if (m->from != core->config.id || move == NULL)
        return;
    set_stream(core, m, move);
    is_broken = move->is_cut || (move->is_captured && move->stream_code != 0);
    if (!is_broken || m->phase != MIGRATION_RESERVED || move->report.failed)
        return;
    if (core->now < move->word_us)
        core_wake_at(&core->node.wake_us, move->word_us);
    else
        give_up_stream(core, m, move);
}

/* ---- how far it is, and what followed */

void core_move_progressed(struct core *core, const struct asked *asked,
                          const struct guard_reply *reply)
{
    struct local_move *move = core_move_of(core, asked->migration);
    const struct move_progress *now = &reply->progress;
    struct move_progress *was;
    uint64_t ms;

    if (reply->code < 0 || move == NULL || now->total_bytes == 0)
        return;
    was = &move->report.progress;
    ms = (core->now - move->heard_us) / 1000;
    if (now->is_files == was->is_files && now->done_bytes > was->done_bytes &&
        move->heard_us != 0 && ms > 0)
        move->report.rate_kbps = (uint32_t)((now->done_bytes - was->done_bytes) * 8 / ms);
    move->heard_us = core->now;
    if (now->done_bytes == was->done_bytes && now->total_bytes == was->total_bytes &&
        now->is_files == was->is_files && now->blackout_ms == was->blackout_ms)
        return;
    *was = *now;
    core_node_changed(core);
}

void core_move_awaited(struct core *core, const struct asked *asked,
                       const struct guard_reply *reply)
{
    struct local_move *move = core_move_of(core, asked->migration);

    core->node.dirty = true;
    if (reply->code < 0 && reply->code != -EREMOTEIO) /* asked again, as long as it runs */
        return;
    move = move != NULL ? move : core_move_made(core, asked->migration);
    move->report.memory_here = reply->code == 0;
    if (reply->code < 0 && !move->report.failed)
        core_move_failed(core, move, asked, reply);
    core_node_changed(core);
}

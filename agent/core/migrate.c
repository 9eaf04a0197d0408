/* migrate: carries out what migrate/saga decides for the source and the target; see
 * core/internal.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

/* ---- what there is */

enum saga_phase core_phase_of(const struct migration *m)
{
    return m->phase == MIGRATION_COMMITTED  ? SAGA_PHASE_COMMITTED
           : m->phase == MIGRATION_HANDOVER ? SAGA_PHASE_HANDOVER
                                            : SAGA_PHASE_RESERVED;
}

static enum saga_copy source_copy(const struct guard_report *report, const struct migration *m)
{
    if (report == NULL || report->epoch != m->source_epoch)
        return SAGA_COPY_NONE;
    switch (report->state) {
    case GUEST_RUNNING:
        return SAGA_COPY_RUNNING;
    case GUEST_FROZEN:
        return (report->frozen_by & FROZEN_BY_MIGRATION) != 0 ? SAGA_COPY_BUSY : SAGA_COPY_RUNNING;
    case GUEST_HANDED_OVER:
        return SAGA_COPY_HANDED_OVER;
    case GUEST_EXITED:
        return SAGA_COPY_ENDED;
    default:
        return SAGA_COPY_BUSY;
    }
}

static enum saga_copy target_copy(const struct guard_report *report, const struct migration *m)
{
    bool is_owner = report != NULL && m->target.epoch != 0 && report->epoch == m->target.epoch;

    if (report == NULL || (!is_owner && report->migration != m->id))
        return SAGA_COPY_NONE;
    switch (report->state) {
    case GUEST_PREPARED:
        return SAGA_COPY_PREPARED;
    case GUEST_RECEIVED:
        return SAGA_COPY_RECEIVED;
    case GUEST_RUNNING:
    case GUEST_FROZEN:
        return is_owner ? SAGA_COPY_RUNNING : SAGA_COPY_BUSY;
    case GUEST_EXITED:
        return SAGA_COPY_ENDED;
    default:
        return SAGA_COPY_BUSY;
    }
}

enum saga_copy core_copy_of(const struct guard_report *report, const struct migration *m,
                            bool is_source)
{
    return is_source ? source_copy(report, m) : target_copy(report, m);
}

const struct migration *core_move_here(const struct core *core, const char *guest)
{
    for (size_t i = 0; i < core->state.n_migrations; i++) {
        const struct migration *m = &core->state.migrations[i];

        if ((m->from == core->config.id || m->to == core->config.id) &&
            strcmp(m->guest, guest) == 0)
            return m;
    }
    return NULL;
}

struct local_move *core_move_of(const struct core *core, uint64_t id)
{
    for (size_t i = 0; i < core->node.n_moves; i++) {
        if (core->node.moves[i].report.id == id)
            return &core->node.moves[i];
    }
    return NULL;
}

struct local_move *core_move_made(struct core *core, uint64_t id)
{
    struct local_move *move = core_move_of(core, id);

    if (move == NULL) {
        move = core_append(&core->node.moves, &core->node.n_moves, sizeof(*move));
        move->report.id = id;
    }
    return move;
}

bool core_is_asked(const struct core *core, enum guard_op op, uint64_t migration)
{
    for (size_t i = 0; i < core->node.n_asked; i++) {
        if (core->node.asked[i].op == op && core->node.asked[i].migration == migration)
            return true;
    }
    return false;
}

/* The guard calls a copy handed over from the first byte on, and thaws it by itself should the
 * capture fail: the leader hears "handed over" only once the capture's end was heard here. A copy
 * is prepared from the first step on, too: a source that froze then would wait, frozen. */
struct guard_report core_move_masked(const struct core *core, const struct guard_report *report)
{
    const struct local_move *move = core_move_of(core, report->migration);
    struct guard_report masked = *report;

    if (report->state == GUEST_PREPARED && core_is_asked(core, GUARD_PREPARE, report->migration))
        masked.state = GUEST_STARTING;
    if (report->state == GUEST_HANDED_OVER && (move == NULL || !move->is_captured))
        masked.state = report->frozen_by != 0 ? GUEST_FROZEN : GUEST_RUNNING; /* copied live */
    return masked;
}

static void end_streams(struct core *core)
{
    for (size_t i = 0; i < core->node.n_asked; i++) {
        struct asked *asked = &core->node.asked[i];

        if ((asked->op != GUARD_RECEIVE && asked->op != GUARD_CAPTURE) || asked->is_ended ||
            state_migration(&core->state, asked->migration) != NULL)
            continue;
        asked->is_ended = true;
        core_act(core, CORE_END_STREAM)->migration = asked->migration;
    }
}

/* Moves that left the state are remembered for a while: their figures are still asked for. */
void core_moves_tidy(struct core *core)
{
    struct node_part *node = &core->node;

    end_streams(core);
    for (size_t i = node->n_moves; i-- > 0;) {
        struct local_move *move = &node->moves[i];

        if (state_migration(&core->state, move->report.id) != NULL) {
            move->over_us = 0;
            continue;
        }
        if (move->over_us == 0)
            move->over_us = core->now + (uint64_t)CORE_MOVE_KEPT_MS * 1000;
        if (core->now >= move->over_us) {
            core_take_out(node->moves, &node->n_moves, sizeof(*move), i);
            node->report_version++;
        } else {
            core_wake_at(&node->wake_us, move->over_us);
        }
    }
}

/* ---- source and target */

static void tell_running(struct core *core, const struct migration *m)
{
    struct message message = {.type = MESSAGE_RUNNING, .migration = m->id};

    core_send(core, m->from, &message);
}

/* The target tells the source again with each beat, until the migration is done. */
static void keep_telling(struct core *core, struct local_guest *local, const struct migration *m)
{
    if (core->now >= local->notice_us) {
        local->notice_us = core->now + (uint64_t)core->config.timers.beat_ms * 1000;
        tell_running(core, m);
    }
    core_wake_at(&core->node.wake_us, local->notice_us);
}

static bool needs_switch(const struct core *core, const struct migration *m)
{
    const struct guest *guest = state_guest(&core->state, m->guest);

    return guest != NULL && guest->spec.slice[0] != '\0';
}

/* Its guard knows of the commit, or was told just now: it thaws the guest when its switch has
 * chosen it, and restores it meanwhile. */
static bool switch_is_told(const struct core *core, uint64_t epoch)
{
    const struct node_part *node = &core->node;

    return node->fabric_index >= epoch ||
           (node->fabric_serial != 0 && node->fabric_asked_index >= epoch);
}

/* Lost, rebooted or back since the handover: whatever it held is not held any more. */
static bool source_is_gone(const struct core *core, const struct migration *m)
{
    const struct node *source = state_node(&core->state, m->from);

    return m->phase == MIGRATION_HANDOVER &&
           (source == NULL || source->state == NODE_LOST || source->epoch > m->target.epoch);
}

static void local_facts(struct core *core, struct local_guest *local, const struct migration *m,
                        struct saga_local *ret)
{
    const struct local_move *move = core_move_of(core, m->id);
    const struct guest *guest = state_guest(&core->state, m->guest);
    bool is_source = m->from == core->config.id;

    *ret = (struct saga_local){
        .phase = core_phase_of(m),
        .copy = core_copy_of(local->has_report ? &local->report : NULL, m, is_source),
        .ordered = local->capture_order == m->id,
        .failed = move != NULL && (move->report.failed || move->is_cut),
        .image_ready = guest != NULL && core_image_is_ready(core, guest->spec.image),
        .switch_ready = !needs_switch(core, m) || switch_is_told(core, m->target.epoch),
        .lease_live = !core->node.lapsed,
        .memory_here = move != NULL && move->report.memory_here,
        .source_gone = source_is_gone(core, m),
    };
}

static void prepare(struct core *core, struct local_guest *local, const struct migration *m)
{
    const struct guest *guest = state_guest(&core->state, m->guest);
    struct guard_request *request = core_ask(core, GUARD_PREPARE, local->name, m->id, m->id);

    core_fill_run(core, guest, &m->target, m->id, &request->run);
}

static void kill_half(struct core *core, struct local_guest *local, const struct migration *m)
{
    struct local_move *move = core_move_made(core, m->id);

    core_ask(core, GUARD_FAIL, local->name, m->target.epoch, m->id);
    if (move->report.failed)
        return;
    move->report.failed = true;
    snprintf(move->report.text, sizeof(move->report.text),
             "%s: node %s, which had the rest of its memory, was lost", m->guest,
             core_node_name(core, m->from));
    core_record(core, "migration-memory-lost", local->name, core->config.id, m->id, "%s",
                move->report.text);
    core_node_changed(core);
}

static void act(struct core *core, struct local_guest *local, const struct migration *m,
                enum saga_deed deed)
{
    const struct guest *guest = state_guest(&core->state, m->guest);
    enum guest_kind kind = guest != NULL ? guest->spec.kind : KIND_CELL;
    struct core_action *action;
    struct local_move *move;

    switch (deed) {
    case SAGA_PREPARE:
        prepare(core, local, m);
        break;
    case SAGA_RECEIVE:
    case SAGA_CAPTURE:
        core_move_made(core, m->id)->stream_code = 0;
        core_ask(core, deed == SAGA_RECEIVE ? GUARD_RECEIVE : GUARD_CAPTURE, local->name,
                 local->report.epoch, m->id);
        action = &core->out->list[core->out->n - 1];
        action->to = deed == SAGA_RECEIVE ? m->from : m->to;
        action->patience_ms = saga_patience_ms(kind == KIND_VM, m->terms.downtime_ms);
        action->manner = core_pace_manner(kind, m->terms.mode);
        core_move_wish(core, guest, m->from, m->to, &m->terms, &action->guard->wish);
        action->guard->wish.room = core_move_made(core, m->id)->room;
        break;
    case SAGA_ACTIVATE:
        move = core_move_made(core, m->id);
        move->n_activated++;
        move->report.activates = true;
        core_ask(core, GUARD_ACTIVATE, local->name, m->target.epoch, m->id)->index =
            core->state.index;
        break;
    case SAGA_DISCARD:
        core_ask(core, GUARD_DISCARD, local->name, local->report.epoch, m->id);
        break;
    case SAGA_AWAIT:
        core_ask_beside(core, local, GUARD_AWAIT, m->target.epoch, m->id);
        break;
    case SAGA_KILL:
        kill_half(core, local, m);
        break;
    case SAGA_RESUME: /* only once it is over: core/guests.c */
    case SAGA_REST:
        break;
    }
}

/* Captured by an earlier run of ours (or of the guard): how far it came is not known. Only an abort
 * that is agreed on thaws it, so that is asked for. */
static void give_up_capture(struct core *core, const struct migration *m)
{
    struct local_move *move = core_move_of(core, m->id);

    if (move != NULL && (move->is_captured || move->report.failed))
        return;
    move = core_move_made(core, m->id);
    move->report.failed = true;
    snprintf(move->report.text, sizeof(move->report.text),
             "%s: the hand-over was interrupted on %s", m->guest,
             core_node_name(core, core->config.id));
    core_node_changed(core);
}

/* A copy that is neither this migration's nor the owner's is in the target's way. */
static bool is_in_the_way(const struct core *core, const struct local_guest *local,
                          const struct migration *m)
{
    const struct guard_report *report = &local->report;

    return m->to == core->config.id && local->has_report && report->migration != m->id &&
           (m->target.epoch == 0 || report->epoch != m->target.epoch);
}

static void clear_the_way(struct core *core, struct local_guest *local)
{
    const struct guard_report *report = &local->report;
    bool is_left_over = report->state == GUEST_PREPARED || report->state == GUEST_RECEIVED ||
                        report->state == GUEST_HANDED_OVER;

    core_ask(core, is_left_over ? GUARD_DISCARD : GUARD_STOP, local->name, report->epoch,
             report->migration);
}

static void fail(struct core *core, struct local_move *move, const char *guest, uint64_t id)
{
    move->report.failed = true;
    core_record(core, "migration-step-failed", guest, core->config.id, id, "%s", move->report.text);
    core_node_changed(core);
}

/* What came across is over, and this node has asked for none of the memory that the source kept: so
 * a machine's, of whose move it knows all; a cell's is asked for as soon as it stands by. */
static bool never_ran(const struct core *core, const struct local_move *move, const char *name,
                      uint32_t n_activated)
{
    const struct guest *guest = state_guest(&core->state, name);

    return guest != NULL && guest->spec.kind == KIND_VM && move->is_received &&
           move->n_activated == n_activated;
}

/* All of it was here, and ended before it ran: its guard has thrown it away. */
static void notice_end(struct core *core, const struct migration *m, struct saga_local *facts)
{
    struct local_move *move = core_move_of(core, m->id);

    if (m->to != core->config.id || move == NULL || !move->is_received || move->report.failed ||
        move->report.activates || facts->copy != SAGA_COPY_NONE)
        return;
    snprintf(move->report.text, sizeof(move->report.text),
             "%s: what had come across ended on %s before it ran", m->guest,
             core_node_name(core, core->config.id));
    move->report.never_ran = never_ran(core, move, m->guest, 0);
    fail(core, move, m->guest, m->id);
    facts->failed = true;
}

void core_move_run(struct core *core, struct local_guest *local, const struct migration *m)
{
    struct saga_local facts;
    enum saga_deed deed;

    local_facts(core, local, m, &facts);
    notice_end(core, m, &facts);
    if (m->to == core->config.id && m->phase != MIGRATION_RESERVED &&
        facts.copy == SAGA_COPY_RUNNING)
        keep_telling(core, local, m);
    if (m->from == core->config.id && m->phase == MIGRATION_RESERVED &&
        facts.copy == SAGA_COPY_HANDED_OVER)
        give_up_capture(core, m);
    core_move_watch_stream(core, m);
    deed = m->from == core->config.id ? saga_source(&facts) : saga_target(&facts);
    if (core->now < local->retry_us) {
        core_wake_at(&core->node.wake_us, local->retry_us);
        return;
    }
    if (is_in_the_way(core, local, m))
        clear_the_way(core, local);
    else
        act(core, local, m, deed);
}

static void keep_words(const struct core *core, struct local_move *move, const struct asked *asked,
                       const struct guard_reply *reply)
{
    snprintf(move->report.text, sizeof(move->report.text), "%s: %s on %s: %.*s", asked->guest,
             guard_op_name(asked->op), core_node_name(core, core->config.id), 80, reply->text);
}

void core_move_failed(struct core *core, struct local_move *move, const struct asked *asked,
                      const struct guard_reply *reply)
{
    keep_words(core, move, asked, reply);
    move->report.no_room = reply->code == -ENOSPC;
    /* The guard had none any more, or it ended before it was let go; and was asked once. */
    move->report.never_ran = asked->op == GUARD_ACTIVATE &&
                             (reply->code == -ENOENT || reply->code == -EOWNERDEAD) &&
                             never_ran(core, move, asked->guest, 1);
    fail(core, move, asked->guest, asked->migration);
}

/* Nobody takes what it writes: the target knows why, if it is there. */
static void cut(struct core *core, struct local_move *move, const struct asked *asked,
                const struct guard_reply *reply)
{
    keep_words(core, move, asked, reply);
    move->is_cut = true;
    move->word_us = core->now + (uint64_t)SAGA_LAST_WORD_MS * 1000;
    core->node.dirty = true;
}

static bool is_step(enum guard_op op)
{
    return op == GUARD_PREPARE || op == GUARD_CAPTURE || op == GUARD_RECEIVE ||
           op == GUARD_ACTIVATE;
}

/* The target owns the guest already, and its switch does not follow: nothing is lost but time. */
static bool waits_for_switch(const struct asked *asked, int code)
{
    return asked->op == GUARD_ACTIVATE && code == -ETIMEDOUT;
}

/* The guard did not do it, for a reason that has nothing to do with the migration: it is asked for
 * again. A stream that broke has the codes of a connection that broke, and means failure. */
static bool is_left_undone(const struct asked *asked, int code)
{
    if (asked->op == GUARD_CAPTURE || asked->op == GUARD_RECEIVE)
        return code == -ENOTCONN || code == -ECANCELED;
    return core_guard_is_away(code) || waits_for_switch(asked, code) ||
           (asked->op == GUARD_ACTIVATE && core_guard_says_later(code));
}

void core_move_done(struct core *core, struct local_guest *local, const struct asked *asked,
                    const struct guard_reply *reply)
{
    const struct migration *m = state_migration(&core->state, asked->migration);
    struct local_move *move = core_move_of(core, asked->migration);

    if (asked->op == GUARD_ACTIVATE && move != NULL) {
        move->report.activates = false;
        core_node_changed(core);
    }
    if (waits_for_switch(asked, reply->code))
        core_record(core, "migration-waits", asked->guest, core->config.id, asked->migration,
                    "%s; what came across stays, and is tried again", reply->text);
    if (!is_step(asked->op) || is_left_undone(asked, reply->code))
        return;
    move = core_move_made(core, asked->migration);
    if (asked->op == GUARD_CAPTURE && reply->code == -EPIPE && move->stream_code != -ETIMEDOUT) {
        cut(core, move, asked, reply);
        return;
    }
    if (reply->code < 0) {
        core_move_failed(core, move, asked, reply);
        return;
    }
    if (asked->op == GUARD_CAPTURE) {
        move->is_captured = true;
        move->report.bytes = reply->bytes;
        move->report.mode = reply->mode;
        move->frozen_us = reply->frozen_us;
        core_move_measured(core, asked->migration, reply);
    }
    if (asked->op == GUARD_PREPARE)
        move->report.room = reply->room;
    move->is_received = asked->op == GUARD_RECEIVE;
    if (asked->op == GUARD_ACTIVATE && m != NULL) {
        local->notice_us = core->now + (uint64_t)core->config.timers.beat_ms * 1000;
        tell_running(core, m);
    }
    core_node_changed(core);
}

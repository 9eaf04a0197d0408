/* guests: makes the guard's guests equal to what the state places here; see core/internal.h.
 *
 * Level-triggered: each run looks at one guest's placement and its copy's report, and asks the
 * guard for at most one thing. While the guard works on a guest, and until a list has arrived that
 * was asked for afterwards, nothing else is decided about it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

struct local_guest *core_local_guest(struct core *core, const char *name)
{
    for (size_t i = 0; i < core->node.n_guests; i++) {
        if (strcmp(core->node.guests[i].name, name) == 0)
            return &core->node.guests[i];
    }
    return NULL;
}

static struct local_guest *local_guest_made(struct core *core, const char *name)
{
    struct local_guest *local = core_local_guest(core, name);

    if (local != NULL)
        return local;
    local = core_append(&core->node.guests, &core->node.n_guests, sizeof(*local));
    snprintf(local->name, sizeof(local->name), "%s", name);
    return local;
}

void core_guests_forget_busy(struct core *core)
{
    for (size_t i = 0; i < core->node.n_guests; i++) {
        core->node.guests[i].busy = 0;
        core->node.guests[i].settled_by = 0;
        core->node.guests[i].health.serial = 0;
        core->node.guests[i].protection.begun_us = 0;
        core->node.guests[i].protection.serial = 0;
    }
}

/* ---- asking the guard */

struct guard_request *core_ask(struct core *core, enum guard_op op, const char *guest,
                               uint64_t epoch, uint64_t migration)
{
    struct guard_request *request = malloc(sizeof(*request));
    struct asked *asked;

    if (request == NULL)
        abort();
    guard_request_init(request);
    request->serial = core_serial(core);
    request->op = op;
    request->migration = migration;
    request->copy.epoch = epoch;
    core_act(core, CORE_ASK_GUARD)->guard = request;
    if (guest == NULL)
        return request;
    snprintf(request->copy.guest, sizeof(request->copy.guest), "%s", guest);
    asked = core_append(&core->node.asked, &core->node.n_asked, sizeof(*asked));
    asked->serial = request->serial;
    asked->op = op;
    asked->epoch = epoch;
    asked->migration = migration;
    memcpy(asked->guest, request->copy.guest, sizeof(asked->guest));
    local_guest_made(core, guest)->busy = request->serial;
    return request;
}

void core_ask_list(struct core *core)
{
    struct node_part *node = &core->node;

    if (node->list_serial != 0) {
        node->list_again = true;
        return;
    }
    node->list_again = false;
    node->list_generation++;
    node->list_serial = core_ask(core, GUARD_LIST, NULL, 0, 0)->serial;
}

bool core_guard_is_away(int code)
{
    return code == -ECONNRESET || code == -ENOTCONN || code == -EPIPE || code == -ECANCELED;
}

bool core_guard_says_later(int code)
{
    return code == -EKEYEXPIRED || code == -ESTALE || code == -EAGAIN || code == -EBUSY;
}

bool core_fill_run(struct core *core, const struct guest *guest, const struct placement *placement,
                   uint64_t epoch, struct guest_run *ret)
{
    const struct image *image = state_image(&core->state, guest->spec.image);
    const struct slice *slice = state_slice(&core->state, guest->spec.slice);

    if (image == NULL || guest_spec_copy(&ret->spec, &guest->spec) < 0)
        return false;
    ret->created = guest->created;
    ret->epoch = epoch;
    memcpy(ret->digest, image->digest, DIGEST_SIZE);
    ret->n_cores = placement->n_cores;
    memcpy(ret->cores, placement->cores, placement->n_cores * sizeof(placement->cores[0]));
    if (slice != NULL && guest->spec.slice[0] != '\0') {
        ret->vni = slice->vni;
        ret->ip = guest->ip;
        ret->prefix = slice->subnet.prefix;
        ret->port = fabric_port_of(&core->state, guest);
    }
    return true;
}

/* ---- what the guard says */

static bool same_report(const struct guard_report *a, const struct guard_report *b)
{
    return a->epoch == b->epoch && a->migration == b->migration && a->state == b->state &&
           a->frozen_by == b->frozen_by && a->exit_status == b->exit_status && a->pid == b->pid &&
           a->n_starts == b->n_starts;
}

static void note_running(struct core *core, struct local_guest *local)
{
    bool runs = local->has_report &&
                (local->report.state == GUEST_RUNNING || local->report.state == GUEST_FROZEN);

    if (runs && local->running_us == 0)
        local->running_us = core->now;
    if (runs) {
        local->exit_seen = false;
        if (local->claim.kind == CLAIM_START_FAILED)
            local->claim.kind = 0;
    }
}

void core_guests_list(struct core *core, const struct guard_report *reports, uint32_t n)
{
    struct node_part *node = &core->node;
    size_t n_before = 0;
    bool changed = false;

    for (size_t i = 0; i < node->n_guests; i++)
        n_before += node->guests[i].has_report;
    for (uint32_t i = 0; i < n; i++) {
        struct local_guest *local = local_guest_made(core, reports[i].guest);

        changed = changed || !local->has_report || !same_report(&local->report, &reports[i]);
        local->report = reports[i];
        local->has_report = true;
        note_running(core, local);
    }
    changed = changed || n_before != n;
    for (size_t i = 0; i < node->n_guests; i++) {
        bool is_listed = false;

        for (uint32_t k = 0; k < n && !is_listed; k++)
            is_listed = strcmp(reports[k].guest, node->guests[i].name) == 0;
        node->guests[i].has_report = is_listed;
    }
    if (changed)
        core_node_changed(core);
    node->dirty = true;
}

static void start_failed(struct core *core, struct local_guest *local, uint64_t epoch,
                         const struct guard_reply *reply)
{
    local->delay_ms = local->delay_ms == 0 ? (uint32_t)CORE_RESTART_MIN_MS : local->delay_ms * 2;
    if (local->delay_ms > CORE_RESTART_MAX_MS)
        local->delay_ms = CORE_RESTART_MAX_MS;
    local->retry_us = core->now + (uint64_t)local->delay_ms * 1000;
    local->claim.kind = CLAIM_START_FAILED;
    local->claim.epoch = epoch;
    memcpy(local->claim.guest, local->name, NAME_SIZE);
    snprintf(local->claim.text, sizeof(local->claim.text), "%.*s", REASON_SIZE - 1, reply->text);
    core_record(core, "guest-start-failed", local->name, core->config.id, 0, "%s", reply->text);
    core_node_changed(core);
}

void core_guests_done(struct core *core, const struct asked *asked, const struct guard_reply *reply)
{
    struct local_guest *local = core_local_guest(core, asked->guest);

    if (local == NULL)
        return;
    if (asked->op == GUARD_PROGRESS) {
        core_move_progressed(core, asked, reply);
        return;
    }
    if (asked->op == GUARD_AWAIT) {
        core_move_awaited(core, asked, reply);
        return;
    }
    local->busy = 0;
    local->settled_by = core->node.list_generation + 1;
    core_ask_list(core);
    core->node.dirty = true;
    if (asked->op == GUARD_START) {
        local->running_us = core->now;
        local->exit_seen = false;
    }
    if (asked->op == GUARD_CHECKPOINT) {
        core_protect_kept(core, local, reply);
        return;
    }
    if (asked->op == GUARD_RESTORE)
        core_protect_restored(core, local, reply);
    if (asked->op >= GUARD_PREPARE && asked->op <= GUARD_DISCARD)
        core_move_done(core, local, asked, reply);
    if (reply->code == 0 || core_guard_is_away(reply->code))
        return;
    if (core_guard_says_later(reply->code))
        local->retry_us = core->now + 20000;
    else if (asked->op == GUARD_START)
        start_failed(core, local, asked->epoch, reply);
    else
        local->retry_us = core->now + (uint64_t)CORE_RETRY_MS * 1000;
}

/* ---- decisions about one guest */

static void claim(struct core *core, struct local_guest *local, enum claim_kind kind,
                  uint64_t epoch, const char *text)
{
    if (local->claim.kind == kind && local->claim.epoch == epoch)
        return;
    local->claim.kind = kind;
    local->claim.epoch = epoch;
    memcpy(local->claim.guest, local->name, NAME_SIZE);
    snprintf(local->claim.text, sizeof(local->claim.text), "%s", text);
    core_node_changed(core);
}

static bool must_wait(struct core *core, const struct local_guest *local)
{
    if (core->now >= local->retry_us)
        return false;
    core_wake_at(&core->node.wake_us, local->retry_us);
    return true;
}

static void start(struct core *core, struct local_guest *local, const struct guest *guest)
{
    uint64_t epoch = guest->placement.epoch;
    struct guard_request *request;

    if (core->node.lapsed || core->state.index < core->node.floor_index ||
        !core_image_is_ready(core, guest->spec.image) || must_wait(core, local))
        return;
    if (!local->has_report && core_protect_start(core, local, guest))
        return;
    local->n_restores = MAX_CHECKPOINTS; /* its life begins anew */
    local->resumed = 0;
    request = core_ask(core, GUARD_START, local->name, epoch, 0);
    request->index = core->state.index;
    core_fill_run(core, guest, &guest->placement, epoch, &request->run);
}

static void stop(struct core *core, struct local_guest *local, uint32_t grace_ms, bool keep_upper)
{
    struct guard_request *request;

    if (must_wait(core, local))
        return;
    request = core_ask(core, GUARD_STOP, local->name, local->report.epoch, 0);
    request->grace_ms = grace_ms;
    request->keep_upper = keep_upper;
}

/* This copy is not the state's (any more). Never one that a newer state than ours made. */
static void destroy(struct core *core, struct local_guest *local, const struct guest *guest)
{
    const struct guard_report *report = &local->report;

    if (report->epoch > core->state.index || report->migration > core->state.index)
        return;
    if (report->state == GUEST_PREPARED || report->state == GUEST_RECEIVED ||
        report->state == GUEST_HANDED_OVER) {
        if (!must_wait(core, local))
            core_ask(core, GUARD_DISCARD, local->name, report->epoch, report->migration);
        return;
    }
    stop(core, local, 0, guest != NULL && guest->desired == DESIRED_STOPPED);
}

static bool leaves_it(const struct guest *guest, int32_t exit_status)
{
    return guest->spec.restart == RESTART_NEVER ||
           (guest->spec.restart == RESTART_ON_FAILURE && exit_status == 0);
}

static void exited(struct core *core, struct local_guest *local, const struct guest *guest)
{
    char text[64];

    if (leaves_it(guest, local->report.exit_status)) {
        snprintf(text, sizeof(text), "%sended with status %d",
                 local->health.state == GUEST_UNHEALTHY ? "was unhealthy, " : "",
                 local->report.exit_status);
        claim(core, local, CLAIM_EXITED, guest->placement.epoch, text);
        return;
    }
    if (!local->exit_seen) {
        bool was_unhealthy = local->health.state == GUEST_UNHEALTHY;
        bool was_calm = local->running_us != 0 &&
                        core->now >= local->running_us + (uint64_t)CORE_RESTART_CALM_MS * 1000 &&
                        (!was_unhealthy || local->health.was_healthy);

        if (was_calm || local->delay_ms == 0)
            local->delay_ms = CORE_RESTART_MIN_MS;
        else if (local->delay_ms < CORE_RESTART_MAX_MS)
            local->delay_ms *= 2;
        if (local->delay_ms > CORE_RESTART_MAX_MS)
            local->delay_ms = CORE_RESTART_MAX_MS;
        local->retry_us = core->now + (uint64_t)local->delay_ms * 1000;
        local->n_ends = was_calm ? 1 : local->n_ends + 1;
        local->running_us = 0;
        local->exit_seen = true;
        core_node_changed(core);
        core_record(core, "guest-exited", local->name, core->config.id, 0,
                    "%sstatus %d, starts again in %u ms", was_unhealthy ? "it was unhealthy; " : "",
                    local->report.exit_status, local->delay_ms);
    }
    start(core, local, guest);
}

/* Asked to go, by a user or for a more important guest. One that ended for good says so instead. */
static bool is_to_stop(const struct local_guest *local, const struct guest *guest)
{
    bool has_ended = local->has_report && local->report.state == GUEST_EXITED &&
                     leaves_it(guest, local->report.exit_status);

    return guest->desired == DESIRED_STOPPED || (guest_is_leaving(guest) && !has_ended);
}

static void owned(struct core *core, struct local_guest *local, const struct guest *guest)
{
    const struct guard_report *report = &local->report;
    bool is_captured = local->has_report && (report->state == GUEST_HANDED_OVER ||
                                             (report->frozen_by & FROZEN_BY_MIGRATION) != 0);

    if (local->epoch != guest->placement.epoch) {
        local->epoch = guest->placement.epoch;
        local->delay_ms = 0;
        local->n_ends = 0;
        local->retry_us = 0;
        local->exit_seen = false;
        local->n_restores = 0;
        local->resumed = 0;
        local->claim.kind = 0;
    }
    if (is_captured) {
        if (!must_wait(core, local))
            core_ask(core, GUARD_RESUME, local->name, report->epoch, report->migration);
    } else if (is_to_stop(local, guest)) {
        if (!local->has_report)
            claim(core, local, CLAIM_STOPPED, guest->placement.epoch, "");
        else if (report->state != GUEST_STOPPING)
            stop(core, local, CORE_STOP_GRACE_MS, true);
    } else if (!local->has_report) {
        start(core, local, guest);
    } else if (report->state == GUEST_EXITED) {
        exited(core, local, guest);
    } else if (!core_health_run(core, local, guest)) {
        core_protect_run(core, local, guest);
    }
}

static void drop_claim(struct core *core, struct local_guest *local)
{
    if (local->claim.kind == 0)
        return;
    local->claim.kind = 0;
    core_node_changed(core);
}

static void decide(struct core *core, struct local_guest *local)
{
    const struct guest *guest = state_guest(&core->state, local->name);
    const struct migration *m = core_move_here(core, local->name);
    bool is_here = guest != NULL && guest->placement.node == core->config.id;

    if (!is_here)
        drop_claim(core, local);
    if (m != NULL)
        core_move_run(core, local, m);
    else if (local->has_report && (!is_here || local->report.epoch != guest->placement.epoch))
        destroy(core, local, guest);
    else if (is_here)
        owned(core, local, guest);
}

static bool is_settled(const struct core *core, const struct local_guest *local)
{
    return local->busy == 0 && local->settled_by <= core->node.list_done;
}

/* Nothing here remembers anything about the guest that matters. */
static bool is_idle(const struct core *core, const struct local_guest *local)
{
    const struct guest *guest = state_guest(&core->state, local->name);

    return !local->has_report && is_settled(core, local) &&
           core_move_here(core, local->name) == NULL &&
           (guest == NULL || guest->placement.node != core->config.id);
}

void core_guests_run(struct core *core)
{
    struct node_part *node = &core->node;

    if (!node->is_connected || !node->is_listed || !core_node_is_current(core))
        return;
    for (size_t i = 0; i < core->state.n_guests; i++) {
        const struct guest *guest = &core->state.guests[i];

        if (guest->placement.node == core->config.id ||
            core_move_here(core, guest->spec.name) != NULL)
            local_guest_made(core, guest->spec.name);
    }
    for (size_t i = 0; i < node->n_guests; i++) {
        core_health_watch(core, &node->guests[i]);
        if (is_settled(core, &node->guests[i]))
            decide(core, &node->guests[i]);
    }
    for (size_t i = node->n_guests; i-- > 0;) {
        if (is_idle(core, &node->guests[i])) {
            drop_claim(core, &node->guests[i]);
            core_take_out(node->guests, &node->n_guests, sizeof(*node->guests), i);
        }
    }
}

/* health: finds out whether the guests that run here also work, and has those that do not
 * start again in their place; see core/internal.h.
 *
 * A guest is checked only while it runs: a check that was under way when it was frozen, moved or
 * ended counts for nothing. So many failures in a row as its spec says, and the guard is asked to
 * end it (GUARD_FAIL); the rest is that of any guest which ended with a failure: restart policy and
 * back-off (core/guests.c). A new run, on this node or after a move, begins anew.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

static bool can_be_checked(const struct core *core, const struct local_guest *local,
                           const struct guest *guest)
{
    return guest != NULL && guest->placement.node == core->config.id &&
           guest->desired == DESIRED_RUNNING && guest->migration == 0 &&
           (!core->node.lapsed || guest->spec.failover == FAILOVER_STAY) && local->has_report &&
           local->report.state == GUEST_RUNNING && local->report.frozen_by == 0 &&
           local->report.epoch == guest->placement.epoch;
}

void core_health_watch(struct core *core, struct local_guest *local)
{
    const struct guest *guest = state_guest(&core->state, local->name);

    if (local->health.serial != 0 &&
        (!can_be_checked(core, local, guest) || local->report.pid != local->health.pid))
        local->health.is_void = true;
}

static uint32_t n_under_way(const struct core *core)
{
    uint32_t n = 0;

    for (size_t i = 0; i < core->node.n_guests; i++)
        n += core->node.guests[i].health.serial != 0;
    return n;
}

static void begin_run(struct core *core, struct local_guest *local,
                      const struct health_check *check)
{
    uint32_t under_way = local->health.serial;

    local->health =
        (struct local_health){.state = GUEST_HEALTH_STARTING,
                              .pid = local->report.pid,
                              .since_us = core->now,
                              .next_us = core->now + (uint64_t)check->interval_ms * 1000,
                              .serial = under_way,
                              .is_void = under_way != 0};
    core_node_changed(core);
}

static void ask_check(struct core *core, struct local_guest *local,
                      const struct health_check *check)
{
    struct guard_request *request = core_ask(core, GUARD_CHECK, NULL, local->report.epoch, 0);

    memcpy(request->copy.guest, local->name, NAME_SIZE);
    request->timeout_ms = check->timeout_ms;
    request->port = check->port;
    if (check->n_argv > 0) {
        request->argv = calloc(check->n_argv + 1, sizeof(*request->argv));
        if (request->argv == NULL)
            abort();
    }
    for (uint32_t i = 0; i < check->n_argv; i++) {
        request->argv[i] = strdup(check->argv[i]);
        if (request->argv[i] == NULL)
            abort();
        request->n_argv++;
    }
    local->health.serial = request->serial;
    local->health.is_void = false;
}

static bool start_again(struct core *core, struct local_guest *local)
{
    if (core->now < local->retry_us) {
        core_wake_at(&core->node.wake_us, local->retry_us);
        return false;
    }
    core_ask(core, GUARD_FAIL, local->name, local->report.epoch, 0)->grace_ms = CORE_STOP_GRACE_MS;
    return true;
}

bool core_health_run(struct core *core, struct local_guest *local, const struct guest *guest)
{
    const struct health_check *check = &guest->spec.health;
    struct local_health *health = &local->health;

    if (check->kind == HEALTH_NONE || !can_be_checked(core, local, guest))
        return false;
    if (health->pid != local->report.pid)
        begin_run(core, local, check);
    if (health->state == GUEST_UNHEALTHY)
        return start_again(core, local);
    if (health->serial != 0)
        return false;
    if (core->now < health->next_us)
        core_wake_at(&core->node.wake_us, health->next_us);
    else if (n_under_way(core) < CORE_MAX_CHECKS)
        ask_check(core, local, check);
    return false;
}

static void passed(struct core *core, struct local_guest *local)
{
    struct local_health *health = &local->health;
    bool is_news = health->state != GUEST_HEALTHY || health->n_failures > 0;

    if (health->state != GUEST_HEALTHY)
        core_record(core, "guest-healthy", local->name, core->config.id, 0, "its check succeeded");
    health->state = GUEST_HEALTHY;
    health->was_healthy = true;
    health->n_failures = 0;
    health->text[0] = '\0';
    if (is_news)
        core_node_changed(core);
}

static void failed(struct core *core, struct local_guest *local, const struct health_check *check,
                   const char *text)
{
    struct local_health *health = &local->health;
    bool is_excused = health->state == GUEST_HEALTH_STARTING &&
                      core->now < health->since_us + (uint64_t)check->start_ms * 1000;

    snprintf(health->text, sizeof(health->text), "%.*s", REASON_SIZE - 1, text);
    core_node_changed(core);
    if (is_excused)
        return;
    health->n_failures++;
    if (health->n_failures < check->retries)
        return;
    health->state = GUEST_UNHEALTHY;
    core_record(core, "guest-unhealthy", local->name, core->config.id, 0,
                "%u checks in a row failed, it is to start again: %s", health->n_failures,
                health->text);
}

bool core_health_done(struct core *core, uint32_t serial, const struct guard_reply *reply)
{
    struct local_guest *local = NULL;
    const struct guest *guest;
    bool is_void;

    for (size_t i = 0; i < core->node.n_guests; i++) {
        if (core->node.guests[i].health.serial == serial)
            local = &core->node.guests[i];
    }
    if (serial == 0 || local == NULL)
        return false;
    core_health_watch(core, local);
    guest = state_guest(&core->state, local->name);
    is_void = local->health.is_void;
    local->health.serial = 0;
    core->node.dirty = true;
    if (guest == NULL || guest->spec.health.kind == HEALTH_NONE)
        return true;
    local->health.next_us = core->now + (uint64_t)guest->spec.health.interval_ms * 1000;
    if (!is_void && reply->code == 0)
        passed(core, local);
    else if (!is_void && reply->code == -EREMOTEIO)
        failed(core, local, &guest->spec.health, reply->text);
    return true;
}

bool core_condition_of(const struct core *core, const struct local_guest *local,
                       struct condition *ret)
{
    const struct guest *guest = state_guest(&core->state, local->name);
    bool is_checked = guest != NULL && guest->spec.health.kind != HEALTH_NONE &&
                      local->has_report && local->health.pid == local->report.pid &&
                      local->report.pid != 0;
    bool is_due = local->exit_seen && core->now < local->retry_us;

    *ret = (struct condition){.epoch = local->epoch, .n_ends = local->n_ends};
    memcpy(ret->guest, local->name, NAME_SIZE);
    memcpy(ret->text, local->health.text, sizeof(ret->text));
    if (is_checked) {
        ret->health = local->health.state;
        ret->n_failures = local->health.n_failures;
    }
    if (is_due)
        ret->next_start_ms = (uint32_t)((local->retry_us - core->now) / 1000);
    return is_checked || local->n_ends > 0;
}

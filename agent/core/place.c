/* place: gives guests that wait for a place one, the most important first, and knows for a while
 * which nodes had no room for one that moves; see core/internal.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"
#include "scheduler/preempt.h"

enum { PLACE_RETRY_MS = 1000, FULL_MS = 60000 };

static char *join_reasons(const struct core *core, const struct place_result *result)
{
    char *words = NULL;
    size_t size = 0;

    for (size_t i = 0; i < result->n_rows; i++) {
        const char *name = core_node_name(core, result->rows[i].node);
        size_t more = strlen(name) + strlen(result->rows[i].reason) + 5;
        char *longer;

        if (result->rows[i].verdict != VERDICT_REFUSED)
            continue;
        longer = realloc(words, size + more);
        if (longer == NULL)
            break;
        words = longer;
        /* The scheduler's reasons begin with the node's name or do not: say it once. */
        size += (size_t)snprintf(words + size, more, "%s%s: %s", size > 0 ? "; " : "", name,
                                 result->rows[i].reason);
    }
    return words;
}

/* ---- targets that had no room for a guest */

void core_target_full(struct core *core, const char *guest, uint64_t node)
{
    struct leader_part *lead = &core->lead;
    struct full_target *full;

    for (size_t i = lead->n_full; i-- > 0;) {
        full = &lead->full[i];
        if (core->now >= full->until_us || (full->node == node && strcmp(full->guest, guest) == 0))
            core_take_out(lead->full, &lead->n_full, sizeof(*full), i);
    }
    full = core_append(&lead->full, &lead->n_full, sizeof(*full));
    snprintf(full->guest, sizeof(full->guest), "%s", guest);
    full->node = node;
    full->until_us = core->now + (uint64_t)FULL_MS * 1000;
}

static bool was_full(const struct core *core, const char *guest, uint64_t node)
{
    for (size_t i = 0; i < core->lead.n_full; i++) {
        const struct full_target *full = &core->lead.full[i];

        if (full->node == node && core->now < full->until_us && strcmp(full->guest, guest) == 0)
            return true;
    }
    return false;
}

/* Of a move whose target nobody named: who names one may know better by now. */
static void mark_full(const struct core *core, const struct place_request *request,
                      struct node_telemetry *telemetry)
{
    if (!request->is_move || request->spec->on[0] != '\0')
        return;
    for (size_t i = 0; i < request->n_telemetry; i++)
        telemetry[i].is_full = was_full(core, request->spec->name, telemetry[i].node);
}

int core_place_in(const struct core *core, const struct state *state, const struct guest_spec *spec,
                  uint64_t move_from, struct placement *ret, char **ret_words, struct err *err)
{
    struct place_request request = {.spec = spec, .is_move = move_from != 0, .not_on = move_from};
    struct place_result result = {0};
    struct node_telemetry *telemetry;
    int code;

    telemetry = core_telemetry(core, core->now, &request.n_telemetry);
    mark_full(core, &request, telemetry);
    request.telemetry = telemetry;
    code = place_guest(state, &request, &result, err);
    free(telemetry);
    if (code < 0)
        return code;
    *ret = result.placement;
    if (ret_words != NULL)
        *ret_words = ret->node == 0 ? join_reasons(core, &result) : NULL;
    place_result_deinit(&result);
    return ret->node != 0 ? 0 : err_set(err, -ENOSPC, "%s fits nowhere", spec->name);
}

int core_place(struct core *core, const struct guest_spec *spec, uint64_t move_from,
               struct placement *ret, char **ret_words, struct err *err)
{
    return core_place_in(core, &core->state, spec, move_from, ret, ret_words, err);
}

/* ---- preemption */

static void plan_preemption(const struct core *core, const struct guest_spec *spec,
                            struct preempt_plan *ret)
{
    struct place_request request = {.spec = spec};
    struct node_telemetry *telemetry = core_telemetry(core, core->now, &request.n_telemetry);

    *ret = (struct preempt_plan){0};
    request.telemetry = telemetry;
    if (state_may_preempt(&core->state, spec))
        preempt_plan(&core->state, &request, ret);
    free(telemetry);
}

bool core_may_wait(const struct core *core, const struct guest_spec *spec)
{
    struct preempt_plan plan;

    plan_preemption(core, spec, &plan);
    return plan.node != 0;
}

/* Has others give way to a guest that fits nowhere; false when nobody has to, or could. */
static bool propose_evict(struct core *core, const struct guest *guest)
{
    struct command command = {.type = COMMAND_GUEST_EVICT};
    struct preempt_plan plan;

    plan_preemption(core, &guest->spec, &plan);
    if (plan.n_victims == 0)
        return false;
    memcpy(command.guest_evict.name, guest->spec.name, NAME_SIZE);
    command.guest_evict.expect_epoch = guest->placement.epoch;
    command.guest_evict.node = plan.node;
    command.guest_evict.n_victims = plan.n_victims;
    for (uint32_t i = 0; i < plan.n_victims; i++) {
        memcpy(command.guest_evict.victims[i].name, plan.victims[i]->spec.name, NAME_SIZE);
        command.guest_evict.victims[i].epoch = plan.victims[i]->placement.epoch;
    }
    return core_propose(core, &command, PROPOSAL_PLACE, 0, guest->spec.name);
}

/* ---- what waits */

static bool waits(const struct guest *guest)
{
    return guest->desired == DESIRED_RUNNING && guest->placement.node == 0 && guest->migration == 0;
}

/* The most important waiting guest after `last` (NULL: of all). */
static const struct guest *next_waiting(const struct core *core, const struct guest *last)
{
    const struct guest *next = NULL;

    for (size_t i = 0; i < core->state.n_guests; i++) {
        const struct guest *guest = &core->state.guests[i];

        if (waits(guest) && (last == NULL || guest_goes_first(last, guest)) &&
            (next == NULL || guest_goes_first(guest, next)))
            next = guest;
    }
    return next;
}

static void propose_place(struct core *core, const struct guest *guest,
                          const struct placement *placement)
{
    struct command command = {.type = COMMAND_GUEST_PLACE};

    memcpy(command.guest_place.name, guest->spec.name, NAME_SIZE);
    command.guest_place.expect_epoch = guest->placement.epoch;
    command.guest_place.placement = *placement;
    core_propose(core, &command, PROPOSAL_PLACE, 0, guest->spec.name);
}

/* One at a time: the next placement is decided on the state that holds the one before. */
void core_places_run(struct core *core)
{
    const struct guest *guest = NULL;

    if (core_is_proposed(core, PROPOSAL_PLACE, 0, NULL))
        return;
    while ((guest = next_waiting(core, guest)) != NULL) {
        struct placement placement;
        struct err err = {0};
        int resumes = core_buddy_place(core, guest, &placement);

        if (resumes > 0 ||
            (resumes == 0 && core_place(core, &guest->spec, 0, &placement, NULL, &err) == 0)) {
            propose_place(core, guest, &placement);
            return;
        }
        if (resumes < 0) {
            core_wake_at(&core->lead.wake_us, core->now + (uint64_t)CORE_RETRY_MS * 1000);
            continue;
        }
        if (propose_evict(core, guest))
            return;
        core_wake_at(&core->lead.wake_us, core->now + (uint64_t)PLACE_RETRY_MS * 1000);
    }
}

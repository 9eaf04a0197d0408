/* drain: the leader's part of `node drain`: moves every guest off a draining node, the most
 * important first, a few at a time; see core/internal.h.
 *
 * Nothing but the node's flag and deadline is agreed on, so that a new leader goes on where the
 * last one was; the time until the deadline it counts anew. What could not be moved is remembered
 * for a while by this leader alone, and then tried again. Behind the deadline a guest that another
 * node has room for is stopped, and starts there, unless its policy is `stay` or it has volumes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"
#include "scheduler/place.h"
#include "scheduler/preempt.h"

enum { MOVES_AT_ONCE = 2, RETRY_MS = 1000, AFTER_FAILURE_MS = 10000 };

/* ---- moves that failed */

static struct drain_failure *failure_of(const struct core *core, const char *guest)
{
    for (size_t i = 0; i < core->lead.n_failures; i++) {
        if (strcmp(core->lead.failures[i].guest, guest) == 0)
            return &core->lead.failures[i];
    }
    return NULL;
}

void core_drain_failed(struct core *core, const char *guest, const char *text, bool had_no_room)
{
    const struct guest *g = state_guest(&core->state, guest);
    const struct node *node = g != NULL ? state_node(&core->state, g->placement.node) : NULL;
    struct drain_failure *failure = failure_of(core, guest);
    struct placement target;
    struct err err;

    if (!core->leads || node == NULL || !node->draining)
        return;
    if (had_no_room && core_place(core, &g->spec, node->id, &target, NULL, &err) == 0)
        return; /* there is another one to try at once */
    if (failure == NULL)
        failure = core_append(&core->lead.failures, &core->lead.n_failures, sizeof(*failure));
    snprintf(failure->guest, sizeof(failure->guest), "%s", guest);
    snprintf(failure->text, sizeof(failure->text), "%s", text);
    failure->retry_us = core->now + (uint64_t)AFTER_FAILURE_MS * 1000;
}

static void forget_old_failures(struct core *core)
{
    struct leader_part *lead = &core->lead;

    for (size_t i = lead->n_failures; i-- > 0;) {
        if (core->now >= lead->failures[i].retry_us)
            core_take_out(lead->failures, &lead->n_failures, sizeof(*lead->failures), i);
        else
            core_wake_at(&lead->wake_us, lead->failures[i].retry_us);
    }
}

/* ---- the deadline */

/* The most important guest on the node after `last` (NULL: of all). */
static const struct guest *next_on(const struct state *state, uint64_t node,
                                   const struct guest *last)
{
    const struct guest *next = NULL;

    for (size_t i = 0; i < state->n_guests; i++) {
        const struct guest *guest = &state->guests[i];

        if (guest->placement.node == node && (last == NULL || guest_goes_first(last, guest)) &&
            (next == NULL || guest_goes_first(guest, next)))
            next = guest;
    }
    return next;
}

static struct drain_clock *clock_of(struct core *core, const struct node *node)
{
    struct leader_part *lead = &core->lead;
    struct drain_clock *clock = NULL;

    for (size_t i = 0; i < lead->n_drains && clock == NULL; i++) {
        if (lead->drains[i].node == node->id)
            clock = &lead->drains[i];
    }
    if (clock == NULL)
        clock = core_append(&lead->drains, &lead->n_drains, sizeof(*clock));
    if (clock->node == node->id && clock->drain_ms == node->drain_ms)
        return clock;
    *clock =
        (struct drain_clock){node->id, node->drain_ms, core->now + (uint64_t)node->drain_ms * 1000};
    return clock;
}

static void forget_clocks(struct core *core)
{
    struct leader_part *lead = &core->lead;

    for (size_t i = lead->n_drains; i-- > 0;) {
        const struct node *node = state_node(&core->state, lead->drains[i].node);

        if (node == NULL || !node->draining)
            core_take_out(lead->drains, &lead->n_drains, sizeof(*lead->drains), i);
    }
}

static bool is_due(struct core *core, const struct node *node)
{
    const struct drain_clock *clock;

    if (node->drain_ms == 0)
        return false;
    clock = clock_of(core, node);
    if (core->now < clock->due_us)
        core_wake_at(&core->lead.wake_us, clock->due_us);
    return core->now >= clock->due_us;
}

/* Could be started by another node: that has room, and nothing stays behind. */
static bool starts_elsewhere(struct core *core, const struct guest *guest)
{
    struct guest as_if_still = *guest; /* borrows the heap parts */
    struct placement target;
    struct err err;

    as_if_still.migration = 0;
    return guest_may_start_elsewhere(&as_if_still) &&
           core_place(core, &guest->spec, 0, &target, NULL, &err) == 0;
}

static bool call_off(struct core *core, const struct node *node, const struct guest *guest)
{
    const struct migration *m = state_migration(&core->state, guest->migration);
    struct command command = {.type = COMMAND_MIGRATION_ABORT, .migration_step.id = m->id};

    if (m->phase != MIGRATION_RESERVED)
        return false;
    snprintf(command.migration_step.reason, sizeof(command.migration_step.reason),
             "node %s was to be empty by now", node->name);
    return core_propose(core, &command, PROPOSAL_DRAIN, node->id, guest->spec.name);
}

/* The first that has not left in time, and can start elsewhere. */
static bool hurry(struct core *core, const struct node *node)
{
    const struct guest *guest = NULL;

    while ((guest = next_on(&core->state, node->id, guest)) != NULL) {
        struct command command = {.type = COMMAND_GUEST_LEAVE};

        if (!starts_elsewhere(core, guest))
            continue;
        if (guest->migration != 0 && call_off(core, node, guest))
            return true;
        if (guest->migration != 0)
            continue;
        memcpy(command.guest_leave.name, guest->spec.name, NAME_SIZE);
        command.guest_leave.expect_epoch = guest->placement.epoch;
        return core_propose(core, &command, PROPOSAL_DRAIN, node->id, guest->spec.name);
    }
    return false;
}

/* ---- moving */

static size_t moves_from(const struct core *core, uint64_t node)
{
    size_t n = 0;

    for (size_t i = 0; i < core->state.n_migrations; i++)
        n += core->state.migrations[i].from == node;
    return n;
}

static bool may_move(const struct core *core, const struct guest *guest)
{
    return guest->migration == 0 && !guest_is_leaving(guest) &&
           failure_of(core, guest->spec.name) == NULL;
}

static void reserve(const struct guest *guest, const struct placement *target, struct command *ret)
{
    *ret = (struct command){.type = COMMAND_MIGRATION_RESERVE};
    memcpy(ret->migration_reserve.guest, guest->spec.name, NAME_SIZE);
    ret->migration_reserve.source_epoch = guest->placement.epoch;
    ret->migration_reserve.target = *target;
    ret->migration_reserve.terms = MOVE_TERMS_DEFAULT;
}

static bool drain(struct core *core, uint64_t node)
{
    const struct guest *guest = NULL;

    while ((guest = next_on(&core->state, node, guest)) != NULL) {
        struct placement target;
        struct command command;
        struct err err;

        if (!may_move(core, guest) || core_place(core, &guest->spec, node, &target, NULL, &err) < 0)
            continue;
        reserve(guest, &target, &command);
        return core_propose(core, &command, PROPOSAL_DRAIN, node, guest->spec.name);
    }
    return false;
}

/* One proposal at a time: the next move is decided on the state that holds the one before. */
void core_drains_run(struct core *core)
{
    forget_old_failures(core);
    forget_clocks(core);
    if (core->lead.authority_us == 0 || core_is_proposed(core, PROPOSAL_DRAIN, 0, NULL))
        return;
    for (size_t i = 0; i < core->state.n_nodes; i++) {
        const struct node *node = &core->state.nodes[i];

        if (!node->draining || node->state != NODE_UP ||
            next_on(&core->state, node->id, NULL) == NULL)
            continue;
        core_wake_at(&core->lead.wake_us, core->now + (uint64_t)RETRY_MS * 1000);
        if (is_due(core, node) && hurry(core, node))
            return;
        if (moves_from(core, node->id) < MOVES_AT_ONCE && drain(core, node->id))
            return;
    }
}

/* ---- the user's wish: the node is empty, or what is left cannot move */

static void why_it_stays(struct core *core, const struct guest *guest, const char *node, char *ret,
                         size_t size)
{
    const struct drain_failure *failure = failure_of(core, guest->spec.name);
    struct placement target;
    char why[REASON_SIZE];
    struct err err = {0};
    char *words = NULL;

    if (failure != NULL)
        snprintf(ret, size, "%s", failure->text);
    else if (strcmp(guest->spec.on, node) == 0)
        snprintf(ret, size, "it is bound to node %s", node);
    else if (!place_may_leave(&core->state, &guest->spec, guest->placement.node, why))
        snprintf(ret, size, "%s", why);
    else if (core_place(core, &guest->spec, guest->placement.node, &target, &words, &err) == 0)
        snprintf(ret, size, "its turn has not come");
    else
        snprintf(ret, size, "%s", words != NULL ? words : err.text);
    free(words);
}

static bool is_at_work(struct core *core, const struct node *node)
{
    const struct guest *guest = NULL;

    if (moves_from(core, node->id) > 0 || core_is_proposed(core, PROPOSAL_DRAIN, node->id, NULL))
        return true;
    while ((guest = next_on(&core->state, node->id, guest)) != NULL) {
        struct placement target;
        struct err err;

        if (guest_is_leaving(guest))
            return true; /* it is being stopped */
        if (node->drain_ms != 0 && starts_elsewhere(core, guest))
            return true; /* by the deadline */
        if (may_move(core, guest) &&
            core_place(core, &guest->spec, node->id, &target, NULL, &err) == 0)
            return true;
    }
    return false;
}

static void say_what_stays(struct core *core, struct wish *wish, const struct node *node)
{
    char text[960], why[400];
    size_t used = (size_t)snprintf(text, sizeof(text), "node %s is drained but for ", node->name);
    const struct guest *guest = NULL;
    bool is_first = true;

    while ((guest = next_on(&core->state, node->id, guest)) != NULL && used < sizeof(text)) {
        why_it_stays(core, guest, node->name, why, sizeof(why));
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s (%s)",
                                 is_first ? "" : ", ", guest->spec.name, why);
        is_first = false;
    }
    core_end_wish(core, wish, ANSWER_NO_PLACE, text);
}

bool core_is_placed_on(const struct core *core, uint64_t node)
{
    return next_on(&core->state, node, NULL) != NULL;
}

bool core_drain_is_stuck(struct core *core, struct wish *wish, const struct node *node)
{
    if (node == NULL || !node->draining) {
        core_end_wish(core, wish, ANSWER_REFUSED, "the drain was called off");
        return true;
    }
    if (!core_is_placed_on(core, node->id) || node->state != NODE_UP || is_at_work(core, node))
        return false; /* a lost node's guests are about to be placed elsewhere */
    say_what_stays(core, wish, node);
    return true;
}

bool core_drained(struct core *core, struct wish *wish)
{
    const struct node *node = state_node_by_name(&core->state, wish->name);

    if (core_drain_is_stuck(core, wish, node))
        return true;
    if (core_is_placed_on(core, node->id) || (node->state == NODE_UP && is_at_work(core, node)))
        return false;
    core_end_wish(core, wish, ANSWER_DONE, "");
    return true;
}

/* ---- beforehand */

static struct state copy_of_state(const struct core *core)
{
    struct state copy;
    struct writer w;
    uint8_t *bytes;
    size_t size;

    writer_init_growing(&w, SIZE_MAX);
    state_snapshot(&core->state, &w);
    bytes = writer_steal(&w, &size);
    if (bytes == NULL || state_restore(&copy, bytes, size, NULL) < 0)
        abort();
    free(bytes);
    return copy;
}

static void plan_row(const struct core *core, struct state *state, const char *name,
                     struct drain_row *ret)
{
    const struct guest *guest = state_guest(state, name);
    struct placement target;
    struct command command;
    struct outcome outcome;
    char why[REASON_SIZE];
    char *words = NULL;
    struct err err = {0};

    snprintf(ret->guest, sizeof(ret->guest), "%s", name);
    if (guest_is_leaving(guest) || guest->migration != 0) {
        snprintf(ret->text, sizeof(ret->text),
                 guest->migration != 0 ? "it is being moved already" : "it is being stopped");
        ret->goes = true;
    } else if (!place_may_leave(state, &guest->spec, guest->placement.node, why)) {
        snprintf(ret->text, sizeof(ret->text), "%s", why);
    } else if (core_place_in(core, state, &guest->spec, guest->placement.node, &target, &words,
                             &err) == 0) {
        reserve(guest, &target, &command);
        state_apply(state, state->index + 1, state->term, &command, &outcome);
        ret->to = target.node;
        ret->goes = true;
    } else {
        snprintf(ret->text, sizeof(ret->text), "%.399s", words != NULL ? words : err.text);
    }
    free(words);
}

size_t core_drain_plan(const struct core *core, uint64_t node, struct drain_row **ret)
{
    struct state state = copy_of_state(core);
    const struct guest *guest = NULL;
    size_t n = 0;

    *ret = calloc(core->state.n_guests + 1, sizeof(**ret));
    if (*ret == NULL)
        abort();
    while ((guest = next_on(&core->state, node, guest)) != NULL)
        plan_row(core, &state, guest->spec.name, &(*ret)[n++]);
    state_deinit(&state);
    return n;
}

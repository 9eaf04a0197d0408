#include "tests/sim/script.h"

#include "tests/sim/faults.h"
#include "tests/sim/model_raft.h"

enum {
    LONG_US = 3000000,
    QUICK_US = 50000,
    RESTART_US = 10000,
    STARTED_US = 1500000,
    TRANSFER_US = 400000
};

enum phase {
    SCRIPT_CREATE = 0,
    SCRIPT_CREATE_OTHER,
    SCRIPT_PLACE,
    SCRIPT_LEAD,
    SCRIPT_WATCH,
    SCRIPT_STRUCK
};

static const struct guest *guest_of(struct sim *sim, int number)
{
    char name[NAME_SIZE];

    sim_guest_name(number, name);
    return state_guest(oracle_state(sim), name);
}

/* Where it runs, as the log and its guard say; NULL: it does not yet. */
static struct sim_node *runs_at(struct sim *sim, int number)
{
    const struct guest *guest = guest_of(sim, number);
    struct sim_node *node = guest != NULL ? sim_node_of(sim, guest->placement.node) : NULL;

    return node != NULL && node->guard.copies[number].state == GUEST_RUNNING &&
                   node->guard.copies[number].op == NULL
               ? node
               : NULL;
}

static bool leads(struct sim *sim, const struct sim_node *node)
{
    return node == fault_leader(sim) && node->actors[ACTOR_CORE].up &&
           core_has_authority(node->core, node_clock(sim, node));
}

static unsigned wanted_leader(const struct script *script)
{
    switch (script->leader) {
    case LEADER_IS_SOURCE:
        return script->source;
    case LEADER_IS_TARGET:
        return script->target;
    default:
        return 3 - script->source - script->target;
    }
}

/* ---- the steps */

static bool has_come(const struct script *script, const struct migration *m,
                     const struct sim_copy *source, const struct sim_copy *target)
{
    switch (script->step) {
    case AT_RESERVED:
        return m != NULL;
    case AT_PREPARED:
        return target->state == GUEST_PREPARED &&
               (target->op == NULL || target->op->op == GUARD_RECEIVE);
    case AT_CAPTURING:
        return source->state == GUEST_HANDED_OVER;
    case AT_RECEIVED:
        return target->state == GUEST_RECEIVED;
    case AT_COMMITTED:
        return m != NULL && m->phase == MIGRATION_COMMITTED;
    case AT_ACTIVATING:
        return target->state == GUEST_RESTORING;
    case AT_RUNNING:
        return m != NULL && target->state == GUEST_RUNNING;
    case AT_DONE:
        return m == NULL && source->state == GUEST_HANDED_OVER;
    case N_SCRIPT_STEPS:
        break;
    }
    return false;
}

static const struct migration *find_migration(struct sim *sim)
{
    struct script *script = sim->options->script;
    const struct state *state = oracle_state(sim);

    for (size_t i = 0; script->migration == 0 && i < state->n_migrations; i++) {
        if (sim_guest_of(state->migrations[i].guest) == 0)
            script->migration = state->migrations[i].id;
    }
    return script->migration == 0 ? NULL : state_migration(state, script->migration);
}

/* ---- the deed */

static void isolate(struct sim *sim, const struct sim_node *node)
{
    for (unsigned i = 0; i < sim->n; i++) {
        if (i == node->at)
            continue;
        fault_cut(sim, i, node->at, LONG_US);
        fault_cut(sim, node->at, i, LONG_US);
    }
}

static void strike(struct sim *sim)
{
    struct script *script = sim->options->script;
    struct sim_node *leader = fault_leader(sim);
    struct sim_node *node = script->victim == VICTIM_SOURCE   ? &sim->nodes[script->source]
                            : script->victim == VICTIM_TARGET ? &sim->nodes[script->target]
                                                              : leader;

    script->has_struck = node != NULL;
    if (node == NULL)
        return;
    sim_trace(sim, node, "is struck");
    switch (script->deed) {
    case DEED_POWER:
    case DEED_REBOOT:
        fault_power(sim, node, script->deed == DEED_POWER ? LONG_US : QUICK_US);
        break;
    case DEED_SKEIND:
        fault_crash_skeind(sim, node, RESTART_US);
        break;
    case DEED_GUARD:
        fault_crash_guard(sim, node, RESTART_US);
        break;
    case DEED_CUT:
        isolate(sim, node);
        break;
    case N_SCRIPT_DEEDS:
        break;
    }
}

/* ---- the way there */

static void create(struct sim *sim)
{
    struct sim_node *leader = fault_leader(sim);

    if (sim->now < STARTED_US || leader == NULL || !leads(sim, leader))
        return;
    users_ask(sim, COMMAND_GUEST_CREATE, 0, -1, leader->at);
    sim->options->script->phase = SCRIPT_CREATE_OTHER;
}

static void create_other(struct sim *sim)
{
    const struct sim_node *leader = fault_leader(sim);

    if (runs_at(sim, 0) == NULL || leader == NULL)
        return;
    users_ask(sim, COMMAND_GUEST_CREATE, 1, -1, leader->at);
    sim->options->script->phase = SCRIPT_PLACE;
}

static void place(struct sim *sim)
{
    struct script *script = sim->options->script;
    const struct sim_node *first = runs_at(sim, 0), *second = runs_at(sim, 1);

    if (first == NULL || second == NULL)
        return;
    script->source = first->at;
    script->target = (first->at + 1) % sim->n;
    script->life = first->guard.copies[0].life;
    script->phase = SCRIPT_LEAD;
}

static void transfer(struct sim *sim, struct sim_node *leader, unsigned to)
{
    struct script *script = sim->options->script;

    script->transferred_us = sim->now;
    raft_transfer(sim, leader, (int)to);
}

/* The second moves to where the first comes from, or away from there. */
static void lead(struct sim *sim)
{
    struct script *script = sim->options->script;
    struct sim_node *leader = fault_leader(sim);
    unsigned wanted = wanted_leader(script);
    const struct sim_node *second = runs_at(sim, 1);
    unsigned to = second != NULL && second->at == script->source
                      ? 3 - script->source - script->target
                      : script->source;

    if (leader == NULL || !leads(sim, leader) || sim->now < script->transferred_us + TRANSFER_US)
        return; /* a new leader has to hear from all */
    if (leader->at != wanted) {
        transfer(sim, leader, wanted);
        return;
    }
    if (script->has_two)
        users_ask(sim, COMMAND_MIGRATION_RESERVE, 1, (int)to, leader->at);
    users_ask(sim, COMMAND_MIGRATION_RESERVE, 0, (int)script->target, leader->at);
    script->phase = SCRIPT_WATCH;
}

static void watch(struct sim *sim)
{
    struct script *script = sim->options->script;
    const struct migration *m = find_migration(sim);

    if (script->migration == 0 || !has_come(script, m, &sim->nodes[script->source].guard.copies[0],
                                            &sim->nodes[script->target].guard.copies[0]))
        return;
    strike(sim);
    script->phase = SCRIPT_STRUCK;
}

void script_step(struct sim *sim)
{
    switch ((enum phase)sim->options->script->phase) {
    case SCRIPT_CREATE:
        create(sim);
        break;
    case SCRIPT_CREATE_OTHER:
        create_other(sim);
        break;
    case SCRIPT_PLACE:
        place(sim);
        break;
    case SCRIPT_LEAD:
        lead(sim);
        break;
    case SCRIPT_WATCH:
        watch(sim);
        break;
    case SCRIPT_STRUCK:
        break;
    }
}

/* ---- the end */

static bool is_victim(const struct script *script, enum script_victim who)
{
    return script->victim == who ||
           (script->victim == VICTIM_LEADER &&
            script->leader == (who == VICTIM_SOURCE ? LEADER_IS_SOURCE : LEADER_IS_TARGET));
}

/* What a node holds goes with its power, or with its lease. Around the hand-over either side may be
 * the owner when that happens; after it the source is not needed, before it the target is not. */
static bool must_be_kept(const struct script *script)
{
    if (script->deed == DEED_SKEIND || script->deed == DEED_GUARD)
        return true;
    if (is_victim(script, VICTIM_SOURCE))
        return script->step >= AT_COMMITTED;
    if (is_victim(script, VICTIM_TARGET))
        return script->step < AT_RECEIVED;
    return true;
}

void script_check(struct sim *sim)
{
    struct script *script = sim->options->script;
    const struct sim_node *node = runs_at(sim, 0);

    script->was_kept = node != NULL && node->guard.copies[0].life == script->life;
    if (!script->has_struck)
        sim_fail(sim, "the step never came");
    else if (node == NULL)
        sim_fail(sim, "the guest does not run");
    else if (!script->was_kept && must_be_kept(script))
        sim_fail(sim, "the guest was started anew, and need not have been");
}

/* aims: faults at the moment when they hurt most: at the steps that the proof in docs/leases.md
 * rests on, and at those of migrations; see sim.h.
 *
 * A random fault meets such a moment once in a million; a rule that only matters then would be
 * tested by nobody. Each seed draws how often it aims.
 */
#include "tests/sim/faults.h"
#include "tests/sim/model_raft.h"

/* ---- migrations */

/* A migration has come to a new step: soon an end of it, or the leader, may be struck. */
void aims_in_move(struct sim *sim, uint64_t from, uint64_t to)
{
    static const enum fault choices[] = {FAULT_POWER,       FAULT_SKEIND,     FAULT_GUARD,
                                         FAULT_STALL,       FAULT_MAIN_STALL, FAULT_CUT_ONE,
                                         FAULT_GUARD_STALL, FAULT_TRANSFER};
    const struct sim_node *leader = fault_leader(sim);
    const struct sim_node *victims[] = {sim_node_of(sim, from), sim_node_of(sim, to), leader};
    const struct sim_node *victim = victims[sim_below(sim, 3)];

    if (sim->is_calm || victim == NULL || !sim_chance(sim, sim->in_move_permille))
        return;
    sim_count(sim, COUNT_IN_MOVE);
    fault_after(sim, choices[sim_below(sim, sizeof(choices) / sizeof(choices[0]))], victim,
                sim_chance(sim, 500) ? sim_below(sim, 3 * MS) : sim_below(sim, 150 * MS));
}

/* ---- leaders */

/* Its log blocks on the disk, so that it hears of no election; it goes on granting as long as it
 * may. Now and then what it hears is old as well. */
static void deafen(struct sim *sim)
{
    struct sim_node *node = fault_leader(sim);
    uint64_t us = sim_between(sim, 500 * MS, 2500 * MS);

    if (node == NULL)
        return;
    sim_count(sim, COUNT_DEAF_LEADER);
    sim_trace(sim, node, "the log thread stalls for %llu ms", (unsigned long long)us / 1000);
    actor_stall(sim, node, ACTOR_RAFT, us);
    for (unsigned i = 0; i < sim->n; i++) {
        if (i != node->at && sim_chance(sim, 400))
            fault_slow(sim, i, node->at, sim_between(sim, 100 * MS, 500 * MS), us);
    }
}

/* The old leader and one more hear each other only, from the transfer on. */
static void leave_alone(struct sim *sim)
{
    struct sim_node *node = fault_leader(sim);
    unsigned spared = sim_below(sim, sim->n);
    uint64_t us = sim_between(sim, 300 * MS, 2500 * MS);

    if (node == NULL)
        return;
    sim_count(sim, COUNT_LONE_LEADER);
    sim_trace(sim, node, "is left with n%u", spared + 1);
    raft_transfer(sim, node, -1);
    if (spared == node->at || sim_chance(sim, 500))
        actor_stall(sim, node, ACTOR_RAFT, us);
    for (unsigned i = 0; i < sim->n; i++) {
        if (i == node->at || i == spared)
            continue;
        fault_cut(sim, i, node->at, us);
        if (spared != node->at && sim_chance(sim, 700))
            fault_cut(sim, i, spared, us);
    }
}

/* ---- nodes */

static void delay_acks(struct sim *sim, struct sim_node *node)
{
    uint64_t us = sim_between(sim, 1500 * MS, 6000 * MS);
    uint64_t delay_us = sim_between(sim, 120 * MS, 400 * MS);

    sim_count(sim, COUNT_LATE_ACKS);
    sim_trace(sim, node, "hears all late by %llu ms and more", (unsigned long long)delay_us / 1000);
    for (unsigned i = 0; i < sim->n; i++) {
        if (i != node->at)
            fault_slow(sim, i, node->at, delay_us, us);
    }
}

/* So late that its leases shall be longer; what the leader proposes then is aimed at below. */
static void space_beats(struct sim *sim, struct sim_node *node)
{
    sim_count(sim, COUNT_BEAT_GAPS);
    actor_stall(sim, node, ACTOR_CORE, sim_between(sim, 310 * MS, 560 * MS));
    if (sim_chance(sim, 750))
        fault_after(sim, FAULT_BEAT_GAPS, node, 750 * MS);
}

/* Its last beats are still on their way when it has booted again. */
static void delay_beats(struct sim *sim, struct sim_node *node)
{
    sim_count(sim, COUNT_LATE_BEATS);
    sim_trace(sim, node, "sends beats that come late, then goes off and on");
    for (unsigned i = 0; i < sim->n; i++) {
        if (i != node->at)
            fault_slow(sim, node->at, i, sim_between(sim, 400 * MS, 1000 * MS), 150 * MS);
    }
    fault_after(sim, FAULT_QUICK_BOOT, node, 140 * MS);
}

/* Voters forget all but what is on their disks, and vote at once: what they had echoed counts. */
static void restart_voters(struct sim *sim)
{
    struct sim_node *leader = fault_leader(sim);

    if (leader == NULL)
        return;
    sim_count(sim, COUNT_VOTER_RESTART);
    for (unsigned i = 0; i < sim->n; i++) {
        if (i != leader->at && raft_is_voter(&leader->raft, i) && sim_chance(sim, 600))
            fault_crash_skeind(sim, &sim->nodes[i], sim_between(sim, MS, 20 * MS));
    }
    fault_after(sim, FAULT_TRANSFER, leader, sim_between(sim, 5 * MS, 120 * MS));
}

void aims_strike(struct sim *sim, enum fault fault, struct sim_node *node)
{
    if (fault == FAULT_DEAF_LEADER)
        deafen(sim);
    else if (fault == FAULT_LONE_LEADER)
        leave_alone(sim);
    else if (fault == FAULT_LATE_ACKS)
        delay_acks(sim, node);
    else if (fault == FAULT_BEAT_GAPS)
        space_beats(sim, node);
    else if (fault == FAULT_LATE_BEATS)
        delay_beats(sim, node);
    else if (fault == FAULT_QUICK_BOOT)
        fault_power(sim, node, 50 * MS);
    else if (fault == FAULT_VOTER_RESTART)
        restart_voters(sim);
}

bool aims_at_lease_end(struct sim *sim, struct sim_node *node)
{
    uint64_t us = sim_between(sim, 8 * MS, 14 * MS);

    if (sim->is_calm || sim->hangs_guards || !sim_chance(sim, sim->aim_permille / 2) ||
        sim->now < node->guard.disturbed_us + 100 * MS)
        return false;
    sim_count(sim, COUNT_AT_LEASE_END);
    node->guard.disturbed_us = sim->now;
    actor_stall(sim, node, ACTOR_GUARD, us);
    return true;
}

/* ---- votes */

static bool is_deaf(const struct sim *sim)
{
    for (unsigned i = 0; i < sim->n; i++) {
        if (sim->nodes[i].raft.state == RAFT_LEADER &&
            actor_is_stalled(sim, &sim->nodes[i], ACTOR_RAFT))
            return true;
    }
    return false;
}

/* Whoever has voted goes on speaking to the old leader, when it does not hear the new one. */
void aims_at_vote(struct sim *sim, struct sim_node *voter, unsigned candidate)
{
    uint64_t authority_us = DEFAULT_AUTHORITY_MS * MS;

    if (voter->crashed_us != 0 && sim->now < voter->crashed_us + authority_us)
        sim_count(sim, COUNT_VOTED_AFTER_RESTART);
    if (sim->is_calm || !sim_chance(sim, is_deaf(sim) ? 700 : sim->aim_permille / 5))
        return;
    sim_count(sim, COUNT_AT_VOTE);
    sim_trace(sim, voter, "votes for n%u, and does not hear it", candidate + 1);
    fault_cut(sim, candidate, voter->at, sim_between(sim, 20 * MS, 280 * MS));
}

/* ---- proposals */

/* The leader stalls between its decision and the log; it loses leadership meanwhile, and has it
 * again in a later term. */
static void stall_loss(struct sim *sim, struct sim_node *leader, struct sim_node *lost)
{
    uint64_t us = sim_between(sim, 40 * MS, 400 * MS);

    sim_count(sim, COUNT_LOSS_STALLED);
    sim_trace(sim, leader, "stalls for %llu ms with the loss of n%u", (unsigned long long)us / 1000,
              lost->at + 1);
    leader->handover_us = sim->now + us;
    actor_stall(sim, leader, ACTOR_CORE, us);
    fault_heal_links_of(sim, lost->at);
    raft_transfer(sim, leader, -1);
    fault_after(sim, FAULT_TRANSFER, NULL, sim_between(sim, us / 3, us - 10 * MS));
}

/* The log takes the loss only after the node was heard again. */
static void stall_log(struct sim *sim, struct sim_node *leader, struct sim_node *lost)
{
    uint64_t us = sim_between(sim, 20 * MS, 300 * MS);

    sim_count(sim, COUNT_LOSS_HEARD);
    sim_trace(sim, leader, "the log stalls for %llu ms with the loss of n%u",
              (unsigned long long)us / 1000, lost->at + 1);
    actor_stall(sim, leader, ACTOR_RAFT, us);
    fault_heal_links_of(sim, lost->at);
}

static void strike_loss(struct sim *sim, struct sim_node *leader, struct sim_node *lost)
{
    if (lost == NULL || lost == leader)
        return;
    if (sim_chance(sim, 500))
        stall_loss(sim, leader, lost);
    else
        stall_log(sim, leader, lost);
}

static bool elects_without(const struct sim *sim, const struct sim_node *leader,
                           const struct sim_node *node)
{
    unsigned n_voters = 0, n = 0;

    for (unsigned i = 0; i < sim->n; i++) {
        n_voters += raft_is_voter(&leader->raft, i);
        n += raft_is_voter(&leader->raft, i) && i != leader->at && i != node->at;
    }
    return n > n_voters / 2;
}

/* The leader has granted what it wants to propose, perhaps, and is not heard again. */
static void strike_ceiling(struct sim *sim, struct sim_node *leader, struct sim_node *node)
{
    uint64_t us = sim_between(sim, 1500 * MS, 3000 * MS);

    if (node == NULL)
        return;
    sim_count(sim, COUNT_CEILING_CUT);
    sim_trace(sim, leader, "is lost with the ceiling of n%u", node->at + 1);
    raft_transfer(sim, leader, -1);
    actor_stall(sim, leader, ACTOR_RAFT, us);
    if (!elects_without(sim, leader, node)) { /* once it has voted */
        fault_after(sim, FAULT_CUT_BOTH, node, sim_between(sim, MS, 6 * MS));
        return;
    }
    for (unsigned i = 0; i < sim->n; i++) {
        if (i == leader->at || i == node->at)
            continue;
        fault_cut(sim, i, node->at, us);
        fault_cut(sim, node->at, i, us);
    }
}

static void strike_any(struct sim *sim, struct sim_node *leader)
{
    static const enum fault choices[] = {FAULT_TRANSFER, FAULT_SKEIND, FAULT_RAFT_STALL,
                                         FAULT_MAIN_STALL, FAULT_LONE_LEADER};

    fault_after(sim, choices[sim_below(sim, sizeof(choices) / sizeof(choices[0]))], leader,
                sim_below(sim, 3 * MS));
}

void aims_at_proposal(struct sim *sim, struct sim_node *node, const struct core_action *action)
{
    struct command command;

    if (sim->is_calm || !sim_chance(sim, sim->aim_permille) || node->raft.state != RAFT_LEADER ||
        command_decode(action->data, action->size, &command, NULL) < 0)
        return;
    if (command.type == COMMAND_NODE_LOST)
        strike_loss(sim, node, sim_node_of(sim, command.node_event.node));
    else if (command.type == COMMAND_NODE_CEILING)
        strike_ceiling(sim, node, sim_node_of(sim, command.node_ceiling.node));
    else if (sim_chance(sim, 20)) {
        sim_count(sim, COUNT_AT_PROPOSAL);
        strike_any(sim, node);
    }
    command_deinit(&command);
}

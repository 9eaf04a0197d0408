/* faults: what goes wrong, when, and when it ends; see sim.h.
 *
 * Each seed has its own mix and pace. A guard is disturbed (crash, stall) rarely enough that it is
 * never late by more than the freeze budget F, unless the seed is one that hangs guards.
 */
#include "tests/sim/faults.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t base_weights[FAULT_END] = {
    [FAULT_POWER] = 6,       [FAULT_SKEIND] = 8,        [FAULT_GUARD] = 6,
    [FAULT_STALL] = 6,       [FAULT_MAIN_STALL] = 5,    [FAULT_RAFT_STALL] = 6,
    [FAULT_GUARD_STALL] = 5, [FAULT_CUT_ONE] = 8,       [FAULT_CUT_BOTH] = 6,
    [FAULT_PARTITION] = 6,   [FAULT_LOSS] = 6,          [FAULT_DELAY] = 5,
    [FAULT_STREAM] = 5,      [FAULT_TRANSFER] = 8,      [FAULT_EXIT] = 5,
    [FAULT_DEAF_LEADER] = 5, [FAULT_LATE_ACKS] = 5,     [FAULT_BEAT_GAPS] = 4,
    [FAULT_LONE_LEADER] = 5, [FAULT_VOTER_RESTART] = 4, [FAULT_LATE_BEATS] = 4,
};

/* Every mask of the directed links of three nodes falls under each of the three leaders. */
enum { MASKS = 64, MASK_RETRY_US = 20000 };

static void default_link(struct sim *sim, struct link *link)
{
    link->delay_us = 100 + sim_below(sim, 400);
    link->jitter_us = 100 + sim_below(sim, 900);
    link->loss_permille = 0;
}

void faults_setup(struct sim *sim)
{
    struct event event = sim_event(EV_FAULT, NULL, ACTOR_NONE);

    for (int i = 0; i < FAULT_END; i++)
        sim->weights[i] = base_weights[i] * sim_below(sim, 4);
    sim->fault_ms = 250 + sim_below(sim, 2500);
    for (unsigned i = 0; i < sim->n; i++) {
        for (unsigned k = 0; k < sim->n; k++)
            default_link(sim, &sim->links[i][k]);
    }
    sim_push(sim, sim_event(EV_CALM, NULL, ACTOR_NONE), sim->calm_us);
    if (sim->options->script != NULL)
        return;
    sim_push(sim, event, SIM_FAULTS_FROM_US);
    if (sim->n == 3) /* one of them for sure, all of them over the seeds */
        fault_after(sim, FAULT_MASK, NULL,
                    sim_between(sim, SIM_FAULTS_FROM_US, SIM_CALM_FROM_US - 15000 * MS));
}

/* ---- ends of faults */

static void heal_later(struct sim *sim, enum fault fault, unsigned from, unsigned to,
                       uint64_t delay)
{
    struct event event = {.kind = EV_HEAL, .a = fault, .from = (uint8_t)from, .node = (uint8_t)to};

    sim_push(sim, event, delay);
}

static void boot_later(struct sim *sim, const struct sim_node *node, enum actor_kind what,
                       uint64_t delay)
{
    struct event event = sim_event(EV_BOOT, node, ACTOR_NONE);

    event.a = what;
    sim_push(sim, event, delay);
}

static void heal_all_links(struct sim *sim)
{
    for (unsigned i = 0; i < sim->n; i++) {
        for (unsigned k = 0; k < sim->n; k++)
            net_cut(sim, i, k, false);
    }
}

static void heal(struct sim *sim, const struct event *event)
{
    struct link *link = &sim->links[event->from][event->node];

    switch ((enum fault)event->a) {
    case FAULT_PARTITION:
    case FAULT_MASK:
        sim_trace(sim, NULL, "all links are whole");
        heal_all_links(sim);
        break;
    case FAULT_CUT_ONE:
        sim_trace(sim, NULL, "link n%u -> n%u is whole", event->from + 1u, event->node + 1u);
        net_cut(sim, event->from, event->node, false);
        break;
    default:
        default_link(sim, link);
    }
}

/* ---- processes */

void fault_power(struct sim *sim, struct sim_node *node, uint64_t down_us)
{
    if (!node->is_on)
        return;
    sim_count(sim, COUNT_POWER_OFF);
    node_power_off(sim, node);
    boot_later(sim, node, ACTOR_NONE, down_us);
}

void fault_crash_skeind(struct sim *sim, struct sim_node *node, uint64_t down_us)
{
    if (!node->actors[ACTOR_CORE].up)
        return;
    sim_count(sim, COUNT_SKEIND_CRASH);
    sim_trace(sim, node, "skeind crashes");
    skeind_crash(sim, node);
    boot_later(sim, node, ACTOR_CORE, down_us);
}

static void crash_skeind(struct sim *sim, struct sim_node *node)
{
    fault_crash_skeind(sim, node,
                       sim_chance(sim, 700) ? sim_between(sim, 5 * MS, 100 * MS)
                                            : sim_between(sim, 100 * MS, 4000 * MS));
}

/* Not twice within 100 ms: its lateness must not add up. */
static bool may_disturb_guard(struct sim *sim, struct sim_node *node)
{
    if (!node->actors[ACTOR_GUARD].up || sim->now < node->guard.disturbed_us + 100 * MS)
        return false;
    node->guard.disturbed_us = sim->now;
    return true;
}

void fault_crash_guard(struct sim *sim, struct sim_node *node, uint64_t down_us)
{
    if (!may_disturb_guard(sim, node))
        return;
    sim_count(sim, COUNT_GUARD_CRASH);
    guard_crash(sim, node);
    boot_later(sim, node, ACTOR_GUARD, down_us);
}

static void crash_guard(struct sim *sim, struct sim_node *node)
{
    fault_crash_guard(sim, node,
                      sim->hangs_guards ? sim_between(sim, MS, 2000 * MS)
                                        : sim_between(sim, MS, 15 * MS));
}

static void stall_guard(struct sim *sim, struct sim_node *node)
{
    uint64_t us =
        sim->hangs_guards ? sim_between(sim, 20 * MS, 3000 * MS) : sim_between(sim, MS, 14 * MS);

    if (!may_disturb_guard(sim, node))
        return;
    sim_count(sim, sim->hangs_guards ? COUNT_GUARD_HUNG : COUNT_GUARD_STALL);
    if (sim->hangs_guards) {
        node->guard.disturbed_us = sim->now + us;
        sim_trace(sim, node, "guard hangs for %llu ms", (unsigned long long)us / 1000);
    }
    actor_stall(sim, node, ACTOR_GUARD, us);
}

/* The log's thread can block on its disk while the main thread goes on. */
static void stall_skeind(struct sim *sim, struct sim_node *node, enum fault fault)
{
    static const char *const who[FAULT_END] = {[FAULT_STALL] = "skeind",
                                               [FAULT_MAIN_STALL] = "skeind's main thread",
                                               [FAULT_RAFT_STALL] = "skeind's log thread"};
    uint64_t us = sim_chance(sim, 600) ? sim_between(sim, 20 * MS, 600 * MS)
                                       : sim_between(sim, 600 * MS, 4000 * MS);

    if (!node->actors[ACTOR_CORE].up)
        return;
    sim_count(sim, fault == FAULT_STALL        ? COUNT_SKEIND_STALL
                   : fault == FAULT_MAIN_STALL ? COUNT_MAIN_STALL
                                               : COUNT_RAFT_STALL);
    sim_trace(sim, node, "%s stalls for %llu ms", who[fault], (unsigned long long)us / 1000);
    if (fault != FAULT_RAFT_STALL)
        actor_stall(sim, node, ACTOR_CORE, us);
    if (fault != FAULT_MAIN_STALL)
        actor_stall(sim, node, ACTOR_RAFT, us);
}

/* ---- links */

static uint64_t cut_time(struct sim *sim)
{
    return sim_chance(sim, 500) ? sim_between(sim, 20 * MS, 700 * MS)
                                : sim_between(sim, 700 * MS, 5000 * MS);
}

void fault_cut(struct sim *sim, unsigned from, unsigned to, uint64_t us)
{
    net_cut(sim, from, to, true);
    heal_later(sim, FAULT_CUT_ONE, from, to, us);
}

void fault_slow(struct sim *sim, unsigned from, unsigned to, uint64_t delay_us, uint64_t us)
{
    struct link *link = &sim->links[from][to];

    link->delay_us = link->jitter_us = (uint32_t)delay_us;
    heal_later(sim, FAULT_DELAY, from, to, us);
}

void fault_heal_links_of(struct sim *sim, unsigned node)
{
    for (unsigned i = 0; i < sim->n; i++) {
        net_cut(sim, node, i, false);
        net_cut(sim, i, node, false);
    }
}

static void cut(struct sim *sim, unsigned a, unsigned b, bool both)
{
    uint64_t us = cut_time(sim);

    sim_count(sim, both ? COUNT_CUT_BOTH_WAYS : COUNT_CUT_ONE_WAY);
    sim_trace(sim, NULL, "link n%u %s n%u is cut for %llu ms", a + 1, both ? "<->" : "->", b + 1,
              (unsigned long long)us / 1000);
    fault_cut(sim, a, b, us);
    if (both)
        fault_cut(sim, b, a, us);
}

static void partition(struct sim *sim)
{
    uint32_t side = 1 + sim_below(sim, (1u << sim->n) - 2);
    uint64_t us = cut_time(sim);

    sim_count(sim, COUNT_PARTITION);
    sim_trace(sim, NULL, "partition: mask 0x%x, for %llu ms", side, (unsigned long long)us / 1000);
    for (unsigned i = 0; i < sim->n; i++) {
        for (unsigned k = 0; k < sim->n; k++) {
            if ((side >> i & 1) != (side >> k & 1))
                net_cut(sim, i, k, true);
        }
    }
    heal_later(sim, FAULT_PARTITION, 0, 0, us);
}

/* The seed's mask falls while the seed's leader leads with authority: it is handed leadership
 * first. */
static void mask_links(struct sim *sim)
{
    static const uint8_t ends[6][2] = {{0, 1}, {0, 2}, {1, 0}, {1, 2}, {2, 0}, {2, 1}};
    unsigned mask = sim->seed / 2 % MASKS, wanted = sim->seed / 2 / MASKS % 3;
    struct sim_node *leader = fault_leader(sim);

    if (leader == NULL || leader->at != wanted || !leader->actors[ACTOR_CORE].up ||
        !core_has_authority(leader->core, node_clock(sim, leader))) {
        if (leader != NULL && leader->at != wanted)
            raft_transfer(sim, leader, (int)wanted);
        fault_after(sim, FAULT_MASK, NULL, MASK_RETRY_US);
        return;
    }
    sim_count(sim, COUNT_LINK_MASK);
    sim->counts->masks[wanted] |= 1ull << mask;
    sim_trace(sim, leader, "leads; links cut by mask 0x%02x", mask);
    for (unsigned i = 0; i < 6; i++)
        net_cut(sim, ends[i][0], ends[i][1], (mask >> i & 1) != 0);
    heal_later(sim, FAULT_MASK, 0, 0, sim_between(sim, 500 * MS, 4000 * MS));
}

static void worsen(struct sim *sim, unsigned a, unsigned b, bool is_loss)
{
    struct link *link = &sim->links[a][b];

    sim_count(sim, is_loss ? COUNT_LOSS : COUNT_DELAY);
    if (is_loss)
        link->loss_permille = 50 + sim_below(sim, 700);
    else
        link->delay_us =
            (uint32_t)sim_between(sim, 10 * MS, sim_chance(sim, 300) ? 2000 * MS : 150 * MS);
    if (!is_loss)
        link->jitter_us = link->delay_us;
    sim_trace(sim, NULL, "link n%u -> n%u: loss %u/1000, delay %u ms", a + 1, b + 1,
              link->loss_permille, link->delay_us / 1000);
    heal_later(sim, FAULT_LOSS, a, b, cut_time(sim));
}

/* ---- guests and leaders */

static void drop_stream(struct sim *sim)
{
    for (size_t i = 0; i < sim->n_moves; i++) {
        if (sim->moves[i].is_open)
            sim->moves[i].drops = true;
    }
}

static void end_guest(struct sim *sim, struct sim_node *node)
{
    for (int i = 0; i < SIM_GUESTS; i++) {
        const struct sim_copy *copy = &node->guard.copies[i];

        if (copy->state == GUEST_RUNNING && copy->op == NULL && !copy->is_finishing &&
            copy_runs(node, copy) && node->actors[ACTOR_GUARD].up &&
            !actor_is_stalled(sim, node, ACTOR_GUARD)) {
            sim_count(sim, COUNT_GUEST_EXIT);
            ops_exit(sim, node, i);
            return;
        }
    }
}

struct sim_node *fault_leader(struct sim *sim)
{
    for (unsigned i = 0; i < sim->n; i++) {
        struct sim_node *node = &sim->nodes[i];

        if (node->actors[ACTOR_RAFT].up && node->raft.state == RAFT_LEADER &&
            !actor_is_stalled(sim, node, ACTOR_RAFT))
            return node;
    }
    return NULL;
}

/* Sometimes the old leader is cut off from most at that moment, so that it does not hear of it. */
static void transfer(struct sim *sim)
{
    struct sim_node *node = fault_leader(sim);
    unsigned spared = sim_below(sim, sim->n);

    if (node == NULL)
        return;
    raft_transfer(sim, node, -1);
    if (!sim_chance(sim, 500))
        return;
    sim_count(sim, COUNT_TRANSFER_CUT);
    sim_trace(sim, node, "hears n%u only", spared + 1);
    for (unsigned i = 0; i < sim->n; i++) {
        if (i == spared || i == node->at)
            continue;
        fault_cut(sim, i, node->at, sim_between(sim, 50 * MS, 1500 * MS));
    }
}

/* ---- one fault */

static enum fault draw(struct sim *sim)
{
    uint32_t sum = 0, at;

    for (int i = 0; i < FAULT_END; i++)
        sum += sim->weights[i];
    at = sum > 0 ? sim_below(sim, sum) : 0;
    for (int i = 0; i < FAULT_END; i++) {
        if (at < sim->weights[i])
            return (enum fault)i;
        at -= sim->weights[i];
    }
    return FAULT_SKEIND;
}

/* `aim`: NULL = anybody. */
static void strike(struct sim *sim, enum fault fault, const struct sim_node *aim)
{
    const struct sim_node *leader = aim == NULL && sim_chance(sim, 300) ? fault_leader(sim) : aim;
    unsigned a = leader != NULL ? leader->at : sim_below(sim, sim->n);
    unsigned b = (a + 1 + sim_below(sim, sim->n - 1)) % sim->n;
    struct sim_node *node = &sim->nodes[a];

    switch (fault) {
    case FAULT_POWER:
        fault_power(sim, node, sim_between(sim, 50 * MS, 6000 * MS));
        break;
    case FAULT_SKEIND:
        crash_skeind(sim, node);
        break;
    case FAULT_GUARD:
        crash_guard(sim, node);
        break;
    case FAULT_STALL:
    case FAULT_MAIN_STALL:
    case FAULT_RAFT_STALL:
        stall_skeind(sim, node, fault);
        break;
    case FAULT_GUARD_STALL:
        stall_guard(sim, node);
        break;
    case FAULT_CUT_ONE:
    case FAULT_CUT_BOTH:
        cut(sim, a, b, fault == FAULT_CUT_BOTH);
        break;
    case FAULT_PARTITION:
        partition(sim);
        break;
    case FAULT_MASK:
        mask_links(sim);
        break;
    case FAULT_LOSS:
    case FAULT_DELAY:
        worsen(sim, a, b, fault == FAULT_LOSS);
        break;
    case FAULT_STREAM:
        drop_stream(sim);
        break;
    case FAULT_TRANSFER:
        transfer(sim);
        break;
    case FAULT_EXIT:
        end_guest(sim, node);
        break;
    case FAULT_DEAF_LEADER:
    case FAULT_LATE_ACKS:
    case FAULT_BEAT_GAPS:
    case FAULT_LONE_LEADER:
    case FAULT_VOTER_RESTART:
    case FAULT_LATE_BEATS:
    case FAULT_QUICK_BOOT:
        aims_strike(sim, fault, node);
        break;
    case FAULT_END:
        break;
    }
}

void fault_after(struct sim *sim, enum fault fault, const struct sim_node *node, uint64_t delay)
{
    struct event event = sim_event(EV_FAULT, node, ACTOR_NONE);

    event.a = fault + 1;
    event.b = node != NULL;
    sim_push(sim, event, delay);
}

static void calm(struct sim *sim)
{
    sim->is_calm = true;
    sim_trace(sim, NULL, "calm: no more faults");
    heal_all_links(sim);
    for (unsigned i = 0; i < sim->n; i++) {
        for (unsigned k = 0; k < sim->n; k++)
            default_link(sim, &sim->links[i][k]);
        if (!sim->nodes[i].is_on)
            boot_later(sim, &sim->nodes[i], ACTOR_NONE, sim_between(sim, MS, 500 * MS));
        boot_later(sim, &sim->nodes[i], ACTOR_GUARD, 600 * MS);
        boot_later(sim, &sim->nodes[i], ACTOR_CORE, 700 * MS);
    }
    sim_push(sim, sim_event(EV_LOOK, NULL, ACTOR_NONE), 1000 * MS);
}

void faults_handle(struct sim *sim, struct event *event)
{
    if (event->kind == EV_HEAL) {
        if (!sim->is_calm || sim->options->script != NULL)
            heal(sim, event);
    } else if (event->kind == EV_CALM) {
        calm(sim);
    } else if (!sim->is_calm && event->a != 0) {
        strike(sim, (enum fault)(event->a - 1), event->b != 0 ? &sim->nodes[event->node] : NULL);
    } else if (!sim->is_calm) {
        strike(sim, draw(sim), NULL);
        sim_push(sim, *event, sim_between(sim, 1, 2 * sim->fault_ms) * MS);
    }
}

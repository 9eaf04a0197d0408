/* faults: what both the random faults (faults.c) and those that are aimed (aims.c) do. See sim.h.
 */
#ifndef SKEIN_TESTS_SIM_FAULTS_H
#define SKEIN_TESTS_SIM_FAULTS_H

#include "tests/sim/sim.h"

enum fault {
    FAULT_POWER = 0,
    FAULT_SKEIND,
    FAULT_GUARD,
    FAULT_STALL,
    FAULT_MAIN_STALL,
    FAULT_RAFT_STALL,
    FAULT_GUARD_STALL,
    FAULT_CUT_ONE,
    FAULT_CUT_BOTH,
    FAULT_PARTITION,
    FAULT_MASK,
    FAULT_LOSS,
    FAULT_DELAY,
    FAULT_STREAM,
    FAULT_TRANSFER,
    FAULT_EXIT,
    /* aimed at the rules of docs/leases.md: aims.c */
    FAULT_DEAF_LEADER,
    FAULT_LATE_ACKS,
    FAULT_BEAT_GAPS,
    FAULT_LONE_LEADER,
    FAULT_VOTER_RESTART,
    FAULT_LATE_BEATS,
    FAULT_QUICK_BOOT,
    FAULT_END
};

/* The fault strikes `node` (NULL = anybody), `delay` from now. */
void fault_after(struct sim *sim, enum fault fault, const struct sim_node *node, uint64_t delay);
void fault_cut(struct sim *sim, unsigned from, unsigned to, uint64_t us);
/* Every message takes `delay_us` to twice that. */
void fault_slow(struct sim *sim, unsigned from, unsigned to, uint64_t delay_us, uint64_t us);
void fault_crash_skeind(struct sim *sim, struct sim_node *node, uint64_t down_us);
void fault_crash_guard(struct sim *sim, struct sim_node *node, uint64_t down_us);
void fault_power(struct sim *sim, struct sim_node *node, uint64_t down_us);
void fault_heal_links_of(struct sim *sim, unsigned node);
/* Who leads by the log's word; NULL = nobody, or it cannot act. */
struct sim_node *fault_leader(struct sim *sim);

/* ---- aims.c */
void aims_strike(struct sim *sim, enum fault fault, struct sim_node *node);

#endif

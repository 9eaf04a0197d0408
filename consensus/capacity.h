/* capacity: what a node has room for, by the replicated state alone (pure).
 *
 * The one place that says what counts as used: apply re-checks with it what the scheduler decided
 * with it. A guest's cores and memory count where it is placed; a migration's also at its other end
 * (the reservation at the target, after the commit the frozen copy at the source). `except`, where
 * it occurs, is the name of a guest that does not count, or NULL.
 */
#ifndef SKEIN_CONSENSUS_CAPACITY_H
#define SKEIN_CONSENSUS_CAPACITY_H

#include "consensus/state.h"

/* The facts' entry of a core id, NULL when the node has no such core. */
const struct core_info *capacity_core(const struct node_facts *facts, uint16_t id);
/* Marks every core of the node that is held, by its id. */
void capacity_mark_cores(const struct state *state, uint64_t node, const char *except,
                         bool used[MAX_CORES]);
/* True when `core` is isolated, not held, and no SMT sibling of it is held. */
bool capacity_core_is_free(const struct node_facts *facts, const struct core_info *core,
                           const bool used[MAX_CORES]);
uint64_t capacity_memory_used_mib(const struct state *state, uint64_t node, const char *except);
/* Whether the node takes this guest at all: up, not cordoned or draining, no witness, kind, `on`,
 * labels. 0; -ESTALE or -EINVAL with the reason in words. */
int capacity_node_takes(const struct node *node, const struct guest_spec *spec,
                        char reason[REASON_SIZE]);
/* What a guest takes of a node: its own memory, and what runs it. */
uint32_t capacity_guest_mib(const struct guest_spec *spec);
/* 0 or -ESTALE with words such as "60m of 512m memory free, 64m wanted". */
int capacity_check_memory(const struct state *state, const struct node *node, uint32_t memory_mib,
                          const char *except, char reason[REASON_SIZE]);
/* A whole placement: the node known and taking it, its memory and exactly these cores free. 0;
 * -ENOENT, -EINVAL, or -ESTALE when it may have been right once; with the reason in words. */
int capacity_check_placement(const struct state *state, const struct guest_spec *spec,
                             const struct placement *placement, char reason[REASON_SIZE]);

/* Writes a reason; returns `code`. What does not fit is cut. */
int reason_set(char reason[REASON_SIZE], int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

/* cores: which isolated cores of a node are free, and which of them a guest gets (pure).
 *
 * `except`, where it occurs, is the name of a guest whose own placement does not count, or NULL.
 */
#ifndef SKEIN_SCHEDULER_CORES_H
#define SKEIN_SCHEDULER_CORES_H

#include "consensus/state.h"

/* Marks in `used` (indexed by core id) every core of `node` that a guest holds, or that a
 * migration has reserved there. */
void cores_mark_used(const struct state *state, uint64_t node, const char *except,
                     bool used[MAX_CORES]);

/* Isolated cores of the node that nobody holds. */
uint32_t cores_n_free(const struct state *state, const struct node *node);

/* Chooses n whole isolated cores of one NUMA node (and of one cluster where it can), none the SMT
 * sibling of another guest's core; fills `ret` ascending. 0; -ENOSPC with the reason in words. */
int cores_choose(const struct state *state, const struct node *node, uint32_t n, const char *except,
                 uint16_t ret[MAX_GUEST_CORES], char reason[REASON_SIZE]);

/* Memory of the guests and reservations on the node, MiB. */
uint32_t memory_used_mib(const struct state *state, uint64_t node, const char *except);

#endif

/* cpus: from the cores that the cluster speaks of to the processors that the kernel has (pure).
 *
 * A lab declares more cores than there are: those are folded onto the real ones, here and nowhere
 * else.
 */
#ifndef SKEIN_AGENT_GUARD_CPUS_H
#define SKEIN_AGENT_GUARD_CPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

enum { CPUS_TEXT_SIZE = 1280 }; /* 256 numbers and commas */

struct cpus {
    bool is_folded;  /* declared cores stand for real ones, id modulo their number */
    uint32_t n_real; /* at least 1 */
    uint16_t real[MAX_CORES];
    uint32_t n_shared; /* declared cores that are not isolated */
    uint16_t shared[MAX_CORES];
    bool has_none_to_share; /* all are isolated: the one in `shared` is a guest's too */
};

/* The kernel's list of the processors behind the cores, ascending: "0,2,3". n = 0: the shared ones.
 * -EINVAL for a core that this machine does not have, or that it shares. */
int cpus_list(const struct cpus *cpus, const uint16_t *cores, uint32_t n, char ret[CPUS_TEXT_SIZE],
              struct err *err);

#endif

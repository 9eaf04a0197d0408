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

#include "agent/guest/guest.h"
#include "base/err.h"
#include "base/limits.h"

struct cpus {
    bool is_folded;  /* declared cores stand for real ones, id modulo their number */
    uint32_t n_real; /* at least 1 */
    uint16_t real[MAX_CORES];
    uint32_t n_shared; /* declared cores that are not isolated */
    uint16_t shared[MAX_CORES];
    uint32_t n_beyond; /* shared ones that Xen has for its machines, but this kernel does not */
    uint16_t beyond[MAX_CORES];
    bool has_none_to_share; /* all are isolated: the one in `shared` is a guest's too */
};

/* The processor behind a core. */
uint16_t cpus_real(const struct cpus *cpus, uint16_t core);
/* The kernel's list of the processors behind the cores, ascending: "0,2,3". n = 0: the shared ones,
 * which with_shared adds to others too. -EINVAL for a core that this
 * machine does not have, or that it shares. */
int cpus_list(const struct cpus *cpus, const uint16_t *cores, uint32_t n, bool with_shared,
              char ret[CPUS_TEXT_SIZE], struct err *err);

/* Likewise of what a virtual machine without cores of its own runs on: off the control domain's
 * processors where there are others. */
int cpus_list_machines(const struct cpus *cpus, char ret[CPUS_TEXT_SIZE], struct err *err);

#endif

/* facts: what a node says of itself, from its settings and from what its kernel says (pure). */
#ifndef SKEIN_AGENT_SKEIND_FACTS_H
#define SKEIN_AGENT_SKEIND_FACTS_H

#include "agent/config.h"
#include "consensus/types.h"

/* As found on the machine (skeind/facts_linux.c). */
struct machine {
    char host_name[64];
    char arch[16];
    uint32_t memory_mib;
    uint32_t uplink_address; /* of config->uplink; 0 = none */
    uint32_t n_cores;
    struct core_info cores[MAX_CORES]; /* ascending; isolated is not set */
    bool has_guard;
    bool can_track_dirty, can_lazy; /* as of struct node_facts */
    bool has_kvm;                   /* its kernel makes virtual machines */
    bool is_xen;                    /* it is Xen's control domain */
    bool has_vm;                    /* what runs virtual machines is installed */
    bool has_lxc;                   /* likewise containers by liblxc */
};

/* Of it, what is tried out with privileges: without them /proc/self is closed to who had some.
 * Once, before they are dropped. */
void machine_try(struct machine *ret);

/* All else; never fails: what cannot be found is 0 or "". */
void machine_read(const struct config *config, struct machine *ret);

/* The node's name: the setting, or the host's if it is a fit name, or "". */
const char *facts_name(const struct config *config, const struct machine *machine);

/* Keys are left zeroed. -EINVAL with words: no address. -ENOMEM. The caller ends `ret`. */
int facts_make(const struct config *config, const struct machine *machine, struct node_facts *ret,
               struct err *err);

#endif

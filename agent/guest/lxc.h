/* lxc: what the guard, skeind and skein-lxc agree on about containers by liblxc.
 *
 * An lxc guest's first process is skein-lxc (keeper_lxc.c): it starts the container as a child and
 * keeps its terminal. All of it lives in the guest's cgroups; liblxc sees none of them but an empty
 * tree of its own (lxc_ground_linux.h), so that the guard alone limits, freezes and kills.
 */
#ifndef SKEIN_AGENT_GUEST_LXC_H
#define SKEIN_AGENT_GUEST_LXC_H

#include "agent/guest/guest.h"

#define LXC_PROGRAM "skein-lxc"  /* lies beside skein-guard */
#define LXC_BOOT    "/sbin/init" /* a command that is an init itself */

struct lxc_paths {
    char home[160];    /* a directory beside the guest's root, for what follows and for liblxc */
    char errors[176];  /* what liblxc complains of */
    char console[108]; /* socket for whoever attaches to the console */
};

void lxc_paths_init(struct lxc_paths *lxc, const struct guest_paths *paths);

#endif

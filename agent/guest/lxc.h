/* lxc: what the guard, skeind and skein-lxc agree on about containers by liblxc.
 *
 * An lxc guest's first process is skein-lxc (keeper_lxc.c): it starts the container as a child and
 * keeps its terminal. All of it lives in the guest's cgroups; liblxc sees none of them but an empty
 * tree of its own (lxc_ground_linux.h), so that the guard alone limits, freezes and kills.
 *
 * A container moves as a cell does, by CRIU: all from its own first process on (lxc_mover_posix.c).
 * Where it came to, skein-lxc keeps it without liblxc, which restores none in a network namespace
 * that it did not make. So nothing but a start asks liblxc: it stands on what a cell stands on
 * (migrate/ground_criu.h), and is entered as a cell is (cell_exec.h).
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
    char dev[176];     /* becomes its /dev */
};

void lxc_paths_init(struct lxc_paths *lxc, const struct guest_paths *paths);
/* The container's own first process, of the guest whose skein-lxc is `keeper`. -ESRCH
 * (lxc_init_posix.c). */
int lxc_find_init(pid_t keeper, pid_t *ret, struct err *err);

extern const struct mover_ops mover_lxc_ops; /* lxc_mover_posix.c */

#endif

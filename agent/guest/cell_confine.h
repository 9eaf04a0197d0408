/* cell_confine: what a process gives up before it runs anything of a guest's. */
#ifndef SKEIN_AGENT_GUEST_CELL_CONFINE_H
#define SKEIN_AGENT_GUEST_CELL_CONFINE_H

#include "base/err.h"

/* A clean process: own session, default signals and mask, umask 022, ordinary scheduling, limits,
 * no supplementary groups. */
int cell_reset_process(struct err *err);

/* The capabilities of a container, no new privileges, the system call filter. Nothing but exec
 * should follow. */
int cell_confine(struct err *err);

/* System calls that no guest needs fail with EPERM (ENOSYS where programs then take another way);
 * needs no_new_privs or CAP_SYS_ADMIN (cell_seccomp.c). */
int cell_filter_guest(struct err *err);

#endif

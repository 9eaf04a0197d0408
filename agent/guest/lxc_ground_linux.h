/* lxc_ground: where liblxc finds itself (shell).
 *
 * It insists on making cgroups, and on moving the container into them. So it is shown a cgroup2
 * tree that begins at the group it is in, and nothing else. On cgroup v2 its groups are below the
 * guest's own; on v1 they limit nothing and stand beside the hierarchies that the guard uses.
 */
#ifndef SKEIN_AGENT_GUEST_LXC_GROUND_LINUX_H
#define SKEIN_AGENT_GUEST_LXC_GROUND_LINUX_H

#include "base/err.h"

/* Takes the calling process there, into mount and cgroup namespaces of its own, for good. */
int lxc_ground_enter(struct err *err);
/* Removes what liblxc left there of a guest that was killed; the caller stays where it is. */
void lxc_ground_clear(const char *guest);

#endif

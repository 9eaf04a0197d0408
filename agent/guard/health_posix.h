/* health: one health check of a guest, with a limit of time (shell; in a job's own process). */
#ifndef SKEIN_AGENT_GUARD_HEALTH_POSIX_H
#define SKEIN_AGENT_GUARD_HEALTH_POSIX_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* What the child ends with when the command could not even be begun. */
enum { HEALTH_NOT_RUN = 125 };

struct health_probe {
    uint32_t timeout_ms;
    uint16_t port;
    uint32_t ip;       /* of the guest; 0 = its loopback is asked */
    const char *netns; /* path of its network namespace */
};

/* A connection to the guest's port, made inside its network namespace (the caller's thread stays
 * there). 0; -EREMOTEIO when it fails or takes too long; another error when it could not be tried.
 */
int health_probe_tcp(const struct health_probe *probe, struct err *err);
/* Forks a child with /dev/null for the command's descriptors, in `ret_fds`. *ret_child is 0 in the
 * child, which runs the command and ends with its status or HEALTH_NOT_RUN. */
int health_probe_fork(int ret_fds[3], pid_t *ret_child, struct err *err);
/* Waits for the child; past the limit it and all that descends from it are killed. As above. */
int health_probe_wait(const struct health_probe *probe, pid_t child, struct err *err);

#endif

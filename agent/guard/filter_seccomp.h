/* filter: the system calls that the guard's own process is left with (shell: libseccomp).
 *
 * Its executors were forked before and are not held by it. What is not listed fails with EPERM;
 * what only an intruder would call ends the process: guests are frozen when its successor starts.
 */
#ifndef SKEIN_AGENT_GUARD_FILTER_SECCOMP_H
#define SKEIN_AGENT_GUARD_FILTER_SECCOMP_H

#include "base/err.h"

/* For all threads of the process, for good. */
int filter_guard(struct err *err);

#endif

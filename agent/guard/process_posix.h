/* process: who a pid is, beyond its number (shell: /proc, pidfd). */
#ifndef SKEIN_AGENT_GUARD_PROCESS_POSIX_H
#define SKEIN_AGENT_GUARD_PROCESS_POSIX_H

#include <stdint.h>
#include <sys/types.h>

/* In clock ticks since boot: with the pid it names a process for good. 0 when there is none. */
uint64_t process_start_time(pid_t pid);
/* A descriptor that becomes readable when the process ends; negative errno. */
int process_open(pid_t pid);

#endif

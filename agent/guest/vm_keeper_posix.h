/* vm_keeper: how the guard's executor starts skein-vm (vm.h), which keeps a virtual machine (shell). */
#ifndef SKEIN_AGENT_GUEST_VM_KEEPER_POSIX_H
#define SKEIN_AGENT_GUEST_VM_KEEPER_POSIX_H

#include "agent/guest/vm.h"

/* "start", or "receive" with the stream (borrowed; else -1). Returns when skein-vm says READY:
 * ret_pid is a child of the caller's. */
int vm_keeper_start(const char *what, const struct guest_run *run, int stream, pid_t *ret_pid,
                    struct err *err);

#endif

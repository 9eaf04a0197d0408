/* vm_console: the serial port of a VM: into the log, and to whoever is attached (shell). */
#ifndef SKEIN_AGENT_GUEST_VM_CONSOLE_POSIX_H
#define SKEIN_AGENT_GUEST_VM_CONSOLE_POSIX_H

#include <poll.h>

#include "agent/guest/vm.h"

enum { VM_CONSOLE_FDS = 3 + VM_MAX_CLIENTS };

struct vm_console {
    int log;
    int qemu_listener, client_listener;
    int qemu; /* its serial port; -1 = not yet, or gone */
    int clients[VM_MAX_CLIENTS];
    size_t log_size;
};

/* Both sockets stand afterwards: QEMU, which runs as `uid`, may start. */
int vm_console_open(struct vm_console *c, const struct guest_paths *paths,
                    const struct vm_paths *vm, uint32_t uid, struct err *err);
/* What to wait for, and what to do then. */
void vm_console_poll(const struct vm_console *c, struct pollfd ret[VM_CONSOLE_FDS]);
void vm_console_serve(struct vm_console *c, const struct pollfd fds[VM_CONSOLE_FDS]);

#endif

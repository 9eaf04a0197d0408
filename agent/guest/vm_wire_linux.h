/* vm_wire: carries packets between the tap that is a guest's port of the switch and the interface
 * that Xen's backend makes for its domain (shell: tun, packet sockets, a network namespace).
 *
 * The backend's interface is put into a namespace of this process's, which has no address: so the
 * guest reaches nothing of the node but its port, which the guard takes up and down and the lease's
 * filter guards as any other. The process is in the guest's cgroups: frozen with it, killed with
 * it.
 */
#ifndef SKEIN_AGENT_GUEST_VM_WIRE_LINUX_H
#define SKEIN_AGENT_GUEST_VM_WIRE_LINUX_H

#include <sys/types.h>

#include "agent/guest/guest.h"

/* The name of the backend's interface in the namespace. */
#define VM_WIRE_FAR "far"

/* Starts it, a child of the caller's that dies with it; it waits for the interface. */
int vm_wire_start(const struct guest_run *run, pid_t *ret_pid, struct err *err);

#endif

/* vm_driver: what runs virtual machines on this node (shell: looks at files).
 *
 * A machine's control domain of Xen has its processors from Xen: there neither KVM nor another core
 * for TCG is to be had, so all its virtual machines are Xen's. Everywhere else they are QEMU's.
 */
#ifndef SKEIN_AGENT_GUEST_VM_DRIVER_POSIX_H
#define SKEIN_AGENT_GUEST_VM_DRIVER_POSIX_H

#include "agent/guest/vm.h"

/* True in the control domain of Xen. */
bool vm_driver_is_xen(void);

#endif

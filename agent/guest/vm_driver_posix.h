/* vm_driver: what runs virtual machines on this node (shell: looks at files).
 *
 * A machine's control domain of Xen has its processors from Xen: there neither KVM nor another core
 * for TCG is to be had, so all its virtual machines are Xen's. Everywhere else they are QEMU's.
 */
#ifndef SKEIN_AGENT_GUEST_VM_DRIVER_POSIX_H
#define SKEIN_AGENT_GUEST_VM_DRIVER_POSIX_H

#include "agent/guest/vm.h"

#define VM_KVM "/dev/kvm"

/* True in the control domain of Xen. */
bool vm_driver_is_xen(void);
/* True when /dev/kvm is there, may be used, and makes a machine. */
bool vm_driver_has_kvm(void);

#endif

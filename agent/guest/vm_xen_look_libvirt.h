/* vm_xen_look: skein-xen's calls to its libvirtd, each in a child of its own (shell: libvirt). */
#ifndef SKEIN_AGENT_GUEST_VM_XEN_LOOK_LIBVIRT_H
#define SKEIN_AGENT_GUEST_VM_XEN_LOOK_LIBVIRT_H

#include "agent/guest/vm_text.h"

/* What vm_xen_watch writes, a byte each. */
enum vm_xen_news {
    VM_XEN_WATCHING = 'w', /* from here on nothing is missed */
    VM_XEN_ENDED = 'e',    /* the guest ended itself */
    VM_XEN_FAILED = 'f',   /* it crashed, or its libvirtd died */
};

/* In a child: follows what becomes of the guest's domain, until nobody reads `fd`. Its exit code.
 */
int vm_xen_watch(const char *guest, int fd);
/* In a child: makes the domain, which stands still, and says where its terminal is. */
int vm_xen_create(const char *xml, char *ret_terminal, size_t size, struct err *err);
/* In a child: asks the guest's system to end. */
int vm_xen_shut_down(const char *guest, struct err *err);

#endif

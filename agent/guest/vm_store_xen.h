/* vm_store: what Xen's store still says of a domain that is gone (shell: /dev/xen/xenbus).
 *
 * A domain that ends by itself is cleared away by its libvirtd. One that was killed together with
 * that leaves its entries, and by them the kernel's ends of its disks and its network.
 */
#ifndef SKEIN_AGENT_GUEST_VM_STORE_XEN_H
#define SKEIN_AGENT_GUEST_VM_STORE_XEN_H

#include "base/err.h"

/* Removes them for every domain of that name whose UUID is one of Skein's. 0 also when this is no
 * Xen, or nothing is left. */
int vm_store_forget(const char *guest, struct err *err);

#endif

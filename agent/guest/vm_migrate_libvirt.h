/* vm_migrate: the call by which libvirt moves a machine (vm_move_libvirt.c makes it). */
#ifndef SKEIN_AGENT_GUEST_VM_MIGRATE_LIBVIRT_H
#define SKEIN_AGENT_GUEST_VM_MIGRATE_LIBVIRT_H

#include <libvirt/libvirt.h>

#include "agent/guest/vm_move_libvirt.h"

/* Moves the domain as was asked: its memory and its disks go to the doors of `asked`'s paths, its
 * description says `pins`, the target's word for its processors (vm_repin_xml). Blocks until the
 * move is over. -EIO with libvirt's words. */
int vm_migrate(const struct vm_move *asked, virDomainPtr domain, virConnectPtr target,
               const char *pins, struct err *err);

#endif

/* vm_call: a call of skein-vm's to its libvirtd. In a child of its own, each: libvirtd may wait for
 * processes that only skein-vm can reap.
 */
#ifndef SKEIN_AGENT_GUEST_VM_CALL_LIBVIRT_H
#define SKEIN_AGENT_GUEST_VM_CALL_LIBVIRT_H

#include <libvirt/libvirt.h>
#include <sys/types.h>

#include "base/err.h"

/* A program that is not QEMU's says which it is (meson.build). */
#ifndef VM_LOCAL_URI
#define VM_LOCAL_URI "qemu:///system"
#endif

struct vm_call {
    virConnectPtr connection;
    virDomainPtr domain;
};

/* The child that makes a call: as fork(2), with the signals of any process. */
pid_t vm_call_fork(void);
/* `name` NULL: the domain is not there yet. vm_call_end also after a failure. */
int vm_call_begin(struct vm_call *call, const char *name, struct err *err);
void vm_call_end(struct vm_call *call);
/* -EIO with libvirt's words. */
int vm_call_failed(struct err *err, const char *what);
/* Asks the guest to end, by ACPI; words of a failure go to the log. */
void vm_call_power_button(const char *guest);
/* Events are told by a thread of their own from now on; before the first connection. */
int vm_call_hear_events(struct err *err);

#endif

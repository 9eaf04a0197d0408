/* vm: what the guard, skeind and skein-vm agree on about virtual machines.
 *
 * A VM is a guest whose first process is skein-vm (vm_libvirt.c), which keeps a libvirtd of its own
 * in a mount namespace of its own and starts QEMU through it. All three live in the guest's
 * cgroups: what freezes or kills those reaches all of the guest, and no daemon that guests share
 * has to be asked.
 */
#ifndef SKEIN_AGENT_GUEST_VM_H
#define SKEIN_AGENT_GUEST_VM_H

#include "agent/guest/guest.h"

#define VM_PROGRAM         "skein-vm"  /* lies beside skein-guard */
#define VM_XEN_PROGRAM     "skein-xen" /* likewise, in its place where this is Xen's */
#define VM_LIBVIRTD        "/usr/sbin/libvirtd"
#define VM_EMULATOR_FORMAT "/usr/bin/qemu-system-%s"
/* What libvirt found out about this machine's QEMU: takes seconds, so it is kept. */
#define VM_CACHE "/var/lib/skein/libvirt"

/* Names in an image's root, beside UNPACK_DISK_NAME: a disk, a kernel, or both. */
#define VM_KERNEL  "vmlinuz"
#define VM_INITRD  "initrd"
#define VM_CMDLINE "cmdline"

/* QEMU runs as a user of the guest's own, the same on every node, that nobody else is. */
enum { VM_UID_FIRST = 0x70000000, VM_UID_LAST = 0x7fffffff };

struct vm_paths {
    char overlay[160]; /* what the guest wrote, over the image's disk */
    char disk[160];    /* of Xen's: its disk whole, a copy of the image's to begin with */
    char seed[160];    /* cloud-init's NoCloud disk */
    char console[108]; /* socket that QEMU connects its serial port to */
    char clients[108]; /* socket for whoever attaches to the console */
    char control[108]; /* socket of skein-vm: vm_control_posix.h */
    char rpc[108];     /* doors of a move (migrate/tunnel.h): libvirt's, */
    char qemu[108];    /* directory of QEMU's own: there it listens */
    char memory[108];  /* QEMU's, */
    char disks[108];   /* and NBD's */
};

uint32_t vm_uid(const struct guest_run *run);

extern const struct mover_ops mover_vm_ops; /* vm_mover_posix.c */

void vm_paths_init(struct vm_paths *vm, const struct guest_paths *paths);

#endif

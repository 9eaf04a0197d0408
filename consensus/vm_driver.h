/* vm_driver: what runs a node's virtual machines, and what each of them can do with one (pure).
 *
 * Nobody else knows that: who wants to show it, or to know beforehand whether a machine may move,
 * asks here.
 */
#ifndef SKEIN_CONSENSUS_VM_DRIVER_H
#define SKEIN_CONSENSUS_VM_DRIVER_H

#include <stdbool.h>

enum vm_driver {
    VM_DRIVER_NONE, /* the node runs none */
    VM_DRIVER_TCG,  /* QEMU, which translates */
    VM_DRIVER_KVM,  /* QEMU, with the kernel's virtualisation */
    VM_DRIVER_XEN,  /* the hypervisor that the node is the control domain of */
    VM_DRIVER_END
};

enum vm_ability {
    VM_CAN_START,
    VM_CAN_STOP, /* in order: its system is asked to end */
    VM_CAN_CONSOLE,
    VM_CAN_SEED,     /* cloud-init's NoCloud disk */
    VM_CAN_DHCP,     /* its address is the answer to its own question */
    VM_CAN_FREEZE,   /* it stands still when its node's lease ends, and goes on */
    VM_CAN_ADOPT,    /* it goes on when what looks after it starts anew */
    VM_CAN_STATS,    /* what it uses is counted */
    VM_CAN_FIRMWARE, /* a disk is booted without a kernel beside it */
    VM_CAN_REBOOT,   /* a reboot from within is no end */
    VM_CAN_STOP_AND_COPY,
    VM_CAN_PRE_COPY,
    VM_CAN_POST_COPY,
    VM_ABILITY_END
};

/* "qemu-tcg", "qemu-kvm", "xen"; NULL for VM_DRIVER_NONE. */
const char *vm_driver_name(enum vm_driver driver);
/* "start", "stop", "console", … */
const char *vm_ability_name(enum vm_ability ability);
/* VM_DRIVER_NONE can do nothing. */
bool vm_driver_can(enum vm_driver driver, enum vm_ability ability);
/* In any of the three ways. */
bool vm_driver_moves(enum vm_driver driver);

#endif

/* vm_text: a virtual machine as the texts that libvirt and cloud-init read (pure). */
#ifndef SKEIN_AGENT_GUEST_VM_TEXT_H
#define SKEIN_AGENT_GUEST_VM_TEXT_H

#include "agent/guest/vm.h"

enum { VM_XML_SIZE = 16 * 1024, VM_SEED_TEXT_SIZE = 1024, VM_CMDLINE_SIZE = 1024 };

/* What the image and the machine have, as found there. */
struct vm_ground {
    const char *arch; /* "x86_64" */
    bool has_kvm;     /* else QEMU translates (TCG) */
    bool has_disk;
    const char *kernel, *initrd; /* paths; NULL = the disk is booted by the firmware */
    const char *cmdline;         /* of the kernel; NULL = the console alone */
};

/* The domain of libvirt. -EMSGSIZE when it does not fit. */
int vm_domain_xml(const struct guest_run *run, const struct vm_paths *paths,
                  const struct vm_ground *ground, char ret[VM_XML_SIZE], struct err *err);
/* NoCloud: meta-data and network-config (version 2). */
void vm_meta_data(const struct guest_run *run, char ret[VM_SEED_TEXT_SIZE]);
void vm_network_config(const struct guest_run *run, char ret[VM_SEED_TEXT_SIZE]);

#endif

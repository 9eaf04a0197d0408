/* vm_text: a virtual machine as the texts that libvirt and cloud-init read (pure). */
#ifndef SKEIN_AGENT_GUEST_VM_TEXT_H
#define SKEIN_AGENT_GUEST_VM_TEXT_H

#include "agent/guest/vm.h"

enum {
    VM_XML_SIZE = 32 * 1024,
    VM_PINS_SIZE = 4096,
    VM_SEED_TEXT_SIZE = 1024,
    VM_CMDLINE_SIZE = 1024,
};

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
/* What a domain of Xen is made of: its devices are paths of the node. */
struct vm_xen_ground {
    const char *arch;
    const char *kernel, *initrd; /* paths; initrd NULL = none */
    const char *cmdline;         /* as of struct vm_ground */
    const char *disk, *seed;     /* block devices; disk NULL = none */
    const char *script;          /* what libvirt runs when its network's end is there */
};

/* The UUID of a guest's machine. Of Xen it is the domain's handle, by which the guard knows it:
 * domctl.h. */
enum { VM_UUID_SIZE = 37 };
void vm_uuid(const struct guest_run *run, char ret[VM_UUID_SIZE]);
void vm_xen_uuid(const struct guest_run *run, char ret[VM_UUID_SIZE]);
/* The domain of libvirt as Xen's (paravirtualised): its virtual processors are pinned to the
 * guest's cores by Xen, which counts them as the node does. -EMSGSIZE when it does not fit. */
int vm_xen_domain_xml(const struct guest_run *run, const struct vm_xen_ground *ground,
                      char ret[VM_XML_SIZE], struct err *err);
/* Path of the terminal that Xen's console of the domain ends in, from its description. False:
 * it says none. */
bool vm_xen_terminal(const char *xml, char *ret, size_t size);
/* The guest's processors and the system's, none twice: where what runs it may be as long as it
 * stands still, for its own are idle then. */
void vm_wide_cpus(const struct guest_run *run, char ret[CPUS_TEXT_SIZE]);
/* What differs from node to node: the guest's processors, and behind a slash those of what runs it
 * (`shared`): "5,7/0,1". */
int vm_pins_write(const struct guest_run *run, const char *shared, char ret[VM_PINS_SIZE],
                  struct err *err);
/* A domain as libvirt describes it, with the processors that another node wrote down. -EBADMSG:
 * `xml` or `pins` is not what it should be. */
int vm_repin_xml(const char *xml, const char *pins, char ret[VM_XML_SIZE], struct err *err);
/* NoCloud: meta-data and network-config (version 2). */
void vm_meta_data(const struct guest_run *run, char ret[VM_SEED_TEXT_SIZE]);
void vm_network_config(const struct guest_run *run, char ret[VM_SEED_TEXT_SIZE]);

#endif

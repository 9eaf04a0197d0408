/* vm_ground: what skein-vm stands on: a mount namespace in which a libvirtd has every directory of
 * libvirt's for itself, and that libvirtd (shell: mounts, fork).
 */
#ifndef SKEIN_AGENT_GUEST_VM_GROUND_LINUX_H
#define SKEIN_AGENT_GUEST_VM_GROUND_LINUX_H

#include <sys/types.h>

#include "agent/guest/vm_text.h"

#define VM_LIBVIRT_SOCKET "/run/libvirt/libvirt-sock"

/* Moves the calling process into the namespace. No cgroups are mounted there: libvirt leaves QEMU
 * in those of its parent. Of Skein's files only the guest's own are there, for QEMU, which runs as
 * `uid`. */
int vm_ground_enter(const struct guest_paths *paths, uint32_t uid, struct err *err);
/* Starts a libvirtd; who connects to its socket waits until it is ready. ret_pid is a child. */
int vm_ground_start_libvirtd(pid_t *ret_pid, struct err *err);
/* Looks at the image's root and the machine. `text` holds what ret points to. */
struct vm_ground_text {
    char arch[16], kernel[200], initrd[200], cmdline[VM_CMDLINE_SIZE];
};
void vm_ground_find(const struct guest_paths *paths, struct vm_ground_text *text,
                    struct vm_ground *ret);
/* Keeps the caller and what it starts on the listed processors. */
void vm_ground_stay_on(const char *cpus);
/* The threads of a process that may run on just those of `from` are kept on those of `to`; those
 * that are pinned otherwise stay where they are. */
void vm_ground_repin(pid_t pid, const char *from, const char *to);
/* As libvirt wrote it down. -ESRCH: it did not; -EXDEV: it is not in the caller's cgroups. */
int vm_ground_find_qemu(const char *guest, pid_t *ret, struct err *err);
/* True when the process is in the same cgroups as the caller. */
bool vm_ground_has(pid_t pid);

#endif

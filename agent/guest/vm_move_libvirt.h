/* vm_move: what children of skein-vm ask libvirt for when the guest moves (migrate/tunnel.h). Each
 * answers on its control connection and returns the child's exit code.
 */
#ifndef SKEIN_AGENT_GUEST_VM_MOVE_LIBVIRT_H
#define SKEIN_AGENT_GUEST_VM_MOVE_LIBVIRT_H

#include "agent/guest/vm_control_posix.h"
#include "agent/guest/vm_move_watch.h"

struct vm_move {
    const char *guest;
    const struct vm_paths *vm;
    struct vm_request request;
    int control; /* who asked: when that end closes, the move is given up */
    int back;    /* to skein-vm: a byte when the guest is halted, one back when it is to go on */
    struct vm_passed passed;
    pid_t qemu;
};

/* The guest goes out through the stream. MOVED once it stands still and all of it is at the target:
 * from then on this process waits to be frozen with the guest. HALTED: it stands still, and its
 * memory follows when the target says that it owns it; until then `back` takes the move back.
 * FAILED: the guest runs as before. */
int vm_move_out(const struct vm_move *move);
/* What a move stopped goes on. */
int vm_move_resume(const char *guest, int control);
int vm_move_look(const char *guest, int control);

/* Target: a child that writes to ret_fd what becomes of the guest that comes in (vm_move_watch.h).
 */
int vm_move_watch(const char *guest, int *ret_fd, pid_t *ret_pid, struct err *err);

#endif

/* vm_incoming: a guest that moves here, as its skein-vm sees it: the tunnel until all of it is
 * here, then the order to finish, kept until the guard says so, then its first breath (shell).
 */
#ifndef SKEIN_AGENT_GUEST_VM_INCOMING_POSIX_H
#define SKEIN_AGENT_GUEST_VM_INCOMING_POSIX_H

#include "agent/guest/vm.h"
#include "migrate/tunnel_posix.h"

enum { VM_INCOMING_FDS = 1 + TUNNEL_FDS };

enum vm_incoming_news {
    VM_INCOMING_NOTHING = 0,
    VM_INCOMING_RECEIVED, /* it stands still, and all of it is here or is to follow */
    VM_INCOMING_FOLLOWS,  /* it runs, its memory is on its way */
    VM_INCOMING_RUNS,     /* and all of it is here: the move is over */
};

struct vm_incoming {
    int watcher; /* its descriptor, vm_move_libvirt.h; -1 = no guest comes in */
    bool is_watched, is_received;
    struct tunnel_end tunnel;
};

/* `watcher` is taken, and so is the stream at KEEPER_STREAM; `hello` is for the source. */
int vm_incoming_begin(struct vm_incoming *in, const struct vm_paths *vm, int watcher,
                      const char *hello, struct err *err);
void vm_incoming_poll(const struct vm_incoming *in, struct pollfd ret[VM_INCOMING_FDS]);
/* enum vm_incoming_news, or a negative errno: it comes to nothing. */
int vm_incoming_serve(struct vm_incoming *in, const struct pollfd fds[VM_INCOMING_FDS],
                      struct err *err);
/* The guest is this node's now. */
void vm_incoming_activate(struct vm_incoming *in);
void vm_incoming_end(struct vm_incoming *in, const char *why);

#endif

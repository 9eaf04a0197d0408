/* vm_incoming: a guest that moves here, as its skein-vm sees it: expected, while libvirt gets
 * ready, until there is a stream of it; the tunnel until all of it is here, then the order to
 * finish, kept until the guard says so, then its first breath (shell).
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
    int watcher;     /* its descriptor, vm_move_libvirt.h; -1 = no guest comes in */
    bool is_watched; /* libvirt tells of events */
    bool has_stream, is_received;
    const char *hello; /* for the source, once both are there */
    struct tunnel_end tunnel;
};

/* `watcher` is taken; `hello` is borrowed. */
void vm_incoming_expect(struct vm_incoming *in, int watcher, const char *hello);
/* Here it comes; `stream` is taken. Once, of a guest that is expected. */
int vm_incoming_begin(struct vm_incoming *in, const struct vm_paths *vm, int stream,
                      struct err *err);
void vm_incoming_poll(const struct vm_incoming *in, struct pollfd ret[VM_INCOMING_FDS]);
/* enum vm_incoming_news, or a negative errno: it comes to nothing. */
int vm_incoming_serve(struct vm_incoming *in, const struct pollfd fds[VM_INCOMING_FDS],
                      struct err *err);
/* The guest is this node's now. */
void vm_incoming_activate(struct vm_incoming *in);
void vm_incoming_end(struct vm_incoming *in, const char *why);

#endif

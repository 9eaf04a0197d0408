#include "agent/guest/vm_incoming_posix.h"

#include <errno.h>
#include <unistd.h>

#include "agent/guest/vm_ground_linux.h"
#include "agent/guest/vm_move_watch.h"

void vm_incoming_expect(struct vm_incoming *in, int watcher, const char *hello)
{
    *in = (struct vm_incoming){.watcher = watcher, .hello = hello};
}

static void greet(struct vm_incoming *in)
{
    if (in->is_watched && in->has_stream)
        tunnel_end_hello(&in->tunnel, in->hello);
}

int vm_incoming_begin(struct vm_incoming *in, const struct vm_paths *vm, int stream,
                      struct err *err)
{
    const char *const doors[TUNNEL_N_DOORS] = {
        [TUNNEL_RPC] = VM_LIBVIRT_SOCKET, [TUNNEL_MEMORY] = vm->memory, [TUNNEL_DISKS] = vm->disks};
    int rc = tunnel_end_init(&in->tunnel, false, stream, doors, err);

    in->has_stream = true;
    if (rc == 0)
        greet(in);
    return rc;
}

void vm_incoming_poll(const struct vm_incoming *in, struct pollfd ret[VM_INCOMING_FDS])
{
    ret[0] = (struct pollfd){.fd = in->watcher, .events = POLLIN};
    if (in->watcher >= 0 && in->has_stream) {
        tunnel_end_poll(&in->tunnel, ret + 1);
        return;
    }
    for (int i = 1; i < VM_INCOMING_FDS; i++)
        ret[i] = (struct pollfd){.fd = -1};
}

/* The first word of the watcher's. */
static int take_greeting(struct vm_incoming *in, struct err *err)
{
    char word = 0;

    if (read(in->watcher, &word, 1) != 1 || word != VM_WATCHING)
        return err_set(err, -EIO, "libvirt does not tell of events");
    in->is_watched = true;
    greet(in);
    return VM_INCOMING_NOTHING;
}

static int take_word(struct vm_incoming *in, struct err *err)
{
    char word = VM_STOPPED;

    if (read(in->watcher, &word, 1) != 1 || word == VM_STOPPED)
        return err_set(err, -EIO, "libvirt could not finish the move");
    return word == VM_FOLLOWS ? VM_INCOMING_FOLLOWS : VM_INCOMING_RUNS;
}

static bool has_come(const struct tunnel_end *tunnel)
{
    return tunnel->tunnel.is_halted ||
           (tunnel->tunnel.is_complete && tunnel_end_is_drained(tunnel));
}

int vm_incoming_serve(struct vm_incoming *in, const struct pollfd fds[VM_INCOMING_FDS],
                      struct err *err)
{
    int rc = in->has_stream ? tunnel_end_serve(&in->tunnel, fds + 1, err) : 0;

    if (rc < 0 && !in->tunnel.tunnel.is_complete)
        return rc; /* after that the source has nothing more to say */
    if (fds[0].revents != 0)
        return in->is_watched ? take_word(in, err) : take_greeting(in, err);
    if (!in->has_stream)
        return VM_INCOMING_NOTHING;
    if (in->is_received && in->tunnel.lets_pass && !tunnel_end_has_rpc(&in->tunnel))
        return err_set(err, -EIO, "libvirtd died over the end of the move");
    if (in->is_received || !has_come(&in->tunnel))
        return VM_INCOMING_NOTHING;
    if (in->tunnel.tunnel.is_complete)
        tunnel_end_cut(&in->tunnel);
    in->is_received = true;
    return VM_INCOMING_RECEIVED;
}

void vm_incoming_activate(struct vm_incoming *in)
{
    tunnel_end_let_pass(&in->tunnel);
}

void vm_incoming_end(struct vm_incoming *in, const char *why)
{
    struct err err;
    struct pollfd fds[TUNNEL_FDS] = {{.fd = -1}};

    if (in->watcher < 0)
        return;
    if (in->has_stream && why != NULL && !in->tunnel.is_cut) {
        tunnel_end_fail(&in->tunnel, why);
        (void)tunnel_end_serve(&in->tunnel, fds, &err); /* as much of it as goes out */
    }
    if (in->has_stream)
        tunnel_end_deinit(&in->tunnel);
    close(in->watcher);
    in->watcher = -1;
}

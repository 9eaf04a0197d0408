/* tunnel_posix: one end of a tunnel (tunnel.h): its stream, its doors, its connections (shell).
 *
 * The source listens at its doors; the target connects to them. Nothing blocks: the caller waits
 * for what tunnel_end_poll asks for, together with whatever else it has, and calls
 * tunnel_end_serve.
 *
 * The target keeps back what comes for the door RPC from when memory or disks were first knocked
 * for: libvirt's next message there is the order to finish the move. When all of that message is
 * here, the source is told (ASKED); tunnel_end_let_pass lets it go on. The answer to it never gets
 * to the source, whose libvirtd would end the guest there: the guard does that.
 *
 * From HALTED on no connection at the source is closed, whatever becomes of the stream: QEMU would
 * find its migration failed, and libvirtd let the guest go on that may be the target's already.
 */
#ifndef SKEIN_MIGRATE_TUNNEL_POSIX_H
#define SKEIN_MIGRATE_TUNNEL_POSIX_H

#include <poll.h>
#include <stddef.h>

#include "migrate/tunnel.h"

enum {
    TUNNEL_FDS = 1 + TUNNEL_N_DOORS + TUNNEL_MAX_CHANNELS,
    TUNNEL_OUT_SIZE = 4 * TUNNEL_DATA_MAX,
};

struct tunnel_line {
    int fd;        /* -1 = none, or closed */
    uint8_t *wait; /* TUNNEL_WINDOW bytes for `fd`, not yet taken by it */
    size_t at, have;
    uint32_t owed; /* bytes that the other side has no credit for yet */
    bool is_shut;  /* no more can be written to fd */
    bool is_held;
};

struct tunnel_end {
    struct tunnel tunnel;
    int stream; /* -1 after tunnel_end_cut */
    bool is_cut;
    const char *doors[TUNNEL_N_DOORS]; /* paths, borrowed */
    int listeners[TUNNEL_N_DOORS];     /* source */
    struct tunnel_line lines[TUNNEL_MAX_CHANNELS];
    bool holds;                     /* target: what comes for RPC is kept back */
    bool lets_pass;                 /* not any more */
    bool is_answered;               /* what was let pass */
    uint64_t n_bytes;               /* that crossed the stream, both ways */
    char text[TUNNEL_TEXT_MAX + 1]; /* of HELLO (source), or of FAILED */
    size_t in_have, out_at, out_have;
    uint8_t in[TUNNEL_HEADER_SIZE + TUNNEL_DATA_MAX];
    uint8_t out[TUNNEL_OUT_SIZE];
};

/* Takes the stream; a source's doors stand afterwards. tunnel_end_deinit also after a failure. */
int tunnel_end_init(struct tunnel_end *e, bool is_source, int stream,
                    const char *const doors[TUNNEL_N_DOORS], struct err *err);
void tunnel_end_deinit(struct tunnel_end *e);
/* A negative descriptor is passed over by poll(). */
void tunnel_end_poll(const struct tunnel_end *e, struct pollfd ret[TUNNEL_FDS]);
/* -ECONNRESET: the other side is gone; -EREMOTEIO: it said FAILED; -EBADMSG. */
int tunnel_end_serve(struct tunnel_end *e, const struct pollfd fds[TUNNEL_FDS], struct err *err);
/* Target. `text` is for the source: what it puts into the guest's description. */
void tunnel_end_hello(struct tunnel_end *e, const char *text);
/* Source: COMPLETE. */
void tunnel_end_complete(struct tunnel_end *e);
/* Source: HALTED. */
void tunnel_end_halt(struct tunnel_end *e);
void tunnel_end_fail(struct tunnel_end *e, const char *text);
/* True when nothing waits to be sent. */
bool tunnel_end_is_flushed(const struct tunnel_end *e);
/* Target: libvirt is told to finish; a source that has HALTED hears GO. */
void tunnel_end_let_pass(struct tunnel_end *e);
/* Target: has all connections of memory and disks taken what came for them? */
bool tunnel_end_is_drained(const struct tunnel_end *e);
/* Target: is libvirt's line still there? */
bool tunnel_end_has_rpc(const struct tunnel_end *e);
/* Closes the stream, and all lines but the one that is held. */
void tunnel_end_cut(struct tunnel_end *e);

#endif

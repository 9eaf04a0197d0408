/* link_uv: sealed TCP links between nodes, on a libuv loop.
 *
 * A link carries plaintext only inside this process: whoever uses it gets one end of a
 * non-blocking AF_UNIX stream socket pair and the authenticated id of the peer; a pump moves bytes
 * between the pair and TCP, sealed by seal_sodium. Back-pressure goes through: the pump reads from
 * one side only what the other side has taken.
 *
 * Ends. Shutting down writing (SHUT_WR) on one plain end becomes an authenticated end-of-stream
 * record, and end-of-file on the plain end at the peer, after all data. When both directions have
 * ended the link is closed. Closing a plain end with unread bytes in it aborts the link. A link
 * that breaks (cut, tampered with, peer removed) also shows end-of-file to its reader: what tells a
 * whole stream from a torn one is `on_end`, which is called with a negative status before the
 * plain end sees anything. A reader in another process must be told by the owner of the link, or
 * must have an end mark in its own format.
 *
 * One instance belongs to one loop; every function is called on its thread.
 */
#ifndef SKEIN_CONSENSUS_LINK_UV_H
#define SKEIN_CONSENSUS_LINK_UV_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/limits.h"

struct identity;
struct keyring;
struct link;

enum {
    LINK_DEFAULT_CONNECT_MS = 500,
    LINK_DEFAULT_DEAD_MS = 3000,
    LINK_MAX_CONNECTIONS = 2048,
    LINK_MAX_HANDSHAKES = 64, /* accepted, not yet authenticated */
    LINK_MAX_STRANGERS = 8,   /* of these, from addresses that the keyring does not hold */
};

#define LINK_UNPACED UINT32_MAX

/* The other end of a link. */
struct link_peer {
    uint64_t serial;  /* of the link, unique within the instance */
    uint64_t node_id; /* authenticated */
    uint32_t address; /* the keyring's */
    uint16_t port;    /* where the peer itself listens for this purpose; it says so, sealed */
};

struct link_config {
    uv_loop_t *loop;
    const struct identity *identity; /* borrowed, like the keyring, until link_close is done */
    struct keyring *keyring;
    uint8_t cluster[NONCE_SIZE];
    char purpose[16];    /* "raft", "stream": only equal purposes talk to each other */
    uint64_t node_id;    /* own */
    uint32_t address;    /* listens here, and calls from here */
    uint16_t port;       /* 0 = any free one */
    uint8_t tos;         /* TOS_… of every packet */
    uint32_t connect_ms; /* limit for connect and handshake; 0 = LINK_DEFAULT_CONNECT_MS */
    uint32_t dead_ms;    /* unacknowledged for so long = broken; 0 = LINK_DEFAULT_DEAD_MS */
    /* A peer called, and is authenticated: `fd` is the callee's (non-blocking, close-on-exec).
     * NULL: callers are turned away. */
    void (*on_accept)(void *data, const struct link_peer *peer, int fd);
    /* A link that was handed out is over. 0: both directions ended as they should. Else it was cut:
     * -ECONNRESET (bytes ended without the end record), -EBADMSG (not authentic), -EKEYREVOKED (no
     * longer in the keyring), -EPIPE (our own plain end was closed early), -ECANCELED (link_end,
     * link_cut, link_close), -ETIMEDOUT, … May be NULL. */
    void (*on_end)(void *data, const struct link_peer *peer, int status);
    void *data;
};

/* `fd` is the caller's when status is 0. -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH, …: not reached;
 * -ECONNRESET: turned away (we or our key are not listed there, or another cluster); -EBADMSG: it
 * is not whom we called; -EKEYREVOKED; -ECANCELED. `peer` holds its id in any case. */
typedef void link_connect_cb(void *data, int status, const struct link_peer *peer, int fd);

int link_open(const struct link_config *config, struct link **ret, struct err *err);

/* Begins to listen. -EADDRINUSE, -EADDRNOTAVAIL, … */
int link_listen(struct link *link, struct err *err);
uint16_t link_port(const struct link *link); /* 0 before link_listen */

/* Calls a node: `done` is called exactly once, never within link_connect, unless an error is
 * returned: -ENOKEY (not in the keyring), -ENOBUFS (too many), -ENOMEM, -errno of socket or bind.
 */
int link_connect(struct link *link, uint64_t node_id, uint32_t address, uint16_t port,
                 link_connect_cb *done, void *data);

/* What leaves through the link with this serial is spread evenly, at most so much a second, by the
 * kernel (SO_MAX_PACING_RATE): packets, not bursts, and bytes that its buffers hold already are
 * slowed as well. LINK_UNPACED: no limit. A link that is over is none of its business. */
void link_set_pace(struct link *link, uint64_t serial, uint32_t bytes_per_s);

/* From now on this link is broken when what it sent stays unacknowledged for so long; 0 = the
 * instance's dead_ms. */
void link_set_dead(struct link *link, uint64_t serial, uint32_t dead_ms);

/* Bytes of the link that the peer's kernel has, since the link began, as they cross the wire; 0:
 * it is over. `ret_waiting` (may be NULL): that it has not yet. */
uint64_t link_delivered(const struct link *link, uint64_t serial, uint32_t *ret_waiting);

/* Cuts this link; one that is over is none of its business. */
void link_end(struct link *link, uint64_t serial);

/* Cuts every link with this node. */
void link_cut(struct link *link, uint64_t node_id);

/* Cuts everything (connects in flight end with -ECANCELED) and frees the instance; `done` may be
 * NULL. The loop must run until then. */
void link_close(struct link *link, void (*done)(void *data), void *data);

#endif

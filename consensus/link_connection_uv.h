/* link_connection_uv: one sealed connection of a link instance: handshake, then pump. Private to
 * link_uv. */
#ifndef SKEIN_CONSENSUS_LINK_CONNECTION_UV_H
#define SKEIN_CONSENSUS_LINK_CONNECTION_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "consensus/link_uv.h"
#include "consensus/seal_sodium.h"

enum connection_stage {
    CONNECTION_CONNECTING,    /* initiator: TCP is not there yet */
    CONNECTION_AWAIT_ANSWER,  /* initiator: hello is out */
    CONNECTION_AWAIT_HELLO,   /* responder */
    CONNECTION_AWAIT_CONFIRM, /* responder: answer is out */
    CONNECTION_OPEN,          /* the plain end was handed out; bytes are pumped */
    CONNECTION_CLOSED,        /* its handles are closing */
};

/* A socket and what the pump waits for on it. */
struct connection_side {
    uv_poll_t poll;
    bool has_poll;
    int fd;     /* -1 = none */
    int events; /* UV_READABLE | UV_WRITABLE that are being polled */
    int wanted; /* found out by the step that is running */
};

enum { CONNECTION_IN_SIZE = 2 * SEAL_RECORD_MAX };

struct connection {
    struct link *link;
    struct connection *next, *previous;
    struct link_peer peer;
    enum connection_stage stage;
    bool is_initiator;
    bool is_stranger;      /* counted as such while in handshake */
    bool own_ended;        /* the plain end is at its end; END is sealed */
    bool peer_ended;       /* END came, and all before it was delivered */
    link_connect_cb *done; /* initiator, until called */
    void *done_data;
    struct seal *seal;
    struct connection_side tcp, plain;
    uv_timer_t timer;
    unsigned n_handles; /* not yet closed */

    size_t in_at, in_size;     /* bytes from TCP, not yet opened: in[in_at … in_size) */
    size_t open_at, open_size; /* opened data within `in`, not yet taken by the plain end */
    size_t out_at, out_size;   /* sealed bytes, not yet taken by TCP */
    uint64_t n_sent;           /* bytes that TCP took */
    uint8_t in[CONNECTION_IN_SIZE];
    uint8_t out[SEAL_RECORD_MAX];
};

struct link {
    struct link_config config;
    struct connection *connections;
    size_t n_connections, n_handshakes, n_strangers;
    uint64_t next_serial;
    struct connection_side listener;
    uint16_t port;
    uv_async_t changed; /* the keyring has */
    unsigned n_handles;
    bool is_closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* Polls a side for `events` (0 = nothing). */
void connection_side_poll(struct connection_side *side, int events, uv_poll_cb cb);

/* Takes `fd` (TCP, connected or connecting) in any case. -ENOMEM, -errno. */
int connection_start(struct link *link, int fd, const struct link_peer *peer, bool is_initiator,
                     struct connection **ret);
/* Ends it with that status: tells its owner, closes everything. Its memory stays for a while. */
void connection_end(struct connection *connection, int status);

/* Frees the instance when nothing of it is left. */
void link_maybe_free(struct link *link);

#endif

/* peers_czmq: messages between nodes, and the door for boards that want to join: port 7400, CURVE.
 *
 * One ROUTER receives; each other node is called by DEALERs that only send: one for the control
 * channel (CS6, a short queue: a late beat is worth nothing), one for requests and their answers.
 * The handshake accepts any key, since a joining board is not known yet; the key of EVERY message
 * is looked up among the members, so that a removed node is out at once. A key that is nobody's may
 * only send PEER_JOIN.
 *
 * Nothing here is reliable: what cannot be sent is dropped.
 */
#ifndef SKEIN_AGENT_SKEIND_PEERS_CZMQ_H
#define SKEIN_AGENT_SKEIND_PEERS_CZMQ_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

struct peers;
struct pump;

enum peer_channel {
    PEER_CONTROL = 'C', /* core's messages */
    PEER_REQUEST = 'Q', /* a client's request, for another node to answer */
    PEER_ANSWER = 'A',
    PEER_JOIN = 'J',
};

enum {
    PEERS_CONTROL_QUEUE = 8, /* messages */
    PEERS_REQUEST_QUEUE = 1000,
    PEERS_JOIN_MAX_SIZE = 64 * 1024,
    PEERS_ROUTE_MAX = 32,

    /* At least: */
    PEERS_CONNECT_MS = 300,
    PEERS_HANDSHAKE_MS = 1000,
    PEERS_SILENCE_MS = 800,
};

struct peer_member {
    uint64_t id;
    uint32_t address; /* IPv4 */
    uint8_t curve_key[KEY_SIZE];
};

/* The way back to a board that is not a member. */
struct peer_route {
    uint8_t size;
    uint8_t bytes[PEERS_ROUTE_MAX];
};

struct peers_config {
    struct pump *pump; /* borrowed */
    uint32_t address;
    uint16_t port;
    uint64_t own_id;
    uint8_t curve_public[KEY_SIZE], curve_secret[KEY_SIZE];
    int connect_ms, handshake_ms; /* limits of a call */
    int silence_ms;               /* a link that is silent so long is given up and called anew */
    void *context;
    void (*on_message)(void *context, uint64_t from, enum peer_channel channel, const uint8_t *data,
                       size_t size);
    void (*on_join)(void *context, const struct peer_route *route, const uint8_t *data,
                    size_t size);
};

/* -EADDRINUSE, … with words. */
int peers_open(const struct peers_config *config, struct peers **ret, struct err *err);
void peers_close(struct peers *peers);

/* The other nodes (the own id is passed over). Sockets of those that are gone, or that have another
 * address or key, are closed. -ENOMEM. */
int peers_set_members(struct peers *peers, const struct peer_member *members, size_t n);

/* -ENOENT no member; -EAGAIN not connected or its queue is full; -EMSGSIZE. */
int peers_send(struct peers *peers, uint64_t to, enum peer_channel channel, const void *data,
               size_t size);
/* To every member. */
void peers_send_all(struct peers *peers, enum peer_channel channel, const void *data, size_t size);
int peers_answer_join(struct peers *peers, const struct peer_route *route, const void *data,
                      size_t size);

/* Lets idle sockets see to their own affairs: once a second or so. */
void peers_sweep(struct peers *peers);

#endif

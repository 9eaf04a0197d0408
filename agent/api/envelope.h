/* envelope: one API message on its way between two nodes (pure codec).
 *
 * A client speaks to its own node; what that node cannot answer itself goes to the leader, or to
 * the node that runs the guest, with the client's route, and the answers come back with it.
 */
#ifndef SKEIN_AGENT_API_ENVELOPE_H
#define SKEIN_AGENT_API_ENVELOPE_H

#include <stdbool.h>

#include "base/bytes.h"

enum { ROUTE_MAX_SIZE = 32 };

enum origin_kind {
    ORIGIN_LOCAL = 1, /* a client on this node's socket */
    ORIGIN_JOIN,      /* a board that wants to join, on port 7400 */
    ORIGIN_NODE,      /* the node itself */
};

/* Who is to get the answer. */
struct origin {
    uint64_t node; /* that the client speaks to; 0 = this one */
    enum origin_kind kind;
    uint8_t route_size;
    uint8_t route[ROUTE_MAX_SIZE];
};

struct envelope {
    struct origin origin; /* its node is not sent: it is the sender or the receiver */
    bool is_last;         /* an answer after which no other comes */
    const char *json;     /* borrowed, json_size bytes */
    size_t json_size;
    const uint8_t *data; /* borrowed; second frame, NULL = none */
    size_t size;
};

bool origin_is_equal(const struct origin *a, const struct origin *b);
void envelope_encode(const struct envelope *envelope, struct writer *w);
/* -EBADMSG. Points into `data`. */
int envelope_decode(const void *data, size_t size, struct envelope *ret);

#endif

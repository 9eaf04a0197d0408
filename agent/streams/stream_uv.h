/* stream_uv: the thread that carries bulk data between nodes (port 7402, sealed, lowest traffic
 * class).
 *
 * A stream begins with a fixed header that says what it is: an image wanted from its holder, the
 * state of a migrating guest, or a guest's checkpoint. What is sent to one node is held back by a
 * rate for all of it (agent/streams/pace.h), but for a migration while its guest stands still:
 * every millisecond that its stream waits then is a millisecond more of its downtime, and the least
 * that can be sent is on its way already. Images are served and fetched whole by this thread; the
 * other streams are only made here and handed to the main thread.
 *
 * Every function is called on the main thread, and every callback comes there.
 */
#ifndef SKEIN_AGENT_STREAMS_STREAM_UV_H
#define SKEIN_AGENT_STREAMS_STREAM_UV_H

#include <stdint.h>
#include <uv.h>

#include "agent/streams/image_store.h"
#include "agent/streams/pace.h"
#include "base/err.h"

struct identity;
struct keyring;
struct streams;

struct streams_config {
    uv_loop_t *main_loop;
    const struct identity *identity; /* borrowed, like the keyring and the store, until closed */
    struct keyring *keyring;
    struct image_store *store;
    uint8_t cluster[NONCE_SIZE];
    uint64_t node; /* own id */
    uint32_t address;
    uint16_t port;      /* PORT_STREAM; others in tests; 0 = any, see streams_port */
    uint16_t peer_port; /* PORT_STREAM */
    uint32_t connect_ms, dead_ms; /* as struct link_config has them; 0: its own */
    void *context;
    /* A peer opened the stream of a migration; `fd` (blocking) is the callee's. */
    void (*on_migration)(void *context, uint64_t from, uint64_t migration, int fd);
    /* The stream of a migration that was opened here is over. 0: both ends ended it as they should;
     * -ETIMEDOUT: the other end acknowledged nothing any more; else it broke. */
    void (*on_migration_end)(void *context, uint64_t migration, int status);
    /* What streams that may be held back send, by node: each PACE_STEP_MS while there are any, and
     * once when there are none any more (n 0). NULL: none is held back. */
    void (*on_flows)(void *context, const struct pace_flow *flows, uint32_t n);
    /* Likewise of a checkpoint, of the copy of this epoch of the guest created then. */
    void (*on_checkpoint)(void *context, uint64_t from, uint64_t created, uint64_t epoch, int fd);
};

/* Of a migration's stream. */
struct stream_terms {
    uint32_t patience_ms; /* broken when nothing of it is acknowledged for so long; 0: as any */
    enum pace_manner manner;
};

/* `fd` (blocking) is the callee's when status is 0; else -errno: no such stream could be had. */
typedef void (*stream_opened_cb)(void *context, int status, int fd);
/* 0: the store holds the image, checked. -ENOENT: the holder has it no longer; else -errno. */
typedef void (*stream_fetched_cb)(void *context, int status);

int streams_new(const struct streams_config *config, struct streams **ret, struct err *err);
uint16_t streams_port(const struct streams *streams);
/* -ENOBUFS: too much is under way; then no callback comes. */
int streams_open_migration(struct streams *streams, uint64_t node, uint64_t migration,
                           const struct stream_terms *terms, stream_opened_cb cb, void *context);
/* The terms of the stream by which it leaves this node, from now on; no such stream: nothing
 * happens. */
void streams_set_terms(struct streams *streams, uint64_t migration,
                       const struct stream_terms *terms);
/* It was undone: the stream by which it leaves this node, if there is one, breaks. */
void streams_end_migration(struct streams *streams, uint64_t migration);
/* All streams to the node that may be held back share this from now on. */
void streams_set_pace(struct streams *streams, uint64_t node, uint32_t rate_kbps);
int streams_open_checkpoint(struct streams *streams, uint64_t node, uint64_t created,
                            uint64_t epoch, stream_opened_cb cb, void *context);
/* Fetches an image from a holder into the store. */
int streams_fetch_image(struct streams *streams, uint64_t node, const uint8_t digest[DIGEST_SIZE],
                        stream_fetched_cb cb, void *context);
/* Ends the thread (streams in transfer are cut, their callbacks come with -ECANCELED); blocks until
 * it has ended. */
void streams_close(struct streams *streams);

#endif

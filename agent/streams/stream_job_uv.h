/* stream_job_uv: one stream on the stream thread: reading its header, serving an image, fetching
 * one.
 *
 * A stream's first bytes, little-endian: u32 magic, u8 version, u8 kind, u16 0, then 40 bytes: an
 * image's digest and the offset (u64) from which it is wanted, or the id of a migration (u64) and
 * zeroes, or of a checkpoint when its guest was created (u64), the epoch of the copy that it is of
 * (u64) and zeroes. An image's holder answers u64 size (of the whole; 0: not here) and the bytes
 * from there.
 */
#ifndef SKEIN_AGENT_STREAMS_STREAM_JOB_UV_H
#define SKEIN_AGENT_STREAMS_STREAM_JOB_UV_H

#include <stdint.h>
#include <uv.h>

#include "agent/streams/image_store.h"
#include "consensus/link_uv.h"

enum { STREAM_HEADER_SIZE = 48 };

enum stream_kind { STREAM_IMAGE = 1, STREAM_MIGRATION, STREAM_CHECKPOINT };

struct stream_header {
    enum stream_kind kind;
    uint8_t digest[DIGEST_SIZE]; /* IMAGE */
    uint64_t offset;             /* IMAGE */
    uint64_t migration;          /* MIGRATION */
    uint64_t created, epoch;     /* CHECKPOINT: of a guest */
};

void stream_header_encode(const struct stream_header *header, uint8_t ret[STREAM_HEADER_SIZE]);
/* -EBADMSG for anything that is no header. */
int stream_header_decode(const uint8_t data[STREAM_HEADER_SIZE], struct stream_header *ret);

struct stream_job;

/* The jobs of one thread: bounded, and ended together. */
struct stream_jobs {
    uv_loop_t *loop;
    struct image_store *store;
    /* An image is about to leave through this link. */
    void (*on_serve)(void *context, const struct link_peer *peer);
    void *context;
    struct stream_job *first;
    unsigned n;
};

enum {
    STREAM_JOBS_MAX = 128,
    STREAM_IDLE_MS = 15000,      /* a stream that does not get on for so long ends; … */
    STREAM_FETCH_IDLE_MS = 5000, /* … one that is fetched goes on from another node */
};

/* Each takes `fd` (non-blocking), also on failure; `done` comes exactly once unless an error is
 * returned
 * (-ENOBUFS, -ENOMEM). */

/* Reads the header; for an image it is served, and `done` tells how that ended, with fd -1; else
 * `fd` is handed over (status 0). */
typedef void (*stream_accepted_cb)(void *context, int status, uint64_t from,
                                   const struct stream_header *header, int fd);
int stream_job_accept(struct stream_jobs *jobs, int fd, const struct link_peer *peer,
                      stream_accepted_cb done, void *context);

typedef void (*stream_done_cb)(void *context, int status);
/* Takes `upload` (of image_store_resume(), on failure too), and keeps what has come when it fails.
 */
int stream_job_fetch(struct stream_jobs *jobs, int fd, const uint8_t digest[DIGEST_SIZE],
                     struct image_upload *upload, stream_done_cb done, void *context);

void stream_jobs_cancel(struct stream_jobs *jobs); /* each ends with -ECANCELED */

#endif

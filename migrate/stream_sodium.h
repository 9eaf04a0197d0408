/* stream_sodium: reads and writes migration streams over a descriptor, with their digest.
 *
 * The descriptor is a pipe or socket, blocking or not; calls block. A peer that is gone is -EPIPE
 * on the writing side, -ECONNRESET on the reading one.
 */
#ifndef SKEIN_MIGRATE_STREAM_SODIUM_H
#define SKEIN_MIGRATE_STREAM_SODIUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest_sodium.h"
#include "base/err.h"
#include "migrate/stream.h"

enum { STREAM_BUFFER = 64 * 1024 };

struct stream_out {
    int fd;             /* borrowed */
    uint32_t rate_kbps; /* no more than that leaves; 0: no limit */
    struct digest digest;
    uint64_t n_bytes; /* written to the descriptor */
    uint64_t n_data;  /* that DATA and PACKED records stand for */
    int n_plain;      /* pieces that are not tried to be packed, after one that could not be */
    size_t buffered;
    uint8_t buffer[STREAM_BUFFER];
    uint8_t packed[STREAM_DATA_MAX];
};

struct stream_in {
    int fd;            /* borrowed */
    bool keeps_packed; /* a packed record comes as it is: to be set after the start */
    struct digest digest;
    uint64_t n_bytes; /* read from the descriptor */
    struct stream_grammar grammar;
    uint8_t payload[STREAM_DATA_MAX]; /* of the record that was read last */
    uint8_t packed[STREAM_DATA_MAX];
};

/* The caller ignores SIGPIPE. */
int stream_out_start(struct stream_out *out, int fd, uint32_t rate_kbps, const char *guest,
                     struct err *err);
int stream_out_file(struct stream_out *out, const char *name, struct err *err);
int stream_out_tree(struct stream_out *out, enum stream_tree tree, struct err *err);
int stream_out_log(struct stream_out *out, struct err *err);
int stream_out_lazy(struct stream_out *out, struct err *err);
/* Of pre-copy; 0: what follows is of the guest that stands still. */
int stream_out_round(struct stream_out *out, uint32_t round, struct err *err);
/* Right behind the start: of memory only what was written since that one follows. */
int stream_out_since(struct stream_out *out, const uint8_t digest[DIGEST_SIZE], struct err *err);
/* Of a copy of its files; 0: it is over. */
int stream_out_ahead(struct stream_out *out, uint32_t pass, struct err *err);
int stream_out_data(struct stream_out *out, const void *data, size_t size, struct err *err);
/* The same for whoever packs a tree into the stream `out` (tree_write of tree_archive.h). */
int stream_out_write(void *out, const void *data, size_t size, struct err *err);
/* All that was written has left when either returns. */
int stream_out_flush(struct stream_out *out, struct err *err);
int stream_out_end(struct stream_out *out, struct err *err);

/* All that was written leaves, and another process goes on from the file at `path`, which only it
 * and its like can write. -ENOENT: nothing was left there. */
int stream_out_leave(struct stream_out *out, const char *path, struct err *err);
int stream_out_go_on(struct stream_out *out, int fd, uint32_t rate_kbps, const char *path,
                     struct err *err);

int stream_in_start(struct stream_in *in, int fd, struct err *err);
/* The next record; its payload is in in->payload, and a packed one comes as STREAM_DATA. STREAM_END
 * comes only when the digest is right.
 */
int stream_in_next(struct stream_in *in, struct stream_record *ret, struct err *err);

#endif

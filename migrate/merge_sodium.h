/* merge_sodium: an increment and the checkpoint that it continues made one stream, which stands for
 * itself: what the first holds of memory becomes rounds before the last (stream.h), of all else
 * only the newest is kept.
 */
#ifndef SKEIN_MIGRATE_MERGE_SODIUM_H
#define SKEIN_MIGRATE_MERGE_SODIUM_H

#include <stddef.h>

#include "base/err.h"

/* Where it goes. */
struct merge_sink {
    int (*write)(void *context, const void *data, size_t size, struct err *err);
    void *context;
};

/* Descriptors of files, from their beginning on. What was written is good only after a success:
 * their digests come last. -EBADMSG: one of them is damaged, or they do not belong together. */
int merge_streams(int before, int increment, const struct merge_sink *sink, struct err *err);

#endif

/* progress: how far a move is, from the mover's processes to the guard, by a small file on tmpfs.
 */
#ifndef SKEIN_MIGRATE_PROGRESS_POSIX_H
#define SKEIN_MIGRATE_PROGRESS_POSIX_H

#include "base/move.h"

struct progress {
    int fd;                /* -1: nobody is told */
    uint64_t before_bytes; /* of a stream, that are not of what is told of */
    struct move_progress value;
};

/* A file that cannot be had is no reason not to move. */
void progress_begin(struct progress *progress, const char *path, uint64_t total_bytes);
void progress_tell(struct progress *progress, uint64_t done_bytes);
void progress_end(struct progress *progress); /* safe twice; the file stays */

/* -ENOENT: nothing has begun. */
int progress_read(const char *path, struct move_progress *ret);

#endif

/* progress: how far a move is, from the mover's processes to the guard, by a small file on tmpfs.
 */
#ifndef SKEIN_MIGRATE_PROGRESS_POSIX_H
#define SKEIN_MIGRATE_PROGRESS_POSIX_H

#include "base/move.h"
#include "migrate/mode.h"

struct progress {
    int fd;                /* -1: nobody is told */
    uint64_t before_bytes; /* of a stream, that are not of what is told of */
    struct move_progress value;
};

/* A file that cannot be had is no reason not to move. */
void progress_begin(struct progress *progress, const char *path, uint64_t total_bytes);
/* One that an earlier process began, and told of: from its start again. */
void progress_go_on(struct progress *progress, const char *path);
/* What a mover has begun in its directory will make the guest stand still for so long; 0: for as
 * long as follows from what was wished, where that can be said before anything is copied. */
void progress_expect(const char *directory, const struct mode_wish *wish, uint32_t blackout_ms);
void progress_tell(struct progress *progress, uint64_t done_bytes);
void progress_end(struct progress *progress); /* safe twice; the file stays */

/* -ENOENT: nothing has begun. */
int progress_read(const char *path, struct move_progress *ret);

#endif

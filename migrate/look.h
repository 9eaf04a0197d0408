/* look: what a look at a running guest says of moving it, before anything is done (pure: values,
 * their codec, and the verdict).
 *
 * The mover looks (mover.h, look_criu.c); its findings travel from the guard to skeind as bytes.
 */
#ifndef SKEIN_MIGRATE_LOOK_H
#define SKEIN_MIGRATE_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    LOOK_CODE_SIZE = 24,
    LOOK_TEXT_SIZE = 160,
    LOOK_MAX_REASONS = 24,
    LOOK_MAX_BYTES = 8192, /* of its encoding: fits into a pipe that nobody reads yet */
};

/* One thing that was found. */
struct look_reason {
    char code[LOOK_CODE_SIZE]; /* for programs: "device", "external-unix", … (docs/api.md) */
    bool is_obstacle;          /* it cannot move like this; else it is only worth knowing */
    char text[LOOK_TEXT_SIZE];
};

struct look {
    uint64_t memory_bytes;  /* what its processes hold, shared pages once */
    uint64_t files_bytes;   /* what it wrote: moves along, while it stands still … */
    uint64_t volumes_bytes; /* … of that in its volumes … */
    uint64_t shm_bytes;     /* … and in memory (/dev/shm), here and there … */
    uint64_t ahead_bytes;   /* … but for so much of it, where it is worth that (ahead.h) … */
    uint32_t n_ahead;       /* … in so many files, directories and the like */
    uint64_t dirty_bytes_per_s; /* how fast it writes to its memory, as far as that can be seen */
    uint32_t n_processes;
    bool stages_memory;   /* what crosses of its memory lies on tmpfs at the target, at first */
    bool can_track_dirty; /* the kernel here knows which pages were written: pre-copy */
    bool can_pre;         /* and the mover can make use of it */
    bool can_lazy;        /* the kernel here lets pages come later: post-copy */
    uint32_t n_reasons;
    struct look_reason reasons[LOOK_MAX_REASONS];
};

/* One reason of a code is kept for each text; when there are too many the last place counts the
 * others, as an obstacle when one of them is. */
void look_add(struct look *look, const char *code, bool is_obstacle, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The words of the first one; NULL: nothing is in the way. */
const char *look_obstacle(const struct look *look);

void look_encode(const struct look *look, struct writer *w);
/* -EBADMSG */
int look_decode(const void *data, size_t size, struct look *ret);

#endif

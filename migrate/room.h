/* room: whether what a guest takes with it has room at the target, asked before anything is copied
 * (pure). What vanishes between the question and the copy is found by the copy, as ever.
 */
#ifndef SKEIN_MIGRATE_ROOM_H
#define SKEIN_MIGRATE_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/move.h"
#include "migrate/look.h"

enum {
    ROOM_MORE_SHARE = 16, /* so large a part more than it holds is asked for: what it writes until
                             it has moved, directories, and what describes its memory */
    ROOM_SPARE_MIB = 16,  /* left free on the disk of guests' files: the node's own log is there
                             too, and skeind ends when that cannot be written */
};

/* What is free for guests that come to a node (agent/guest/room_posix.h). */
struct node_room {
    bool is_known;
    uint64_t files_bytes;   /* for upper layers and machines' disks, */
    uint64_t volumes_bytes; /* for volumes, */
    bool is_one;            /* which is the same room, */
    uint64_t memory_bytes;  /* for memory between its arrival and the restore: a tmpfs */
};

struct room_need {
    uint64_t files_bytes, volumes_bytes, memory_bytes;
};

/* Of a guest that moves in this way; AUTO counts as STOP. */
void room_need_of(const struct look *look, enum move_mode mode, struct room_need *ret);
/* 0, also where the room is not known; -ENOSPC: `node` lacks room for it, with words. */
int room_check(const struct node_room *room, const struct room_need *need, const char *node,
               struct err *err);

void room_encode(const struct node_room *room, struct writer *w);
void room_decode(struct reader *r, struct node_room *ret);

#endif

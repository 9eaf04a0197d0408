/* look_criu: the parts of a look at a cell before a move; see look.h.
 *
 * What CRIU refuses is named beforehand, so far as it can be seen without touching the guest.
 */
#ifndef SKEIN_MIGRATE_LOOK_CRIU_H
#define SKEIN_MIGRATE_LOOK_CRIU_H

#include <sys/types.h>

#include "migrate/look.h"
#include "migrate/mover.h"

/* Sockets that the guest holds, by inode. */
struct look_sockets {
    size_t n, capacity;
    ino_t *inodes; /* heap */
};

/* Descriptors and mappings of one process. */
void look_at_files(pid_t pid, struct look_sockets *sockets, struct look *look);
/* Once every process was looked at: does any Unix socket lead out of the guest? */
void look_at_unix(const struct mover_guest *guest, const struct look_sockets *sockets,
                  struct look *look);

#endif

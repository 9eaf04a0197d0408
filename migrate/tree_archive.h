/* tree_archive: a directory tree as a pax archive, and back (libarchive): modes, owners, times to
 * the nanosecond, links, holes, attributes. An overlay's upper layer keeps its white-outs and
 * opaque marks, but not what ties it to this node's lower inodes. Sockets are left out: CRIU makes
 * those anew that a process holds.
 */
#ifndef SKEIN_MIGRATE_TREE_ARCHIVE_H
#define SKEIN_MIGRATE_TREE_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Takes the archive's bytes; negative errno ends the packing. */
typedef int (*tree_write)(void *context, const void *data, size_t size, struct err *err);

/* Packs what is below `directory`, without crossing mount points. `keeps_whiteouts`: device 0/0 is
 * kept; all other devices are left out always. */
int tree_pack(int directory, bool keeps_whiteouts, tree_write write, void *context,
              struct err *err);

/* Unpacks into the working directory what `fd` gives. -EBADMSG: an archive that no tree_pack made
 * (a device, a way out). Does not lock itself in. */
int tree_unpack_into_here(int fd, bool keeps_whiteouts, struct err *err);

/* An unpacking under way in a child that is locked into its directory. */
struct tree_unpacking {
    pid_t pid; /* 0: none */
    int feed;  /* write the archive here */
    int verdict;
};

/* What is unpacked. */
struct tree_order {
    const char *directory;
    bool keeps_whiteouts; /* as of tree_pack */
    bool is_edited; /* it holds the tree as it was: first come edits of that (tree_edit_posix.h) */
};

int tree_unpacking_start(struct tree_unpacking *u, const struct tree_order *order, struct err *err);
int tree_unpacking_feed(struct tree_unpacking *u, const void *data, size_t size, struct err *err);
/* Waits for its end; 0 = all is there. */
int tree_unpacking_finish(struct tree_unpacking *u, struct err *err);
/* For clean-up; safe on zeroes and after finish. */
void tree_unpacking_cancel(struct tree_unpacking *u);

#endif

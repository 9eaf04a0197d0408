/* tree_walk: looks through a directory tree that may change meanwhile, and follows none of its
 * links. What vanishes under it was not there.
 */
#ifndef SKEIN_MIGRATE_TREE_WALK_POSIX_H
#define SKEIN_MIGRATE_TREE_WALK_POSIX_H

#include <stdbool.h>

#include "base/err.h"
#include "migrate/ahead.h"
#include "migrate/tree_index.h"

/* Fills an empty index, sorted, without crossing mount points; sockets are left out, and devices
 * but, where they are kept, white-outs (0/0). -E2BIG, -ENAMETOOLONG: it is too large for one. */
int tree_walk(int directory, bool keeps_whiteouts, struct tree_index *ret, struct err *err);

/* Adds to `size` until that is worth being copied ahead at kbps (0: whatever it is), or all has
 * been seen. */
void tree_measure(int directory, uint64_t kbps, struct ahead_size *size);

/* Whether the file system of it stamps what is written through a mapping that was written before:
 * one that keeps its files in memory does not. */
bool tree_stamps_mappings(int directory);

#endif

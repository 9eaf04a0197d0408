/* tree: directories made and removed whole. */
#ifndef SKEIN_BASE_TREE_POSIX_H
#define SKEIN_BASE_TREE_POSIX_H

#include <sys/types.h>

#include "base/err.h"

/* Makes the directory and those above it that are missing, all with `mode`. One that is there is
 * left as it is. */
int tree_make(const char *path, mode_t mode, struct err *err);

/* Makes the directories above `path`. */
int tree_make_above(const char *path, mode_t mode, struct err *err);

/* Removes whatever `path` names, and all below it; nothing there is no error. Follows no symbolic
 * link and crosses no mount point (one in the way is an error). */
int tree_remove(const char *path, struct err *err);

#endif

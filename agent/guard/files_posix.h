/* files: the guard's own small files, written whole or not at all (shell). */
#ifndef SKEIN_AGENT_GUARD_FILES_POSIX_H
#define SKEIN_AGENT_GUARD_FILES_POSIX_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Replaces the file at one stroke. Not for files that must outlive a power cut. */
int file_write(const char *path, const void *data, size_t size, struct err *err);
/* Reads at most `capacity` bytes; -EFBIG for more, -ENOENT (no words) when there is none. */
ssize_t file_read(const char *path, void *ret, size_t capacity, struct err *err);
/* Makes the directory where it is missing; root's, with this group and mode. One of root's or of
 * `user` becomes the same; anybody else's is refused. */
int directory_make(const char *path, mode_t mode, uid_t user, gid_t group, struct err *err);

#endif

/* file_posix: small files that must survive a crash whole: written aside, synced, renamed. */
#ifndef SKEIN_CONSENSUS_FILE_POSIX_H
#define SKEIN_CONSENSUS_FILE_POSIX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { FILE_PATH_SIZE = 1024 };

/* "DIRECTORY/NAME" -> ret; -ENAMETOOLONG. */
int file_path(const char *directory, const char *name, char ret[FILE_PATH_SIZE], struct err *err);

/* Replaces DIRECTORY/NAME by these bytes; when it returns 0 they are on the disk. */
int file_replace(const char *directory, const char *name, const void *data, size_t size,
                 mode_t mode, struct err *err);

/* Reads a file of at most `capacity` bytes. Its size; -ENOENT; -EFBIG when it holds more. */
ssize_t file_read(const char *directory, const char *name, void *ret, size_t capacity,
                  struct err *err);

/* Makes renames and new names in a directory durable. */
int file_sync_directory(const char *directory, struct err *err);

#endif

/* run_posix: runs one program to its end, by an argument vector, never through a shell. */
#ifndef SKEIN_NETFABRIC_RUN_POSIX_H
#define SKEIN_NETFABRIC_RUN_POSIX_H

#include <stddef.h>

#include "base/err.h"

/* Runs argv[0], found in the system's directories, with `input` (may be NULL) as its stdin. What it
 * prints goes to `ret_output` (may be NULL), NUL-terminated and cut to `size`. 0; -EIO when it did
 * not end well, with the last line of its stderr as the words; else why it could not be run. */
int run_program(const char *const argv[], const char *input, char *ret_output, size_t size,
                struct err *err);

#endif

/* start_status: how the first process of a guest says that it runs, or why not: one byte, or words,
 * over a pipe that ends with it. Guest kinds share it.
 */
#ifndef SKEIN_AGENT_GUEST_START_STATUS_POSIX_H
#define SKEIN_AGENT_GUEST_START_STATUS_POSIX_H

#include "base/err.h"

/* Reads `fd` to its end. 0: nothing but the byte `ready` came; -ECHILD: the pipe ended without a
 * word; -ENOEXEC: words of failure, also behind the byte, which are in `err`. */
int start_status_await(int fd, char ready, const char *guest, struct err *err);

#endif

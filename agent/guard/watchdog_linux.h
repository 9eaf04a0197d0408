/* watchdog: the board's hardware watchdog, fed by the lease thread for as long as that lives
 * (shell: /dev/watchdog).
 */
#ifndef SKEIN_AGENT_GUARD_WATCHDOG_LINUX_H
#define SKEIN_AGENT_GUARD_WATCHDOG_LINUX_H

#include "base/err.h"

enum { WATCHDOG_FEED_MS = 1000, WATCHDOG_TIMEOUT_S = 10 };

/* Opens it and sets its timeout; the board is reset when nobody feeds it for so long. */
int watchdog_open(const char *path, int *ret_fd, struct err *err);
void watchdog_feed(int fd);
/* On a wanted end of the guard: the board stays up. */
void watchdog_close(int fd);

#endif

/* reset: has the other ends of a resumed guest's former connections give them up (connections.h).
 */
#ifndef SKEIN_MIGRATE_RESET_LINUX_H
#define SKEIN_MIGRATE_RESET_LINUX_H

#include <stdint.h>

#include "base/err.h"

/* Sends a segment for each connection that the file at `path` lists as the guest's (its address is
 * `ip`), from within its network namespace, which the calling process joins for good. Again a
 * second later: other nodes may learn a moment late where the guest is now. No such file: nothing
 * to do. */
int reset_peers(const char *netns, uint32_t ip, const char *path, struct err *err);

#endif

/* cell_netns: the named network namespace of a cell without a slice. (With one, the switch's
 * wiring makes it.) */
#ifndef SKEIN_AGENT_GUEST_CELL_NETNS_H
#define SKEIN_AGENT_GUEST_CELL_NETNS_H

#include "base/err.h"

/* Makes it, loopback up, unless one is there. */
int cell_netns_make(const char *path, struct err *err);

/* Unmounts and removes the name; nothing there is no error. */
int cell_netns_remove(const char *path, struct err *err);

#endif

/* backlog_linux: connections that a guest's kernel has made and none of its processes has accepted
 * yet (shell). CRIU cannot dump a listening socket that has such ("In-flight connection"), so a
 * guest that is to be frozen gets the time to accept them once nobody reaches it any more.
 */
#ifndef SKEIN_MIGRATE_BACKLOG_LINUX_H
#define SKEIN_MIGRATE_BACKLOG_LINUX_H

#include <stdbool.h>

#include "base/err.h"

/* A socket that asks in the network namespace of that path; the caller is in its own again. Or
 * -errno. */
int backlog_open(const char *netns, struct err *err);

/* Returns when none waits any more, at the latest after limit_ms; false: some do. What cannot be
 * asked for waits for nobody. Source: sock_diag(7). */
bool backlog_drain(int fd, int limit_ms);

#endif

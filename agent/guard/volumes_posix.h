/* volumes: directories of this node that hold what guests keep in volumes (shell). */
#ifndef SKEIN_AGENT_GUARD_VOLUMES_POSIX_H
#define SKEIN_AGENT_GUARD_VOLUMES_POSIX_H

#include "agent/guard/proto.h"

/* True when the request names the directory. */
bool volumes_are_kept(const struct guard_request *request, const char *name);

/* Renames those that the request does not keep, so that nobody finds them any more; quick. */
int volumes_set_aside(const struct guard_request *request, struct err *err);

#endif

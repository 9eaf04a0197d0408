/* room: what is free on this node for guests that come to it (shell). */
#ifndef SKEIN_AGENT_GUEST_ROOM_POSIX_H
#define SKEIN_AGENT_GUEST_ROOM_POSIX_H

#include "migrate/room.h"

/* Of the file systems that hold guests' files, volumes and memory now, for who is not root as well
 * (f_bavail). Not known where one of them does not say. */
void guest_room(struct node_room *ret);

#endif

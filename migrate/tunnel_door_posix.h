/* tunnel_door: the Unix sockets at a tunnel's ends, where libvirt and QEMU go in and out. */
#ifndef SKEIN_MIGRATE_TUNNEL_DOOR_POSIX_H
#define SKEIN_MIGRATE_TUNNEL_DOOR_POSIX_H

#include <stdbool.h>

#include "base/err.h"

/* Replaces what is at `path`. libvirt's door is private, for the caller's user alone: who passes it
 * commands the target's libvirtd. QEMU, which is another user, knocks at the others, as far as it
 * gets into their directory. A descriptor, or -errno with words. */
int tunnel_door_listen(const char *path, bool is_private, struct err *err);
/* Blocks no longer than the listener's queue is full; the descriptor does not. -1: nobody is there.
 */
int tunnel_door_connect(const char *path);

#endif

/* cell_volumes: the volumes of a cell, or of a container by liblxc: directories of this node that
 * are mounted into its root. */
#ifndef SKEIN_AGENT_GUEST_CELL_VOLUMES_H
#define SKEIN_AGENT_GUEST_CELL_VOLUMES_H

#include "agent/guest/guest.h"

/* Makes those that are missing, empty, and the user's that the guest runs as. */
int cell_volumes_prepare(const struct guest_run *run, const struct guest_paths *paths,
                         struct err *err);

/* Called while the node's files are still in reach: `ret` holds a descriptor for each volume, -1
 * where there is none (also after a failure). The caller's process ends, or becomes another. */
int cell_volumes_open(const struct guest_run *run, const struct guest_paths *paths,
                      int ret[MAX_VOLUMES], struct err *err);

/* Mounts each at its path below `root`, where the guest's stands in the caller's mount namespace;
 * the path is made where the image has none. One that leads through a symbolic link is refused: it
 * is not where CRIU would look for it. */
int cell_volumes_mount(const struct guest_run *run, const char *root,
                       const int volumes[MAX_VOLUMES], struct err *err);

#endif

/* cell_volumes: the volumes of a cell: directories of this node that are mounted into its root. */
#ifndef SKEIN_AGENT_GUEST_CELL_VOLUMES_H
#define SKEIN_AGENT_GUEST_CELL_VOLUMES_H

#include "agent/guest/guest.h"

/* Makes those that are missing, empty, and the user's that the cell runs as. */
int cell_volumes_prepare(const struct guest_run *run, const struct guest_paths *paths,
                         struct err *err);

/* Called while the node's files are still in reach: `ret` holds a descriptor for each volume, -1
 * where there is none (also after a failure). The caller's process ends, or becomes another. */
int cell_volumes_open(const struct guest_run *run, const struct guest_paths *paths,
                      int ret[MAX_VOLUMES], struct err *err);

/* Called within the cell's root, its "/": mounts each at its path, which is made where the image
 * has none. A path that leads through a symbolic link is refused: it is not where CRIU would look
 * for it. */
int cell_volumes_mount(const struct guest_run *run, const int volumes[MAX_VOLUMES],
                       struct err *err);

#endif

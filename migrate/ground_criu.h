/* ground: what a cell stands on and CRIU does not move: it is made alike by whoever starts a cell
 * (agent/guest/cell*.c) and by whoever restores one (mover_criu.c).
 */
#ifndef SKEIN_MIGRATE_GROUND_CRIU_H
#define SKEIN_MIGRATE_GROUND_CRIU_H

#include "base/err.h"

/* Mounts the overlay that is the cell's root at `merged`, which must be a directory. */
int ground_mount_root(const char *image_root, const char *upper, const char *work,
                      const char *merged, struct err *err);

#endif

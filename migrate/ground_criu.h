/* ground: what a cell stands on and CRIU takes as given ("external"): its root, /dev, /dev/shm, its
 * log. It is made alike by whoever starts a cell (agent/guest/cell*.c) and by whoever receives one
 * (receive_criu.c).
 */
#ifndef SKEIN_MIGRATE_GROUND_CRIU_H
#define SKEIN_MIGRATE_GROUND_CRIU_H

#include "base/err.h"

/* Where the external mounts are in a cell. */
#define GROUND_DEV     "/dev"
#define GROUND_SHM     "/dev/shm"
#define GROUND_LOG     "/.skein/log"
#define GROUND_CONSOLE "/dev/console" /* of a guest with a terminal (console_criu.h) */

/* Mounts the overlay that is the cell's root at `merged`, which must be a directory. */
int ground_mount_root(const char *image_root, const char *upper, const char *work,
                      const char *merged, struct err *err);

/* Mounts a /dev at `path`: the harmless devices, links, and directories for pts and shm. */
int ground_mount_dev(const char *path, struct err *err);

int ground_mount_shm(const char *path, struct err *err);

#endif

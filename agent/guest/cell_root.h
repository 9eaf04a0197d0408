/* cell_root: builds the root file system of a cell and moves into it. */
#ifndef SKEIN_AGENT_GUEST_CELL_ROOT_H
#define SKEIN_AGENT_GUEST_CELL_ROOT_H

#include "agent/guest/guest.h"

/* Directories and the log file on the node's side, made before the cell's namespaces are. */
int cell_root_prepare(const struct guest_paths *paths, struct err *err);

/* Called in the cell's own, new mount and pid namespaces: overlay, /proc, /dev, init and log; the
 * node's mounts are out of reach on return, the working directory is the cell's "/". */
int cell_root_enter(const struct guest_paths *paths, struct err *err);

/* Puts cell-init into the root that stands at `root`, whatever links its image holds. */
int cell_root_write_init(const char *root, struct err *err);

#endif

/* restore_criu: what the CRIU mover's other parts need of a restore. */
#ifndef SKEIN_MIGRATE_RESTORE_CRIU_H
#define SKEIN_MIGRATE_RESTORE_CRIU_H

#include "migrate/mover_criu.h"

/* Has whoever holds what was restored ahead take it back, and waits. 1: there was somebody; 0:
 * nobody; -ETIMEDOUT. */
int restore_take_back(const struct mover_paths *paths, struct err *err);

#endif

/* restore_criu: what the CRIU mover's other parts need of a restore. */
#ifndef SKEIN_MIGRATE_RESTORE_CRIU_H
#define SKEIN_MIGRATE_RESTORE_CRIU_H

#include <stdbool.h>

#include "migrate/mover_criu.h"

/* Somebody waits for the guest to be received. */
bool restore_stands_by(const struct mover_paths *paths);
/* Its memory follows behind what is received now: to whoever stands by, if anybody does. */
void restore_expect_memory(const struct mover_paths *paths);
/* It was: to whoever stands by, if anybody does. */
void restore_begin(const struct mover_paths *paths);

/* Has whoever holds what was restored ahead take it back, and waits. 1: there was somebody; 0:
 * nobody; -ETIMEDOUT. */
int restore_take_back(const struct mover_paths *paths, struct err *err);

#endif

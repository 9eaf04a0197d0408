/* freezer_cgroup: stops and starts all processes of a cgroup (the v1 freezer, or any v2 group). */
#ifndef SKEIN_MIGRATE_FREEZER_CGROUP_H
#define SKEIN_MIGRATE_FREEZER_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Is the group itself told to be frozen? (Its parents are another matter.) */
int freezer_is_frozen(const char *directory, bool *ret, struct err *err);

/* Returns when every process stands still; -ETIMEDOUT, and thawed again, when one does not: within
 * 5 s, or within the limit. */
int freezer_freeze(const char *directory, struct err *err);
int freezer_freeze_within(const char *directory, uint32_t limit_ms, struct err *err);
int freezer_thaw(const char *directory, struct err *err);

/* Kills all that is in the group, and thaws it: returns when nothing is left; -ETIMEDOUT. */
int freezer_kill(const char *directory, struct err *err);

#endif

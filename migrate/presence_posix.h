/* presence: a process that outlives the job that made it, and that others have to find, to end and
 * to wait for: it keeps the reading end of a FIFO open. No number of a process is written down that
 * another process could bear later.
 */
#ifndef SKEIN_MIGRATE_PRESENCE_POSIX_H
#define SKEIN_MIGRATE_PRESENCE_POSIX_H

#include <stdbool.h>

#include "base/err.h"

/* Makes the FIFO and opens its reading end, which the process that is to be found inherits: present
 * as long as it is open, asked to end when it becomes readable. A descriptor, or -errno. */
int presence_begin(const char *path, struct err *err);

/* Waits until nobody is present any more, at most limit_ms (negative: without limit). 1: there was
 * somebody; 0: nobody; -ETIMEDOUT. `asks`: they are asked to end first. */
int presence_wait(const char *path, bool asks, int limit_ms, struct err *err);

#endif

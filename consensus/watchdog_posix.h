/* watchdog_posix: a thread that notices what does not come to an end, whoever else is blocked.
 *
 * Time in which the whole process stood still (stopped, or the machine was) does not count: an
 * operation ages by at most two ticks between two looks. */
#ifndef SKEIN_CONSENSUS_WATCHDOG_POSIX_H
#define SKEIN_CONSENSUS_WATCHDOG_POSIX_H

#include <stdint.h>

struct watchdog;

/* One operation that is watched; the caller's memory. */
struct watch {
    const char *what; /* borrowed; NULL = not watched now */
    uint64_t age_ms;
    struct watch *next, *previous;
};

/* `expired` is called by the watchdog's thread, once for each look at an operation older than
 * `limit_ms`. NULL: no memory or no thread. */
struct watchdog *watchdog_new(uint32_t limit_ms,
                              void (*expired)(const char *what, uint64_t age_ms));
void watchdog_free(struct watchdog *watchdog);

/* Any thread. Beginning what is watched already, or ending what is not, does nothing. */
void watchdog_begin(struct watchdog *watchdog, struct watch *watch, const char *what);
void watchdog_end(struct watchdog *watchdog, struct watch *watch);

#endif

/* ahead: whether a guest's files are copied before it stands still, and how often (pure).
 *
 * A copy ahead costs a walk through them while the guest stands still, and a process or two: it has
 * to save more than that.
 */
#ifndef SKEIN_MIGRATE_AHEAD_H
#define SKEIN_MIGRATE_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

enum {
    AHEAD_WORTH_MS = 20,  /* of standing still, that files would take which are not copied ahead */
    AHEAD_REST_MS = 4,    /* so little of it is not worth another pass */
    AHEAD_ENTRY_US = 40,  /* of any file, beside its bytes: to open it, pack and make it */
    AHEAD_MIN_PASSES = 3, /* before it is asked whether less is left each time */
    AHEAD_MAX_PASSES = 8,
    AHEAD_AGAIN_MS = 40000, /* all passes behind the first, together */
    AHEAD_CONVERGE_PERCENT = 80,
};

struct ahead_size {
    uint64_t bytes; /* that files hold */
    uint64_t n;     /* files, directories and the like */
};

/* What they would take; kbps is the rate at which they cross, not 0. */
uint64_t ahead_ms(const struct ahead_size *size, uint64_t kbps);
bool ahead_is_worth(const struct ahead_size *size, uint64_t kbps);

/* Passes that are over; starts as zeroes. */
struct ahead_passes {
    uint32_t n;
    struct ahead_size last;
    uint64_t again_us; /* of all but the first */
};

/* One more is over, and took so long. */
void ahead_pass_over(struct ahead_passes *passes, const struct ahead_size *size, uint64_t us);
/* Another with what is left, or does that cross while it stands still? */
bool ahead_goes_on(const struct ahead_passes *passes, const struct ahead_size *left, uint64_t kbps);

#endif

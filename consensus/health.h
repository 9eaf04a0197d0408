/* health: a guest's health check as people write it (pure).
 *
 *   tcp:PORT             a connection to the guest's own address is accepted in time
 *   exec:COMMAND ARGS    the command, run inside the guest, ends with status 0 in time; words are
 *                        parted by spaces, and may be quoted with ' or "
 */
#ifndef SKEIN_CONSENSUS_HEALTH_H
#define SKEIN_CONSENSUS_HEALTH_H

#include "base/err.h"
#include "consensus/types.h"

enum {
    HEALTH_INTERVAL_MS = 10000, /* where nothing is said */
    HEALTH_TIMEOUT_MS = 2000,
    HEALTH_RETRIES = 3,
    HEALTH_MIN_INTERVAL_MS = 100,
    HEALTH_MIN_TIMEOUT_MS = 10,
    HEALTH_MAX_TIMEOUT_MS = 60 * 1000,
    HEALTH_MAX_INTERVAL_MS = 3600 * 1000,
    HEALTH_MAX_START_MS = 3600 * 1000,
    HEALTH_MAX_RETRIES = 1000,
    HEALTH_TEXT_SIZE = 256,
};

/* Fills kind, port and words; what they say of time is the caller's. -EINVAL with words; -ENOMEM.
 * `ret` must hold nothing before; it may hold words after a failure. */
int health_parse(const char *text, struct health_check *ret, struct err *err);
/* Every bound holds, and what the kind does not use is zero. */
bool health_is_valid(const struct health_check *health);
/* The same with words. */
int health_check_bounds(const struct health_check *health, struct err *err);
/* "tcp:80", "exec:/bin/check -q"; "" for none; cut where it is too long. */
const char *health_format(const struct health_check *health, char ret[HEALTH_TEXT_SIZE]);

#endif

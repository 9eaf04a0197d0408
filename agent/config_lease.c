/* config_lease: do the timers keep the proof of leases? See docs/leases.md, "How the timers hang
 * together", whose lines these are. */
#include <errno.h>

#include "agent/config.h"

_Static_assert(CLOCK_DRIFT_PERMILLE * 3 <= 1000, "rho <= 1/3: (1 + 3 rho)(1 - rho) >= 1 + rho");

enum {
    FREEZE_FLOOR_MS = 5, /* one write, and one ioctl a port */
    ROUND_TRIP_MS = 10,  /* of the control class, at the least */
};

/* `left >= right` must hold. */
struct inequality {
    const char *name, *words;
    uint64_t left, right;
};

static void fill(const struct config *c, struct inequality ret[5])
{
    uint64_t T = c->election_ms, h = c->heartbeat_ms, B = c->beat_ms, A = c->authority_ms,
             L = c->lease_ms, F = c->freeze_ms;

    ret[0] = (struct inequality){"election_ms >= 2 heartbeat_ms",
                                 "a late heartbeat must start no election", T, 2 * h};
    ret[1] = (struct inequality){"authority_ms >= 2 beat_ms + 10 (round trip)",
                                 "one lost beat of a voter must not cost authority", A,
                                 2 * B + ROUND_TRIP_MS};
    ret[2] = (struct inequality){"lease_ms >= 2 election_ms + authority_ms + 2 beat_ms",
                                 "a leader's death must freeze no guest on another node", L,
                                 2 * T + A + 2 * B};
    ret[3] = (struct inequality){"lease_ms >= freeze_ms + 4 beat_ms",
                                 "three lost beats must freeze nobody", L, F + 4 * B};
    ret[4] = (struct inequality){"freeze_ms >= 5", "the freeze must be over when the lease is", F,
                                 FREEZE_FLOOR_MS};
}

int config_check_leases(const struct config *config, struct err *err)
{
    struct inequality rows[5];

    fill(config, rows);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].left < rows[i].right)
            return err_set(err, -EINVAL, "%s does not hold (%llu < %llu): %s", rows[i].name,
                           (unsigned long long)rows[i].left, (unsigned long long)rows[i].right,
                           rows[i].words);
    }
    return 0;
}

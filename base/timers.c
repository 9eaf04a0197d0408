#include "base/timers.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/limits.h"

_Static_assert(CLOCK_DRIFT_PERMILLE * 3 <= 1000, "rho <= 1/3: (1 + 3 rho)(1 - rho) >= 1 + rho");

enum {
    ROUND_TRIP_MS = 10, /* of the control class, at the least */
    SILENCES_IN_A_LEASE = 4,
};

static const struct profile {
    const char *name;
    struct timers timers;
} profiles[] = {
    {"default",
     {DEFAULT_ELECTION_MS, DEFAULT_HEARTBEAT_MS, DEFAULT_BEAT_MS, DEFAULT_AUTHORITY_MS,
      DEFAULT_LEASE_MS, DEFAULT_FREEZE_MS}},
    /* A quiet wire of a switch or two, and cores that are not short. */
    {"fast", {100, 20, 20, 60, 300, 20}},
    /* Round trips of 100 ms and more: A outlasts two beats and 300 ms of it, T two of them. */
    {"wan", {600, 100, 150, 600, 2200, 20}},
    /* Processes that get no processor for seconds: A outlasts three of them, L four times that. */
    {"slow", {3000, 500, 500, 3000, 12000, 500}},
};
enum { N_PROFILES = sizeof(profiles) / sizeof(profiles[0]) };

#define KEY(field, min, max)                                                                       \
    {                                                                                              \
#field, offsetof(struct timers, field), min, max                                           \
    }

static const struct key {
    const char *name;
    size_t offset;
    uint32_t min, max;
} keys[] = {
    KEY(election_ms, 100, 60000),     KEY(heartbeat_ms, 20, 10000),
    KEY(beat_ms, 10, 10000),          KEY(authority_ms, 30, 60000),
    KEY(lease_ms, 100, MAX_LEASE_MS), KEY(freeze_ms, TIMERS_MIN_FREEZE_MS, TIMERS_MAX_FREEZE_MS),
};
enum { N_KEYS = sizeof(keys) / sizeof(keys[0]) };

static uint32_t value(const struct timers *timers, unsigned at)
{
    return *(const uint32_t *)(const void *)((const char *)timers + keys[at].offset);
}

const char *timers_key(unsigned at)
{
    return at < N_KEYS ? keys[at].name : NULL;
}

uint32_t *timers_at(struct timers *timers, unsigned at)
{
    return at < N_KEYS ? (uint32_t *)(void *)((char *)timers + keys[at].offset) : NULL;
}

/* ---- profiles */

const struct timers *timers_of_profile(const char *profile)
{
    for (unsigned i = 0; i < N_PROFILES; i++) {
        if (strcmp(profiles[i].name, profile) == 0)
            return &profiles[i].timers;
    }
    return NULL;
}

const char *timers_profile_name(const struct timers *timers)
{
    for (unsigned i = 0; i < N_PROFILES; i++) {
        if (timers_are_equal(&profiles[i].timers, timers))
            return profiles[i].name;
    }
    return "custom";
}

bool timers_are_equal(const struct timers *a, const struct timers *b)
{
    return memcmp(a, b, sizeof(*a)) == 0; /* numbers of one size: no padding */
}

struct timers timers_overlay(const struct timers *wish, const struct timers *base)
{
    struct timers ret = *base;

    for (unsigned i = 0; i < N_KEYS; i++) {
        if (value(wish, i) != 0)
            *timers_at(&ret, i) = value(wish, i);
    }
    return ret;
}

/* ---- checks */

/* `left >= right` must hold. */
struct inequality {
    const char *name, *words;
    uint64_t left, right;
};

static void fill(const struct timers *t, struct inequality ret[5])
{
    uint64_t T = t->election_ms, h = t->heartbeat_ms, B = t->beat_ms, A = t->authority_ms,
             L = t->lease_ms, F = t->freeze_ms;

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
                                 TIMERS_MIN_FREEZE_MS};
}

uint32_t timers_election_limit_ms(const struct timers *timers, uint32_t lease_ms)
{
    uint64_t rest = (uint64_t)timers->authority_ms + 2 * (uint64_t)timers->beat_ms;

    return lease_ms > rest ? (uint32_t)((lease_ms - rest) / 2) : 0;
}

uint32_t timers_silence_ms(const struct timers *timers, uint32_t least)
{
    uint32_t silence_ms = timers->lease_ms / SILENCES_IN_A_LEASE;

    return silence_ms > least ? silence_ms : least;
}

int timers_check(const struct timers *timers, struct err *err)
{
    struct inequality rows[5];

    fill(timers, rows);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].left < rows[i].right)
            return err_set(err, -EINVAL, "%s does not hold (%llu < %llu): %s", rows[i].name,
                           (unsigned long long)rows[i].left, (unsigned long long)rows[i].right,
                           rows[i].words);
    }
    for (unsigned i = 0; i < N_KEYS; i++) {
        if (value(timers, i) < keys[i].min || value(timers, i) > keys[i].max)
            return err_set(err, -EINVAL, "%s: %u is not a number from %u to %u", keys[i].name,
                           value(timers, i), keys[i].min, keys[i].max);
    }
    return 0;
}

int timers_agree(const struct timers *wish, const struct timers *cluster, struct err *err)
{
    for (unsigned i = 0; i < N_KEYS; i++) {
        if (value(wish, i) != 0 && value(wish, i) != value(cluster, i))
            return err_set(err, -EINVAL,
                           "%s = %u here, but the cluster has %u since its init; take the key (or "
                           "the profile) out of this node's settings",
                           keys[i].name, value(wish, i), value(cluster, i));
    }
    return 0;
}

/* ---- bytes */

void timers_encode(const struct timers *timers, struct writer *w)
{
    for (unsigned i = 0; i < N_KEYS; i++)
        write_u32(w, value(timers, i));
}

void timers_decode(struct reader *r, struct timers *ret)
{
    for (unsigned i = 0; i < N_KEYS; i++)
        *timers_at(ret, i) = read_u32(r);
}

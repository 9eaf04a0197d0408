/* timers: what a whole cluster counts by, and the profiles that people choose from (pure).
 *
 * They are a replicated fact: chosen at the cluster's init, never changed, handed to each joiner.
 * Meanings, and why the inequalities must hold: docs/leases.md.
 */
#ifndef SKEIN_BASE_TIMERS_H
#define SKEIN_BASE_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum { TIMERS_MIN_FREEZE_MS = 5, TIMERS_MAX_FREEZE_MS = 1000 };

struct timers {                                          /* ms. In a wish, 0 = any */
    uint32_t election_ms, heartbeat_ms;                  /* Raft's own */
    uint32_t beat_ms, authority_ms, lease_ms, freeze_ms; /* B, A, L, F */
};

/* "default", "fast", "wan" or "slow"; NULL for another name. */
const struct timers *timers_of_profile(const char *profile);
/* The profile whose timers these are; "custom" when there is none. */
const char *timers_profile_name(const struct timers *timers);
bool timers_are_equal(const struct timers *a, const struct timers *b);

/* `wish` where it says something, `base` elsewhere. */
struct timers timers_overlay(const struct timers *wish, const struct timers *base);

/* Is each in its range, and does the proof of leases hold? -EINVAL: words name what does not. */
int timers_check(const struct timers *timers, struct err *err);
/* The longest T with which leases of `lease_ms` outlast a leader's death (the third inequality). */
uint32_t timers_election_limit_ms(const struct timers *timers, uint32_t lease_ms);
/* For how long the other end of a connection may say nothing before it is called anew: a fraction
 * of a lease, at least `least`. Where processes may get no processor for long, so must a call. */
uint32_t timers_silence_ms(const struct timers *timers, uint32_t least);
/* -EINVAL: words name the first key of the wish that is not the cluster's, and what to do. */
int timers_agree(const struct timers *wish, const struct timers *cluster, struct err *err);

/* One of them by its place, with the key that it has in the configuration; NULL past the last. */
const char *timers_key(unsigned at);
uint32_t *timers_at(struct timers *timers, unsigned at);

void timers_encode(const struct timers *timers, struct writer *w);
void timers_decode(struct reader *r, struct timers *ret); /* any values */

#endif

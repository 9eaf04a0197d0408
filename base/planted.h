/* planted: bugs that the simulator must find (pure; tests/sim/hunt.c says how).
 *
 * Each is one line of the code that it would break. In every build but that of the hunt's own
 * copies IS_PLANTED() is a constant false, so that nothing of it is compiled;
 * tests/check_planted looks at the binaries.
 */
#ifndef SKEIN_BASE_PLANTED_H
#define SKEIN_BASE_PLANTED_H

#include <stdbool.h>

#ifdef SKEIN_PLANTED

/* name in the code, words for people */
#define PLANTED_BUGS(X)                                                                            \
    X(LEASE_FROM_ARRIVAL, "a lease counts from its ack's arrival, not from the beat")              \
    X(NO_MARGIN, "no margin for clocks that drift")                                                \
    X(HASTY_LEADER, "a new leader does not wait for what an earlier one granted")                  \
    X(AUTHORITY_BY_ARRIVAL, "authority counts from an echo's arrival, not from the stamp")         \
    X(GRANT_WHILE_DECIDING, "leases are granted while a loss is proposed")                         \
    X(THAW_ANY_EPOCH, "a thaw looks at the guest's name, not at the epoch")                        \
    X(CEILING_UNAGREED, "a longer lease is granted before it is agreed on")                        \
    X(LOSS_OF_ANY_TERM, "a proposed loss outlives its term")                                       \
    X(REBOOT_UNPROVEN, "a boot nonce is believed without a proof that it is the newer one")        \
    X(STAY_PLACED_AGAIN, "a guest that stays is placed again by a loss")                           \
    X(ECHO_WITHOUT_TERM, "an echo counts whatever term its voter has published")                   \
    X(OLD_ACKS, "acks of older terms are accepted")                                                \
    X(STALE_LIFT, "an answer to a stamp from before the lapse lifts the freeze")

enum planted_bug {
    PLANTED_NONE = 0,
#define X(name, words) PLANTED_##name,
    PLANTED_BUGS(X)
#undef X
        N_PLANTED
};

extern enum planted_bug planted_bug; /* the one at work */
#define IS_PLANTED(name) (planted_bug == PLANTED_##name)

#else
#define IS_PLANTED(name) false
#endif

#endif

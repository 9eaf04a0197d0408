/* holder: the guard's side of the lease (pure; the law is docs/leases.md).
 *
 * It issues stamps, remembers when, takes acks, and says when guests must freeze. It starts lapsed.
 */
#ifndef SKEIN_AGENT_GUARD_HOLDER_H
#define SKEIN_AGENT_GUARD_HOLDER_H

#include "agent/lease.h"

enum { HOLDER_STAMPS_KEPT = 256 }; /* issued and not yet too old to be acked */

struct holder {
    uint8_t boot_nonce[NONCE_SIZE];
    uint32_t run;
    uint64_t next_sequence;
    uint64_t issued_us[HOLDER_STAMPS_KEPT]; /* by sequence modulo; 0 = none */
    uint64_t freeze_us;          /* F: freezing begins this long before the lease's end */
    uint8_t cluster[NONCE_SIZE]; /* whose leases these are; zeroes before its first ack */
    uint64_t term;               /* of that cluster: highest seen in an ack */
    uint64_t floor_index;        /* likewise: starts decided on an older state are refused */
    uint64_t lease_end_us;
    bool lapsed;
    uint64_t lapsed_at_us; /* only stamps issued since then can lift; 0 since the start */
};

enum holder_outcome {
    HOLDER_IGNORED = 1, /* unknown or stale stamp, older term, nothing granted, already over; of
                         * another cluster before the lease of the last one was over */
    HOLDER_EXTENDED,    /* the lease goes on */
    HOLDER_LIFT,        /* was lapsed: destroy every copy that the ack does not keep, then call
                         * holder_lifted() */
};

/* `now` is CLOCK_BOOTTIME in µs, everywhere. */
void holder_init(struct holder *h, const uint8_t boot_nonce[NONCE_SIZE], uint32_t run,
                 uint32_t freeze_ms);
void holder_issue(struct holder *h, uint64_t now, struct stamp *ret);
enum holder_outcome holder_ack(struct holder *h, const struct lease_ack *ack, uint64_t now);
/* The lift is done. False: the lease ran out meanwhile, everything stays frozen. */
bool holder_lifted(struct holder *h, uint64_t now);
/* When the freeze must begin; UINT64_MAX while lapsed. */
uint64_t holder_freeze_at(const struct holder *h);
/* True once when the freeze must begin now; the holder is lapsed from then on. */
bool holder_expire(struct holder *h, uint64_t now);
/* 0; -EKEYEXPIRED while lapsed; -ESTALE when `index` is older than the floor. */
int holder_may_start(const struct holder *h, uint64_t index, uint64_t now);

#endif

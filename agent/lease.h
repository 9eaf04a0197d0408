/* lease: the words in which guards and the leader speak of leases (pure values; the rules are in
 * docs/leases.md, the guard's side in agent/guard/holder.h, the leader's in agent/core/detector.h).
 */
#ifndef SKEIN_AGENT_LEASE_H
#define SKEIN_AGENT_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"

/* One beat of one guard. Only the guard that issued it knows when; a lease counts from that. */
struct stamp {
    uint8_t boot_nonce[NONCE_SIZE]; /* one a boot */
    uint32_t run;                   /* of the guard within the boot, from 1 */
    uint64_t sequence;              /* within the run, from 1 */
};

/* (guest, epoch): the one copy of a guest that may run. */
struct guest_copy {
    char guest[NAME_SIZE];
    uint64_t epoch;
};

/* The leader's answer to a beat. With lease_ms 0 it grants nothing. */
struct lease_ack {
    struct stamp stamp;          /* of the beat that it answers */
    uint8_t cluster[NONCE_SIZE]; /* of the leader: terms, indexes and epochs are its own */
    uint64_t term;               /* of the leader */
    uint32_t freeze_ms;          /* F of the cluster; 0 = not said */
    uint32_t lease_ms;           /* counted from the guard's memory of the stamp's issue */
    uint64_t index; /* the leader's state: a start decided on an older state is refused from here */
    bool has_copies;   /* the answer to a beat that said "lapsed" */
    uint32_t n_copies; /* the guest copies that are still the node's own */
    struct guest_copy copies[MAX_NODE_GUESTS]; /* large: only the first n_copies are copied */
};

bool stamp_is_equal(const struct stamp *a, const struct stamp *b);
/* The copy was started for the cluster that the ack is of, and is still the node's own: it is listed,
 * or of an epoch that the leader's state does not reach, and of those the list says nothing. */
bool lease_ack_keeps(const struct lease_ack *ack, const uint8_t cluster[NONCE_SIZE],
                     const char *guest, uint64_t epoch);
void stamp_encode(const struct stamp *stamp, struct writer *w);
void stamp_decode(struct reader *r, struct stamp *ret);
void lease_ack_encode(const struct lease_ack *ack, struct writer *w);
/* All of it is zero when the reader fails; else the copies behind n_copies hold nothing. */
void lease_ack_decode(struct reader *r, struct lease_ack *ret);
/* The caller frees it; NULL: no memory. */
struct lease_ack *lease_ack_copy(const struct lease_ack *ack);

#endif

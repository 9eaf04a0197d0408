/* timeline: how a guest came back after its node was lost or rebooted (plain values, codec). */
#ifndef SKEIN_AGENT_CORE_TIMELINE_H
#define SKEIN_AGENT_CORE_TIMELINE_H

#include "base/bytes.h"

/* The moment that the rest is counted from. */
enum timeline_since {
    TIMELINE_BEAT = 1, /* the node's last beat (before its reboot) that the leader heard */
    TIMELINE_ANSWER,   /* the node led: its last answer to the node that leads after it */
    TIMELINE_ELECTION, /* the leader's election: it never heard the node */
};

/* In ms, by the leader's clock. */
struct timeline {
    uint64_t from; /* node that the guest was lost with; 0 = there is no timeline */
    bool is_rebooted;
    enum timeline_since since;
    bool has_lease_end;            /* of the last lease that this leader granted */
    bool has_elected;              /* ANSWER: when the leader was elected */
    bool is_protected, is_resumed; /* RESTORE; and from a checkpoint, not afresh */
    bool has_lost;
    uint32_t lost_ms; /* from that checkpoint to the moment that the rest is counted from */
    uint32_t lease_end_ms, elected_ms, committed_ms, placed_ms, started_ms, serving_ms;
};

void timeline_encode(const struct timeline *t, struct writer *w);
void timeline_decode(struct reader *r, struct timeline *ret); /* marks the reader on failure */

#endif

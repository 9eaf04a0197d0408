/* timeline: how a guest came back after its node was lost or rebooted (plain values, codec). */
#ifndef SKEIN_AGENT_CORE_TIMELINE_H
#define SKEIN_AGENT_CORE_TIMELINE_H

#include "base/bytes.h"
#include "consensus/loss_origin.h"

/* In ms after the origin's moment, by the clock of the leader that it served under. */
struct timeline {
    uint64_t from; /* node that the guest was lost with; 0 = there is no timeline */
    bool is_rebooted;
    struct loss_origin origin;
    bool is_protected, is_resumed; /* RESTORE; and from a checkpoint, not afresh */
    bool has_lost;
    uint32_t lost_ms; /* from that checkpoint to the origin's moment */
    uint32_t committed_ms, placed_ms, started_ms, serving_ms;
};

void timeline_encode(const struct timeline *t, struct writer *w);
void timeline_decode(struct reader *r, struct timeline *ret); /* marks the reader on failure */

#endif

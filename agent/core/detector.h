/* detector: the leader's side of leases (pure; the law and its proof are docs/leases.md).
 *
 * It judges beats, says whether a lease may be granted, and which node's lease is surely over. It
 * starts afresh with each leadership. Its neighbours: the guard's side is guard/holder.h; core
 * proposes what the verdicts call for and sends the acks.
 */
#ifndef SKEIN_AGENT_CORE_DETECTOR_H
#define SKEIN_AGENT_CORE_DETECTOR_H

#include "agent/core/message.h"
#include "agent/lease.h"
#include "consensus/state.h"

enum {
    DETECTOR_MAX_VOTERS = 16,
    DETECTOR_FIRST_BEAT_MS = 10000, /* a node that was never seen in any boot has this long */
    DETECTOR_GAPS = 3,              /* so many gaps between beats within … */
    DETECTOR_CALM_MS = 60000,       /* … this time make leases longer; none makes them shorter */
};

/* What the leader knows of one node's leases, in this leadership. All times are its own clock. */
struct detector_node {
    uint64_t id;
    uint64_t epoch;      /* of the node when it began to count */
    uint64_t counted_us; /* since when */
    bool heard;          /* any beat */
    uint64_t heard_us;
    struct stamp newest; /* of its newest beat: older ones are no news */
    bool lapsed;         /* said the newest beat */
    uint64_t echo_us;    /* newest of our stamps that it echoed in our own term; 0 = none */
    uint64_t granted_us; /* when the newest granting ack was sent; 0 = none */
    uint32_t granted_ms;
    bool is_deciding; /* its loss is proposed, the outcome is not applied yet: no acks */
    uint32_t want_ms; /* length of lease that its link calls for */
    uint32_t n_gaps;  /* beats that came almost too late, since … */
    uint64_t calm_us; /* … then */
    uint64_t less_us; /* since when no lease as long as the ceiling is granted; 0 = they are */
    uint8_t new_boot[NONCE_SIZE]; /* a boot nonce that the state does not have, … */
    uint64_t new_boot_us; /* … first heard then: an echo of a later stamp proves it alive */
};

struct detector {
    uint32_t authority_ms, lease_ms;
    bool is_leading;
    uint64_t term;
    uint64_t became_us;
    uint32_t n_voters;
    uint64_t voters[DETECTOR_MAX_VOTERS];
    size_t n, capacity;
    struct detector_node *nodes; /* by id: those of the state */
};

enum detector_verdict {
    DETECTOR_STALE = 1, /* overtaken by a newer beat: to be ignored whole */
    DETECTOR_STRANGER,  /* no node of the state */
    DETECTOR_UNPROVEN,  /* of a new boot, perhaps: answer without a grant, ask for another beat */
    DETECTOR_REBOOTED,  /* surely of a new boot: propose that; no grant before it is applied */
    DETECTOR_RETURNED,  /* a lost node: propose its return; no grant before it is applied */
    DETECTOR_WITHHELD,  /* answer without a grant: no authority, or its loss is being decided */
    DETECTOR_GRANT,     /* answer with a lease of *ret_ms, then call detector_granted() */
};

void detector_init(struct detector *d, uint32_t authority_ms, uint32_t lease_ms);
/* The cluster's own are known now. */
void detector_set_timers(struct detector *d, uint32_t authority_ms, uint32_t lease_ms);
void detector_deinit(struct detector *d);
/* Leadership is gained in `term`: everything is forgotten. */
void detector_lead(struct detector *d, uint64_t term, uint64_t now);
void detector_yield(struct detector *d);
/* Makes its nodes those of the state; one whose epoch changed counts anew. */
void detector_sync(struct detector *d, const struct state *state, uint64_t now);
void detector_set_voters(struct detector *d, const uint64_t *voters, size_t n);

/* The newest moment until which the leader has authority; 0 = none yet. */
uint64_t detector_authority_end(const struct detector *d);
bool detector_has_authority(const struct detector *d, uint64_t now);
/* So long after the end of its authority the leader still grants leases, shorter ones: a full queue
 * on the way makes echoes late, and no lease reaches farther than one granted in time would. */
uint64_t detector_grace_us(const struct detector *d);

enum detector_verdict detector_beat(struct detector *d, const struct state *state, uint64_t node,
                                    const struct beat *beat, uint64_t now, uint32_t *ret_ms);
void detector_granted(struct detector *d, uint64_t node, uint32_t lease_ms, uint64_t now);

/* The ceiling that the node should have, when that is another one than the state's and may be
 * proposed now; 0 = none. */
uint32_t detector_ceiling(struct detector *d, const struct state *state, uint64_t node,
                          uint64_t now);

/* The next node (by id, above `after`) whose every lease is surely over; 0 = none. */
uint64_t detector_next_lost(const struct detector *d, const struct state *state, uint64_t after,
                            uint64_t now);
/* When every lease of the node is surely over, if it is not heard before; 0 = it cannot be lost now
 * (unknown, lost already, or being decided). */
uint64_t detector_over_us(const struct detector *d, const struct state *state, uint64_t node);
/* From the decision to propose a loss until its outcome is applied. */
void detector_decide(struct detector *d, uint64_t node, bool is_deciding);
/* When detector_next_lost() may have news; UINT64_MAX = never by itself. */
uint64_t detector_deadline(const struct detector *d, const struct state *state);

/* NULL for an unknown node. */
const struct detector_node *detector_node(const struct detector *d, uint64_t node);
/* Its newest lease is live, as far as the leader granted it. */
bool detector_is_present(const struct detector *d, uint64_t node, uint64_t now);

#endif

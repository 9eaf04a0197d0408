/* pace: how fast bulk data may go to another node, from the round trips of the control class to it
 * (pure). A controller in the manner of LEDBAT (RFC 6817), on rates instead of windows: the kernel
 * paces each stream to what is allowed here.
 *
 * Queueing delay is the least of the newest round trips (2.4.2, CURRENT_FILTER: a late answer of a
 * busy process is no queue) above the least of the last PACE_MINUTES minutes (BASE_HISTORY: a
 * route that became longer is learnt within that time). Above the target the rate goes below what
 * was delivered lately, in proportion to the excess, down to half a step; below it the rate grows,
 * in proportion to what is missing and never far above what was delivered. What was delivered is
 * the measure because it is the stream's true share of a full link: the queue then follows the
 * rate without swinging.
 *
 * The rate never falls below a floor: a stream that stood still would be cut by those who wait for
 * it (STREAM_IDLE_MS), and be sent again from there. The floor is higher where a guest that runs
 * waits for what is sent.
 */
#ifndef SKEIN_AGENT_STREAMS_PACE_H
#define SKEIN_AGENT_STREAMS_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_MINUTES = 10,
    PACE_RECENT = 3,          /* round trips of which the least counts … */
    PACE_RECENT_MS = 200,     /* … none older than that */
    PACE_OVERDUE_MS = 150,    /* an answer that is missing for longer counts as a round trip */
    PACE_STEP_MS = 25,        /* pace_step() is meant to be called once in this time */
    PACE_FLOOR_KBPS = 256,    /* 64 KiB in 2 s: far from STREAM_IDLE_MS */
    PACE_AWAITED_KBPS = 4000, /* a page of 4 KiB in 8 ms */
    PACE_START_KBPS = 8000,   /* where the link's capacity is not known */
    PACE_MAX_KBPS = 40000000, /* likewise */
};

/* Who waits for what a stream carries. */
enum pace_manner {
    PACE_PATIENT = 1, /* nobody: it may be held back as far as PACE_FLOOR_KBPS */
    PACE_AWAITED,     /* a guest that runs: as far as PACE_AWAITED_KBPS */
    PACE_URGENT,      /* a guest that stands still: it is not held back */
};

/* The bulk streams to one node that may be held back. */
struct pace_flow {
    uint64_t node;
    uint32_t n_streams;
    uint32_t n_awaited;      /* of them */
    uint32_t delivered_kbps; /* since it was last said */
};

struct pace_limits {
    uint32_t target_us;     /* queueing delay that streams may cause */
    uint32_t capacity_kbps; /* of the own uplink; 0 = unknown */
    uint32_t n_awaited;     /* streams that a guest waits for */
};

struct pace {
    uint32_t base_us[PACE_MINUTES]; /* the least round trip of each minute; 0 = none */
    uint64_t minute;                /* that `base_us[minute % PACE_MINUTES]` is of */
    struct {
        uint32_t us;
        uint64_t at_us;
    } recent[PACE_RECENT]; /* us 0 = none */
    unsigned next;         /* of `recent` to be replaced */
    uint32_t rate_kbps;    /* allowed; 0 = nothing is sent now */
    bool is_probing;       /* grows fast: no queue was seen since the stream began */
    bool is_held;          /* the newest step found the delay above the target */
    uint32_t delay_us;     /* queueing delay that the newest step saw */
};

/* A control message was answered after so long. */
void pace_heard(struct pace *pace, uint32_t round_trip_us, uint64_t now);
/* Streams begin where none was. */
void pace_begin(struct pace *pace, const struct pace_limits *limits);
/* `delivered_kbps`: what the peer's kernel took since the step before. `silent_us`: for how long
 * the oldest question has had no answer; 0 = none is open. Sets rate_kbps. */
void pace_step(struct pace *pace, const struct pace_limits *limits, uint32_t delivered_kbps,
               uint64_t silent_us, uint64_t now);
void pace_end(struct pace *pace); /* nothing is sent any more; what was learnt stays */
/* Of `rate_kbps` for the flow, what one of its streams gets, at least its floor: an even share, but
 * where that is too little those that a guest waits for come first. */
uint32_t pace_share_kbps(uint32_t rate_kbps, const struct pace_flow *flow, enum pace_manner manner);
/* Above the base, as far as it is known. */
uint32_t pace_delay_us(const struct pace *pace, uint64_t now);

#endif

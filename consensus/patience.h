/* patience: how long a member of Raft waits for another one before it takes it for gone (pure).
 *
 * Where packets get lost, TCP holds up what was sent after a lost one until that one has been sent
 * again: a round trip later and more. Behind a full queue that is longer than an election timeout
 * which fits a quiet wire, so that leaders step down and followers ask for votes though nobody is
 * gone. So the timeout follows what was seen: the longest pause, within the last minute, after
 * which a member that sends all the time was heard again.
 *
 * Times are ms of any clock that does not go back.
 */
#ifndef SKEIN_CONSENSUS_PATIENCE_H
#define SKEIN_CONSENSUS_PATIENCE_H

#include <stdint.h>

enum {
    PATIENCE_MAX_MEMBERS = 16,  /* that are watched; more are not */
    /* The most, in election timeouts as configured. A leader that waits longer delays nothing: the
     * others elect another one without asking it. Followers wait no longer than leases allow. */
    PATIENCE_LEADER_TIMES = 4,
    PATIENCE_FOLLOWER_TIMES = 2,
    PATIENCE_AWAY_TIMES = 4,    /* a longer pause was no late message: the member was away */
    PATIENCE_SPAN_MS = 30000,   /* pauses count for one to two of these */
    PATIENCE_MARGIN_PERCENT = 25,
};

struct patience {
    uint32_t base_ms; /* the election timeout as configured */
    struct {
        uint64_t id; /* 0 = free */
        uint64_t heard_ms;
    } members[PATIENCE_MAX_MEMBERS];
    uint64_t span_start_ms;
    uint32_t longest_ms[2]; /* of this span and of the one before */
};

void patience_init(struct patience *p, uint32_t election_ms);
/* A message of the kind that comes all the time: a leader's entries, a follower's result. */
void patience_hear(struct patience *p, uint64_t id, uint64_t now_ms);
/* Another leader: other members send from now on. What was learnt of the links stays. */
void patience_begin(struct patience *p);
/* The election timeout of now: at most `limit_ms`, but never less than the configured one. */
uint32_t patience_timeout_ms(struct patience *p, uint32_t limit_ms, uint64_t now_ms);

#endif

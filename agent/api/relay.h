/* relay: what to do about a request that another node works on and has not answered (pure).
 *
 * A message between nodes may be lost without a word, its answer as well. What the leader does may
 * be asked of it again: a write has its effect once (its request id), and a read has none. What
 * another node does (exec) may not.
 */
#ifndef SKEIN_AGENT_API_RELAY_H
#define SKEIN_AGENT_API_RELAY_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RELAY_REPEAT_MS = 1000,
    RELAY_READ_MS = 3000,    /* then this node says what it knows itself */
    RELAY_SILENCE_MS = 5000, /* a leader that is not heard for so long is not waited for */
    RELAY_LIMIT_MS = 15 * 60000,
};

struct relay_facts {
    bool to_leader;
    bool is_read;          /* to the leader, since it knows best; this node can answer as well */
    uint64_t node, leader; /* that was asked; that leads now, 0 = unknown */
    bool node_is_lost;
    bool may_repeat;
    uint64_t began_us, sent_us; /* the first time and the last */
    uint64_t heard_us;          /* anything of the node that this node counts on; 0 = never */
};

enum relay_verdict {
    RELAY_WAIT = 1,
    RELAY_REPEAT,
    RELAY_ANSWER_HERE,
    RELAY_ASK_ANEW, /* a read, and another node leads, or none */
    RELAY_LEADER_CHANGED,
    RELAY_LEADER_SILENT,
    RELAY_NODE_LOST,
    RELAY_TIMED_OUT,
};

enum relay_verdict relay_look(const struct relay_facts *facts, uint64_t now_us);

#endif

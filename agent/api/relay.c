#include "agent/api/relay.h"

static bool is_over(uint64_t since_us, uint64_t limit_ms, uint64_t now_us)
{
    return now_us > since_us + limit_ms * 1000;
}

enum relay_verdict relay_look(const struct relay_facts *facts, uint64_t now_us)
{
    uint64_t heard_us = facts->heard_us > facts->began_us ? facts->heard_us : facts->began_us;

    if (is_over(facts->began_us, RELAY_LIMIT_MS, now_us))
        return RELAY_TIMED_OUT;
    if (!facts->to_leader)
        return facts->node_is_lost ? RELAY_NODE_LOST : RELAY_WAIT;
    if (facts->leader != facts->node)
        return facts->is_read ? RELAY_ASK_ANEW : RELAY_LEADER_CHANGED;
    if (facts->is_read && is_over(facts->began_us, RELAY_READ_MS, now_us))
        return RELAY_ANSWER_HERE;
    if (is_over(heard_us, RELAY_SILENCE_MS, now_us))
        return RELAY_LEADER_SILENT;
    return facts->may_repeat && is_over(facts->sent_us, RELAY_REPEAT_MS, now_us) ? RELAY_REPEAT
                                                                                 : RELAY_WAIT;
}

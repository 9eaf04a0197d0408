#include "consensus/patience.h"

#include <stddef.h>
#include <string.h>

void patience_init(struct patience *p, uint32_t election_ms)
{
    *p = (struct patience){.base_ms = election_ms};
}

static void turn_span(struct patience *p, uint64_t now_ms)
{
    uint64_t age = now_ms - p->span_start_ms;

    if (age < PATIENCE_SPAN_MS)
        return;
    p->longest_ms[1] = age < 2 * PATIENCE_SPAN_MS ? p->longest_ms[0] : 0;
    p->longest_ms[0] = 0;
    p->span_start_ms = now_ms;
}

void patience_hear(struct patience *p, uint64_t id, uint64_t now_ms)
{
    size_t at = 0;
    uint64_t pause;

    turn_span(p, now_ms);
    while (at < PATIENCE_MAX_MEMBERS && p->members[at].id != 0 && p->members[at].id != id)
        at++;
    if (at == PATIENCE_MAX_MEMBERS)
        return;
    pause = p->members[at].id == id ? now_ms - p->members[at].heard_ms : 0;
    p->members[at].id = id;
    p->members[at].heard_ms = now_ms;
    if (pause > p->longest_ms[0] && pause <= (uint64_t)p->base_ms * PATIENCE_AWAY_TIMES)
        p->longest_ms[0] = (uint32_t)pause;
}

void patience_begin(struct patience *p)
{
    memset(p->members, 0, sizeof(p->members));
}

uint32_t patience_timeout_ms(struct patience *p, uint32_t limit_ms, uint64_t now_ms)
{
    uint32_t longest, timeout;

    turn_span(p, now_ms);
    longest = p->longest_ms[0] > p->longest_ms[1] ? p->longest_ms[0] : p->longest_ms[1];
    timeout = longest + longest * PATIENCE_MARGIN_PERCENT / 100;
    if (timeout > limit_ms)
        timeout = limit_ms;
    return timeout > p->base_ms ? timeout : p->base_ms;
}

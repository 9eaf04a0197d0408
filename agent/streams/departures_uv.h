/* departures_uv: the links by which guests leave this node, on the stream thread. A guest that
 * stands still while it crosses one is not to wait for long: such a link is broken sooner than
 * others (link_set_dead), but not while it carries memory that goes ahead or follows.
 */
#ifndef SKEIN_AGENT_STREAMS_DEPARTURES_UV_H
#define SKEIN_AGENT_STREAMS_DEPARTURES_UV_H

#include <stddef.h>
#include <stdint.h>

struct link;

enum { DEPARTURES_MAX = 64 }; /* what is beyond is a link as any other, whose end is not told */

struct departures {
    struct link *link; /* borrowed */
    size_t n;
    struct {
        uint64_t serial, migration;
    } list[DEPARTURES_MAX];
};

/* `patience_ms`: 0 = as any other. */
void departures_add(struct departures *departures, uint64_t serial, uint64_t migration,
                    uint32_t patience_ms);
/* Likewise, of its link, from now on. */
void departures_set_patience(struct departures *departures, uint64_t migration,
                             uint32_t patience_ms);
/* It is undone: whoever still writes to its link, or reads from it, hears that it broke. */
void departures_end(struct departures *departures, uint64_t migration);
/* This link is over: the migration that left by it, 0 = none. */
uint64_t departures_take(struct departures *departures, uint64_t serial);

#endif

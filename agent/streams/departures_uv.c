#include "agent/streams/departures_uv.h"

#include "consensus/link_uv.h"

void departures_add(struct departures *departures, uint64_t serial, uint64_t migration,
                    uint32_t patience_ms)
{
    if (departures->n == DEPARTURES_MAX)
        return;
    departures->list[departures->n].serial = serial;
    departures->list[departures->n++].migration = migration;
    link_set_dead(departures->link, serial, patience_ms);
}

void departures_set_patience(struct departures *departures, uint64_t migration,
                             uint32_t patience_ms)
{
    for (size_t i = 0; i < departures->n; i++) {
        if (departures->list[i].migration == migration)
            link_set_dead(departures->link, departures->list[i].serial, patience_ms);
    }
}

/* Its link tells of its end by and by: departures_take. */
void departures_end(struct departures *departures, uint64_t migration)
{
    for (size_t i = departures->n; i-- > 0;) {
        if (departures->list[i].migration == migration)
            link_end(departures->link, departures->list[i].serial);
    }
}

uint64_t departures_take(struct departures *departures, uint64_t serial)
{
    uint64_t migration;
    size_t at = 0;

    while (at < departures->n && departures->list[at].serial != serial)
        at++;
    if (at == departures->n)
        return 0;
    migration = departures->list[at].migration;
    departures->list[at] = departures->list[--departures->n];
    return migration;
}

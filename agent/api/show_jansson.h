/* show_jansson: what the API shows of the cluster, as JSON (docs/api.md lists every field). */
#ifndef SKEIN_AGENT_API_SHOW_JANSSON_H
#define SKEIN_AGENT_API_SHOW_JANSSON_H

#include <jansson.h>

#include "agent/core/core.h"
#include "scheduler/preempt.h"

/* A view of one moment. All functions return a new reference, NULL without memory. */
struct show {
    const struct core *core;
    uint64_t now;    /* CLOCK_BOOTTIME, µs */
    uint64_t own_id; /* of the node that answers */
};

json_t *show_nodes(const struct show *show);
json_t *show_node(const struct show *show, const struct node *node, bool with_cores);
json_t *show_uplink(const struct node_view *view); /* show_links_jansson.c */
/* Into the node's object. */
void show_machines(const struct node_facts *facts, json_t *ret);
json_t *show_slices(const struct show *show);
json_t *show_images(const struct show *show);
json_t *show_image(const struct show *show, const struct image *image);
json_t *show_guests(const struct show *show);
json_t *show_guest(const struct show *show, const struct guest *guest);
/* `preempt`: who would give way; node 0 when it fits, or nobody would; NULL: it
 * is not asked, and not said. */
json_t *show_plan(const struct show *show, const struct place_result *result,
                  const struct preempt_plan *preempt);
json_t *show_migrated(const struct show *show, const char *guest, const struct answer *answer);
json_t *show_migrations(const struct show *show);
/* How far a move is (docs/api.md). */
json_t *show_progress(uint64_t id, const char *step, const struct move_progress *progress,
                      uint32_t rate_kbps);
json_t *show_migration(const struct show *show, const struct migration *m);
json_t *show_drain(const struct show *show, const struct node *node); /* beforehand */
json_t *show_record(const struct show *show, const struct core_record *record, uint64_t time_ms);
json_t *show_timers(const struct timers *timers); /* ms by key */
json_t *show_status(const struct show *show);

#endif

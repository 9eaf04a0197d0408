/* world_parts: what the files of world.h share.
 *
 *   world.c        time, the log, and what cores want done
 *   world_guard.c  a node's fake guard
 *   world_life.c   nodes that begin and end, and what users ask for
 */
#ifndef SKEIN_TESTS_SUPPORT_WORLD_PARTS_H
#define SKEIN_TESTS_SUPPORT_WORLD_PARTS_H

#include "tests/support/world.h"

struct world_entry {
    uint64_t index, term, at_us;
    uint8_t *data;
    size_t size;
};

enum pending_type { PENDING_MESSAGE = 1, PENDING_REPLY, PENDING_STAMP, PENDING_MEMBERSHIP };

struct world_pending {
    enum pending_type type;
    uint64_t at_us;
    unsigned from, to;
    uint32_t boot; /* of `to`: what is for an earlier one is lost */
    uint32_t serial;
    uint8_t *data;
    size_t size;
    struct guard_request *request;
    bool is_ended; /* RECEIVE: nobody waits for the stream any more */
};

/* ---- world.c */
/* Something that happens to `to` after so long, unless it boots before. */
struct world_pending *world_later(struct world *w, enum pending_type type, unsigned to,
                                  uint64_t delay_us);
void world_pending_deinit(struct world_pending *p);
/* Gives an event to a core and carries out what it wants. */
void world_step(struct world *w, unsigned i, struct core_event *event);
bool world_sees_log(const struct world *w, unsigned i);

/* ---- world_guard.c */
struct guard_report *world_guard_copy(struct world_guard *g, const char *name);
void world_guard_refreeze(struct guard_report *copy);
void world_guard_set_lapsed(struct world *w, unsigned i, bool lapsed);
void world_guard_ack(struct world *w, unsigned i, const struct lease_ack *ack);
/* How long a request takes. */
uint64_t world_guard_work_us(const struct guard_request *request);
/* Its end: does the work, and tells the core. */
void world_guard_reply(struct world *w, struct world_pending *p);

#endif

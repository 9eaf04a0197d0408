/* outlets_uv: the links that bulk data leaves through: counts what each node takes, and holds them
 * to a rate, but for those that a guest waits for, frozen. On the stream thread, like its link
 * instance.
 */
#ifndef SKEIN_AGENT_STREAMS_OUTLETS_UV_H
#define SKEIN_AGENT_STREAMS_OUTLETS_UV_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/streams/pace.h"
#include "agent/streams/stream_job_uv.h"
#include "consensus/link_uv.h"

/* More nodes than FLOWS_MAX at once: those beyond keep the rate that they have. */
enum { FLOWS_MAX = 32, OUTLETS_MAX = 2 * STREAM_JOBS_MAX };

struct outlet {
    uint64_t serial, node;
    enum pace_manner manner;
    uint64_t migration; /* 0 = of none */
    uint64_t before;    /* delivered when it was last looked at */
    bool has_payload;   /* something left through it since it was handed out */
};

struct outlets {
    struct link *link;
    uv_timer_t timer; /* runs while there are outlets */
    uint64_t looked_ns;
    /* What is sent, by node. False: not now; the next report counts from the last one taken. */
    bool (*report)(void *context, const struct pace_flow *flows, uint32_t n);
    void *context;
    bool has_flows; /* the newest report had some */
    size_t n;
    struct outlet list[OUTLETS_MAX];
};

void outlets_init(struct outlets *outlets, uv_loop_t *loop);
void outlets_close(struct outlets *outlets);
/* A link was handed out; what leaves through it is held back from now on, or until it is urgent. */
void outlets_add(struct outlets *outlets, const struct link_peer *peer, enum pace_manner manner,
                 uint64_t migration);
/* Of the migration's stream, from now on; no such: fine. */
void outlets_set_manner(struct outlets *outlets, uint64_t migration, enum pace_manner manner);
void outlets_remove(struct outlets *outlets, const struct link_peer *peer); /* no such: fine */
/* The node's links share it as pace_share_kbps() says. */
void outlets_set_pace(struct outlets *outlets, uint64_t node, uint32_t rate_kbps);

#endif

/* pace: how much of the uplink bulk streams may take, by the round trips of the control class
 * to each node that they go to; see core/internal.h and agent/streams/pace.h.
 *
 * Round trips come from the acks of this node's beats, and from pings (core/ask.c) to the others:
 * one of them once a second, so that a way's usual round trip is known before a stream goes there,
 * and each that a stream goes to at every step. A ping is answered by the same thread, over the
 * same sockets and in the same class as a beat. */
#include "agent/core/internal.h"

enum { HELD_SHOWN_MS = 1000 };

static struct path *path_of(const struct core *core, uint64_t node)
{
    for (size_t i = 0; i < core->node.n_paths; i++) {
        if (core->node.paths[i].node == node)
            return &core->node.paths[i];
    }
    return NULL;
}

static struct path *path_made(struct core *core, uint64_t node)
{
    struct path *path = path_of(core, node);

    if (path == NULL) {
        path = core_append(&core->node.paths, &core->node.n_paths, sizeof(*path));
        path->node = node;
    }
    return path;
}

static struct pace_limits limits_of(const struct core *core, const struct pace_flow *flow)
{
    return (struct pace_limits){.target_us = core->config.stream_delay_ms * 1000,
                                .capacity_kbps = core->node.links.capacity_kbps,
                                .n_awaited = flow->n_awaited};
}

static void ask(struct core *core, struct path *path)
{
    struct message message = {.type = MESSAGE_PING, .token = core->now};

    path->asked_us = core->now;
    if (path->unanswered_us == 0)
        path->unanswered_us = core->now;
    core_send(core, path->node, &message);
}

void core_pace_heard(struct core *core, uint64_t node, uint32_t round_trip_us)
{
    if (core->config.stream_delay_ms != 0 && state_node(&core->state, node) != NULL)
        pace_heard(&path_made(core, node)->pace, round_trip_us, core->now);
}

void core_pace_ponged(struct core *core, uint64_t from, uint64_t token)
{
    struct path *path = path_of(core, from);

    if (path == NULL || path->unanswered_us == 0 || token < path->unanswered_us ||
        token > path->asked_us)
        return;
    pace_heard(&path->pace, (uint32_t)(core->now - token), core->now);
    path->unanswered_us = path->asked_us > token ? path->asked_us : 0;
}

/* ---- learning what is usual */

static void forget_removed(struct core *core)
{
    struct node_part *node = &core->node;

    for (size_t i = node->n_paths; i-- > 0;) {
        if (state_node(&core->state, node->paths[i].node) == NULL)
            core_take_out(node->paths, &node->n_paths, sizeof(*node->paths), i);
    }
}

void core_pace_learn(struct core *core)
{
    size_t n = core->state.n_nodes;
    struct path *path;

    if (core->config.stream_delay_ms == 0 || n < 2)
        return;
    forget_removed(core);
    if (core->state.nodes[core->node.next_path % n].id == core->config.id)
        core->node.next_path++;
    path = path_made(core, core->state.nodes[core->node.next_path++ % n].id);
    if (path->n_streams > 0)
        return;
    path->unanswered_us = 0; /* one that is not there has no queue */
    ask(core, path);
}

/* ---- streams of migrations */

/* A cell stands still while its state crosses. */
enum pace_manner core_pace_manner(enum guest_kind kind, enum move_mode mode)
{
    return kind == KIND_VM && mode != MOVE_STOP ? PACE_AWAITED : PACE_URGENT;
}

/* ---- steering */

static void steer(struct core *core, const struct pace_flow *flow)
{
    struct path *path = path_made(core, flow->node);
    struct pace_limits limits = limits_of(core, flow);
    struct core_action *action;

    if (path->n_streams == 0) {
        path->unanswered_us = 0;
        pace_begin(&path->pace, &limits);
    }
    path->n_streams = flow->n_streams;
    pace_step(&path->pace, &limits, flow->delivered_kbps,
              path->unanswered_us != 0 ? core->now - path->unanswered_us : 0, core->now);
    if (path->pace.is_held)
        path->held_us = core->now;
    ask(core, path);
    action = core_act(core, CORE_PACE);
    action->to = path->node;
    action->rate_kbps = path->pace.rate_kbps;
}

static bool is_among(const struct pace_flow *flows, uint32_t n, uint64_t node)
{
    for (uint32_t i = 0; i < n; i++) {
        if (flows[i].node == node)
            return true;
    }
    return false;
}

void core_pace_streams(struct core *core, const struct pace_flow *flows, uint32_t n)
{
    if (core->config.stream_delay_ms == 0)
        return;
    for (size_t i = 0; i < core->node.n_paths; i++) {
        struct path *path = &core->node.paths[i];

        if (path->n_streams == 0 || is_among(flows, n, path->node))
            continue;
        path->n_streams = 0;
        pace_end(&path->pace);
    }
    for (uint32_t i = 0; i < n; i++)
        steer(core, &flows[i]);
}

struct backhaul_streams core_pace_view(const struct core *core)
{
    struct backhaul_streams view = {0};

    for (size_t i = 0; i < core->node.n_paths; i++) {
        const struct path *path = &core->node.paths[i];

        if (path->n_streams == 0)
            continue;
        view.n += path->n_streams;
        view.allowed_kbps += path->pace.rate_kbps;
        if (path->pace.delay_us > view.delay_us)
            view.delay_us = path->pace.delay_us;
        view.is_held = view.is_held ||
                       (path->held_us != 0 && core->now - path->held_us <= HELD_SHOWN_MS * 1000);
    }
    return view;
}

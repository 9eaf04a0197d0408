#include "agent/streams/outlets_uv.h"

enum { BYTES_OF_KBPS = 125 }; /* bytes a second */

struct report {
    uint32_t n;
    struct pace_flow list[FLOWS_MAX];
};

static struct pace_flow *flow_of(struct report *report, uint64_t node)
{
    uint32_t at = 0;

    while (at < report->n && report->list[at].node != node)
        at++;
    if (at == FLOWS_MAX)
        return NULL;
    if (at == report->n)
        report->list[report->n++] = (struct pace_flow){.node = node};
    return &report->list[at];
}

static bool is_held(const struct outlet *outlet)
{
    return outlet->manner != PACE_URGENT && outlet->has_payload;
}

static void add_stream(struct pace_flow *flow, const struct outlet *outlet)
{
    flow->n_streams++;
    flow->n_awaited += outlet->manner == PACE_AWAITED;
}

static void count(const struct outlets *outlets, struct outlet *outlet, uint64_t ms,
                  struct report *report)
{
    uint32_t waiting;
    uint64_t delivered = link_delivered(outlets->link, outlet->serial, &waiting);
    uint64_t bytes = delivered > outlet->before ? delivered - outlet->before : 0;
    struct pace_flow *flow;

    outlet->has_payload = outlet->has_payload || waiting > 0 || bytes > 0;
    flow = is_held(outlet) ? flow_of(report, outlet->node) : NULL;
    if (flow == NULL)
        return;
    add_stream(flow, outlet);
    flow->delivered_kbps += (uint32_t)(bytes * 8 / ms);
}

static void start_anew(struct outlets *outlets, uint64_t now_ns)
{
    outlets->looked_ns = now_ns;
    for (size_t i = 0; i < outlets->n; i++)
        outlets->list[i].before = link_delivered(outlets->link, outlets->list[i].serial, NULL);
}

static void on_time(uv_timer_t *timer)
{
    struct outlets *outlets = timer->data;
    uint64_t now_ns = uv_hrtime(), ms = (now_ns - outlets->looked_ns) / 1000000;
    struct report report = {.n = 0};

    if (ms == 0)
        return;
    for (size_t i = 0; i < outlets->n; i++)
        count(outlets, &outlets->list[i], ms, &report);
    if ((report.n > 0 || outlets->has_flows) &&
        !outlets->report(outlets->context, report.list, report.n))
        return;
    outlets->has_flows = report.n > 0;
    start_anew(outlets, now_ns);
    if (outlets->n == 0)
        uv_timer_stop(timer);
}

void outlets_init(struct outlets *outlets, uv_loop_t *loop)
{
    uv_timer_init(loop, &outlets->timer);
    outlets->timer.data = outlets;
}

void outlets_close(struct outlets *outlets)
{
    uv_close((uv_handle_t *)&outlets->timer, NULL);
}

static void set_pace(const struct outlets *outlets, const struct outlet *outlet, uint32_t kbps)
{
    uint64_t rate = (uint64_t)kbps * BYTES_OF_KBPS;

    if (outlet->manner == PACE_URGENT || rate > LINK_UNPACED)
        rate = LINK_UNPACED;
    link_set_pace(outlets->link, outlet->serial, (uint32_t)rate);
}

void outlets_add(struct outlets *outlets, const struct link_peer *peer, enum pace_manner manner,
                 uint64_t migration)
{
    struct outlet *outlet;

    if (outlets->report == NULL || outlets->n == OUTLETS_MAX)
        return;
    if (!uv_is_active((uv_handle_t *)&outlets->timer)) {
        outlets->looked_ns = uv_hrtime();
        uv_timer_start(&outlets->timer, on_time, PACE_STEP_MS, PACE_STEP_MS);
    }
    outlet = &outlets->list[outlets->n++];
    *outlet = (struct outlet){.serial = peer->serial,
                              .node = peer->node_id,
                              .manner = manner,
                              .migration = migration,
                              .before = link_delivered(outlets->link, peer->serial, NULL)};
    set_pace(outlets, outlet, PACE_START_KBPS);
}

void outlets_set_manner(struct outlets *outlets, uint64_t migration, enum pace_manner manner)
{
    for (size_t i = 0; i < outlets->n; i++) {
        struct outlet *outlet = &outlets->list[i];

        if (outlet->migration != migration || outlet->manner == manner)
            continue;
        outlet->manner = manner;
        set_pace(outlets, outlet, PACE_START_KBPS);
    }
}

void outlets_remove(struct outlets *outlets, const struct link_peer *peer)
{
    for (size_t i = 0; i < outlets->n; i++) {
        if (outlets->list[i].serial != peer->serial)
            continue;
        outlets->list[i] = outlets->list[--outlets->n];
        return;
    }
}

void outlets_set_pace(struct outlets *outlets, uint64_t node, uint32_t rate_kbps)
{
    struct pace_flow flow = {.node = node};

    for (size_t i = 0; i < outlets->n; i++) {
        if (outlets->list[i].node == node && is_held(&outlets->list[i]))
            add_stream(&flow, &outlets->list[i]);
    }
    for (size_t i = 0; i < outlets->n; i++) {
        const struct outlet *outlet = &outlets->list[i];

        if (outlet->node == node && is_held(outlet))
            set_pace(outlets, outlet, pace_share_kbps(rate_kbps, &flow, outlet->manner));
    }
}

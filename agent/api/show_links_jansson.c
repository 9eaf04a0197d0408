/* show_links_jansson: what crosses a node's uplink. */
#include "agent/api/show_jansson.h"

static json_t *number(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *show_way(const struct backhaul_way *way)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "kbps", number(way->kbps), "bytes", number(way->bytes),
                     "packets", number(way->packets), "drops", number(way->drops));
}

static json_t *show_queues(const struct backhaul *links)
{
    json_t *list = json_array();

    for (int i = 0; links->has_queues && i < BACKHAUL_N_CLASSES; i++) {
        const struct backhaul_queue *q = &links->queues[i];

        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "class",
                                              backhaul_class_name((enum backhaul_class)i), "kbps",
                                              number(q->kbps), "bytes", number(q->bytes), "packets",
                                              number(q->packets), "drops", number(q->drops),
                                              "backlog_bytes", number(q->backlog_bytes)));
    }
    return list;
}

static json_t *show_streams(const struct backhaul_streams *streams)
{
    return json_pack("{s:o, s:o, s:o, s:b}", "n", number(streams->n), "allowed_kbps",
                     streams->n > 0 ? number(streams->allowed_kbps) : json_null(), "delay_us",
                     streams->n > 0 ? number(streams->delay_us) : json_null(), "held_back",
                     streams->is_held);
}

json_t *show_uplink(const struct node_view *view)
{
    const struct backhaul *links = &view->links;

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "capacity_kbps",
                     links->capacity_kbps != 0 ? number(links->capacity_kbps) : json_null(), "out",
                     show_way(&links->out), "in", show_way(&links->in), "classes",
                     show_queues(links), "streams", show_streams(&links->streams), "ms_ago",
                     number(view->links_ms_ago));
}

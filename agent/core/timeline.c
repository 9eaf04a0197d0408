#include "agent/core/timeline.h"

void timeline_encode(const struct timeline *t, struct writer *w)
{
    write_u64(w, t->from);
    write_bool(w, t->is_rebooted);
    loss_origin_encode(&t->origin, w);
    write_bool(w, t->is_protected);
    write_bool(w, t->is_resumed);
    write_bool(w, t->has_lost);
    write_u32(w, t->lost_ms);
    write_u32(w, t->committed_ms);
    write_u32(w, t->placed_ms);
    write_u32(w, t->started_ms);
    write_u32(w, t->serving_ms);
}

void timeline_decode(struct reader *r, struct timeline *ret)
{
    ret->from = read_u64(r);
    ret->is_rebooted = read_bool(r);
    loss_origin_decode(r, &ret->origin);
    ret->is_protected = read_bool(r);
    ret->is_resumed = read_bool(r);
    ret->has_lost = read_bool(r);
    ret->lost_ms = read_u32(r);
    ret->committed_ms = read_u32(r);
    ret->placed_ms = read_u32(r);
    ret->started_ms = read_u32(r);
    ret->serving_ms = read_u32(r);
    if (ret->origin.since == LOSS_SINCE_NOTHING || ret->from == 0)
        reader_fail(r);
}

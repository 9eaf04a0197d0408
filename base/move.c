#include "base/move.h"

#include <errno.h>
#include <string.h>

static const char *const names[] = {NULL, "auto", "stop", "pre", "post"};

const char *move_mode_name(enum move_mode v)
{
    return v >= MOVE_AUTO && v <= MOVE_POST ? names[v] : "unknown";
}

int move_mode_parse(const char *text, enum move_mode *ret)
{
    for (unsigned v = MOVE_AUTO; v <= MOVE_POST; v++) {
        if (strcmp(names[v], text) != 0)
            continue;
        *ret = (enum move_mode)v;
        return 0;
    }
    return -EINVAL;
}

bool move_connections_fit(enum move_mode mode, uint32_t connections)
{
    return connections == 1 ||
           (mode == MOVE_PRE && connections > 1 && connections <= MOVE_CONNECTIONS_MAX);
}

void move_terms_encode(const struct move_terms *terms, struct writer *w)
{
    write_u8(w, (uint8_t)terms->mode);
    write_u32(w, terms->downtime_ms);
    write_u32(w, terms->bandwidth_kbps);
    write_u32(w, terms->connections);
}

void move_terms_decode(struct reader *r, struct move_terms *ret)
{
    uint8_t mode = read_u8(r);

    ret->mode = (enum move_mode)mode;
    ret->downtime_ms = read_u32(r);
    ret->bandwidth_kbps = read_u32(r);
    ret->connections = read_u32(r);
    if (mode < MOVE_AUTO || mode > MOVE_POST || ret->downtime_ms < 1 ||
        ret->downtime_ms > MOVE_DOWNTIME_MAX_MS ||
        !move_connections_fit(ret->mode, ret->connections))
        reader_fail(r);
}

void move_progress_encode(const struct move_progress *progress, struct writer *w)
{
    write_u32(w, progress->round);
    write_bool(w, progress->is_files);
    write_u64(w, progress->done_bytes);
    write_u64(w, progress->total_bytes);
    write_u32(w, progress->blackout_ms);
}

void move_progress_decode(struct reader *r, struct move_progress *ret)
{
    ret->round = read_u32(r);
    ret->is_files = read_bool(r);
    ret->done_bytes = read_u64(r);
    ret->total_bytes = read_u64(r);
    ret->blackout_ms = read_u32(r);
}

uint64_t move_left_ms(const struct move_progress *progress, uint32_t rate_kbps)
{
    if (rate_kbps == 0 || progress->done_bytes >= progress->total_bytes)
        return 0;
    return (progress->total_bytes - progress->done_bytes) * 8 / rate_kbps;
}

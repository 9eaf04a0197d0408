#include "netfabric/backhaul.h"

#include <string.h>

static const char *const names[BACKHAUL_N_CLASSES] = {
    [BACKHAUL_CONTROL] = "control",
    [BACKHAUL_SLICES] = "slices",
    [BACKHAUL_DEFAULT] = "default",
    [BACKHAUL_BULK] = "bulk",
};

const char *backhaul_class_name(enum backhaul_class class)
{
    return (unsigned)class < BACKHAUL_N_CLASSES ? names[class] : "unknown";
}

static uint32_t rate_kbps(uint64_t now, uint64_t before, uint64_t us)
{
    uint64_t bytes = now >= before ? now - before : now;
    uint64_t kbps = us == 0 ? 0 : bytes / us * 8000 + bytes % us * 8000 / us;

    return kbps < UINT32_MAX ? (uint32_t)kbps : UINT32_MAX;
}

void backhaul_measure(struct backhaul *now, const struct backhaul *before, uint64_t us)
{
    now->out.kbps = rate_kbps(now->out.bytes, before->out.bytes, us);
    now->in.kbps = rate_kbps(now->in.bytes, before->in.bytes, us);
    for (int i = 0; i < BACKHAUL_N_CLASSES; i++)
        now->queues[i].kbps = rate_kbps(now->queues[i].bytes, before->queues[i].bytes, us);
}

uint32_t backhaul_use_permille(const struct backhaul *b)
{
    uint64_t kbps = b->out.kbps > b->in.kbps ? b->out.kbps : b->in.kbps;
    uint64_t permille = b->capacity_kbps == 0 ? 0 : kbps * 1000 / b->capacity_kbps;

    return permille < 1000 ? (uint32_t)permille : 1000;
}

static void write_way(const struct backhaul_way *way, struct writer *w)
{
    write_u64(w, way->bytes);
    write_u64(w, way->packets);
    write_u64(w, way->drops);
    write_u32(w, way->kbps);
}

static void read_way(struct reader *r, struct backhaul_way *ret)
{
    ret->bytes = read_u64(r);
    ret->packets = read_u64(r);
    ret->drops = read_u64(r);
    ret->kbps = read_u32(r);
}

void backhaul_encode(const struct backhaul *b, struct writer *w)
{
    write_u32(w, b->capacity_kbps);
    write_way(&b->out, w);
    write_way(&b->in, w);
    write_bool(w, b->has_queues);
    for (int i = 0; b->has_queues && i < BACKHAUL_N_CLASSES; i++) {
        write_u64(w, b->queues[i].bytes);
        write_u64(w, b->queues[i].packets);
        write_u64(w, b->queues[i].drops);
        write_u32(w, b->queues[i].backlog_bytes);
        write_u32(w, b->queues[i].kbps);
    }
    write_u32(w, b->streams.n);
    write_u32(w, b->streams.allowed_kbps);
    write_u32(w, b->streams.delay_us);
    write_bool(w, b->streams.is_held);
}

void backhaul_decode(struct reader *r, struct backhaul *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->capacity_kbps = read_u32(r);
    read_way(r, &ret->out);
    read_way(r, &ret->in);
    ret->has_queues = read_bool(r);
    for (int i = 0; ret->has_queues && i < BACKHAUL_N_CLASSES; i++) {
        ret->queues[i].bytes = read_u64(r);
        ret->queues[i].packets = read_u64(r);
        ret->queues[i].drops = read_u64(r);
        ret->queues[i].backlog_bytes = read_u32(r);
        ret->queues[i].kbps = read_u32(r);
    }
    ret->streams.n = read_u32(r);
    ret->streams.allowed_kbps = read_u32(r);
    ret->streams.delay_us = read_u32(r);
    ret->streams.is_held = read_bool(r);
}

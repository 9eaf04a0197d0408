/* qos_tc: see the header. One `tc -batch` makes everything. */
#include "netfabric/qos_tc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "netfabric/run_posix.h"

enum {
    UPLINK_PERMILLE = 960, /* of the backhaul rate: what we send at most */
    BATCH_SIZE = 4096,
    FRAME_SIZE = 1614,
    MIN_QUEUE_SIZE = 8 * FRAME_SIZE,
    MIN_BURST_SIZE = 16 * 1024,
    BURST_US = 250,
};

struct uplink_class {
    unsigned id;
    unsigned priority;
    unsigned percent;  /* of the rate is its own; the rest is lent by priority */
    unsigned queue_ms; /* length of a full queue, at the whole rate */
};

static const struct uplink_class classes[] = {
    {10, 0, 50, 50},
    {20, 1, 30, 50},
    {30, 2, 15, 30},
    {40, 3, 5, 20},
};

struct batch {
    char text[BATCH_SIZE];
    size_t size;
    const char *interface;
};

static void add(struct batch *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Every "@" of the format stands for the interface. */
static void add(struct batch *b, const char *format, ...)
{
    char line[256], *at;
    va_list ap;

    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    at = strchr(line, '@');
    b->size += (size_t)snprintf(b->text + b->size, sizeof(b->text) - b->size, "%.*s%s%s\n",
                                (int)(at - line), line, b->interface, at + 1);
}

/* Bytes that may leave at once. A fast link that waited for a timer after each few packets would be
 * a slow one: HTB then needs more of them than a processor serves. */
static uint32_t burst_of(uint32_t rate_kbps)
{
    uint64_t burst = (uint64_t)rate_kbps * BURST_US / 8000;

    return burst < MIN_BURST_SIZE ? MIN_BURST_SIZE : (uint32_t)burst;
}

static void add_class(struct batch *b, const struct uplink_class *c, uint32_t rate_kbps)
{
    uint64_t own_kbps = (uint64_t)rate_kbps * c->percent / 100;
    uint64_t queue = (uint64_t)rate_kbps * c->queue_ms / 8;
    uint32_t burst = burst_of(rate_kbps) / 2;

    add(b,
        "class replace dev @ parent 1:1 classid 1:%u htb prio %u rate %llukbit ceil %ukbit "
        "burst %u cburst %u quantum 3300",
        c->id, c->priority, (unsigned long long)(own_kbps == 0 ? 1 : own_kbps), rate_kbps, burst,
        burst);
    add(b, "qdisc replace dev @ parent 1:%u handle %u: bfifo limit %llu", c->id, c->id,
        (unsigned long long)(queue < MIN_QUEUE_SIZE ? MIN_QUEUE_SIZE : queue));
}

static void add_filters(struct batch *b)
{
    static const struct {
        unsigned tos, class;
    } marks[] = {{QOS_DSCP_CONTROL, 10}, {QOS_DSCP_SLICES, 20}, {QOS_DSCP_BULK, 40}};

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        add(b,
            "filter add dev @ parent 1: prio 1 protocol ip u32 match ip dsfield 0x%x 0xfc flowid "
            "1:%u",
            marks[i].tos, marks[i].class);
    add(b,
        "filter add dev @ parent 1: prio 2 protocol ip u32 match ip protocol 17 0xff "
        "match ip dport %u 0xffff flowid 1:20",
        PORT_VXLAN);
    add(b, "filter add dev @ parent 1: prio 3 protocol arp u32 match u32 0 0 flowid 1:10");
}

int qos_setup_uplink(const char *interface, uint32_t rate_kbps, struct err *err)
{
    const char *const show[] = {"tc", "qdisc", "show", "dev", interface, "root", NULL};
    const char *const apply[] = {"tc", "-batch", "-", NULL};
    struct batch b = {.interface = interface};
    uint32_t rate = (uint32_t)((uint64_t)rate_kbps * UPLINK_PERMILLE / 1000);
    char text[512];
    int code = run_program(show, NULL, text, sizeof(text), err);

    if (code < 0)
        return code;
    if (strstr(text, "qdisc htb 1: root") == NULL)
        add(&b, "qdisc replace dev @ root handle 1: htb default 0x30");
    else
        add(&b, "filter del dev @ parent 1:");
    add(&b,
        "class replace dev @ parent 1: classid 1:1 htb rate %ukbit ceil %ukbit burst %u cburst %u "
        "quantum 3300",
        rate, rate, burst_of(rate), burst_of(rate));
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        add_class(&b, &classes[i], rate);
    add_filters(&b);
    code = run_program(apply, b.text, NULL, 0, err);
    return code < 0 ? err_prefix(err, "queues of %s", interface) : 0;
}

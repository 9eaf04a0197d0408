/* flows_wire: see the header. */
#include "netfabric/flows_wire.h"

#include <string.h>

enum {
    FLOW_ADD = 0,
    FLOW_DELETE = 3,
    FLOW_DELETE_STRICT = 4,
    ALL_TABLES = 0xff,
    METER_ADD = 0,
    METER_MODIFY = 1,
    METER_FLAGS = 1 | 4 | 8, /* kbit/s, with a burst, with statistics */
    METER_BAND_DROP = 1,
    BUNDLE_FLAGS = 1 | 2, /* atomic, ordered */
    INSTRUCTION_GOTO = 1,
    INSTRUCTION_METADATA = 2,
    INSTRUCTION_APPLY = 4,
    INSTRUCTION_METER = 6,
    ACTION_OUTPUT = 0,
    ACTION_SET_FIELD = 25,
    ACTION_EXPERIMENTER = 0xffff,
    NICIRA = 0x2320,
    NICIRA_REG_MOVE = 6,
    MIN_BURST_KBIT = 120, /* ten full frames */
};
#define NOTHING      0xffffffffu /* no buffer, any port, any group */
#define PORT_IN_PORT 0xfffffff8u

/* Fields: class, number, size (OXM; of tunnels' addresses Nicira's own class). */
#define OXM(number, size) (0x80000000u | (number) << 9 | (size))
#define NXM(number, size) (0x00010000u | (number) << 9 | (size))
enum oxm {
    OXM_IN_PORT = (int)OXM(0, 4),
    OXM_METADATA = (int)OXM(2, 8),
    OXM_ETH_DST = (int)OXM(3, 6),
    OXM_ETH_SRC = (int)OXM(4, 6),
    OXM_ETH_TYPE = (int)OXM(5, 2),
    OXM_IP_SRC = (int)OXM(11, 4),
    OXM_IP_DST = (int)OXM(12, 4),
    OXM_ARP_OP = (int)OXM(21, 2),
    OXM_ARP_SPA = (int)OXM(22, 4),
    OXM_ARP_TPA = (int)OXM(23, 4),
    OXM_ARP_SHA = (int)OXM(24, 6),
    OXM_ARP_THA = (int)OXM(25, 6),
    OXM_TUN_ID = (int)OXM(38, 8),
    NXM_TUN_SRC = (int)NXM(31, 4),
    NXM_TUN_DST = (int)NXM(32, 4),
};

static void put16(struct writer *w, unsigned v)
{
    write_u8(w, (uint8_t)(v >> 8));
    write_u8(w, (uint8_t)v);
}

static void put32(struct writer *w, uint32_t v)
{
    put16(w, v >> 16);
    put16(w, v & 0xffff);
}

static void put64(struct writer *w, uint64_t v)
{
    put32(w, (uint32_t)(v >> 32));
    put32(w, (uint32_t)v);
}

static void put_zeroes(struct writer *w, size_t n)
{
    while (n-- > 0)
        write_u8(w, 0);
}

static void pad_from(struct writer *w, size_t start)
{
    put_zeroes(w, (8 - (w->size - start) % 8) % 8);
}

/* The size of what began at `start`, into the two bytes at start + at. */
static void set_size(struct writer *w, size_t start, size_t at)
{
    if (w->failed)
        return;
    w->data[start + at] = (uint8_t)((w->size - start) >> 8);
    w->data[start + at + 1] = (uint8_t)(w->size - start);
}

static size_t begin(struct writer *w, enum openflow_type type, uint32_t xid)
{
    size_t start = w->size;

    write_u8(w, OPENFLOW_VERSION);
    write_u8(w, (uint8_t)type);
    put16(w, 0);
    put32(w, xid);
    return start;
}

static void end(struct writer *w, size_t start)
{
    set_size(w, start, 2);
}

void openflow_header_read(const uint8_t bytes[OPENFLOW_HEADER_SIZE], struct openflow_header *ret)
{
    *ret = (struct openflow_header){.version = bytes[0],
                                    .type = bytes[1],
                                    .size = (uint16_t)(bytes[2] << 8 | bytes[3]),
                                    .xid = (uint32_t)bytes[4] << 24 | (uint32_t)bytes[5] << 16 |
                                           (uint32_t)bytes[6] << 8 | bytes[7]};
}

void openflow_plain_write(struct writer *w, enum openflow_type type, uint32_t xid)
{
    end(w, begin(w, type, xid));
}

void openflow_meter_write(struct writer *w, const struct meter *meter, bool is_new, uint32_t xid)
{
    size_t start = begin(w, OPENFLOW_METER_MOD, xid);
    uint32_t burst =
        meter->rate_kbps / 4; /* 250 ms: TCP has nearly all of the rate (100 ms: half) */

    put16(w, is_new ? METER_ADD : METER_MODIFY);
    put16(w, METER_FLAGS);
    put32(w, meter->vni);
    put16(w, METER_BAND_DROP);
    put16(w, 16);
    put32(w, meter->rate_kbps);
    put32(w, burst < MIN_BURST_KBIT ? (uint32_t)MIN_BURST_KBIT : burst);
    put_zeroes(w, 4);
    end(w, start);
}

void openflow_bundle_write(struct writer *w, enum openflow_bundle_step step, uint32_t bundle,
                           uint32_t xid)
{
    size_t start = begin(w, OPENFLOW_BUNDLE_CONTROL, xid);

    put32(w, bundle);
    put16(w, step);
    put16(w, BUNDLE_FLAGS);
    end(w, start);
}

/* ---- matches */

static void put_field(struct writer *w, enum oxm field, uint64_t value)
{
    unsigned size = (unsigned)field & 0xff;

    put32(w, (uint32_t)field);
    while (size-- > 0)
        write_u8(w, (uint8_t)(value >> (8 * size)));
}

static uint64_t mac_value(const uint8_t mac[MAC_SIZE])
{
    uint64_t value = 0;

    for (int i = 0; i < MAC_SIZE; i++)
        value = value << 8 | mac[i];
    return value;
}

/* What a field needs to be there comes before it: the type of the packet before its addresses. */
static void put_fields(struct writer *w, const struct rule *r)
{
    const struct {
        enum rule_field field;
        enum oxm oxm;
        uint64_t value;
    } rows[] = {
        {RULE_IN_PORT, OXM_IN_PORT, r->in_port},
        {RULE_METADATA, OXM_METADATA, r->metadata},
        {RULE_ETH_DST, OXM_ETH_DST, mac_value(r->eth_dst)},
        {RULE_ETH_SRC, OXM_ETH_SRC, mac_value(r->eth_src)},
        {RULE_ARP, OXM_ETH_TYPE, 0x0806},
        {RULE_IP, OXM_ETH_TYPE, 0x0800},
        {RULE_IP_SRC, OXM_IP_SRC, r->ip_src},
        {RULE_IP_DST, OXM_IP_DST, r->ip_dst},
        {RULE_ARP_OP, OXM_ARP_OP, r->arp_op},
        {RULE_ARP_SPA, OXM_ARP_SPA, r->arp_spa},
        {RULE_ARP_TPA, OXM_ARP_TPA, r->arp_tpa},
        {RULE_ARP_SHA, OXM_ARP_SHA, mac_value(r->arp_sha)},
        {RULE_TUN_ID, OXM_TUN_ID, r->tun_id},
        {RULE_TUN_SRC, NXM_TUN_SRC, r->tun_src},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((r->fields & rows[i].field) != 0)
            put_field(w, rows[i].oxm, rows[i].value);
}

static void put_match(struct writer *w, const struct rule *r)
{
    size_t start = w->size;

    put16(w, 1); /* OXM */
    put16(w, 0);
    put_fields(w, r);
    set_size(w, start, 2); /* without the padding */
    pad_from(w, start);
}

/* ---- instructions and actions */

static void put_set_field(struct writer *w, enum oxm field, uint64_t value)
{
    size_t start = w->size;

    put16(w, ACTION_SET_FIELD);
    put16(w, 0);
    put_field(w, field, value);
    pad_from(w, start);
    set_size(w, start, 2);
}

static void put_move(struct writer *w, enum oxm from, enum oxm to)
{
    put16(w, ACTION_EXPERIMENTER);
    put16(w, 24);
    put32(w, NICIRA);
    put16(w, NICIRA_REG_MOVE);
    put16(w, ((unsigned)from & 0xff) * 8); /* bits */
    put32(w, 0);                           /* from the first one on, both */
    put32(w, (uint32_t)from);
    put32(w, (uint32_t)to);
}

static void put_output(struct writer *w, uint32_t port)
{
    put16(w, ACTION_OUTPUT);
    put16(w, 16);
    put32(w, port);
    put_zeroes(w, 8);
}

static size_t begin_apply(struct writer *w)
{
    size_t start = w->size;

    put16(w, INSTRUCTION_APPLY);
    put16(w, 0);
    put32(w, 0);
    return start;
}

static void put_goto(struct writer *w, const struct rule *r)
{
    put16(w, INSTRUCTION_METADATA);
    put16(w, 24);
    put32(w, 0);
    put64(w, r->vni);
    put64(w, UINT64_MAX);
    put16(w, INSTRUCTION_GOTO);
    put16(w, 8);
    write_u8(w, r->next);
    put_zeroes(w, 3);
}

static void put_delivery(struct writer *w, const struct rule *r)
{
    size_t start;

    if (r->is_metered) {
        put16(w, INSTRUCTION_METER);
        put16(w, 8);
        put32(w, r->vni);
    }
    start = begin_apply(w);
    if (r->tun_dst != 0) {
        put_set_field(w, NXM_TUN_DST, r->tun_dst);
        put_set_field(w, OXM_TUN_ID, r->vni);
    }
    put_output(w, r->port != 0 ? r->port : PORT_IN_PORT);
    set_size(w, start, 2);
}

static void put_arp_answer(struct writer *w, const struct rule *r)
{
    size_t start = begin_apply(w);

    put_move(w, OXM_ETH_SRC, OXM_ETH_DST);
    put_set_field(w, OXM_ETH_SRC, mac_value(r->mac));
    put_set_field(w, OXM_ARP_OP, 2);
    put_move(w, OXM_ARP_SHA, OXM_ARP_THA);
    put_set_field(w, OXM_ARP_SHA, mac_value(r->mac));
    put_move(w, OXM_ARP_SPA, OXM_ARP_TPA);
    put_set_field(w, OXM_ARP_SPA, r->ip);
    put_output(w, PORT_IN_PORT);
    set_size(w, start, 2);
}

static void put_verdict(struct writer *w, const struct rule *r)
{
    switch (r->verdict) {
    case RULE_DROP:
        break; /* nothing to do: nothing is done */
    case RULE_GOTO:
        put_goto(w, r);
        break;
    case RULE_OUTPUT:
        put_delivery(w, r);
        break;
    case RULE_ARP_ANSWER:
        put_arp_answer(w, r);
        break;
    }
}

/* ---- flow-mods, each within a message that adds it to the bundle */

static void put_flow_mod(struct writer *w, int command, uint8_t table, const struct rule *r,
                         uint32_t xid)
{
    size_t start = begin(w, OPENFLOW_FLOW_MOD, xid);

    put64(w, 0); /* cookie */
    put64(w, 0);
    write_u8(w, table);
    write_u8(w, (uint8_t)command);
    put32(w, 0); /* no time-outs */
    put16(w, r->priority);
    put32(w, NOTHING);
    put32(w, NOTHING);
    put32(w, NOTHING);
    put32(w, 0); /* flags, importance */
    put_match(w, r);
    if (command == FLOW_ADD)
        put_verdict(w, r);
    end(w, start);
}

static size_t begin_bundled(struct writer *w, uint32_t bundle, uint32_t xid)
{
    size_t start = begin(w, OPENFLOW_BUNDLE_ADD, xid);

    put32(w, bundle);
    put16(w, 0);
    put16(w, BUNDLE_FLAGS);
    return start;
}

void openflow_change_write(struct writer *w, const struct rule_change *change, uint32_t bundle,
                           uint32_t xid)
{
    size_t start = begin_bundled(w, bundle, xid);

    put_flow_mod(w, change->is_removal ? FLOW_DELETE_STRICT : FLOW_ADD, change->rule->table,
                 change->rule, xid);
    end(w, start);
}

void openflow_clear_write(struct writer *w, uint32_t bundle, uint32_t xid)
{
    static const struct rule any = {0};
    size_t start = begin_bundled(w, bundle, xid);

    put_flow_mod(w, FLOW_DELETE, ALL_TABLES, &any, xid);
    end(w, start);
}

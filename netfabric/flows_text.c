/* flows_text: the rules of a view as lines that ovs-ofctl takes (pure); see flows.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "netfabric/flows.h"

enum { TEXT_MAX_SIZE = 16 * 1024 * 1024, LINE_SIZE = 512 };

static void put(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct writer *w, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    write_bytes(w, line, (size_t)n);
}

static void put_number(struct writer *w, const struct rule *r, enum rule_field field,
                       const char *name, uint32_t value)
{
    if ((r->fields & field) != 0)
        put(w, ",%s=%u", name, value);
}

static void put_ip(struct writer *w, const struct rule *r, enum rule_field field, const char *name,
                   uint32_t ip)
{
    char text[IPV4_TEXT_SIZE];

    if ((r->fields & field) != 0)
        put(w, ",%s=%s", name, ipv4_format(ip, text));
}

static void put_mac(struct writer *w, const struct rule *r, enum rule_field field, const char *name,
                    const uint8_t mac[MAC_SIZE])
{
    char text[MAC_TEXT_SIZE];

    if ((r->fields & field) != 0)
        put(w, ",%s=%s", name, mac_format(mac, text));
}

static void put_match(struct writer *w, const struct rule *r)
{
    put(w, "table=%u,priority=%u", r->table, r->priority);
    put_number(w, r, RULE_METADATA, "metadata", r->metadata);
    put_number(w, r, RULE_IN_PORT, "in_port", r->in_port);
    put_number(w, r, RULE_TUN_ID, "tun_id", r->tun_id);
    put_ip(w, r, RULE_TUN_SRC, "tun_src", r->tun_src);
    put_mac(w, r, RULE_ETH_SRC, "dl_src", r->eth_src);
    put_mac(w, r, RULE_ETH_DST, "dl_dst", r->eth_dst);
    if ((r->fields & RULE_ARP) != 0)
        put(w, ",arp");
    if ((r->fields & RULE_IP) != 0)
        put(w, ",ip");
    put_ip(w, r, RULE_IP_SRC, "nw_src", r->ip_src);
    put_ip(w, r, RULE_IP_DST, "nw_dst", r->ip_dst);
    put_number(w, r, RULE_ARP_OP, "arp_op", r->arp_op);
    put_mac(w, r, RULE_ARP_SHA, "arp_sha", r->arp_sha);
    put_ip(w, r, RULE_ARP_SPA, "arp_spa", r->arp_spa);
    put_ip(w, r, RULE_ARP_TPA, "arp_tpa", r->arp_tpa);
}

static void put_output(struct writer *w, const struct rule *r)
{
    char ip[IPV4_TEXT_SIZE];

    if (r->is_metered)
        put(w, "meter:%u,", r->vni);
    if (r->tun_dst != 0)
        put(w, "set_field:%s->tun_dst,set_field:%u->tun_id,", ipv4_format(r->tun_dst, ip), r->vni);
    if (r->port != 0)
        put(w, "output:%u", r->port);
    else
        put(w, "in_port");
}

static void put_arp_answer(struct writer *w, const struct rule *r)
{
    char mac[MAC_TEXT_SIZE], ip[IPV4_TEXT_SIZE];

    mac_format(r->mac, mac);
    put(w,
        "move:eth_src[]->eth_dst[],set_field:%s->eth_src,set_field:2->arp_op,"
        "move:arp_sha[]->arp_tha[],set_field:%s->arp_sha,move:arp_spa[]->arp_tpa[],"
        "set_field:%s->arp_spa,in_port",
        mac, mac, ipv4_format(r->ip, ip));
}

static void put_verdict(struct writer *w, const struct rule *r)
{
    put(w, ",actions=");
    switch (r->verdict) {
    case RULE_DROP:
        put(w, "drop");
        break;
    case RULE_GOTO:
        put(w, "write_metadata:%u,goto_table:%u", r->vni, r->next);
        break;
    case RULE_OUTPUT:
        put_output(w, r);
        break;
    case RULE_ARP_ANSWER:
        put_arp_answer(w, r);
        break;
    }
    put(w, "\n");
}

char *flows_render(const struct fabric_view *view)
{
    struct rules rules = {0};
    struct writer w;
    size_t size;

    if (flows_of(view, &rules) < 0)
        return NULL;
    writer_init_growing(&w, TEXT_MAX_SIZE);
    for (size_t i = 0; i < rules.n; i++) {
        put_match(&w, &rules.list[i]);
        put_verdict(&w, &rules.list[i]);
    }
    rules_deinit(&rules);
    write_u8(&w, '\0');
    return (char *)writer_steal(&w, &size);
}

/* flows: writes a node's view of the fabric as the rules of br-int (pure).
 *
 * br-int is secure: what no rule names is dropped.
 *
 *   table 0   classify and check. A guest's port: source MAC and address bound to it, ARP's too.
 * The tunnel: a known VNI, and the source address only from the VTEP that owns it (from both, while
 * it migrates). The slice goes on in `metadata`, so that slices with the same addresses never meet.
 *   table 10  ARP of guests, answered here for every guest of the slice; nothing else of it passes.
 *   table 20  unicast from guests: to a local port, or to the owner's VTEP.
 *   table 30  unicast from the tunnel: to a local port; never back into the tunnel, but for a guest
 *             whose migration away is committed: its stragglers follow it.
 *
 * Nothing floods. Broadcast and multicast, also within the slice, are not carried in this version.
 *
 * No loop of stragglers: only the old node of a committed migration sends them on, and the node
 * that they go to has had a port for the guest since before the commit, so it delivers them.
 */
#include "netfabric/flows.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

enum { FLOWS_MAX_SIZE = 16 * 1024 * 1024, FLOW_LINE_SIZE = 512 };

/* An endpoint's values as the text that rules are made of. */
struct words {
    const struct endpoint *e;
    char mac[MAC_TEXT_SIZE];
    char ip[IPV4_TEXT_SIZE];
    char vtep[IPV4_TEXT_SIZE];
};

static struct words words_of(const struct endpoint *e)
{
    struct words t = {.e = e};
    uint8_t mac[MAC_SIZE];

    mac_of_guest(e->ip, mac);
    mac_format(mac, t.mac);
    ipv4_format(e->ip, t.ip);
    ipv4_format(e->vtep, t.vtep);
    return t;
}

static void put(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct writer *w, const char *format, ...)
{
    char line[FLOW_LINE_SIZE];
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    write_bytes(w, line, (size_t)n);
}

/* Table 0 for a guest that lives here. */
static void put_port_checks(struct writer *w, const struct words *t)
{
    put(w,
        "table=0,priority=100,in_port=%u,dl_src=%s,arp,arp_sha=%s,arp_spa=%s,"
        "actions=write_metadata:%u,goto_table:10\n",
        t->e->port, t->mac, t->mac, t->ip, t->e->vni);
    put(w,
        "table=0,priority=100,in_port=%u,dl_src=%s,ip,nw_src=%s,"
        "actions=write_metadata:%u,goto_table:20\n",
        t->e->port, t->mac, t->ip, t->e->vni);
}

/* Table 0 for what comes from `vtep` with the guest's source address. */
static void put_tunnel_check(struct writer *w, const struct words *t, uint32_t vtep)
{
    char from[IPV4_TEXT_SIZE];

    put(w,
        "table=0,priority=100,in_port=%u,tun_id=%u,tun_src=%s,dl_src=%s,ip,nw_src=%s,"
        "actions=write_metadata:%u,goto_table:30\n",
        FABRIC_TUNNEL_PORT, t->e->vni, ipv4_format(vtep, from), t->mac, t->ip, t->e->vni);
}

/* Table 0 for stragglers that the old node sends after a guest: it has checked their source. */
static void put_straggler_check(struct writer *w, const struct words *t, uint32_t vtep)
{
    char from[IPV4_TEXT_SIZE];

    put(w,
        "table=0,priority=90,in_port=%u,tun_id=%u,tun_src=%s,dl_dst=%s,ip,nw_dst=%s,"
        "actions=write_metadata:%u,goto_table:30\n",
        FABRIC_TUNNEL_PORT, t->e->vni, ipv4_format(vtep, from), t->mac, t->ip, t->e->vni);
}

static void put_checks(struct writer *w, const struct fabric_view *view, const struct words *t)
{
    const struct endpoint *e = t->e;
    const uint32_t sources[] = {e->vtep, e->other_vtep};

    if (e->is_owner)
        put_port_checks(w, t);
    for (int i = 0; i < 2; i++) {
        if (sources[i] == 0 || sources[i] == view->vtep || (i == 1 && sources[1] == sources[0]))
            continue;
        put_tunnel_check(w, t, sources[i]);
        if (e->port != 0 && !e->has_left)
            put_straggler_check(w, t, sources[i]);
    }
}

/* Table 10: who has this address? A guest that asks for its own gets silence. */
static void put_arp(struct writer *w, const struct words *t)
{
    if (t->e->is_owner)
        put(w, "table=10,priority=110,metadata=%u,in_port=%u,arp,arp_tpa=%s,actions=drop\n",
            t->e->vni, t->e->port, t->ip);
    put(w,
        "table=10,priority=100,metadata=%u,arp,arp_op=1,arp_tpa=%s,"
        "actions=move:eth_src[]->eth_dst[],set_field:%s->eth_src,set_field:2->arp_op,"
        "move:arp_sha[]->arp_tha[],set_field:%s->arp_sha,move:arp_spa[]->arp_tpa[],"
        "set_field:%s->arp_spa,in_port\n",
        t->e->vni, t->ip, t->mac, t->mac, t->ip);
}

/* Tables 20 and 30. */
static void put_delivery(struct writer *w, const struct fabric_view *view, const struct words *t)
{
    const struct endpoint *e = t->e;
    bool is_remote = e->vtep != 0 && e->vtep != view->vtep;
    char meter[32] = "";

    if (e->rate_kbps != 0)
        snprintf(meter, sizeof(meter), "meter:%u,", e->vni);
    if (e->is_owner)
        put(w, "table=20,priority=100,metadata=%u,dl_dst=%s,actions=output:%u\n", e->vni, t->mac,
            e->port);
    else if (is_remote)
        put(w,
            "table=20,priority=100,metadata=%u,dl_dst=%s,"
            "actions=%sset_field:%s->tun_dst,set_field:%u->tun_id,output:%u\n",
            e->vni, t->mac, meter, t->vtep, e->vni, FABRIC_TUNNEL_PORT);
    if (e->has_left && is_remote)
        put(w,
            "table=30,priority=100,metadata=%u,dl_dst=%s,"
            "actions=set_field:%s->tun_dst,set_field:%u->tun_id,in_port\n",
            e->vni, t->mac, t->vtep, e->vni);
    else if (e->port != 0 && !e->has_left)
        put(w, "table=30,priority=100,metadata=%u,dl_dst=%s,actions=output:%u\n", e->vni, t->mac,
            e->port);
}

char *flows_render(const struct fabric_view *view)
{
    struct writer w;
    size_t size;

    writer_init_growing(&w, FLOWS_MAX_SIZE);
    put(&w, "table=0,priority=0,actions=drop\n");
    for (uint32_t i = 0; i < view->n_endpoints; i++) {
        struct words t = words_of(&view->endpoints[i]);

        put_checks(&w, view, &t);
        put_arp(&w, &t);
        put_delivery(&w, view, &t);
    }
    write_u8(&w, '\0');
    return (char *)writer_steal(&w, &size);
}

static int compare_meters(const void *a, const void *b)
{
    const struct meter *x = a, *y = b;

    return x->vni < y->vni ? -1 : x->vni > y->vni;
}

int meters_of(const struct fabric_view *view, struct meter **ret, uint32_t *ret_n)
{
    struct meter *meters = calloc(view->n_endpoints + 1, sizeof(*meters));
    uint32_t n = 0, n_kept = 0;

    if (meters == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < view->n_endpoints; i++)
        if (view->endpoints[i].rate_kbps != 0)
            meters[n++] = (struct meter){view->endpoints[i].vni, view->endpoints[i].rate_kbps};
    qsort(meters, n, sizeof(*meters), compare_meters);
    for (uint32_t i = 0; i < n; i++)
        if (n_kept == 0 || meters[n_kept - 1].vni != meters[i].vni)
            meters[n_kept++] = meters[i];
    *ret = meters;
    *ret_n = n_kept;
    return 0;
}

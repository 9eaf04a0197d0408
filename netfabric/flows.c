/* flows: makes the rules of br-int out of a node's view of the fabric (pure).
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
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

enum { MAX_RULES_OF_ENDPOINT = 10 };

static struct rule *put(struct rules *rules, uint8_t table, uint16_t priority, uint16_t fields)
{
    struct rule *rule = &rules->list[rules->n++];

    *rule = (struct rule){.table = table, .priority = priority, .fields = fields};
    return rule;
}

static void go_on(struct rule *rule, uint8_t next, uint32_t vni)
{
    rule->verdict = RULE_GOTO;
    rule->next = next;
    rule->vni = vni;
}

/* Table 0 for a guest that lives here. */
static void put_port_checks(struct rules *rules, const struct endpoint *e)
{
    struct rule *rule =
        put(rules, 0, 100, RULE_IN_PORT | RULE_ETH_SRC | RULE_ARP | RULE_ARP_SHA | RULE_ARP_SPA);

    rule->in_port = e->port;
    mac_of_guest(e->ip, rule->eth_src);
    mac_of_guest(e->ip, rule->arp_sha);
    rule->arp_spa = e->ip;
    go_on(rule, 10, e->vni);
    rule = put(rules, 0, 100, RULE_IN_PORT | RULE_ETH_SRC | RULE_IP | RULE_IP_SRC);
    rule->in_port = e->port;
    mac_of_guest(e->ip, rule->eth_src);
    rule->ip_src = e->ip;
    go_on(rule, 20, e->vni);
}

/* Table 0 for what comes from `vtep` with the guest's source address. */
static void put_tunnel_check(struct rules *rules, const struct endpoint *e, uint32_t vtep)
{
    struct rule *rule =
        put(rules, 0, 100,
            RULE_IN_PORT | RULE_TUN_ID | RULE_TUN_SRC | RULE_ETH_SRC | RULE_IP | RULE_IP_SRC);

    rule->in_port = FABRIC_TUNNEL_PORT;
    rule->tun_id = e->vni;
    rule->tun_src = vtep;
    mac_of_guest(e->ip, rule->eth_src);
    rule->ip_src = e->ip;
    go_on(rule, 30, e->vni);
}

/* Table 0 for stragglers that the old node sends after a guest: it has checked their source. */
static void put_straggler_check(struct rules *rules, const struct endpoint *e, uint32_t vtep)
{
    struct rule *rule =
        put(rules, 0, 90,
            RULE_IN_PORT | RULE_TUN_ID | RULE_TUN_SRC | RULE_ETH_DST | RULE_IP | RULE_IP_DST);

    rule->in_port = FABRIC_TUNNEL_PORT;
    rule->tun_id = e->vni;
    rule->tun_src = vtep;
    mac_of_guest(e->ip, rule->eth_dst);
    rule->ip_dst = e->ip;
    go_on(rule, 30, e->vni);
}

static void put_checks(struct rules *rules, const struct fabric_view *view,
                       const struct endpoint *e)
{
    const uint32_t sources[] = {e->vtep, e->other_vtep};

    if (e->is_owner)
        put_port_checks(rules, e);
    for (int i = 0; i < 2; i++) {
        if (sources[i] == 0 || sources[i] == view->vtep || (i == 1 && sources[1] == sources[0]))
            continue;
        put_tunnel_check(rules, e, sources[i]);
        if (e->port != 0 && !e->has_left)
            put_straggler_check(rules, e, sources[i]);
    }
}

/* Table 10: who has this address? A guest that asks for its own gets silence. */
static void put_arp(struct rules *rules, const struct endpoint *e)
{
    struct rule *rule;

    if (e->is_owner) {
        rule = put(rules, 10, 110, RULE_METADATA | RULE_IN_PORT | RULE_ARP | RULE_ARP_TPA);
        rule->metadata = e->vni;
        rule->in_port = e->port;
        rule->arp_tpa = e->ip;
        rule->verdict = RULE_DROP;
    }
    rule = put(rules, 10, 100, RULE_METADATA | RULE_ARP | RULE_ARP_OP | RULE_ARP_TPA);
    rule->metadata = e->vni;
    rule->arp_op = 1;
    rule->arp_tpa = e->ip;
    rule->verdict = RULE_ARP_ANSWER;
    rule->ip = e->ip;
    mac_of_guest(e->ip, rule->mac);
}

static struct rule *put_output(struct rules *rules, uint8_t table, const struct endpoint *e)
{
    struct rule *rule = put(rules, table, 100, RULE_METADATA | RULE_ETH_DST);

    rule->metadata = e->vni;
    mac_of_guest(e->ip, rule->eth_dst);
    rule->verdict = RULE_OUTPUT;
    return rule;
}

static void into_tunnel(struct rule *rule, const struct endpoint *e, uint16_t port)
{
    rule->vni = e->vni;
    rule->tun_dst = e->vtep;
    rule->port = port;
}

/* Tables 20 and 30. */
static void put_delivery(struct rules *rules, const struct fabric_view *view,
                         const struct endpoint *e)
{
    bool is_remote = e->vtep != 0 && e->vtep != view->vtep;
    struct rule *rule;

    if (e->is_owner) {
        put_output(rules, 20, e)->port = e->port;
    } else if (is_remote) {
        rule = put_output(rules, 20, e);
        into_tunnel(rule, e, FABRIC_TUNNEL_PORT);
        rule->is_metered = e->rate_kbps != 0;
    }
    if (e->has_left && is_remote)
        into_tunnel(put_output(rules, 30, e), e, 0);
    else if (e->port != 0 && !e->has_left)
        put_output(rules, 30, e)->port = e->port;
}

int flows_of(const struct fabric_view *view, struct rules *ret)
{
    struct rules rules = {
        .list = calloc((size_t)view->n_endpoints * MAX_RULES_OF_ENDPOINT + 1, sizeof(struct rule))};

    if (rules.list == NULL)
        return -ENOMEM;
    put(&rules, 0, 0, 0)->verdict = RULE_DROP;
    for (uint32_t i = 0; i < view->n_endpoints; i++) {
        put_checks(&rules, view, &view->endpoints[i]);
        put_arp(&rules, &view->endpoints[i]);
        put_delivery(&rules, view, &view->endpoints[i]);
    }
    *ret = rules;
    return 0;
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

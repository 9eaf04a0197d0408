/* rule: order and difference of rules; see the header. */
#include "netfabric/rule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int rule_compare(const struct rule *a, const struct rule *b)
{
    const uint64_t pairs[][2] = {
        {a->table, b->table},       {a->priority, b->priority}, {a->fields, b->fields},
        {a->metadata, b->metadata}, {a->in_port, b->in_port},   {a->tun_id, b->tun_id},
        {a->tun_src, b->tun_src},   {a->ip_src, b->ip_src},     {a->ip_dst, b->ip_dst},
        {a->arp_op, b->arp_op},     {a->arp_spa, b->arp_spa},   {a->arp_tpa, b->arp_tpa},
    };
    int sign = 0;

    for (size_t i = 0; sign == 0 && i < sizeof(pairs) / sizeof(pairs[0]); i++)
        sign = order(pairs[i][0], pairs[i][1]);
    if (sign == 0)
        sign = memcmp(a->eth_src, b->eth_src, MAC_SIZE);
    if (sign == 0)
        sign = memcmp(a->eth_dst, b->eth_dst, MAC_SIZE);
    return sign != 0 ? sign : memcmp(a->arp_sha, b->arp_sha, MAC_SIZE);
}

bool rule_verdict_is_same(const struct rule *a, const struct rule *b)
{
    return a->verdict == b->verdict && a->next == b->next && a->vni == b->vni &&
           a->is_metered == b->is_metered && a->tun_dst == b->tun_dst && a->port == b->port &&
           a->ip == b->ip && memcmp(a->mac, b->mac, MAC_SIZE) == 0;
}

void rules_deinit(struct rules *rules)
{
    free(rules->list);
    *rules = (struct rules){0};
}

/* Equal rules stay in the order in which they stood: that of their addresses, which qsort keeps by
 * sorting pointers. */
static int compare_pointers(const void *a, const void *b)
{
    const struct rule *x = *(const struct rule *const *)a, *y = *(const struct rule *const *)b;
    int sign = rule_compare(x, y);

    return sign != 0 ? sign : order((uintptr_t)x, (uintptr_t)y);
}

int rules_sort(struct rules *rules)
{
    const struct rule **at = malloc((rules->n + 1) * sizeof(*at));
    struct rule *sorted = malloc((rules->n + 1) * sizeof(*sorted));
    size_t n = 0;

    if (at == NULL || sorted == NULL) {
        free(at);
        free(sorted);
        return -ENOMEM;
    }
    for (size_t i = 0; i < rules->n; i++)
        at[i] = &rules->list[i];
    qsort(at, rules->n, sizeof(*at), compare_pointers);
    for (size_t i = 0; i < rules->n; i++) {
        if (n > 0 && rule_compare(&sorted[n - 1], at[i]) == 0)
            n--;
        sorted[n++] = *at[i];
    }
    free(at);
    free(rules->list);
    *rules = (struct rules){.n = n, .list = sorted};
    return 0;
}

int rules_difference(const struct rules *present, const struct rules *wanted,
                     struct rule_change **ret, size_t *ret_n)
{
    struct rule_change *changes = calloc(present->n + wanted->n + 1, sizeof(*changes));
    size_t n = 0, p = 0, w = 0;

    if (changes == NULL)
        return -ENOMEM;
    while (p < present->n || w < wanted->n) {
        int sign = p == present->n  ? 1
                   : w == wanted->n ? -1
                                    : rule_compare(&present->list[p], &wanted->list[w]);

        if (sign < 0)
            changes[n++] = (struct rule_change){.is_removal = true, .rule = &present->list[p]};
        else if (sign > 0 || !rule_verdict_is_same(&present->list[p], &wanted->list[w]))
            changes[n++] = (struct rule_change){.rule = &wanted->list[w]};
        p += sign <= 0;
        w += sign >= 0;
    }
    *ret = changes;
    *ret_n = n;
    return 0;
}

/* rule: one rule of br-int as a value (pure). flows.c makes rules out of a view; flows_text.c
 * writes them for people, flows_wire.c for the switch.
 *
 * Rules use few matches and four verdicts, and no others; what a verdict does not use is zero.
 */
#ifndef SKEIN_NETFABRIC_RULE_H
#define SKEIN_NETFABRIC_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/* Fields that a rule matches, as bits of rule.fields, in the order in which they are written. */
enum rule_field {
    RULE_METADATA = 1 << 0,
    RULE_IN_PORT = 1 << 1,
    RULE_TUN_ID = 1 << 2,
    RULE_TUN_SRC = 1 << 3,
    RULE_ETH_SRC = 1 << 4,
    RULE_ETH_DST = 1 << 5,
    RULE_ARP = 1 << 6, /* the packet is ARP */
    RULE_IP = 1 << 7,  /* the packet is IPv4 */
    RULE_IP_SRC = 1 << 8,
    RULE_IP_DST = 1 << 9,
    RULE_ARP_OP = 1 << 10,
    RULE_ARP_SHA = 1 << 11,
    RULE_ARP_SPA = 1 << 12,
    RULE_ARP_TPA = 1 << 13,
};

enum rule_verdict {
    RULE_DROP = 1,
    RULE_GOTO,       /* metadata := vni, go on in table `next` */
    RULE_OUTPUT,     /* through meter `vni` where is_metered; to tun_dst with tunnel id `vni` where
                        tun_dst is set; out of `port` */
    RULE_ARP_ANSWER, /* the request goes back as the answer: `ip` is at `mac` */
};

struct rule {
    uint8_t table;
    uint16_t priority;
    uint16_t fields; /* RULE_… that are matched; the others are zero */
    uint16_t in_port, arp_op;
    uint32_t metadata, tun_id, tun_src, ip_src, ip_dst, arp_spa, arp_tpa;
    uint8_t eth_src[MAC_SIZE], eth_dst[MAC_SIZE], arp_sha[MAC_SIZE];

    enum rule_verdict verdict;
    uint8_t next;     /* GOTO */
    uint32_t vni;     /* GOTO; OUTPUT with is_metered or tun_dst */
    bool is_metered;  /* OUTPUT */
    uint32_t tun_dst; /* OUTPUT; 0 = not into a tunnel */
    uint16_t port;    /* OUTPUT; 0 = where it came from */
    uint32_t ip;      /* ARP_ANSWER */
    uint8_t mac[MAC_SIZE];
};

/* By table, priority and match: 0 = the switch takes both for the same rule. */
int rule_compare(const struct rule *a, const struct rule *b);
bool rule_verdict_is_same(const struct rule *a, const struct rule *b);

/* A set of rules; heap, rules_deinit() frees. */
struct rules {
    size_t n;
    struct rule *list;
};

void rules_deinit(struct rules *rules); /* safe on zeroes and safe twice */
/* Into the order of rule_compare(); of two for the same match the later one is kept, as the switch
 * would. 0; -ENOMEM. */
int rules_sort(struct rules *rules);

struct rule_change {
    bool is_removal; /* else it is added, in the place of one with the same match */
    const struct rule *rule;
};

/* What makes `present` equal to `wanted`, both sorted: removals and additions in the order of the
 * rules; heap, the caller frees; points into both. 0; -ENOMEM. */
int rules_difference(const struct rules *present, const struct rules *wanted,
                     struct rule_change **ret, size_t *ret_n);

#endif

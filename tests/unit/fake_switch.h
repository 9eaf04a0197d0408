/* fake_switch: reads the rules that flows_render() writes and passes packets through them, as the
 * switch would: the matches and actions that those rules use, and no others.
 */
#ifndef SKEIN_TESTS_UNIT_FAKE_SWITCH_H
#define SKEIN_TESTS_UNIT_FAKE_SWITCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netfabric/flows.h"

enum { FAKE_MAX_RULES = 4096, FAKE_MAX_FIELDS = 8, FAKE_MAX_OUTPUTS = 4 };

struct fake_packet {
    unsigned in_port;
    unsigned tun_id;
    uint32_t tun_src, tun_dst;
    uint8_t src_mac[MAC_SIZE], dst_mac[MAC_SIZE];
    bool is_arp; /* else IP */
    uint32_t src_ip, dst_ip;
    uint8_t arp_sha[MAC_SIZE];
    unsigned arp_op;
};

struct fake_output {
    unsigned port;
    struct fake_packet packet; /* as it leaves; tun_src not set */
    bool is_arp_answer;
};

struct fake_rule {
    unsigned table, priority;
    unsigned n_fields;
    char fields[FAKE_MAX_FIELDS][2][40]; /* name, value */
    char actions[320];
};

struct fake_switch {
    unsigned n_rules;
    struct fake_rule *rules;
};

static inline void fake_load_line(struct fake_switch *s, char *line)
{
    struct fake_rule *rule = &s->rules[s->n_rules++];
    char *actions = strstr(line, "actions="), *save = NULL;

    if (s->n_rules == FAKE_MAX_RULES || actions == NULL)
        abort();
    snprintf(rule->actions, sizeof(rule->actions), "%s", actions + strlen("actions="));
    *actions = '\0';
    for (char *f = strtok_r(line, ",", &save); f != NULL; f = strtok_r(NULL, ",", &save)) {
        char name[40] = "", value[40] = "";

        sscanf(f, "%39[^=]=%39s", name, value);
        if (strcmp(name, "table") == 0) {
            rule->table = (unsigned)atoi(value);
        } else if (strcmp(name, "priority") == 0) {
            rule->priority = (unsigned)atoi(value);
        } else {
            if (rule->n_fields == FAKE_MAX_FIELDS)
                abort();
            memcpy(rule->fields[rule->n_fields][0], name, sizeof(name));
            memcpy(rule->fields[rule->n_fields++][1], value, sizeof(value));
        }
    }
}

static inline void fake_switch_init(struct fake_switch *s, const struct fabric_view *view)
{
    char *text = flows_render(view), *save = NULL;

    s->n_rules = 0;
    s->rules = calloc(FAKE_MAX_RULES, sizeof(*s->rules));
    for (char *l = strtok_r(text, "\n", &save); l != NULL; l = strtok_r(NULL, "\n", &save))
        fake_load_line(s, l);
    free(text);
}

static inline void fake_switch_deinit(struct fake_switch *s)
{
    free(s->rules);
}

static inline bool fake_mac_is(const uint8_t mac[MAC_SIZE], const char *value)
{
    char text[MAC_TEXT_SIZE];

    return strcmp(mac_format(mac, text), value) == 0;
}

static inline bool fake_ip_is(uint32_t ip, const char *value)
{
    char text[IPV4_TEXT_SIZE];

    return strcmp(ipv4_format(ip, text), value) == 0;
}

static inline bool fake_field_matches(const struct fake_packet *p, unsigned metadata,
                                      const char *name, const char *value)
{
    unsigned number = (unsigned)atoi(value);

    if (strcmp(name, "in_port") == 0)
        return p->in_port == number;
    if (strcmp(name, "metadata") == 0)
        return metadata == number;
    if (strcmp(name, "tun_id") == 0)
        return p->tun_id == number;
    if (strcmp(name, "tun_src") == 0)
        return fake_ip_is(p->tun_src, value);
    if (strcmp(name, "dl_src") == 0)
        return fake_mac_is(p->src_mac, value);
    if (strcmp(name, "dl_dst") == 0)
        return fake_mac_is(p->dst_mac, value);
    if (strcmp(name, "arp_sha") == 0)
        return fake_mac_is(p->arp_sha, value);
    if (strcmp(name, "ip") == 0)
        return !p->is_arp;
    if (strcmp(name, "arp") == 0)
        return p->is_arp;
    if (strcmp(name, "arp_op") == 0)
        return p->arp_op == number;
    if (strcmp(name, "nw_src") == 0 || strcmp(name, "arp_spa") == 0)
        return fake_ip_is(p->src_ip, value);
    if (strcmp(name, "nw_dst") == 0 || strcmp(name, "arp_tpa") == 0)
        return fake_ip_is(p->dst_ip, value);
    abort();
}

static inline const struct fake_rule *fake_lookup(const struct fake_switch *s, unsigned table,
                                                  const struct fake_packet *p, unsigned metadata)
{
    const struct fake_rule *best = NULL;

    for (unsigned i = 0; i < s->n_rules; i++) {
        const struct fake_rule *rule = &s->rules[i];
        bool matches = rule->table == table;

        for (unsigned f = 0; matches && f < rule->n_fields; f++)
            matches = fake_field_matches(p, metadata, rule->fields[f][0], rule->fields[f][1]);
        if (!matches)
            continue;
        if (best != NULL && best->priority == rule->priority &&
            strcmp(best->actions, rule->actions) != 0)
            abort(); /* two rules of one priority that disagree: the switch may take either */
        if (best == NULL || rule->priority > best->priority)
            best = rule;
    }
    return best;
}

/* Passes the packet through; returns how many copies leave. */
static inline unsigned fake_pass(const struct fake_switch *s, const struct fake_packet *in,
                                 struct fake_output out[FAKE_MAX_OUTPUTS])
{
    struct fake_packet p = *in;
    unsigned table = 0, metadata = 0, n = 0;

    for (;;) {
        const struct fake_rule *rule = fake_lookup(s, table, &p, metadata);
        char actions[320], *save = NULL;
        bool goes_on = false, answers = false;

        if (rule == NULL)
            return n;
        memcpy(actions, rule->actions, sizeof(actions));
        for (char *a = strtok_r(actions, ",", &save); a != NULL; a = strtok_r(NULL, ",", &save)) {
            unsigned number, b[4];

            if (sscanf(a, "write_metadata:%u", &number) == 1) {
                metadata = number;
            } else if (sscanf(a, "goto_table:%u", &number) == 1) {
                table = number;
                goes_on = true;
            } else if (sscanf(a, "set_field:%u.%u.%u.%u->tun_ds%c", &b[0], &b[1], &b[2], &b[3],
                              (char *)&number) == 5) {
                p.tun_dst = b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
            } else if (strstr(a, "->tun_id") != NULL) {
                p.tun_id = (unsigned)atoi(a + strlen("set_field:"));
            } else if (strcmp(a, "set_field:2->arp_op") == 0) {
                answers = true;
            } else if (sscanf(a, "output:%u", &number) == 1 || strcmp(a, "in_port") == 0) {
                unsigned port = strcmp(a, "in_port") == 0 ? p.in_port : number;

                if (n == FAKE_MAX_OUTPUTS)
                    abort();
                if (port != p.in_port || strcmp(a, "in_port") == 0)
                    out[n++] = (struct fake_output){port, p, answers};
            }
        }
        if (!goes_on)
            return n;
    }
}

#endif

/* rules: their order and difference, and what they look like to the switch. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netfabric/flows_wire.h"
#include "tests/support/prng.h"

static struct rule rule_of(uint8_t table, uint32_t vni, uint16_t port)
{
    return (struct rule){.table = table,
                         .priority = 100,
                         .fields = RULE_METADATA | RULE_ETH_DST,
                         .metadata = vni,
                         .eth_dst = {2, 0x5c, 10, 7, 0, 1},
                         .verdict = RULE_OUTPUT,
                         .port = port};
}

static struct rules rules_of(const struct rule *list, size_t n)
{
    struct rules rules = {.n = n, .list = malloc((n + 1) * sizeof(*list))};

    assert_non_null(rules.list);
    memcpy(rules.list, list, n * sizeof(*list));
    assert_int_equal(rules_sort(&rules), 0);
    return rules;
}

static void of_two_for_one_match_the_later_is_kept(void **state)
{
    const struct rule list[] = {rule_of(30, 7, 2000), rule_of(20, 7, 2001), rule_of(30, 7, 2002)};
    struct rules rules = rules_of(list, 3);

    (void)state;
    assert_int_equal(rules.n, 2);
    assert_int_equal(rules.list[0].table, 20);
    assert_int_equal(rules.list[1].port, 2002);
    rules_deinit(&rules);
    rules_deinit(&rules);
}

static void difference_names_what_goes_comes_and_changes(void **state)
{
    const struct rule before[] = {rule_of(20, 7, 2000), rule_of(20, 8, 2000), rule_of(20, 9, 2000)};
    const struct rule after[] = {rule_of(20, 8, 2000), rule_of(20, 9, 2005), rule_of(30, 7, 2000)};
    struct rules present = rules_of(before, 3), wanted = rules_of(after, 3);
    struct rule_change *changes;
    size_t n;

    (void)state;
    assert_int_equal(rules_difference(&present, &wanted, &changes, &n), 0);
    assert_int_equal(n, 3);
    assert_true(changes[0].is_removal);
    assert_int_equal(changes[0].rule->metadata, 7);
    assert_false(changes[1].is_removal);
    assert_int_equal(changes[1].rule->port, 2005);
    assert_false(changes[2].is_removal);
    assert_int_equal(changes[2].rule->table, 30);
    free(changes);
    assert_int_equal(rules_difference(&wanted, &wanted, &changes, &n), 0);
    assert_int_equal(n, 0);
    free(changes);
    rules_deinit(&present);
    rules_deinit(&wanted);
}

/* Plays the switch: what it holds is looked up by match. */
static void carry_out(struct rules *held, const struct rule_change *change)
{
    size_t at = 0;

    while (at < held->n && rule_compare(&held->list[at], change->rule) != 0)
        at++;
    if (change->is_removal) {
        assert_true(at < held->n);
        held->list[at] = held->list[--held->n];
    } else {
        held->list[at] = *change->rule;
        held->n += at == held->n;
    }
}

static struct rules random_rules(struct prng *prng)
{
    struct rule list[12];
    size_t n = prng_below(prng, 13);

    for (size_t i = 0; i < n; i++)
        list[i] = rule_of((uint8_t)prng_below(prng, 3), prng_below(prng, 4),
                          (uint16_t)(2000 + prng_below(prng, 2)));
    return rules_of(list, n);
}

static void difference_leads_from_any_set_to_any_other(void **state)
{
    struct prng prng = {.state = 1};

    (void)state;
    for (int round = 0; round < 500; round++) {
        struct rules present = random_rules(&prng), wanted = random_rules(&prng);
        struct rule held_list[24];
        struct rules held = {.n = present.n, .list = held_list};
        struct rule_change *changes;
        size_t n;

        memcpy(held_list, present.list, present.n * sizeof(*held_list));
        assert_int_equal(rules_difference(&present, &wanted, &changes, &n), 0);
        for (size_t i = 0; i < n; i++)
            carry_out(&held, &changes[i]);
        assert_int_equal(held.n, wanted.n);
        for (size_t i = 0; i < held.n; i++) {
            size_t k = 0;

            while (k < wanted.n && rule_compare(&held.list[i], &wanted.list[k]) != 0)
                k++;
            assert_true(k < wanted.n && rule_verdict_is_same(&held.list[i], &wanted.list[k]));
        }
        free(changes);
        rules_deinit(&present);
        rules_deinit(&wanted);
    }
}

/* ---- as messages; bytes written down from the specification */

static void is_written(struct writer *w, const char *hex)
{
    char text[1024] = "";

    assert_false(w->failed);
    for (size_t i = 0; i < w->size; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%02x", w->data[i]);
    assert_string_equal(text, hex);
    writer_deinit(w);
}

#define FLOW_MOD_HEAD(size, table, command)                                                        \
    "050e" size "00000009"                                                                         \
    "0000000000000000"                                                                             \
    "0000000000000000" table command "00000000"                                                    \
    "0064"                                                                                         \
    "ffffffffffffffffffffffff00000000"

#define MATCH_METADATA_AND_DST                                                                     \
    "0001001a"                                                                                     \
    "80000408"                                                                                     \
    "0000000000000007"                                                                             \
    "80000606"                                                                                     \
    "025c0a070001"                                                                                 \
    "000000000000"

static void change_is_a_flow_mod_in_a_bundle(void **state)
{
    struct rule rule = rule_of(20, 7, 2005);
    struct writer w;

    (void)state;
    writer_init_growing(&w, 4096);
    openflow_change_write(&w, &(struct rule_change){.rule = &rule}, 1, 9);
    is_written(&w, "05220078"
                   "00000009"
                   "0000000100000003" FLOW_MOD_HEAD("0068", "14", "00") MATCH_METADATA_AND_DST
               "0004001800000000"
               "00000010000007d5"
               "0000000000000000");
    writer_init_growing(&w, 4096);
    openflow_change_write(&w, &(struct rule_change){.is_removal = true, .rule = &rule}, 1, 9);
    is_written(&w, "05220060"
                   "00000009"
                   "0000000100000003" FLOW_MOD_HEAD("0050", "14", "04") MATCH_METADATA_AND_DST);
}

static void meter_drops_above_its_rate(void **state)
{
    struct meter meter = {.vni = 7, .rate_kbps = 20000};
    struct writer w;

    (void)state;
    writer_init_growing(&w, 4096);
    openflow_meter_write(&w, &meter, false, 9);
    is_written(&w, "051d0020"
                   "00000009"
                   "0001000d"
                   "00000007"
                   "00010010"
                   "00004e20"
                   "00001388"
                   "00000000");
}

static void header_is_read_back(void **state)
{
    struct openflow_header header;
    struct writer w;

    (void)state;
    writer_init_growing(&w, 4096);
    openflow_plain_write(&w, OPENFLOW_BARRIER_REQUEST, 0x01020304);
    assert_int_equal(w.size, OPENFLOW_HEADER_SIZE);
    openflow_header_read(w.data, &header);
    assert_int_equal(header.version, OPENFLOW_VERSION);
    assert_int_equal(header.type, OPENFLOW_BARRIER_REQUEST);
    assert_int_equal(header.size, OPENFLOW_HEADER_SIZE);
    assert_int_equal(header.xid, 0x01020304);
    writer_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_two_for_one_match_the_later_is_kept),
        cmocka_unit_test(difference_names_what_goes_comes_and_changes),
        cmocka_unit_test(difference_leads_from_any_set_to_any_other),
        cmocka_unit_test(change_is_a_flow_mod_in_a_bundle),
        cmocka_unit_test(meter_drops_above_its_rate),
        cmocka_unit_test(header_is_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

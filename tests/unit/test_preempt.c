/* preempt: who gives way to a guest that fits nowhere; checked against trying everything. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/preempt.h"
#include "tests/support/cluster.h"
#include "tests/support/prng.h"

enum { MEMORY_MIB = 512, N_ISOLATED = 3, MAX_HERE = 10 };

static char *argv[] = {"server"};

static struct guest_spec spec_of(const char *name, uint32_t n_cores, uint32_t memory_mib,
                                 uint32_t priority)
{
    struct guest_spec spec = {.kind = KIND_CELL,
                              .image = "web",
                              .n_cores = n_cores,
                              .memory_mib = memory_mib,
                              .priority = priority,
                              .restart = RESTART_ALWAYS,
                              .failover = FAILOVER_RESTART,
                              .preempt = PREEMPT_ON,
                              .n_argv = 1,
                              .argv = argv};

    snprintf(spec.name, NAME_SIZE, "%s", name);
    return spec;
}

static int create(struct cluster *c, const struct guest_spec *spec, struct placement at)
{
    struct command command = {.type = COMMAND_GUEST_CREATE,
                              .guest_create = {.spec = *spec, .placement = at}};

    return cluster_apply(c, &command);
}

static void plan(const struct cluster *c, const struct guest_spec *spec, struct preempt_plan *ret)
{
    struct node_telemetry telemetry[MAX_VICTIMS];
    struct place_request request = {.spec = spec, .telemetry = telemetry};

    for (size_t i = 0; i < c->state.n_nodes; i++)
        telemetry[request.n_telemetry++] =
            (struct node_telemetry){.node = c->state.nodes[i].id, .present = true};
    preempt_plan(&c->state, &request, ret);
}

static int evict(struct cluster *c, const char *name, const struct preempt_plan *plan)
{
    struct command command = {.type = COMMAND_GUEST_EVICT, .guest_evict.node = plan->node};

    snprintf(command.guest_evict.name, NAME_SIZE, "%s", name);
    command.guest_evict.expect_epoch = state_guest(&c->state, name)->placement.epoch;
    for (uint32_t i = 0; i < plan->n_victims; i++) {
        memcpy(command.guest_evict.victims[i].name, plan->victims[i]->spec.name, NAME_SIZE);
        command.guest_evict.victims[i].epoch = plan->victims[i]->placement.epoch;
    }
    command.guest_evict.n_victims = plan->n_victims;
    return cluster_apply(c, &command);
}

static void expect(const struct cluster *c, const struct preempt_plan *plan, const char *node,
                   const char *victims)
{
    char names[400] = "";

    for (uint32_t i = 0; i < plan->n_victims; i++)
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i > 0 ? " " : "",
                 plan->victims[i]->spec.name);
    assert_string_equal(names, victims);
    assert_int_equal(plan->node, cluster_node(c, node));
}

/* ---- everything tried, with a count of memory and cores that is the test's own */

struct best {
    uint64_t node;
    int n;
    const struct guest *victims[MAX_HERE]; /* the most important first */
};

static bool goes_first(const struct guest *a, const struct guest *b)
{
    return a->spec.priority > b->spec.priority ||
           (a->spec.priority == b->spec.priority && a->created < b->created);
}

static void insert(struct best *set, const struct guest *guest)
{
    int at = set->n++;

    for (; at > 0 && goes_first(guest, set->victims[at - 1]); at--)
        set->victims[at] = set->victims[at - 1];
    set->victims[at] = guest;
}

static bool is_better(const struct best *a, const struct best *b)
{
    if (b->node == 0 || a->n != b->n)
        return b->node == 0 || a->n < b->n;
    for (int i = 0; i < a->n; i++) {
        if (a->victims[i] != b->victims[i])
            return goes_first(b->victims[i], a->victims[i]);
    }
    return false;
}

static void try_node(const struct cluster *c, uint64_t node, const struct guest_spec *spec,
                     struct best *best)
{
    const struct guest *here[MAX_HERE];
    int n = 0;

    for (size_t i = 0; i < c->state.n_guests; i++) {
        if (c->state.guests[i].placement.node == node)
            here[n++] = &c->state.guests[i];
    }
    for (unsigned mask = 0; mask < 1u << n; mask++) {
        uint32_t memory = 0, cores = 0;
        struct best set = {.node = node};
        bool is_allowed = true;

        for (int i = 0; i < n; i++) {
            const struct guest_spec *s = &here[i]->spec;

            if ((mask & 1u << i) == 0) {
                memory += s->memory_mib;
                cores += s->n_cores;
            } else {
                is_allowed = is_allowed && s->priority < spec->priority &&
                             s->failover != FAILOVER_STAY && here[i]->migration == 0;
                insert(&set, here[i]);
            }
        }
        if (is_allowed && memory + spec->memory_mib <= MEMORY_MIB &&
            cores + spec->n_cores <= N_ISOLATED && is_better(&set, best))
            *best = set;
    }
}

static void fill_at_random(struct cluster *c, struct prng *p)
{
    for (unsigned i = 0; i < 3 * MAX_HERE; i++) {
        char name[NAME_SIZE], node[NAME_SIZE];
        struct guest_spec spec;
        struct placement at;
        char reason[REASON_SIZE];

        snprintf(name, sizeof(name), "g%u", i);
        snprintf(node, sizeof(node), "n%u", i % 3 + 1);
        spec = spec_of(name, prng_below(p, 3), 40 + prng_below(p, 120), prng_below(p, 6));
        spec.failover = prng_one_in(p, 8) ? FAILOVER_STAY : FAILOVER_RESTART;
        if (place_on_node(&c->state, &spec, false, state_node_by_name(&c->state, node), &at,
                          reason) == 0)
            assert_int_equal(create(c, &spec, at), 0);
    }
}

static void the_smallest_set_is_found(void **state)
{
    unsigned n_sizes[MAX_HERE + 1] = {0}, n_none = 0;
    struct prng p = {7};

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        struct guest_spec spec;
        struct preempt_plan found;
        struct best best = {0};
        struct cluster c;

        cluster_form(&c, 3);
        fill_at_random(&c, &p);
        spec = spec_of("new", prng_below(&p, 4), 60 + prng_below(&p, 440), prng_below(&p, 8));
        for (size_t i = 0; i < c.state.n_nodes; i++)
            try_node(&c, c.state.nodes[i].id, &spec, &best);
        plan(&c, &spec, &found);
        assert_int_equal(found.node, best.node);
        assert_int_equal(found.n_victims, best.n);
        for (int i = 0; i < best.n; i++)
            assert_ptr_equal(found.victims[i], best.victims[i]);
        n_none += best.node == 0;
        n_sizes[best.n] += best.node != 0;
        cluster_deinit(&c);
    }
    assert_true(n_none > 0 && n_sizes[1] > 0 && n_sizes[2] > 0 && n_sizes[3] > 0);
}

/* ---- what is large: not all sets are tried, and the outcome is still without a needless victim */

static void in_a_large_case_nobody_is_taken_in_vain(void **state)
{
    struct guest_spec spec = spec_of("new", 0, 500, 200);
    struct preempt_plan found;
    struct cluster c;

    (void)state;
    cluster_form(&c, 1);
    for (unsigned i = 0; i < 51; i++) {
        struct guest_spec small;
        char name[NAME_SIZE];

        snprintf(name, sizeof(name), "s%u", i);
        small = spec_of(name, 0, 10, i);
        assert_int_equal(create(&c, &small, cluster_place(&c, "n1", 1, 0)), 0);
    }
    plan(&c, &spec,
         &found); /* 2 MiB are free: 50 of 51 must go, and the most important is spared */
    assert_int_equal(found.n_victims, 50);
    for (uint32_t i = 0; i < found.n_victims; i++)
        assert_true(strcmp(found.victims[i]->spec.name, "s50") != 0);
    cluster_deinit(&c);
}

/* ---- giving way, in the state */

static struct guest_spec important(void)
{
    return spec_of("top", 3, 64, 200);
}

/* n1 has "low" (priority 10) and "mid" (50), one core each, and nothing else is in the cluster. */
static void two_guests(struct cluster *c)
{
    struct guest_spec low = spec_of("low", 1, 64, 10), mid = spec_of("mid", 1, 64, 50);

    cluster_form(c, 1);
    assert_int_equal(create(c, &low, cluster_place(c, "n1", 1, 1)), 0);
    assert_int_equal(create(c, &mid, cluster_place(c, "n1", 2, 1)), 0);
}

static void a_cleared_node_is_kept_for_whom_it_is_cleared(void **state)
{
    struct guest_spec top = important(), small = spec_of("small", 1, 64, 100);
    struct preempt_plan found;
    const struct node *n1;
    struct cluster c;

    (void)state;
    two_guests(&c);
    n1 = &c.state.nodes[0];
    assert_int_equal(create(&c, &top, (struct placement){0}), 0);
    plan(&c, &top, &found);
    expect(&c, &found, "n1", "mid low");
    assert_int_equal(evict(&c, "top", &found), 0);
    assert_int_equal(state_guest(&c.state, "low")->placement.node, n1->id); /* until it stopped */
    assert_true(guest_is_leaving(state_guest(&c.state, "low")));
    assert_string_equal(preempt_holder(&c.state, n1, &small)->spec.name, "top");
    assert_null(preempt_holder(&c.state, n1, &top));
    small.priority = 201;
    assert_null(preempt_holder(&c.state, n1, &small));
    plan(&c, &top, &found); /* what leaves makes the room: nobody else has to */
    expect(&c, &found, "n1", "");

    assert_int_equal(cluster_stopped(&c, "low", false), 0);
    assert_int_equal(cluster_stopped(&c, "mid", false), 0);
    assert_int_equal(state_guest(&c.state, "low")->desired, DESIRED_RUNNING);
    assert_string_equal(state_guest(&c.state, "low")->preempted_by, "top");
    assert_string_equal(
        preempt_holder(&c.state, n1, &state_guest(&c.state, "mid")->spec)->spec.name, "top");
    assert_int_equal(cluster_place_guest(&c, COMMAND_GUEST_PLACE, "top",
                                         state_guest(&c.state, "top")->placement.epoch,
                                         cluster_place(&c, "n1", 1, 3)),
                     0);
    assert_int_equal(state_guest(&c.state, "top")->clears, 0);
    cluster_deinit(&c);
}

static void a_node_that_no_longer_suits_is_kept_for_nobody(void **state)
{
    struct guest_spec top = important(), small = spec_of("small", 1, 64, 100);
    struct preempt_plan found;
    struct cluster c;

    (void)state;
    two_guests(&c);
    assert_int_equal(create(&c, &top, (struct placement){0}), 0);
    plan(&c, &top, &found);
    assert_int_equal(evict(&c, "top", &found), 0);
    small.priority = 300; /* it comes first, and then the room does not do for the other */
    assert_int_equal(create(&c, &small, cluster_place(&c, "n1", 3, 1)), 0);
    small = spec_of("next", 1, 64, 100);
    assert_null(preempt_holder(&c.state, &c.state.nodes[0], &small));
    cluster_deinit(&c);
}

static void what_is_stale_or_not_less_important_is_refused(void **state)
{
    struct guest_spec top = important();
    struct preempt_plan found;
    struct guest victim;
    struct cluster c;

    (void)state;
    two_guests(&c);
    top.priority = 50;
    assert_int_equal(create(&c, &top, (struct placement){0}), 0);
    found =
        (struct preempt_plan){.node = 1, .n_victims = 1, .victims = {state_guest(&c.state, "mid")}};
    assert_true(evict(&c, "top", &found) < 0);
    assert_non_null(strstr(c.out.reason, "not less important"));
    victim = *state_guest(&c.state, "low");
    victim.placement.epoch--;
    found.victims[0] = &victim;
    assert_true(evict(&c, "top", &found) < 0);
    found.victims[0] = state_guest(&c.state, "low");
    assert_int_equal(evict(&c, "top", &found), 0);
    assert_true(evict(&c, "top", &found) < 0); /* it is leaving already */
    assert_int_equal(cluster_by_name(&c, COMMAND_GUEST_STOP, "low"), 0);
    assert_string_equal(state_guest(&c.state, "low")->preempted_by, "");
    cluster_deinit(&c);
}

static void without_preemption_a_guest_needs_a_place(void **state)
{
    struct command set = {.type = COMMAND_CLUSTER_SET,
                          .cluster_set = {.setting = SETTING_PREEMPTION, .flag = true}};
    struct guest_spec top = important();
    struct cluster c;

    (void)state;
    two_guests(&c);
    top.preempt = PREEMPT_BY_CLUSTER;
    assert_true(create(&c, &top, (struct placement){0}) < 0);
    assert_int_equal(cluster_apply(&c, &set), 0);
    assert_int_equal(create(&c, &top, (struct placement){0}), 0);
    top = spec_of("never", 3, 64, 200);
    top.preempt = PREEMPT_OFF;
    assert_true(create(&c, &top, (struct placement){0}) < 0);
    cluster_deinit(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_set_is_found),
        cmocka_unit_test(in_a_large_case_nobody_is_taken_in_vain),
        cmocka_unit_test(a_cleared_node_is_kept_for_whom_it_is_cleared),
        cmocka_unit_test(a_node_that_no_longer_suits_is_kept_for_nobody),
        cmocka_unit_test(what_is_stale_or_not_less_important_is_refused),
        cmocka_unit_test(without_preemption_a_guest_needs_a_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* scheduler: where guests go, and the words for every node where they do not. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scheduler/cores.h"
#include "scheduler/place.h"
#include "tests/support/cluster.h"

/* ---- cores */

struct core_row {
    const char *name;
    uint32_t n_cores; /* of the node; all but core 0 isolated */
    uint16_t per_numa, per_cluster, per_physical;
    uint32_t used_first, n_used; /* held by another guest */
    uint32_t wanted;
    const char *result; /* "1 2", or the reason */
};

static const struct core_row core_rows[] = {
    {"first of many", 4, 64, 64, 1, 0, 0, 1, "1"},
    {"none wanted", 4, 64, 64, 1, 0, 0, 0, ""},
    {"all of them", 4, 64, 64, 1, 0, 0, 3, "1 2 3"},
    {"too few free", 4, 64, 64, 1, 1, 1, 3, "2 of 3 isolated cores free, 3 wanted"},
    {"too few at all", 2, 64, 64, 1, 0, 0, 2, "1 of 1 isolated cores free, 2 wanted"},
    {"the smaller cluster first", 8, 8, 4, 1, 0, 0, 2, "1 2"},
    {"the first of equals", 8, 8, 3, 1, 0, 0, 2, "1 2"},
    {"the cluster that is full enough", 8, 8, 4, 1, 1, 2, 1, "3"},
    {"one cluster rather than two", 8, 8, 4, 1, 1, 2, 2, "4 5"},
    {"two clusters of one NUMA node", 8, 8, 2, 1, 0, 0, 5, "1 2 3 4 5"},
    {"one NUMA node rather than two", 8, 4, 4, 1, 0, 0, 4, "4 5 6 7"},
    {"never two NUMA nodes", 8, 4, 4, 1, 0, 0, 5,
     "7 isolated cores free, but at most 4 on one NUMA node; 5 wanted"},
    {"a whole physical core", 8, 8, 8, 2, 0, 0, 2, "2 3"},
    {"an odd sibling first", 8, 8, 8, 2, 0, 0, 1, "1"},
    {"whole cores and an odd sibling", 8, 8, 8, 2, 0, 0, 3, "1 2 3"},
    {"no sibling of another guest's core", 4, 8, 8, 2, 2, 1, 2,
     "2 of 3 isolated cores free, but 1 of them share a physical core with another guest; 2 "
     "wanted"},
};

static void give_cores(struct cluster *c, const struct core_row *row)
{
    struct command facts = {.type = COMMAND_NODE_FACTS, .node_facts.node = 1};
    struct core_info *cores;

    cluster_facts(1, row->n_cores, &facts.node_facts.facts);
    cores = facts.node_facts.facts.cores;
    for (uint32_t i = 0; i < row->n_cores; i++) {
        cores[i].numa = (uint16_t)(i / row->per_numa);
        cores[i].cluster = (uint16_t)(i / row->per_cluster);
        cores[i].sibling = (uint16_t)(i / row->per_physical);
    }
    assert_int_equal(cluster_apply(c, &facts), 0);
    command_deinit(&facts);
}

static void cores_are_chosen_near_each_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(core_rows) / sizeof(core_rows[0]); i++) {
        const struct core_row *row = &core_rows[i];
        char reason[REASON_SIZE] = "", *p = reason;
        uint16_t ids[MAX_GUEST_CORES];
        struct cluster c;

        cluster_form(&c, 1);
        give_cores(&c, row);
        if (row->n_used > 0)
            assert_int_equal(
                cluster_guest(&c, "other",
                              cluster_place(&c, "n1", (uint16_t)row->used_first, row->n_used),
                              FAILOVER_RESTART),
                0);
        if (cores_choose(&c.state, &c.state.nodes[0], row->wanted, NULL, ids, reason) == 0) {
            for (uint32_t k = 0; k < row->wanted; k++)
                p += sprintf(p, k == 0 ? "%u" : " %u", ids[k]);
        }
        if (strcmp(reason, row->result) != 0)
            print_error("row: %s\n", row->name);
        assert_string_equal(reason, row->result);
        cluster_deinit(&c);
    }
}

static void a_reservation_and_a_frozen_copy_hold_their_cores(void **state)
{
    struct cluster c;
    const struct node *n2, *n3;
    uint64_t id;

    (void)state;
    cluster_form(&c, 3);
    cluster_guest(&c, "web", cluster_place(&c, "n2", 1, 2), FAILOVER_RESTART);
    n2 = state_node_by_name(&c.state, "n2");
    n3 = state_node_by_name(&c.state, "n3");
    assert_int_equal(cores_n_free(&c.state, n2), 1);
    assert_int_equal(cores_n_free(&c.state, n3), 3);
    cluster_reserve(&c, "web", cluster_place(&c, "n3", 2, 2));
    id = c.out.id;
    assert_int_equal(cores_n_free(&c.state, n3), 1);
    assert_int_equal(memory_used_mib(&c.state, n2->id, NULL), 64);
    assert_int_equal(memory_used_mib(&c.state, n3->id, NULL), 64);
    assert_int_equal(memory_used_mib(&c.state, n3->id, "web"), 0);
    cluster_step(&c, COMMAND_MIGRATION_COMMIT, id);
    assert_int_equal(cores_n_free(&c.state, n2), 1);
    assert_int_equal(cores_n_free(&c.state, n3), 1);
    assert_int_equal(memory_used_mib(&c.state, n2->id, NULL), 64);
    assert_int_equal(memory_used_mib(&c.state, n3->id, NULL), 64);
    cluster_step(&c, COMMAND_MIGRATION_DONE, id);
    assert_int_equal(cores_n_free(&c.state, n2), 3);
    assert_int_equal(memory_used_mib(&c.state, n2->id, NULL), 0);
    cluster_deinit(&c);
}

/* ---- placing */

struct scene {
    struct cluster c;
    struct node_telemetry telemetry[8];
    size_t n_telemetry;
    struct guest_spec spec;
    struct place_request request;
    struct place_result result;
    struct err err;
};

static int set_scene(void **state)
{
    static char *argv[] = {"server"};
    struct scene *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    cluster_form(&s->c, 3);
    for (size_t i = 0; i < 3; i++)
        s->telemetry[i] = (struct node_telemetry){.node = s->c.state.nodes[i].id, .present = true};
    s->n_telemetry = 3;
    s->spec = (struct guest_spec){.name = "new",
                                  .kind = KIND_CELL,
                                  .image = "web",
                                  .slice = "red",
                                  .n_cores = 1,
                                  .memory_mib = 64,
                                  .restart = RESTART_ALWAYS,
                                  .failover = FAILOVER_RESTART,
                                  .n_argv = 1,
                                  .argv = argv};
    *state = s;
    return 0;
}

static int clear_scene(void **state)
{
    struct scene *s = *state;

    place_result_deinit(&s->result);
    cluster_deinit(&s->c);
    free(s);
    return 0;
}

/* Places, and checks that the row of each node says what is expected of it. */
static void expect(struct scene *s, const char *chosen, const char *n1, const char *n2,
                   const char *n3)
{
    const char *reasons[] = {n1, n2, n3};

    place_result_deinit(&s->result);
    s->request.spec = &s->spec;
    s->request.telemetry = s->telemetry;
    s->request.n_telemetry = s->n_telemetry;
    assert_int_equal(place_guest(&s->c.state, &s->request, &s->result, &s->err), 0);
    assert_int_equal(s->result.n_rows, s->c.state.n_nodes);
    for (size_t i = 0; i < 3; i++) {
        const struct place_row *row = &s->result.rows[i];

        assert_string_equal(row->reason, reasons[i]);
        assert_int_equal(row->node, s->c.state.nodes[i].id);
        assert_int_equal(row->verdict == VERDICT_CHOSEN,
                         strcmp(chosen, s->c.state.nodes[i].name) == 0);
        assert_int_equal(row->verdict == VERDICT_REFUSED, row->score == 0);
    }
    assert_int_equal(s->result.placement.node, cluster_node(&s->c, chosen));
    assert_int_equal(s->result.placement.epoch, 0);
}

static void equals_are_told_apart_by_name(void **state)
{
    struct scene *s = *state;

    expect(s, "n1", "fits; as good as n2, and first by name",
           "fits; n1 is as good, and first by name", "fits; n1 is as good, and first by name");
    assert_int_equal(s->result.placement.n_cores, 1);
    assert_int_equal(s->result.placement.cores[0], 1);
}

static void guests_spread_to_where_there_is_room(void **state)
{
    struct scene *s = *state;

    cluster_guest(&s->c, "a", cluster_place(&s->c, "n1", 1, 1), FAILOVER_RESTART);
    cluster_guest(&s->c, "b", cluster_place(&s->c, "n2", 1, 2), FAILOVER_RESTART);
    expect(s, "n3", "fits; n3 has more memory and cores free",
           "fits; n3 has more memory and cores free", "fits; more memory and cores free than n1");
}

static void a_busy_uplink_counts_more_than_room(void **state)
{
    struct scene *s = *state;

    cluster_guest(&s->c, "b", cluster_place(&s->c, "n2", 1, 2), FAILOVER_RESTART);
    s->telemetry[0].backhaul_permille = 950;
    s->telemetry[1].backhaul_permille = 40;
    s->telemetry[2].backhaul_permille = 2000;
    expect(s, "n2", "fits; uplink of n2 4% busy, of n1 95% busy",
           "fits; uplink of n2 4% busy, of n1 95% busy",
           "fits; uplink of n2 4% busy, of n3 100% busy");
}

static void every_hard_rule_has_its_words(void **state)
{
    struct scene *s = *state;
    struct node *n3;

    cluster_flag(&s->c, COMMAND_NODE_CORDON, "n1", true);
    cluster_flag(&s->c, COMMAND_NODE_DRAIN, "n2", true);
    cluster_event(&s->c, COMMAND_NODE_LOST, "n3", 0);
    expect(s, "", "cordoned", "draining", "lost");
    cluster_flag(&s->c, COMMAND_NODE_CORDON, "n1", false);
    cluster_flag(&s->c, COMMAND_NODE_DRAIN, "n2", false);
    cluster_event(&s->c, COMMAND_NODE_RETURNED, "n3", 0);

    s->telemetry[0].present = false;
    s->n_telemetry = 2;
    s->spec.n_constraints = 1;
    s->spec.constraints[0] = (struct label){.key = "zone", .value = "a"};
    expect(s, "", "no live lease", "label zone=a wanted, has zone=b", "no live lease");
    strcpy(s->spec.constraints[0].key, "gpu");
    s->n_telemetry = 3;
    expect(s, "", "label gpu=a wanted, has none", "label gpu=a wanted, has none",
           "label gpu=a wanted, has none");
    s->spec.n_constraints = 0;
    s->telemetry[0].present = true;

    cluster_guest(&s->c, "a", cluster_place(&s->c, "n1", 1, 1), FAILOVER_RESTART);
    n3 = &s->c.state.nodes[2];
    n3->facts.memory_mib = 32;
    s->spec.n_cores = 3;
    expect(s, "n2", "2 of 3 isolated cores free, 3 wanted", "the only node that fits",
           "32m of 32m memory free, 64m wanted");
    n3->facts.memory_mib = 512;
    n3->facts.witness = true;
    s->c.state.nodes[1].facts.kinds = KIND_BIT(KIND_VM);
    expect(s, "", "2 of 3 isolated cores free, 3 wanted", "cannot run guests of kind cell",
           "a witness, takes no guests");
    n3->facts.witness = false;
    strcpy(s->spec.on, "n3");
    s->request.not_on = n3->id;
    expect(s, "", "the guest must run on n3", "the guest must run on n3",
           "the guest is there already");
}

static void a_node_without_the_image_is_no_candidate(void **state)
{
    struct scene *s = *state;

    s->c.state.images[0].n_holders = 2;
    s->telemetry[0].present = s->telemetry[1].present = false;
    expect(s, "", "no live lease", "no live lease", "does not hold image web");
}

static void unknown_names_are_errors(void **state)
{
    struct scene *s = *state;

    s->request.spec = &s->spec;
    strcpy(s->spec.on, "n9");
    assert_int_equal(place_guest(&s->c.state, &s->request, &s->result, &s->err), -ENOENT);
    assert_string_equal(s->err.text, "node n9 is unknown");
    strcpy(s->spec.slice, "blue");
    assert_int_equal(place_guest(&s->c.state, &s->request, &s->result, &s->err), -ENOENT);
    assert_string_equal(s->err.text, "slice blue is unknown");
    strcpy(s->spec.image, "none");
    assert_int_equal(place_guest(&s->c.state, &s->request, &s->result, &s->err), -ENOENT);
    assert_string_equal(s->err.text, "image none is unknown");
}

static void a_moving_guest_does_not_stand_in_its_own_way(void **state)
{
    struct scene *s = *state;

    strcpy(s->spec.name, "web");
    s->spec.n_cores = 3;
    cluster_guest(&s->c, "web", cluster_place(&s->c, "n1", 1, 3), FAILOVER_RESTART);
    s->telemetry[1].present = s->telemetry[2].present = false;
    expect(s, "", "0 of 3 isolated cores free, 3 wanted", "no live lease", "no live lease");
    s->request.is_move = true;
    expect(s, "n1", "the only node that fits", "no live lease", "no live lease");
}

/* What runs a machine on either end has a say in whether it moves; where it starts it has none. */
static void a_machine_moves_by_what_runs_it(void **state)
{
    struct scene *s = *state;
    const char *xen = "n1 runs machines by xen, which do not move while they run: stop it, and "
                      "start it elsewhere";
    const enum vm_driver drivers[] = {VM_DRIVER_TCG, VM_DRIVER_KVM, VM_DRIVER_TCG};
    struct node *nodes = s->c.state.nodes;
    char why[REASON_SIZE];

    for (int i = 0; i < 3; i++) {
        nodes[i].facts.kinds |= KIND_BIT(KIND_VM);
        nodes[i].facts.vm_driver = drivers[i];
    }
    s->spec.kind = KIND_VM;
    s->spec.n_cores = 0;
    s->request.is_move = true;
    s->request.not_on = nodes[0].id;
    expect(s, "n3", "the guest is there already",
           "runs machines by qemu-kvm, and the guest runs by qemu-tcg", "the only node that fits");
    assert_true(place_may_leave(&s->c.state, &s->spec, nodes[0].id, why));

    nodes[0].facts.vm_driver = nodes[2].facts.vm_driver = VM_DRIVER_XEN;
    expect(s, "", "the guest is there already", xen, xen);
    assert_false(place_may_leave(&s->c.state, &s->spec, nodes[0].id, why));
    assert_string_equal(why, xen);
    s->request.is_move = false; /* as after a loss: it starts anew */
    expect(s, "n2", "the guest is there already", "fits; as good as n3, and first by name",
           "fits; n2 is as good, and first by name");
    s->spec.kind = KIND_CELL;
    s->request.is_move = true;
    expect(s, "n2", "the guest is there already", "fits; as good as n3, and first by name",
           "fits; n2 is as good, and first by name");
    assert_true(place_may_leave(&s->c.state, &s->spec, nodes[0].id, why));
}

static void what_a_driver_can_is_said(void **state)
{
    (void)state;
    assert_null(vm_driver_name(VM_DRIVER_NONE));
    assert_string_equal(vm_driver_name(VM_DRIVER_XEN), "xen");
    for (int i = 0; i < VM_ABILITY_END; i++) {
        enum vm_ability ability = (enum vm_ability)i;

        assert_non_null(vm_ability_name(ability));
        assert_false(vm_driver_can(VM_DRIVER_NONE, ability));
        assert_true(vm_driver_can(VM_DRIVER_TCG, ability));
        assert_true(vm_driver_can(VM_DRIVER_KVM, ability));
    }
    assert_true(vm_driver_can(VM_DRIVER_XEN, VM_CAN_START));
    assert_true(vm_driver_can(VM_DRIVER_XEN, VM_CAN_STATS));
    assert_false(vm_driver_can(VM_DRIVER_XEN, VM_CAN_FIRMWARE));
    assert_false(vm_driver_can(VM_DRIVER_XEN, VM_CAN_REBOOT));
    assert_false(vm_driver_moves(VM_DRIVER_XEN));
    assert_true(vm_driver_moves(VM_DRIVER_KVM));
}

/* What is chosen, apply takes: guest after guest until nothing fits. */
static void every_choice_is_applied(void **state)
{
    struct scene *s = *state;
    unsigned n = 0;

    for (;;) {
        snprintf(s->spec.name, NAME_SIZE, "g%u", n);
        s->spec.n_cores = n % 3;
        s->request.spec = &s->spec;
        s->request.telemetry = s->telemetry;
        s->request.n_telemetry = s->n_telemetry;
        place_result_deinit(&s->result);
        assert_int_equal(place_guest(&s->c.state, &s->request, &s->result, &s->err), 0);
        if (s->result.placement.node == 0)
            break;
        assert_int_equal(cluster_guest(&s->c, s->spec.name, s->result.placement, FAILOVER_RESTART),
                         0);
        assert_int_equal(state_check(&s->c.state, NULL), 0);
        n++;
    }
    assert_true(n >= 7);
}

/* Not a limit, a figure: a thousand nodes, every fifth of them full. */
static void a_large_cluster_is_timed(void **state)
{
    enum { N_NODES = 1000 };
    struct node_telemetry *telemetry = calloc(N_NODES, sizeof(*telemetry));
    struct scene *s = *state;
    struct timespec from, to;
    struct cluster c;
    char name[NAME_SIZE];

    assert_non_null(telemetry);
    cluster_form(&c, N_NODES);
    for (unsigned i = 0; i < N_NODES; i++)
        telemetry[i] = (struct node_telemetry){.node = c.state.nodes[i].id, .present = true};
    for (unsigned i = 0; i < 200; i++) { /* the slice has room for 253 */
        snprintf(name, sizeof(name), "n%u", 1 + i * 5);
        struct placement at = cluster_place(&c, name, 1, 3);

        snprintf(name, sizeof(name), "g%u", i);
        assert_int_equal(cluster_guest(&c, name, at, FAILOVER_RESTART), 0);
    }
    s->request =
        (struct place_request){.spec = &s->spec, .telemetry = telemetry, .n_telemetry = N_NODES};
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_int_equal(place_guest(&c.state, &s->request, &s->result, &s->err), 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    print_message("# one placement among %d nodes and %zu guests: %ld us\n", N_NODES,
                  c.state.n_guests,
                  (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000);
    assert_true(s->result.placement.node != 0);
    cluster_deinit(&c);
    free(telemetry);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_scene, clear_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_are_chosen_near_each_other),
        cmocka_unit_test(a_reservation_and_a_frozen_copy_hold_their_cores),
        TEST(equals_are_told_apart_by_name),
        TEST(guests_spread_to_where_there_is_room),
        TEST(a_busy_uplink_counts_more_than_room),
        TEST(every_hard_rule_has_its_words),
        TEST(a_node_without_the_image_is_no_candidate),
        TEST(unknown_names_are_errors),
        TEST(a_moving_guest_does_not_stand_in_its_own_way),
        TEST(a_machine_moves_by_what_runs_it),
        TEST(what_a_driver_can_is_said),
        TEST(every_choice_is_applied),
        TEST(a_large_cluster_is_timed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

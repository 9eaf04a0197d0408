/* Preemption from the wish of a user to guests that run, wait and run again; see
 * agent/core/place.c. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/world.h"

static void ask(struct world *w, const char *name, uint32_t n_cores, uint32_t priority,
                enum preempt_policy preempt)
{
    struct command command = {.type = COMMAND_GUEST_CREATE};
    struct guest_spec *spec = &command.guest_create.spec;

    world_spec(spec, name);
    spec->n_cores = n_cores;
    spec->memory_mib = 32;
    spec->priority = priority;
    spec->preempt = preempt;
    world_ask(w, &command);
    assert_true(world_answered(w, 5000));
}

static const char *const names[] = {"g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8"};

/* Three nodes of three cores, and a guest on each core; g0 is the least important. */
static void full(struct world *w)
{
    world_init(w, 3);
    world_run(w, 500);
    for (unsigned i = 0; i < 9; i++) {
        ask(w, names[i], 1, i, PREEMPT_BY_CLUSTER);
        assert_int_equal(w->answer.kind, ANSWER_DONE);
    }
}

static unsigned n_waiting(const struct world *w)
{
    unsigned n = 0;

    for (size_t i = 0; i < world_state(w)->n_guests; i++) {
        const struct guest *guest = &world_state(w)->guests[i];

        n += guest->desired == DESIRED_RUNNING && guest->placement.node == 0;
    }
    return n;
}

static void test_without_it_each_node_says_why_not(void **unused)
{
    struct world w;

    (void)unused;
    full(&w);
    ask(&w, "top", 1, 100, PREEMPT_BY_CLUSTER);
    assert_int_equal(w.answer.kind, ANSWER_NO_PLACE);
    assert_non_null(strstr(w.answer.text, "n1: 0 of 3 isolated cores free, 1 wanted"));
    assert_non_null(strstr(w.answer.text, "n3: 0 of 3"));
    assert_null(state_guest(world_state(&w), "top"));
    world_deinit(&w);
}

static void test_the_least_important_gives_way_and_comes_back(void **unused)
{
    const struct guest *g0;
    struct world w;

    (void)unused;
    full(&w);
    ask(&w, "top", 1, 100, PREEMPT_ON);
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(&w, "top", NULL), 1);
    assert_int_equal(world_n_running(&w, "g0", NULL), 0);
    assert_int_equal(n_waiting(&w), 1);
    g0 = state_guest(world_state(&w), "g0");
    assert_string_equal(g0->preempted_by, "top");
    assert_int_equal(g0->desired, DESIRED_RUNNING);
    assert_non_null(strstr(w.records, "guest-evict top: g0 gives way to it"));
    assert_non_null(strstr(w.records, "guest-stopped g0: it gave way to guest top"));
    world_run(&w, 5000); /* nothing goes to and fro */
    assert_int_equal(n_waiting(&w), 1);
    assert_int_equal(world_copy(&w, 1, "g0") != NULL || world_copy(&w, 2, "g0") != NULL ||
                         world_copy(&w, 3, "g0") != NULL,
                     0);

    world_by_name(&w, COMMAND_GUEST_STOP, "g8");
    assert_true(world_answered(&w, 2000));
    world_run(&w, 1500);
    assert_int_equal(world_n_running(&w, "g0", NULL), 1);
    assert_string_equal(state_guest(world_state(&w), "g0")->preempted_by, "");
    world_deinit(&w);
}

/* A node dies: what was on it and may preempt comes back at the cost of what is less important. */
static void test_after_a_loss_the_important_take_the_place_of_others(void **unused)
{
    struct world w;
    unsigned at = 0;

    (void)unused;
    full(&w);
    ask(&w, "top", 3, 100, PREEMPT_ON);
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(&w, "top", &at), 1);
    assert_int_equal(n_waiting(&w), 3);
    world_kill(&w, at);
    world_lead(&w, at == 1 ? 2 : w.leader != 0 && w.leader != at ? w.leader : at % 3 + 1);
    world_run(&w, 4000);
    assert_int_equal(world_n_running(&w, "top", NULL), 1);
    assert_int_equal(n_waiting(&w), 6);
    for (unsigned i = 0; i < 9; i++)
        assert_in_range(world_n_running(&w, names[i], NULL), 0, 1);
    world_deinit(&w);
}

static void test_the_cluster_may_say_so_for_all(void **unused)
{
    struct command set = {.type = COMMAND_CLUSTER_SET,
                          .cluster_set = {.setting = SETTING_PREEMPTION, .flag = true}};
    struct world w;

    (void)unused;
    full(&w);
    world_ask(&w, &set);
    assert_true(world_answered(&w, 2000));
    ask(&w, "never", 1, 100, PREEMPT_OFF);
    assert_int_equal(w.answer.kind, ANSWER_NO_PLACE);
    ask(&w, "top", 2, 100, PREEMPT_BY_CLUSTER);
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(n_waiting(&w), 2);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_it_each_node_says_why_not),
        cmocka_unit_test(test_the_least_important_gives_way_and_comes_back),
        cmocka_unit_test(test_after_a_loss_the_important_take_the_place_of_others),
        cmocka_unit_test(test_the_cluster_may_say_so_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

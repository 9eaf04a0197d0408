/* The core in small worlds: nodes that die, fall silent and come back, what becomes of their
 * guests, and what must not be taken for a loss. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/small_world.h"

static void test_node_dies_and_its_guest_runs_elsewhere(void **unused)
{
    struct world w;
    unsigned at, other = 0;
    uint64_t died;

    (void)unused;
    lives(&w, 3);
    world_lead(&w, 1);
    world_run(&w, 2000);
    at = created(&w, "web", RESTART_ALWAYS);
    if (at == 1) { /* the follower's death is meant here */
        world_migrate(&w, "web", 2);
        assert_true(world_answered(&w, 2000));
        at = 2;
    }
    died = w.now;
    world_kill(&w, at);
    while (world_n_running(&w, "web", NULL) == 0 && w.now < died + 3000000)
        world_run(&w, 1);
    assert_int_equal(world_n_running(&w, "web", &other), 1);
    assert_int_not_equal(other, at);
    assert_in_range((w.now - died) / 1000, 550, 750);
    assert_int_equal(state_node(world_state(&w), w.nodes[at].id)->state, NODE_LOST);

    world_run(&w, 200); /* until the leader hears of it */
    assert_non_null(strstr(w.records, "failover web: ms after the last beat of n"));
    assert_non_null(strstr(w.records, "serving "));

    world_boot(&w, at); /* comes back healthy, with no second copy */
    world_run(&w, 1000);
    assert_int_equal(state_node(world_state(&w), w.nodes[at].id)->state, NODE_UP);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_false(w.nodes[at].guard.holder.lapsed);
    world_deinit(&w);
}

static void create_with_priority(struct world *w, const char *name, uint32_t priority)
{
    struct command command = {.type = COMMAND_GUEST_CREATE};
    struct guest_spec *spec = &command.guest_create.spec;

    world_spec(spec, name);
    spec->priority = priority;
    world_ask(w, &command);
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
}

/* Nine guests fill three nodes; one node dies, then there is room for one of its three guests. */
static void test_without_room_guests_wait_and_the_most_important_goes_first(void **unused)
{
    static const char *const names[] = {"g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8"};
    unsigned n_waiting = 0, first = 0, stopped = 9;
    struct world w;

    (void)unused;
    lives(&w, 3);
    for (unsigned i = 0; i < 9; i++) /* the most important is the youngest */
        create_with_priority(&w, names[i], i);
    world_kill(&w, 3);
    world_run(&w, 2000);
    for (unsigned i = 0; i < 9; i++) {
        if (state_guest(world_state(&w), names[i])->placement.node == 0) {
            n_waiting++;
            first = i;
        } else {
            stopped = i;
        }
    }
    assert_int_equal(n_waiting, 3);
    world_by_name(&w, COMMAND_GUEST_STOP, names[stopped]);
    assert_true(world_answered(&w, 2000));
    world_run(&w, 1500);
    assert_int_equal(world_n_running(&w, names[first], NULL), 1);
    n_waiting = 0;
    for (unsigned i = 0; i < 9; i++)
        n_waiting += i != stopped && world_n_running(&w, names[i], NULL) == 0;
    assert_int_equal(n_waiting, 2);
    world_deinit(&w);
}

static void test_view_says_how_long_until_a_silent_node_is_lost(void **unused)
{
    struct node_view view;
    struct world w;

    (void)unused;
    lives(&w, 3);
    world_run(&w, 2000);
    core_node_view(w.nodes[1].core, w.nodes[3].id, w.now, &view);
    assert_true(view.present && view.heard && view.may_be_lost);
    assert_in_range(view.lost_in_ms, 560, 620);
    assert_in_range(view.n_beats, 30, 64);
    assert_int_equal(view.n_beats_unanswered, 0);

    world_isolate(&w, 3, true);
    world_run(&w, 500);
    core_node_view(w.nodes[1].core, w.nodes[3].id, w.now, &view);
    assert_in_range(view.heard_ms_ago, 450, 550);
    assert_in_range(view.lost_in_ms, 60, 170);

    world_run(&w, 500);
    core_node_view(w.nodes[1].core, w.nodes[3].id, w.now, &view);
    assert_false(view.may_be_lost); /* it is lost */

    world_isolate(&w, 3, false);
    world_run(&w, 600);
    core_node_view(w.nodes[1].core, w.nodes[3].id, w.now, &view);
    assert_true(view.present);
    assert_in_range(view.n_beats_unanswered, 10, 30);
    world_deinit(&w);
}

static void test_partitioned_node_freezes_before_its_guest_runs_elsewhere(void **unused)
{
    struct world w;
    unsigned at;

    (void)unused;
    lives(&w, 3);
    world_run(&w, 2000);
    at = created(&w, "web", RESTART_ALWAYS);
    if (at == 1) {
        world_migrate(&w, "web", 3);
        assert_true(world_answered(&w, 2000));
        at = 3;
    }
    world_isolate(&w, at, true);
    for (int ms = 0; ms < 2000; ms++) {
        world_run(&w, 1);
        assert_in_range(world_n_running(&w, "web", NULL), 0, 1);
    }
    assert_non_null(world_copy(&w, at, "web"));
    assert_int_equal(world_copy(&w, at, "web")->state, GUEST_FROZEN);
    world_isolate(&w, at, false);
    for (int ms = 0; ms < 1000; ms++) {
        world_run(&w, 1);
        assert_int_equal(world_n_running(&w, "web", NULL), 1);
    }
    assert_null(world_copy(&w, at, "web")); /* no longer its own: destroyed */
    world_deinit(&w);
}

static void test_short_partition_costs_a_pause_never_a_kill(void **unused)
{
    struct world w;
    unsigned at;
    uint64_t epoch;

    (void)unused;
    lives(&w, 3);
    at = created(&w, "web", RESTART_ALWAYS);
    epoch = world_copy(&w, at, "web")->epoch;
    for (unsigned i = 1; i <= 3; i++) /* nobody hears anybody */
        world_isolate(&w, i, true);
    world_run(&w, 1000);
    assert_int_equal(world_n_running(&w, "web", NULL), 0);
    for (unsigned i = 1; i <= 3; i++)
        world_isolate(&w, i, false);
    world_run(&w, 300);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_int_equal(world_copy(&w, at, "web")->epoch, epoch);
    assert_int_equal(world_copy(&w, at, "web")->n_starts, 1);
    world_deinit(&w);
}

static void test_leader_change_freezes_nobody(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 3);
    created(&w, "web", RESTART_ALWAYS);
    world_lead(&w, 0);
    for (int ms = 0; ms < 250; ms++) {
        world_run(&w, 1);
        assert_int_equal(world_n_running(&w, "web", NULL), 1);
    }
    world_lead(&w, 2);
    for (int ms = 0; ms < 3000; ms++) {
        world_run(&w, 1);
        assert_int_equal(world_n_running(&w, "web", NULL), 1);
    }
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(state_node(world_state(&w), w.nodes[i].id)->state, NODE_UP);
    world_deinit(&w);
}

static void test_restart_of_skeind_disturbs_no_guest(void **unused)
{
    struct world w;
    unsigned at;

    (void)unused;
    lives(&w, 3);
    at = created(&w, "web", RESTART_ALWAYS);
    for (unsigned i = 2; i <= 3; i++) {
        world_restart_skeind(&w, i);
        for (int ms = 0; ms < 1000; ms++) {
            world_run(&w, 1);
            assert_int_equal(world_n_running(&w, "web", NULL), 1);
        }
    }
    assert_int_equal(world_copy(&w, at, "web")->n_starts, 1);
    world_deinit(&w);
}

static void test_reboot_places_guests_anew_at_once(void **unused)
{
    struct world w;
    unsigned at;
    uint64_t epoch;

    (void)unused;
    lives(&w, 3);
    at = created(&w, "web", RESTART_ALWAYS);
    if (at == 1) {
        world_migrate(&w, "web", 2);
        assert_true(world_answered(&w, 2000));
        at = 2;
    }
    epoch = world_copy(&w, at, "web")->epoch;
    world_kill(&w, at);
    world_boot(&w, at);
    world_run(&w, 200); /* far less than a lease */
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_true(world_copy(&w, at, "web")->epoch > epoch);
    world_deinit(&w);
}

static void set_maintenance(struct world *w, bool flag)
{
    struct command command = {.type = COMMAND_CLUSTER_SET,
                              .cluster_set = {.setting = SETTING_MAINTENANCE, .flag = flag}};

    world_ask(w, &command);
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
}

static void test_in_maintenance_no_node_is_lost(void **unused)
{
    struct world w;
    unsigned at;

    (void)unused;
    lives(&w, 3);
    at = created_on_a_follower(&w, RESTART_ALWAYS);
    set_maintenance(&w, true);
    world_isolate(&w, at, true);
    world_run(&w, 5000);
    assert_int_equal(state_node(world_state(&w), w.nodes[at].id)->state, NODE_UP);
    assert_int_equal(world_n_running(&w, "web", NULL), 0); /* frozen, and not elsewhere */
    world_isolate(&w, at, false);
    world_run(&w, 500);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_int_equal(world_copy(&w, at, "web")->n_starts, 1);

    world_kill(&w, at); /* a reboot says by itself that the old copy is gone */
    world_run(&w, 3000);
    world_boot(&w, at);
    world_run(&w, 300);
    assert_int_equal(world_n_running(&w, "web", &at), 1);

    world_kill(&w, at == 1 ? 2 : at);
    set_maintenance(&w, false);
    world_run(&w, 1500);
    assert_int_equal(state_node(world_state(&w), w.nodes[at == 1 ? 2 : at].id)->state, NODE_LOST);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node_dies_and_its_guest_runs_elsewhere),
        cmocka_unit_test(test_without_room_guests_wait_and_the_most_important_goes_first),
        cmocka_unit_test(test_view_says_how_long_until_a_silent_node_is_lost),
        cmocka_unit_test(test_partitioned_node_freezes_before_its_guest_runs_elsewhere),
        cmocka_unit_test(test_short_partition_costs_a_pause_never_a_kill),
        cmocka_unit_test(test_leader_change_freezes_nobody),
        cmocka_unit_test(test_restart_of_skeind_disturbs_no_guest),
        cmocka_unit_test(test_reboot_places_guests_anew_at_once),
        cmocka_unit_test(test_in_maintenance_no_node_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Drains with a deadline, and drains and moves that meet nodes without room, in small worlds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/small_world.h"

enum { DEADLINE_MS = 3000 };

static void drain(struct world *w, unsigned node, uint32_t deadline_ms)
{
    struct command command = {.type = COMMAND_NODE_DRAIN,
                              .node_flag = {.flag = true, .drain_ms = deadline_ms}};

    snprintf(command.node_flag.name, NAME_SIZE, "n%u", node);
    world_ask(w, &command);
}

/* A guest on a follower, whose moves never come to an end. */
static unsigned stuck(struct world *w, const struct guest_spec *spec)
{
    struct command command = {.type = COMMAND_GUEST_CREATE};
    unsigned at = 0;

    lives(w, 3);
    command.guest_create.spec = *spec;
    world_ask(w, &command);
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(w, "web", &at), 1);
    w->loses_streams = true;
    return at;
}

static void what_has_not_left_in_time_starts_elsewhere(void **unused)
{
    struct guest_spec spec;
    struct world w;
    unsigned from, to = 0;

    (void)unused;
    world_spec(&spec, "web");
    from = stuck(&w, &spec);
    drain(&w, from, DEADLINE_MS);
    world_run(&w, DEADLINE_MS - 500);
    assert_int_equal(state_guest(world_state(&w), "web")->placement.node, w.nodes[from].id);
    assert_int_equal(world_state(&w)->n_migrations, 1);
    assert_true(world_answered(&w, 2000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    world_run(&w, 2000);
    assert_int_equal(world_n_running(&w, "web", &to), 1);
    assert_int_not_equal(to, from);
    assert_false(state_guest(world_state(&w), "web")->must_leave);
    assert_non_null(strstr(w.records, "guest-leave"));
    world_deinit(&w);
}

/* It is where it was, and nobody asked it to leave. */
static void assert_stays(const struct world *w, unsigned from)
{
    assert_int_equal(state_guest(world_state(w), "web")->placement.node, w->nodes[from].id);
    assert_null(strstr(w->records, "guest-leave"));
}

static void stays(const struct guest_spec *spec, uint32_t deadline_ms)
{
    struct world w;
    unsigned from = stuck(&w, spec);

    drain(&w, from, deadline_ms);
    world_run(&w, 4 * DEADLINE_MS);
    assert_stays(&w, from);
    world_deinit(&w);
}

static void without_a_deadline_it_stays(void **unused)
{
    struct guest_spec spec;

    (void)unused;
    world_spec(&spec, "web");
    stays(&spec, 0);
}

/* Its state is not given up for a deadline. */
static void a_stay_guest_is_not_stopped(void **unused)
{
    struct guest_spec spec;

    (void)unused;
    world_spec(&spec, "web");
    spec.failover = FAILOVER_STAY;
    stays(&spec, DEADLINE_MS);
}

/* Nor does a guest go where its volumes are not. */
static void a_guest_with_volumes_is_not_stopped(void **unused)
{
    struct guest_spec spec;

    (void)unused;
    world_spec(&spec, "web");
    spec.n_volumes = 1;
    spec.volumes = calloc(1, sizeof(*spec.volumes));
    assert_non_null(spec.volumes);
    strcpy(spec.volumes[0].name, "data");
    strcpy(spec.volumes[0].path, "/data");
    stays(&spec, DEADLINE_MS);
}

/* The node is not to be empty any more. */
static void an_end_of_the_drain_ends_its_deadline(void **unused)
{
    struct command undrain = {.type = COMMAND_NODE_DRAIN};
    struct guest_spec spec;
    struct world w;
    unsigned from;

    (void)unused;
    world_spec(&spec, "web");
    from = stuck(&w, &spec);
    drain(&w, from, DEADLINE_MS);
    world_run(&w, DEADLINE_MS / 2);
    snprintf(undrain.node_flag.name, NAME_SIZE, "n%u", from);
    world_ask(&w, &undrain);
    world_run(&w, 2 * DEADLINE_MS);
    assert_stays(&w, from);
    world_deinit(&w);
}

static void a_new_leader_counts_anew(void **unused)
{
    struct guest_spec spec;
    struct world w;
    unsigned from, leader;

    (void)unused;
    world_spec(&spec, "web");
    from = stuck(&w, &spec);
    leader = from == 2 ? 3 : 2;
    drain(&w, from, DEADLINE_MS);
    world_run(&w, DEADLINE_MS - 500);
    world_lead(&w, leader);
    world_run(&w, DEADLINE_MS - 500);
    assert_int_equal(state_guest(world_state(&w), "web")->placement.node, w.nodes[from].id);
    world_run(&w, 2000);
    assert_int_not_equal(state_guest(world_state(&w), "web")->placement.node, w.nodes[from].id);
    world_deinit(&w);
}

/* No other node has lost anything by it, and the guest ran on. */
static void assert_has_gone_to(struct world *w, unsigned from, unsigned to)
{
    unsigned at = 0;

    assert_int_equal(world_n_running(w, "web", &at), 1);
    assert_int_equal(at, to);
    assert_null(world_copy(w, 6 - from - to, "web"));
    assert_int_equal(world_copy(w, to, "web")->n_starts, 1);
}

/* Where the guest is; the better one of the two others has no room for it. */
static unsigned lives_beside_a_full_node(struct world *w)
{
    unsigned from;

    lives(w, 3);
    from = created(w, "web", RESTART_ALWAYS);
    w->full_node = from == 1 ? 2 : 1;
    return from;
}

static void assert_is_done_by_the_third(struct world *w, unsigned from)
{
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
    assert_non_null(strstr(w->records, "MiB free for files, it brings 300 MiB"));
    assert_has_gone_to(w, from, 6 - from - w->full_node);
}

/* The drain does not insist on the full one, nor wait. */
static void a_full_target_is_passed_by(void **unused)
{
    struct world w;
    unsigned from;

    (void)unused;
    from = lives_beside_a_full_node(&w);
    drain(&w, from, 0);
    assert_is_done_by_the_third(&w, from);
    world_deinit(&w);
}

/* Nowhere to go: it stays, the reason is told, and it goes when there is room again. */
static void a_full_cluster_keeps_it(void **unused)
{
    struct world w;
    unsigned from, to;

    (void)unused;
    lives(&w, 2);
    from = created(&w, "web", RESTART_ALWAYS);
    to = 3 - from;
    w.full_node = to;
    drain(&w, from, 0);
    assert_true(world_answered(&w, 2000));
    assert_int_equal(w.answer.kind, ANSWER_NO_PLACE);
    assert_non_null(strstr(w.answer.text, "has 120 MiB free for files, it brings 300 MiB"));
    world_run(&w, 20000); /* the move's own failure is forgotten by now */
    assert_int_equal(world_n_running(&w, "web", &from), 1);
    assert_int_equal(from, 3 - to);
    w.full_node = 0;
    world_run(&w, 60000);
    assert_int_equal(world_n_running(&w, "web", &from), 1);
    assert_int_equal(from, to);
    world_deinit(&w);
}

/* Likewise a move whose target nobody named; one that is named is tried each time. */
static void a_move_without_a_target_passes_a_full_one_by(void **unused)
{
    struct world w;
    unsigned from;

    (void)unused;
    from = lives_beside_a_full_node(&w);
    for (int i = 0; i < 2; i++) {
        world_migrate(&w, "web", w.full_node);
        assert_true(world_answered(&w, 2000));
        assert_int_equal(w.answer.kind, ANSWER_REFUSED);
        assert_non_null(strstr(w.answer.text, "has 120 MiB free for files, it brings 300 MiB"));
        assert_int_equal(world_copy(&w, from, "web")->state, GUEST_RUNNING);
    }
    world_migrate(&w, "web", 0);
    assert_is_done_by_the_third(&w, from);
    world_deinit(&w);
}

/* The same, of a leader that has not heard of it before. */
static void a_move_finds_out_that_the_first_target_is_full(void **unused)
{
    struct world w;
    unsigned from;

    (void)unused;
    from = lives_beside_a_full_node(&w);
    world_migrate(&w, "web", 0);
    assert_is_done_by_the_third(&w, from);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_not_left_in_time_starts_elsewhere),
        cmocka_unit_test(without_a_deadline_it_stays),
        cmocka_unit_test(a_stay_guest_is_not_stopped),
        cmocka_unit_test(a_guest_with_volumes_is_not_stopped),
        cmocka_unit_test(an_end_of_the_drain_ends_its_deadline),
        cmocka_unit_test(a_new_leader_counts_anew),
        cmocka_unit_test(a_full_target_is_passed_by),
        cmocka_unit_test(a_full_cluster_keeps_it),
        cmocka_unit_test(a_move_without_a_target_passes_a_full_one_by),
        cmocka_unit_test(a_move_finds_out_that_the_first_target_is_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

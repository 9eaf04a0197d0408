/* Post-copy as the core carries it out: the handover, and every way in which memory does not come.
 */
#include <errno.h>
#include <string.h>

#include "migrate/saga.h"
#include "tests/unit/small_world.h"

/* A cluster with a guest "web" away from the leader; where it runs, and where it is to go. */
static void begun(struct world *w, enum restart_policy restart, unsigned *ret_from,
                  unsigned *ret_to)
{
    lives(w, 4);
    world_run(w, 1500);
    *ret_from = created_on_a_follower(w, restart);
    *ret_to = *ret_from == 4 ? 3 : 4;
    w->mode = MOVE_POST;
}

static enum migration_phase phase(struct world *w)
{
    const struct state *s = world_state(w);

    return s->n_migrations > 0 ? s->migrations[0].phase : 0;
}

static void test_the_guest_runs_before_its_memory_is_there(void **unused)
{
    struct world w;
    unsigned from, to, at = 0;
    bool ran_in_handover = false;

    (void)unused;
    begun(&w, RESTART_ALWAYS, &from, &to);
    world_migrate(&w, "web", to);
    while (!w.has_answer && w.now < 20000000) {
        world_run(&w, 1);
        assert_in_range(world_n_running(&w, "web", &at), 0, 1);
        if (world_n_running(&w, "web", &at) == 1 && at == to && phase(&w) == MIGRATION_HANDOVER) {
            ran_in_handover = true;
            assert_int_equal(world_copy(&w, from, "web")->state, GUEST_HANDED_OVER);
        }
    }
    assert_true(ran_in_handover);
    /* Its stream is not held back as long as it stands still, and gives way once it runs. */
    assert_int_equal(w.manner, PACE_URGENT);
    assert_int_equal(w.n_calmed, 1);
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_string_equal(w.answer.mode, "post-copy");
    assert_in_range(w.answer.blackout_us, 45000, 60000);
    assert_true(w.answer.total_ms >= WORLD_MEMORY_US / 1000 + 50);
    world_run(&w, 200);
    assert_null(world_copy(&w, from, "web"));
    assert_int_equal(world_copy(&w, to, "web")->n_starts, 1);
    world_deinit(&w);
}

static void test_whoever_waits_hears_how_far_it_is(void **unused)
{
    struct world w;
    unsigned from, to;

    (void)unused;
    begun(&w, RESTART_ALWAYS, &from, &to);
    world_migrate(&w, "web", to);
    assert_true(world_answered(&w, 5000));
    assert_true(w.n_progress >= 4); /* copying, committed, fetching, and bytes */
    assert_string_equal(w.progress.step, "running");
    assert_int_equal(w.progress.progress.total_bytes, 1u << 30);
    assert_true(w.progress.progress.done_bytes > 0);
    assert_in_range(w.progress.rate_kbps, 1, 100); /* a byte a ms: 8 kbit/s */
    assert_non_null(strstr(w.progress.text, "running: "));
    world_deinit(&w);
}

/* A guest that stands still for its copy does so for a minute at most; one that runs meanwhile is
 * copied for as long as that takes, though nobody asked for pre-copy by name. */
static void test_rounds_of_pre_copy_take_their_time(void **unused)
{
    (void)unused;
    for (uint32_t rounds = 0; rounds < 2; rounds++) {
        struct world w;
        unsigned from, to;

        begun(&w, RESTART_ALWAYS, &from, &to);
        w.mode = rounds == 0 ? MOVE_STOP : MOVE_PRE;
        w.rounds = rounds;
        w.copy_us = SAGA_COPY_LIMIT_MS * 1500ull;
        world_migrate(&w, "web", to);
        assert_true(world_answered(&w, 2 * SAGA_COPY_LIMIT_MS));
        assert_int_equal(w.answer.kind, rounds == 0 ? ANSWER_REFUSED : ANSWER_DONE);
        if (rounds > 0)
            assert_string_equal(w.answer.mode, "pre-copy");
        world_deinit(&w);
    }
}

/* The hand-over is committed, and the target's copy ends before it is let go. A machine's source
 * has given nothing out yet, and goes on; a cell may have asked for memory, and starts anew. */
static void test_what_ends_before_it_is_let_go(void **unused)
{
    static const enum guest_kind kinds[] = {KIND_VM, KIND_CELL};

    (void)unused;
    for (unsigned i = 0; i < 2; i++) {
        struct world w;
        unsigned from, to, at = 0;

        lives(&w, 4);
        world_run(&w, 1500);
        w.kind = kinds[i];
        from = created_on_a_follower(&w, RESTART_ALWAYS);
        to = from == 4 ? 3 : 4;
        w.mode = MOVE_POST;
        world_migrate(&w, "web", to);
        do
            world_run(&w, 1);
        while (phase(&w) != MIGRATION_HANDOVER && !w.has_answer);
        assert_int_equal(world_copy(&w, to, "web")->state, GUEST_RECEIVED);
        world_end_target(&w, to, "web");
        world_run(&w, 3000);
        assert_int_equal(world_n_running(&w, "web", &at), 1);
        assert_int_equal(at, kinds[i] == KIND_VM ? from : to);
        assert_int_equal(w.answer.kind, kinds[i] == KIND_VM ? ANSWER_REFUSED : ANSWER_DONE);
        assert_null(world_copy(&w, kinds[i] == KIND_VM ? to : from, "web"));
        assert_int_equal(world_state(&w)->n_migrations, 0);
        world_deinit(&w);
    }
}

/* The moment when it runs at the target and has not got its memory. */
static void until_fetching(struct world *w, unsigned to)
{
    unsigned at = 0;

    world_migrate(w, "web", to);
    for (int i = 0; i < 2000; i++) {
        world_run(w, 1);
        if (phase(w) == MIGRATION_HANDOVER && world_n_running(w, "web", &at) == 1 && at == to)
            return;
    }
    fail_msg("no handover:\n%s", w->records);
}

/* The memory's own keepers say what becomes of that. */
static void test_the_end_of_a_stream_is_no_abort_behind_the_handover(void **unused)
{
    struct world w;
    unsigned from, to;

    (void)unused;
    begun(&w, RESTART_ALWAYS, &from, &to);
    until_fetching(&w, to);
    world_end_stream(&w, -ETIMEDOUT);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_string_equal(w.answer.mode, "post-copy");
    world_deinit(&w);
}

static void test_a_lost_source_ends_the_half_copy(void **unused)
{
    struct world w;
    unsigned from, to, at = 0;

    (void)unused;
    begun(&w, RESTART_ALWAYS, &from, &to);
    until_fetching(&w, to);
    world_kill(&w, from);
    assert_true(world_answered(&w, 5000));
    world_run(&w, 1500);
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_int_equal(at, to);
    assert_true(world_copy(&w, to, "web")->n_starts > 1); /* anew, in its place */
    assert_int_equal(world_state(&w)->n_migrations, 0);
    world_deinit(&w);
}

static void test_without_a_restart_it_is_lost(void **unused)
{
    struct world w;
    unsigned from, to;

    (void)unused;
    begun(&w, RESTART_NEVER, &from, &to);
    until_fetching(&w, to);
    world_kill(&w, from);
    world_run(&w, 3000);
    assert_int_equal(world_n_running(&w, "web", NULL), 0);
    assert_int_equal(world_state(&w)->n_migrations, 0);
    assert_int_equal(state_guest(world_state(&w), "web")->desired, DESIRED_STOPPED);
    world_deinit(&w);
}

static void test_a_lost_target_is_a_loss_like_any_other(void **unused)
{
    struct world w;
    unsigned from, to, at = 0;

    (void)unused;
    begun(&w, RESTART_ALWAYS, &from, &to);
    until_fetching(&w, to);
    world_kill(&w, to);
    world_run(&w, 2500);
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_true(at != to);
    assert_int_equal(world_copy(&w, at, "web")->n_starts, 1); /* a new life, not the frozen copy */
    assert_int_equal(world_state(&w)->n_migrations, 0);
    world_deinit(&w);
}

/* At any moment, either end: one copy in the end, at most one at any time. */
static void harm(void (*how)(struct world *w, unsigned node), unsigned end, unsigned ms)
{
    struct world w;
    unsigned from, to;
    bool is_well;

    begun(&w, RESTART_ALWAYS, &from, &to);
    world_migrate(&w, "web", to);
    world_run(&w, ms);
    how(&w, end == 0 ? from : to);
    is_well = keeps_one_copy(&w, 2500);
    if (!is_well)
        print_error("end %u harmed at %u ms:\n%s", end, ms, w.records);
    assert_true(is_well);
    world_deinit(&w);
}

static void test_it_survives_the_death_of_either_end(void **unused)
{
    (void)unused;
    for (unsigned ms = 1; ms < 760; ms += 23) {
        for (unsigned end = 0; end < 2; end++)
            harm(world_kill, end, ms);
    }
}

static void test_it_survives_restarts_of_skeind(void **unused)
{
    (void)unused;
    for (unsigned ms = 1; ms < 760; ms += 23) {
        for (unsigned end = 0; end < 2; end++)
            harm(world_restart_skeind, end, ms);
    }
}

static void test_memory_that_does_not_come_is_a_failure_of_the_guest(void **unused)
{
    struct world w;
    unsigned from, to;

    (void)unused;
    begun(&w, RESTART_ALWAYS, &from, &to);
    w.fail_op = GUARD_AWAIT;
    w.fail_code = -EREMOTEIO;
    world_migrate(&w, "web", to);
    assert_true(world_answered(&w, 5000));
    assert_string_equal(w.answer.mode, "restart");
    world_run(&w, 1500);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_true(world_copy(&w, to, "web")->n_starts > 1);
    world_deinit(&w);
}

/* The mode goes by what is free of the source's uplink: what its other classes send is not; what
 * arrives, and bulk, which shares with a move, is. */
static void test_the_way_is_as_free_as_it_is_to_a_move(void **unused)
{
    struct core_event event = {.type = CORE_LINKS, .links = {.has_queues = true}};
    const struct move_terms terms = MOVE_TERMS_DEFAULT;
    struct core_actions actions = {0};
    const struct state *state;
    struct mode_wish wish;
    unsigned from, to;
    struct world w;

    (void)unused;
    begun(&w, RESTART_ALWAYS, &from, &to);
    state = core_state(w.nodes[from].core);
    ((struct node *)state_node(state, w.nodes[from].id))->facts.backhaul_kbps = 100000;
    ((struct node *)state_node(state, w.nodes[to].id))->facts.backhaul_kbps = 200000;
    event.links.in.kbps = event.links.out.kbps = 100000;
    event.links.queues[BACKHAUL_CONTROL].kbps = 100;
    event.links.queues[BACKHAUL_SLICES].kbps = 200;
    event.links.queues[BACKHAUL_BULK].kbps = 99700;
    core_step(w.nodes[from].core, &event, w.now, &actions);
    core_actions_deinit(&actions);
    core_move_wish(w.nodes[from].core, state_guest(state, "web"), w.nodes[from].id, w.nodes[to].id,
                   &terms, &wish);
    assert_int_equal(wish.link_kbps, 99700);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_way_is_as_free_as_it_is_to_a_move),
        cmocka_unit_test(test_the_guest_runs_before_its_memory_is_there),
        cmocka_unit_test(test_whoever_waits_hears_how_far_it_is),
        cmocka_unit_test(test_rounds_of_pre_copy_take_their_time),
        cmocka_unit_test(test_what_ends_before_it_is_let_go),
        cmocka_unit_test(test_the_end_of_a_stream_is_no_abort_behind_the_handover),
        cmocka_unit_test(test_a_lost_source_ends_the_half_copy),
        cmocka_unit_test(test_without_a_restart_it_is_lost),
        cmocka_unit_test(test_a_lost_target_is_a_loss_like_any_other),
        cmocka_unit_test(test_it_survives_the_death_of_either_end),
        cmocka_unit_test(test_it_survives_restarts_of_skeind),
        cmocka_unit_test(test_memory_that_does_not_come_is_a_failure_of_the_guest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The core in small worlds: moves of guests, undone, struck and asked for again. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/show_jansson.h"
#include "agent/core/internal.h"
#include "tests/unit/small_world.h"

static void test_migration_moves_the_guest_and_says_its_blackout(void **unused)
{
    struct world w;
    unsigned from, to, at = 0;

    (void)unused;
    lives(&w, 3);
    from = created(&w, "web", RESTART_ALWAYS);
    to = from % 3 + 1;
    world_migrate(&w, "web", to);
    while (!w.has_answer && w.now < 10000000) {
        world_run(&w, 1);
        assert_in_range(world_n_running(&w, "web", NULL), 0, 1);
    }
    if (w.answer.kind != ANSWER_DONE)
        print_error("%s\n%s", w.answer.text, w.records);
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(w.answer.from, w.nodes[from].id);
    assert_int_equal(w.answer.node, w.nodes[to].id);
    assert_int_equal(w.answer.bytes, 4096);
    assert_string_equal(w.answer.mode, "stop-and-copy");
    /* frozen for half the copy, the commit and the start, and no beat interval in between */
    assert_in_range(w.answer.blackout_us, 45000, 60000);
    assert_in_range(w.answer.total_ms, 70, 150);
    world_run(&w, 200);
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_int_equal(at, to);
    assert_null(world_copy(&w, from, "web"));
    assert_int_equal(world_state(&w)->n_migrations, 0);
    world_deinit(&w);
}

/* The move was refused, and the guest goes on at the source: nothing of it is left at the target.
 */
static void assert_goes_on(struct world *w, unsigned from, unsigned to)
{
    unsigned at = 0;

    assert_true(world_answered(w, 5000));
    assert_int_equal(w->answer.kind, ANSWER_REFUSED);
    assert_non_null(strstr(w->answer.text, "made to fail"));
    world_run(w, 300);
    assert_int_equal(world_n_running(w, "web", &at), 1);
    assert_int_equal(at, from);
    assert_null(world_copy(w, to, "web"));
    assert_int_equal(world_state(w)->n_migrations, 0);
}

/* Every step of the guard that can fail before the commit leaves the guest where it was. */
static void test_failed_migration_leaves_the_guest_where_it_was(void **unused)
{
    static const enum guard_op ops[] = {GUARD_PREPARE, GUARD_CAPTURE, GUARD_RECEIVE};

    (void)unused;
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        unsigned from;

        lives(&w, 3);
        from = created(&w, "web", RESTART_ALWAYS);
        w.fail_op = ops[i];
        w.fail_code = -EIO;
        world_migrate(&w, "web", from % 3 + 1);
        assert_goes_on(&w, from, from % 3 + 1);
        world_deinit(&w);
    }
}

/* Behind the commit, too: what the source holds is whole. */
static void test_guest_that_cannot_be_activated_goes_on_where_it_was(void **unused)
{
    struct world w;
    unsigned from;
    uint64_t epoch;

    (void)unused;
    lives(&w, 3);
    from = created(&w, "web", RESTART_ALWAYS);
    epoch = state_guest(world_state(&w), "web")->placement.epoch;
    w.fail_op = GUARD_ACTIVATE;
    w.fail_code = -EIO;
    world_migrate(&w, "web", from % 3 + 1);
    assert_goes_on(&w, from, from % 3 + 1);
    assert_int_equal(state_guest(world_state(&w), "web")->placement.epoch, epoch);
    world_deinit(&w);
}

/* It was received, and ends there before it runs: before the commit (delay 0) or behind it. */
static void test_guest_whose_target_ends_goes_on_where_it_was(void **unused)
{
    (void)unused;
    for (unsigned delay_ms = 0; delay_ms < 6; delay_ms++) {
        const struct guard_report *copy;
        struct world w;
        unsigned from, to, at = 0;

        lives(&w, 3);
        from = created(&w, "web", RESTART_ALWAYS);
        to = from % 3 + 1;
        world_migrate(&w, "web", to);
        do {
            world_run(&w, 1);
            copy = world_copy(&w, to, "web");
        } while ((copy == NULL || copy->state != GUEST_RECEIVED) && !w.has_answer);
        world_run(&w, delay_ms);
        copy = world_copy(&w, to, "web");
        assert_true(copy != NULL && copy->state == GUEST_RECEIVED);
        world_end_target(&w, to, "web");
        assert_true(world_answered(&w, 5000));
        assert_int_equal(w.answer.kind, ANSWER_REFUSED);
        world_run(&w, 300);
        assert_int_equal(world_n_running(&w, "web", &at), 1);
        assert_int_equal(at, from);
        assert_null(world_copy(&w, to, "web"));
        assert_int_equal(world_state(&w)->n_migrations, 0);
        if (to == w.leader)
            assert_non_null(strstr(w.records, "ended on n1 before it ran"));
        world_deinit(&w);
    }
}

/* Nothing is thrown away for a switch that does not follow: it is said, and tried again. Only what
 * happens on the leader is kept in the world's records: the guest moves there. */
static void test_guest_whose_switch_does_not_follow_is_activated_later(void **unused)
{
    struct world w;
    unsigned from, at = 0;

    (void)unused;
    lives(&w, 3);
    from = created(&w, "web", RESTART_ALWAYS);
    if (from == w.leader) {
        world_migrate(&w, "web", from % 3 + 1);
        assert_true(world_answered(&w, 5000));
        world_run(&w, 300);
    }
    w.fail_op = GUARD_ACTIVATE;
    w.fail_code = -ETIMEDOUT;
    world_migrate(&w, "web", w.leader);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_string_equal(w.answer.mode, "stop-and-copy");
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_int_equal(at, w.leader);
    assert_non_null(strstr(w.records, " migration-waits web: made to fail"));
    world_deinit(&w);
}

/* Whoever reads the events learns what became of a move. */
static bool says_its_end(const struct world *w)
{
    static const char *const ends[] = {" migration-done web", " migration-abort web",
                                       " migration-return web", " migration-lost web"};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (strstr(w->records, ends[i]) != NULL)
            return true;
    }
    return strstr(w->records, " migration-reserve web") == NULL;
}

/* Something happens to the source (end 0) or the target (end 1) at a moment of a migration: one
 * copy in the end, at most one at any time. */
static void harm_a_migration(void (*harm)(struct world *w, unsigned node), unsigned end,
                             unsigned ms)
{
    struct world w;
    unsigned from, to;
    bool is_well;

    lives(&w, 4);
    world_run(&w, 2000);
    from = created_on_a_follower(&w, RESTART_ALWAYS);
    to = from == 4 ? 3 : 4;
    world_migrate(&w, "web", to);
    world_run(&w, ms);
    harm(&w, end == 0 ? from : to);
    is_well = keeps_one_copy(&w, 1500) && says_its_end(&w);
    if (!is_well)
        print_error("end %u harmed at %u ms:\n%s", end, ms, w.records);
    assert_true(is_well);
    world_deinit(&w);
}

static void test_migration_survives_the_death_of_either_end(void **unused)
{
    (void)unused;
    for (unsigned ms = 1; ms < 140; ms += 3) {
        for (unsigned end = 0; end < 2; end++)
            harm_a_migration(world_kill, end, ms);
    }
}

/* The guards go on. */
static void test_migration_survives_restarts_of_skeind(void **unused)
{
    (void)unused;
    for (unsigned ms = 1; ms < 140; ms += 3) {
        for (unsigned end = 0; end < 2; end++)
            harm_a_migration(world_restart_skeind, end, ms);
    }
}

static void ask_move_by(struct world *w, const char *guest, unsigned to,
                        const struct move_terms *terms)
{
    struct command command = {.type = COMMAND_MIGRATION_RESERVE, .request = {42}};

    snprintf(command.migration_reserve.guest, NAME_SIZE, "%s", guest);
    command.migration_reserve.target.node = w->nodes[to].id;
    command.migration_reserve.terms = *terms;
    world_ask(w, &command);
}

static void ask_move(struct world *w, const char *guest, unsigned to)
{
    ask_move_by(w, guest, to, &MOVE_TERMS_DEFAULT);
}

static void test_several_connections_are_for_machines(void **unused)
{
    static const enum guest_kind kinds[] = {KIND_VM, KIND_CELL};
    const struct move_terms terms = {MOVE_PRE, MOVE_DOWNTIME_MS, 0, 4};

    (void)unused;
    for (unsigned i = 0; i < 2; i++) {
        struct mode_wish wish;
        struct world w;
        unsigned from, to;

        lives(&w, 3);
        w.kind = kinds[i];
        from = created(&w, "web", RESTART_ALWAYS);
        to = from % 3 + 1;
        w.has_answer = false;
        ask_move_by(&w, "web", to, &terms);
        for (int ms = 0; ms < 1000 && !w.has_answer && world_state(&w)->n_migrations == 0; ms++)
            world_run(&w, 1);
        assert_int_equal(world_state(&w)->n_migrations, kinds[i] == KIND_VM);
        if (kinds[i] == KIND_VM) {
            const struct migration *m = &world_state(&w)->migrations[0];

            core_move_wish(w.nodes[from].core, state_guest(world_state(&w), "web"), m->from, m->to,
                           &m->terms, &wish);
            assert_int_equal(wish.terms.connections, 4);
        }
        assert_true(world_answered(&w, 5000));
        assert_int_equal(w.answer.kind, kinds[i] == KIND_VM ? ANSWER_DONE : ANSWER_REFUSED);
        if (kinds[i] != KIND_VM)
            assert_string_equal(w.answer.text, "guest web is no vm: it moves by one connection");
        assert_int_equal(state_guest(world_state(&w), "web")->placement.node,
                         w.nodes[kinds[i] == KIND_VM ? to : from].id);
        world_deinit(&w);
    }
}

static void test_a_move_outlasts_its_leader(void **unused)
{
    struct world w;
    unsigned at, to;

    (void)unused;
    lives(&w, 3);
    at = created(&w, "web", RESTART_ALWAYS);
    to = at == 3 ? 2 : 3;
    ask_move(&w, "web", to);
    for (int ms = 0; ms < 1000 && world_state(&w)->n_migrations == 0; ms++)
        world_run(&w, 1);
    assert_int_equal(world_state(&w)->n_migrations, 1);
    world_lead(&w, 2);
    assert_true(w.has_answer);
    assert_int_equal(w.answer.kind, ANSWER_LEADER_LOST);

    world_run(&w, 100);
    ask_move(&w, "web", to); /* the same again: no second move */
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(state_guest(world_state(&w), "web")->placement.node, w.nodes[to].id);

    ask_move(&w, "web", to); /* over, and this leader knows how it ended */
    assert_true(world_answered(&w, 1100));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    world_deinit(&w);
}

static void test_a_move_that_was_undone_unseen(void **unused)
{
    struct world w;
    unsigned at, to;

    (void)unused;
    lives(&w, 3);
    at = created(&w, "web", RESTART_ALWAYS);
    to = at == 3 ? 2 : 3;
    w.fail_op = GUARD_RECEIVE;
    w.fail_code = -EIO;
    ask_move(&w, "web", to);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);
    ask_move(&w, "web", to);
    assert_true(world_answered(&w, 10));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);
    world_deinit(&w);
}

/* Captured, and nothing of it arrives. Returns where it stands still. */
static unsigned until_its_stream_is_lost(struct world *w)
{
    unsigned from;

    lives(w, 3);
    from = created(w, "web", RESTART_ALWAYS);
    w->loses_streams = true;
    world_migrate(w, "web", from % 3 + 1);
    world_run(w, 300);
    assert_int_equal(world_n_running(w, "web", NULL), 0);
    assert_int_equal(world_copy(w, from, "web")->state, GUEST_HANDED_OVER);
    return from;
}

/* Runs until it is thawed; after how many ms that was. */
static unsigned thawed_after(struct world *w, unsigned from)
{
    unsigned ms = 0, at = 0;

    while (world_n_running(w, "web", &at) == 0 && ms++ < 20000)
        world_run(w, 1);
    assert_int_equal(at, from);
    world_run(w, 300);
    assert_int_equal(w->answer.kind, ANSWER_REFUSED);
    assert_null(world_copy(w, from % 3 + 1, "web"));
    assert_int_equal(world_state(w)->n_migrations, 0);
    return ms;
}

/* Nobody at the source writes any more, and the target hears nothing of the end. */
static void test_a_guest_does_not_wait_for_a_stream_that_broke(void **unused)
{
    struct world w;
    unsigned from;

    (void)unused;
    from = until_its_stream_is_lost(&w);
    assert_int_equal(w.patience_ms, SAGA_PATIENCE_MS);
    world_end_stream(&w, -ETIMEDOUT);
    assert_in_range(thawed_after(&w, from), 1, 50);
    assert_non_null(strstr(w.answer.text, "web: nothing is acknowledged any more by node n"));
    world_deinit(&w);

    from = until_its_stream_is_lost(&w);
    world_end_stream(&w, -ECONNRESET);
    assert_in_range(thawed_after(&w, from), SAGA_LAST_WORD_MS, SAGA_LAST_WORD_MS + 50);
    assert_non_null(strstr(w.answer.text, "web: the stream broke to node n"));
    world_deinit(&w);
}

/* Whoever broke it knows best why. */
static void test_the_target_has_the_last_word_on_a_stream_that_broke(void **unused)
{
    struct world w;
    unsigned from;

    (void)unused;
    from = until_its_stream_is_lost(&w);
    world_end_stream(&w, -ECONNRESET);
    world_run(&w, 100);
    w.fail_op = GUARD_RECEIVE;
    w.fail_code = -ENOSPC;
    w.loses_streams = false;
    assert_in_range(thawed_after(&w, from), 1, 50);
    assert_non_null(strstr(w.answer.text, "made to fail"));
    world_deinit(&w);
}

/* The source hears first that nobody takes what it sends. */
static void test_the_target_has_the_last_word_on_a_capture_that_broke(void **unused)
{
    struct world w;
    unsigned from;

    (void)unused;
    for (int says_why = 0; says_why < 2; says_why++) {
        lives(&w, 3);
        from = created(&w, "web", RESTART_ALWAYS);
        w.loses_streams = true;
        w.fail_op = GUARD_CAPTURE;
        w.fail_code = -EPIPE;
        world_migrate(&w, "web", from % 3 + 1);
        world_run(&w, 300);
        assert_int_equal(world_copy(&w, from, "web")->state, GUEST_RUNNING);
        assert_int_equal(world_state(&w)->n_migrations, 1);
        w.fail_op = says_why ? GUARD_RECEIVE : 0;
        w.fail_code = -ENOSPC;
        w.loses_streams = !says_why;
        assert_true(world_answered(&w, says_why ? 100 : SAGA_LAST_WORD_MS + 50));
        assert_int_equal(w.answer.kind, ANSWER_REFUSED);
        assert_non_null(strstr(w.answer.text, says_why ? "receive on n" : "capture on n"));
        world_deinit(&w);
    }
}

/* Both ends are done with it, and the commit is on its way. */
static void test_a_stream_that_ended_as_it_should_is_no_obstacle(void **unused)
{
    struct world w;

    (void)unused;
    until_its_stream_is_lost(&w);
    world_end_stream(&w, 0);
    world_run(&w, 2 * SAGA_LAST_WORD_MS);
    assert_int_equal(world_state(&w)->n_migrations, 1);
    w.loses_streams = false;
    assert_true(world_answered(&w, 2000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    world_deinit(&w);
}

/* Where "web" is to run. */
static uint64_t place_of_web(const struct world *w)
{
    return state_guest(world_state(w), "web")->placement.node;
}

static void assert_shows_no_blackout(const struct world *w)
{
    struct show show = {.core = w->nodes[w->leader].core, .now = w->now};
    json_t *shown = show_migrated(&show, "web", &w->answer);

    assert_true(json_is_null(json_object_get(shown, "blackout_ms")));
    assert_true(json_is_null(json_object_get(shown, "bytes")) == (w->answer.bytes == 0));
    json_decref(shown);
}

/* The source alone knows since when its guest stood still. */
static void test_blackout_that_nobody_knows_is_none(void **unused)
{
    struct world w;
    unsigned from, to;

    (void)unused;
    lives(&w, 4);
    from = created_on_a_follower(&w, RESTART_ALWAYS);
    to = from == 4 ? 3 : 4;
    w.has_answer = false;
    world_migrate(&w, "web", to);
    for (int ms = 0; ms < 1000 && place_of_web(&w) == w.nodes[from].id; ms++)
        world_run(&w, 1);
    world_kill(&w, from);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(w.answer.node, w.nodes[to].id);
    assert_int_equal(w.answer.blackout_us, 0);
    assert_non_null(strstr(w.answer.text, "how long the guest stood still is not known"));
    assert_shows_no_blackout(&w);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migration_moves_the_guest_and_says_its_blackout),
        cmocka_unit_test(test_failed_migration_leaves_the_guest_where_it_was),
        cmocka_unit_test(test_guest_that_cannot_be_activated_goes_on_where_it_was),
        cmocka_unit_test(test_guest_whose_target_ends_goes_on_where_it_was),
        cmocka_unit_test(test_guest_whose_switch_does_not_follow_is_activated_later),
        cmocka_unit_test(test_migration_survives_the_death_of_either_end),
        cmocka_unit_test(test_migration_survives_restarts_of_skeind),
        cmocka_unit_test(test_several_connections_are_for_machines),
        cmocka_unit_test(test_a_move_outlasts_its_leader),
        cmocka_unit_test(test_a_move_that_was_undone_unseen),
        cmocka_unit_test(test_a_guest_does_not_wait_for_a_stream_that_broke),
        cmocka_unit_test(test_the_target_has_the_last_word_on_a_stream_that_broke),
        cmocka_unit_test(test_the_target_has_the_last_word_on_a_capture_that_broke),
        cmocka_unit_test(test_a_stream_that_ended_as_it_should_is_no_obstacle),
        cmocka_unit_test(test_blackout_that_nobody_knows_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

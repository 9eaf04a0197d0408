/* Health checks, as the core decides them; see agent/core/health.c. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/health.h"
#include "tests/support/world.h"

static const struct health_check every_second = {
    .kind = HEALTH_TCP, .port = 80, .interval_ms = 1000, .timeout_ms = 500, .retries = 3};

static unsigned begun(struct world *w, const struct health_check *health,
                      enum restart_policy restart)
{
    unsigned at = 0;

    world_init(w, 3);
    world_run(w, 500);
    w->health = *health;
    world_create(w, "web", restart);
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(w, "web", &at), 1);
    return at;
}

static struct guest_view seen(struct world *w)
{
    struct guest_view view;

    core_guest_view(w->nodes[w->leader].core, "web", &view);
    return view;
}

static void test_a_guest_is_starting_then_healthy(void **unused)
{
    struct world w;

    (void)unused;
    begun(&w, &every_second, RESTART_ALWAYS);
    assert_string_equal(seen(&w).health, "starting");
    world_run(&w, 1200);
    assert_string_equal(seen(&w).health, "healthy");
    assert_non_null(strstr(w.records, "guest-healthy"));
    world_run(&w, 10000);
    assert_in_range(w.n_checks, 9, 11);
    assert_int_equal(seen(&w).n_starts, 1);
    world_deinit(&w);
}

static void test_failures_in_a_row_start_it_again_in_place(void **unused)
{
    struct world w;
    unsigned at, now_at = 0;
    uint64_t epoch;

    (void)unused;
    at = begun(&w, &every_second, RESTART_ALWAYS);
    epoch = world_copy(&w, at, "web")->epoch;
    world_run(&w, 1200);
    w.check_code = -EREMOTEIO;
    world_run(&w, 2200);
    assert_int_equal(seen(&w).n_check_failures, 2);
    assert_int_equal(seen(&w).n_starts, 1); /* two are not three */
    w.check_code = 0;
    world_run(&w, 1100);
    assert_int_equal(seen(&w).n_check_failures, 0); /* … and a success forgets them */
    w.check_code = -EREMOTEIO;
    world_run(&w, 3500);
    w.check_code = 0;
    world_run(&w, 2000);
    assert_non_null(strstr(w.records, "guest-unhealthy"));
    assert_int_equal(world_n_running(&w, "web", &now_at), 1);
    assert_int_equal(now_at, at);
    assert_int_equal(world_copy(&w, at, "web")->epoch, epoch);
    assert_int_equal(seen(&w).n_starts, 2);
    assert_string_equal(seen(&w).health, "healthy");
    world_deinit(&w);
}

static void test_failures_while_it_starts_do_not_count(void **unused)
{
    struct health_check slow = every_second;
    struct world w;

    (void)unused;
    slow.start_ms = 10000;
    begun(&w, &slow, RESTART_ALWAYS);
    w.check_code = -EREMOTEIO;
    world_run(&w, 9000);
    assert_string_equal(seen(&w).health, "starting");
    assert_int_equal(seen(&w).n_check_failures, 0);
    assert_int_equal(seen(&w).n_starts, 1);
    world_run(&w, 6000);
    assert_int_equal(seen(&w).n_starts, 2);
    world_deinit(&w);
}

static void test_a_frozen_guest_is_not_blamed(void **unused)
{
    struct world w;
    unsigned at;
    uint32_t n;

    (void)unused;
    at = begun(&w, &every_second, RESTART_ALWAYS);
    world_run(&w, 1200);
    for (unsigned i = 1; i <= 3; i++) /* no quorum anywhere: nobody is lost, all freeze */
        world_isolate(&w, i, true);
    world_run(&w, 1500);
    assert_true(w.nodes[at].guard.holder.lapsed);
    w.check_code = -EREMOTEIO;
    n = w.n_checks;
    world_run(&w, 10000);
    assert_int_equal(w.n_checks, n);
    w.check_code = 0;
    for (unsigned i = 1; i <= 3; i++)
        world_isolate(&w, i, false);
    world_lead(&w, 1);
    world_run(&w, 3000);
    assert_null(strstr(w.records, "guest-unhealthy"));
    assert_true(w.n_checks > n);
    world_deinit(&w);
}

static void test_what_could_not_be_checked_says_nothing(void **unused)
{
    struct world w;

    (void)unused;
    begun(&w, &every_second, RESTART_ALWAYS);
    world_run(&w, 1200);
    w.check_code = -EAGAIN;
    world_run(&w, 8000);
    assert_string_equal(seen(&w).health, "healthy");
    assert_int_equal(seen(&w).n_check_failures, 0);
    world_deinit(&w);
}

static void test_never_restart_is_honoured(void **unused)
{
    struct world w;

    (void)unused;
    begun(&w, &every_second, RESTART_NEVER);
    w.check_code = -EREMOTEIO;
    world_run(&w, 6000);
    assert_int_equal(world_n_running(&w, "web", NULL), 0);
    assert_string_equal(core_guest_state_word(w.nodes[1].core, "web"), "stopped");
    world_deinit(&w);
}

static void test_one_that_is_never_healthy_backs_off(void **unused)
{
    struct health_check slow = every_second;
    struct world w;

    (void)unused;
    slow.interval_ms = 6000; /* each run is longer than what counts as calm for others */
    begun(&w, &slow, RESTART_ALWAYS);
    w.check_code = -EREMOTEIO;
    world_run(&w, 80000);
    assert_in_range(seen(&w).n_ends, 3, 5);
    world_deinit(&w);
}

static void test_a_crash_loop_says_when_it_goes_on(void **unused)
{
    struct health_check none = {0};
    struct world w;
    unsigned at;

    (void)unused;
    at = begun(&w, &none, RESTART_ALWAYS);
    for (int i = 0; i < 4; i++) {
        world_end_guest(&w, at, "web", 1);
        world_run(&w, 60);
        assert_string_equal(core_guest_state_word(w.nodes[w.leader].core, "web"), "restarting");
        assert_int_equal(seen(&w).n_ends, i + 1);
        assert_in_range(seen(&w).next_start_ms, (200u << i) - 100, 200u << i);
        world_run(&w, (200u << i) + 100);
        assert_int_equal(seen(&w).next_start_ms, 0);
    }
    assert_null(seen(&w).health);
    world_deinit(&w);
}

static void test_words_become_checks(void **unused)
{
    static const struct {
        const char *text, *back; /* NULL: refused */
    } rows[] = {
        {"tcp:80", "tcp:80"},
        {"tcp:65535", "tcp:65535"},
        {"exec:/bin/check -q 5", "exec:/bin/check -q 5"},
        {"exec:/bin/sh -c 'test -f /ok'", "exec:/bin/sh -c 'test -f /ok'"},
        {"tcp:0", NULL},
        {"tcp:65536", NULL},
        {"tcp:80x", NULL},
        {"tcp:", NULL},
        {"exec:", NULL},
        {"exec:   ", NULL},
        {"exec:/bin/sh 'a", NULL},
        {"http:80", NULL},
        {"", NULL},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct guest_spec spec = {0};
        char text[HEALTH_TEXT_SIZE];
        struct err err = {0};
        int rc = health_parse(rows[i].text, &spec.health, &err);

        assert_int_equal(rc, rows[i].back == NULL ? -EINVAL : 0);
        if (rows[i].back != NULL)
            assert_string_equal(health_format(&spec.health, text), rows[i].back);
        else
            assert_true(strlen(err.text) > 10);
        guest_spec_deinit(&spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_guest_is_starting_then_healthy),
        cmocka_unit_test(test_failures_in_a_row_start_it_again_in_place),
        cmocka_unit_test(test_failures_while_it_starts_do_not_count),
        cmocka_unit_test(test_a_frozen_guest_is_not_blamed),
        cmocka_unit_test(test_what_could_not_be_checked_says_nothing),
        cmocka_unit_test(test_never_restart_is_honoured),
        cmocka_unit_test(test_one_that_is_never_healthy_backs_off),
        cmocka_unit_test(test_a_crash_loop_says_when_it_goes_on),
        cmocka_unit_test(test_words_become_checks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The timeline of a failover: where it begins, and what it holds. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/world.h"

/* A guest that runs on node `at`; n1 leads. */
static void lives_with_guest(struct world *w, unsigned at)
{
    unsigned now = 0;

    world_init(w, 3);
    world_run(w, 2000);
    world_create(w, "web", RESTART_ALWAYS);
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(w, "web", &now), 1);
    if (now != at) {
        world_migrate(w, "web", at);
        assert_true(world_answered(w, 2000));
        assert_int_equal(w->answer.kind, ANSWER_DONE);
    }
    world_run(w, 200);
}

/* The text of node `of`'s failover record; fails the test when there is none. */
static const char *timeline(const struct world *w, unsigned of)
{
    char key[32];
    const char *at;

    snprintf(key, sizeof(key), " n%u failover web: ", of);
    at = strstr(w->records, key);
    if (at == NULL)
        print_error("%s", w->records);
    assert_non_null(at);
    return at + strlen(key);
}

static unsigned number(const char *text, const char *word)
{
    const char *at = strstr(text, word);

    assert_non_null(at);
    return (unsigned)strtoul(at + strlen(word), NULL, 10);
}

static void check_order(const char *text)
{
    unsigned committed = number(text, "committed "), placed = number(text, "placed ");
    unsigned started = number(text, "started "), serving = number(text, "serving ");

    assert_true(0 < committed && committed <= placed);
    assert_true(placed < started && started <= serving);
}

static void a_loss_is_timed_from_the_last_beat(void **unused)
{
    struct world w;

    (void)unused;
    lives_with_guest(&w, 2);
    world_kill(&w, 2);
    world_run(&w, 1500);
    assert_memory_equal(timeline(&w, 1), "ms after the last beat of n2: lease end ", 40);
    assert_in_range(number(timeline(&w, 1), "lease end "), 550, 650);
    assert_in_range(number(timeline(&w, 1), "committed "), 600, 750);
    check_order(timeline(&w, 1));
    world_deinit(&w);
}

static void a_reboot_has_a_timeline_too(void **unused)
{
    struct world w;

    (void)unused;
    lives_with_guest(&w, 2);
    world_kill(&w, 2);
    world_run(&w, 100);
    world_boot(&w, 2);
    world_run(&w, 1500);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_non_null(strstr(timeline(&w, 1), "ms after the last beat of n2, which rebooted: lease"));
    assert_in_range(number(timeline(&w, 1), "committed "), 100, 500);
    check_order(timeline(&w, 1));
    world_deinit(&w);
}

static void a_dead_leader_is_timed_from_its_last_answer(void **unused)
{
    const char *text;
    struct world w;

    (void)unused;
    lives_with_guest(&w, 1);
    world_kill(&w, 1);
    world_lead(&w, 0);
    world_run(&w, 250);
    world_lead(&w, 2);
    world_run(&w, 2500);
    text = timeline(&w, 2);
    assert_non_null(strstr(text, "ms after the last answer of the leader n1: lease end unknown, "));
    assert_in_range(number(text, "elected "), 240, 310);
    assert_in_range(number(text, "committed "), 950, 1300);
    check_order(text);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_is_timed_from_the_last_beat),
        cmocka_unit_test(a_reboot_has_a_timeline_too),
        cmocka_unit_test(a_dead_leader_is_timed_from_its_last_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The timeline of a failover: where it begins, what it holds, and who is told. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/message.h"
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

/* The leader may be the next to die. */
static void those_that_may_lead_next_are_told(void **unused)
{
    char own[256] = "", told[256] = "";
    struct world w;

    (void)unused;
    lives_with_guest(&w, 2);
    world_kill(&w, 2);
    world_run(&w, 1500);
    memcpy(own, timeline(&w, 1), strcspn(timeline(&w, 1), "\n"));
    memcpy(told, timeline(&w, 3), strcspn(timeline(&w, 3), "\n"));
    assert_string_equal(told, own);
    world_deinit(&w);
}

static unsigned n_timelines(const struct world *w, unsigned of)
{
    char key[32];
    unsigned n = 0;

    snprintf(key, sizeof(key), " n%u failover web: ", of);
    for (const char *at = strstr(w->records, key); at != NULL; at = strstr(at + 1, key))
        n++;
    return n;
}

/* The loss is decided, and then another leads: it tells the whole way, once. */
static void a_new_leader_tells_what_an_older_one_began(void **unused)
{
    struct world w;

    (void)unused;
    lives_with_guest(&w, 2);
    world_kill(&w, 2);
    for (unsigned ms = 0; ms < 1000 && strstr(w.records, " n1 node-lost") == NULL; ms++)
        world_run(&w, 1);
    assert_int_equal(n_timelines(&w, 1), 0);
    world_lead(&w, 3);
    world_run(&w, 1500);
    assert_memory_equal(timeline(&w, 3), "ms after the last beat of n2: lease end ", 40);
    assert_in_range(number(timeline(&w, 3), "lease end "), 550, 650);
    assert_in_range(number(timeline(&w, 3), "committed "), 600, 750);
    check_order(timeline(&w, 3));
    world_lead(&w, 1);
    world_run(&w, 1500);
    assert_int_equal(n_timelines(&w, 1), 1);
    assert_int_equal(n_timelines(&w, 3), 1);
    world_deinit(&w);
}

/* Only the leader's word on it counts. */
static void others_cannot_tell_timelines(void **unused)
{
    struct message message = {.type = MESSAGE_TIMELINE, .told = {.guest = "web", .node = 1}};
    struct core_event event = {.type = CORE_PEER_MESSAGE};
    struct core_actions actions = {0};
    struct writer out;
    uint8_t bytes[128];
    struct world w;

    (void)unused;
    world_init(&w, 3);
    world_run(&w, 500);
    message.told.timeline = (struct timeline){.from = w.nodes[2].id, .origin.since = LOSS_SINCE_BEAT};
    writer_init(&out, bytes, sizeof(bytes));
    message_encode(&message, &out);
    event.data = bytes;
    event.size = out.size;
    event.from = w.nodes[3].id;
    core_step(w.nodes[2].core, &event, w.now, &actions);
    for (size_t i = 0; i < actions.n; i++)
        assert_int_not_equal(actions.list[i].type, CORE_EVENT);
    core_actions_clear(&actions);
    event.from = w.nodes[1].id;
    core_step(w.nodes[2].core, &event, w.now, &actions);
    assert_true(actions.n > 0);
    assert_int_equal(actions.list[0].type, CORE_EVENT);
    assert_int_equal(actions.list[0].record->timeline.from, w.nodes[2].id);
    core_actions_deinit(&actions);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_is_timed_from_the_last_beat),
        cmocka_unit_test(a_reboot_has_a_timeline_too),
        cmocka_unit_test(a_dead_leader_is_timed_from_its_last_answer),
        cmocka_unit_test(those_that_may_lead_next_are_told),
        cmocka_unit_test(a_new_leader_tells_what_an_older_one_began),
        cmocka_unit_test(others_cannot_tell_timelines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

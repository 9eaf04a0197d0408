/* How long members of Raft wait for each other. */
#include "tests/unit/test.h"

#include "consensus/patience.h"

enum { T = 150, HEARTBEAT = 25 };

static uint32_t timeout_at(struct patience *p, uint64_t now)
{
    return patience_timeout_ms(p, T * PATIENCE_LEADER_TIMES, now);
}

/* Member `id` is heard each heartbeat from `from` to `to`. Returns the last time. */
static uint64_t steady(struct patience *p, uint64_t id, uint64_t from, uint64_t to)
{
    uint64_t now = from;

    for (; now + HEARTBEAT <= to; now += HEARTBEAT)
        patience_hear(p, id, now);
    patience_hear(p, id, now);
    return now;
}

static void a_quiet_link_has_the_configured_timeout(void **state)
{
    struct patience p;

    (void)state;
    patience_init(&p, T);
    assert_int_equal(timeout_at(&p, 1000), T);
    assert_int_equal(timeout_at(&p, steady(&p, 1, 1000, 90000)), T);
}

static void a_late_message_counts_for_a_minute(void **state)
{
    struct patience p;
    uint64_t now;

    (void)state;
    patience_init(&p, T);
    now = steady(&p, 1, 100000, 110000);
    patience_hear(&p, 1, now + 240);
    assert_int_equal(timeout_at(&p, now + 240), 300);
    /* A shorter pause changes nothing. */
    patience_hear(&p, 1, now + 240 + 200);
    assert_int_equal(timeout_at(&p, now + 440), 300);
    /* It counts for 30 seconds at least and is forgotten after 60. */
    now = steady(&p, 1, now + 465, now + 465 + PATIENCE_SPAN_MS);
    assert_int_equal(timeout_at(&p, now), 300);
    now = steady(&p, 1, now + HEARTBEAT, now + PATIENCE_SPAN_MS);
    assert_int_equal(timeout_at(&p, now), T);
}

static void silence_forgets_as_well(void **state)
{
    struct patience p;

    (void)state;
    patience_init(&p, T);
    patience_hear(&p, 1, 50000);
    patience_hear(&p, 1, 50240);
    assert_int_equal(timeout_at(&p, 50240), 300);
    assert_int_equal(timeout_at(&p, 50240 + 2 * PATIENCE_SPAN_MS), T);
}

static void who_was_away_was_not_late(void **state)
{
    struct patience p;

    (void)state;
    patience_init(&p, T);
    patience_hear(&p, 1, 40000);
    /* Away, and back: says nothing of the link. */
    patience_hear(&p, 1, 40000 + T * PATIENCE_AWAY_TIMES + 1);
    assert_int_equal(timeout_at(&p, 41000), T);
    patience_hear(&p, 1, 42000);
    patience_hear(&p, 1, 42000 + T * PATIENCE_AWAY_TIMES);
    assert_int_equal(timeout_at(&p, 43000), T * PATIENCE_LEADER_TIMES);
    assert_int_equal(patience_timeout_ms(&p, T * PATIENCE_FOLLOWER_TIMES, 43000),
                     T * PATIENCE_FOLLOWER_TIMES);
    /* A limit below what was configured is none. */
    assert_int_equal(patience_timeout_ms(&p, T / 2, 43000), T);
}

static void each_member_for_itself(void **state)
{
    struct patience p;
    uint64_t now = 70000;

    (void)state;
    patience_init(&p, T);
    patience_hear(&p, 1, now);
    patience_hear(&p, 2, now + 240);
    patience_hear(&p, 1, now + 25);
    assert_int_equal(timeout_at(&p, now + 240), T);
    /* Members beyond those that are watched change nothing. */
    for (uint64_t id = 3; id < 3 + 2 * PATIENCE_MAX_MEMBERS; id++)
        patience_hear(&p, id, now + 250);
    patience_hear(&p, 2 + 2 * PATIENCE_MAX_MEMBERS, now + 500);
    assert_int_equal(timeout_at(&p, now + 500), T);
}

static void another_leader_begins_anew(void **state)
{
    struct patience p;

    (void)state;
    patience_init(&p, T);
    patience_hear(&p, 1, 80000);
    patience_hear(&p, 1, 80200);
    patience_begin(&p);
    /* Who sent nothing meanwhile was not late; what was learnt before stays. */
    patience_hear(&p, 1, 80700);
    assert_int_equal(timeout_at(&p, 80700), 250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_link_has_the_configured_timeout),
        cmocka_unit_test(a_late_message_counts_for_a_minute),
        cmocka_unit_test(silence_forgets_as_well),
        cmocka_unit_test(who_was_away_was_not_late),
        cmocka_unit_test(each_member_for_itself),
        cmocka_unit_test(another_leader_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

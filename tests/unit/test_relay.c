#include "tests/unit/test.h"

#include "agent/api/relay.h"

enum { S = 1000000 };

/* Node 1 leads, was asked at 10 s, and answers beats. */
static struct relay_facts asked(bool is_read)
{
    return (struct relay_facts){.to_leader = true,
                                .is_read = is_read,
                                .may_repeat = true,
                                .node = 1,
                                .leader = 1,
                                .began_us = 10 * S,
                                .sent_us = 10 * S,
                                .heard_us = 10 * S};
}

static void a_write_is_asked_again_while_the_leader_is_heard(void **context)
{
    struct relay_facts facts = asked(false);

    (void)context;
    assert_int_equal(relay_look(&facts, 11 * S), RELAY_WAIT);
    assert_int_equal(relay_look(&facts, 11 * S + 1), RELAY_REPEAT);
    facts.sent_us = 11 * S + 1;
    assert_int_equal(relay_look(&facts, 12 * S), RELAY_WAIT);
    facts.heard_us = 100 * S;
    assert_int_equal(relay_look(&facts, 101 * S), RELAY_REPEAT);
    facts.may_repeat = false;
    assert_int_equal(relay_look(&facts, 101 * S), RELAY_WAIT);
}

static void a_silent_leader_is_not_waited_for(void **context)
{
    struct relay_facts facts = asked(false);

    (void)context;
    facts.heard_us = 2 * S; /* the question itself gives it time */
    facts.sent_us = 15 * S;
    assert_int_equal(relay_look(&facts, 15 * S), RELAY_WAIT);
    assert_int_equal(relay_look(&facts, 15 * S + 1), RELAY_LEADER_SILENT);
}

static void a_read_is_answered_here_at_last(void **context)
{
    struct relay_facts facts = asked(true);

    (void)context;
    assert_int_equal(relay_look(&facts, 12 * S), RELAY_REPEAT);
    facts.sent_us = 13 * S;
    assert_int_equal(relay_look(&facts, 13 * S), RELAY_WAIT);
    assert_int_equal(relay_look(&facts, 13 * S + 1), RELAY_ANSWER_HERE);
}

static void another_leader_is_asked_anew(void **context)
{
    struct relay_facts write = asked(false), read = asked(true);
    const uint64_t leaders[] = {0, 2};

    (void)context;
    for (size_t i = 0; i < 2; i++) {
        write.leader = read.leader = leaders[i];
        assert_int_equal(relay_look(&write, 10 * S), RELAY_LEADER_CHANGED);
        assert_int_equal(relay_look(&read, 10 * S), RELAY_ASK_ANEW);
    }
}

static void what_a_guests_node_does_is_never_repeated(void **context)
{
    struct relay_facts facts = asked(false);

    (void)context;
    facts.to_leader = false;
    facts.leader = 7;
    facts.may_repeat = false;
    assert_int_equal(relay_look(&facts, 60 * S), RELAY_WAIT);
    facts.node_is_lost = true;
    assert_int_equal(relay_look(&facts, 60 * S), RELAY_NODE_LOST);
    assert_int_equal(relay_look(&facts, (10 + RELAY_LIMIT_MS / 1000) * (uint64_t)S + 1),
                     RELAY_TIMED_OUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_is_asked_again_while_the_leader_is_heard),
        cmocka_unit_test(a_silent_leader_is_not_waited_for),
        cmocka_unit_test(a_read_is_answered_here_at_last),
        cmocka_unit_test(another_leader_is_asked_anew),
        cmocka_unit_test(what_a_guests_node_does_is_never_repeated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

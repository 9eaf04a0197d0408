/* The leader's side of leases, to the microsecond; the law is docs/leases.md. */
#include "tests/unit/test.h"

#include <string.h>

#include "agent/core/detector.h"
#include "tests/support/cluster.h"

enum { A_MS = 150, L_MS = 600, TERM = 7 };

static const uint64_t us = 1000; /* one ms */
static const uint64_t t0 = 1000000;

struct fixture {
    struct cluster c;
    struct detector d;
    uint64_t node[6]; /* ids of n1, n2, … */
    uint64_t sequence[6];
};

static void begin(struct fixture *f, unsigned n)
{
    uint64_t voters[6];

    memset(f, 0, sizeof(*f));
    cluster_form(&f->c, n);
    for (unsigned i = 1; i <= n; i++) {
        char name[3] = {'n', (char)('0' + i), 0};

        f->node[i] = voters[i - 1] = cluster_node(&f->c, name);
        cluster_event(&f->c, COMMAND_NODE_REBOOTED, name, (uint8_t)i);
    }
    detector_init(&f->d, A_MS, L_MS);
    detector_lead(&f->d, TERM, t0);
    detector_sync(&f->d, &f->c.state, t0);
    detector_set_voters(&f->d, voters, n);
}

static void end(struct fixture *f)
{
    detector_deinit(&f->d);
    cluster_deinit(&f->c);
}

/* A beat of n`i`, of the boot that the state knows, that echoes what we sent at `echo`. */
static struct beat beat_of(struct fixture *f, unsigned i, uint64_t echo)
{
    struct beat beat = {.published_term = TERM, .echo = {TERM, echo}};

    beat.stamp.boot_nonce[0] = (uint8_t)i;
    beat.stamp.run = 1;
    beat.stamp.sequence = ++f->sequence[i];
    return beat;
}

static enum detector_verdict hear(struct fixture *f, unsigned i, const struct beat *beat,
                                  uint64_t now)
{
    uint32_t lease_ms = 0;
    enum detector_verdict verdict =
        detector_beat(&f->d, &f->c.state, f->node[i], beat, now, &lease_ms);

    if (verdict == DETECTOR_GRANT)
        detector_granted(&f->d, f->node[i], lease_ms, now);
    return verdict;
}

static enum detector_verdict echoes(struct fixture *f, unsigned i, uint64_t echo, uint64_t now)
{
    struct beat beat = beat_of(f, i, echo);

    return hear(f, i, &beat, now);
}

static void test_authority_is_a_majoritys_echo(void **unused)
{
    static const struct {
        unsigned n_voters;
        uint64_t echo[6]; /* of n1…, 0 = none; ms after t0 */
        uint64_t end;     /* ms after t0, 0 = no authority */
    } rows[] = {
        {1, {0}, 0},
        {1, {10}, 10 + A_MS},
        {2, {10, 0}, 0},
        {2, {10, 4}, 4 + A_MS},
        {3, {10, 0, 0}, 0},
        {3, {10, 4, 0}, 4 + A_MS},
        {3, {10, 4, 7}, 7 + A_MS},
        {4, {9, 8, 0, 0}, 0},
        {4, {9, 8, 3, 0}, 3 + A_MS},
        {5, {9, 8, 3, 0, 0}, 3 + A_MS},
    };

    (void)unused;
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        struct fixture f;
        uint64_t end_us = rows[r].end == 0 ? 0 : t0 + rows[r].end * us;

        begin(&f, rows[r].n_voters);
        for (unsigned i = 1; i <= rows[r].n_voters; i++) {
            if (rows[r].echo[i - 1] != 0)
                echoes(&f, i, t0 + rows[r].echo[i - 1] * us, t0 + 20 * us);
        }
        assert_int_equal(detector_authority_end(&f.d), end_us);
        assert_int_equal(detector_has_authority(&f.d, end_us), end_us != 0);
        assert_false(detector_has_authority(&f.d, end_us + 1));
        end(&f);
    }
}

static void test_echo_counts_only_in_our_term_and_before_any_vote(void **unused)
{
    struct fixture f;
    struct beat beat;
    uint64_t now = t0 + 20 * us;

    (void)unused;
    begin(&f, 1);
    beat = beat_of(&f, 1, t0);
    beat.published_term = TERM + 1; /* it may have voted for another leader */
    assert_int_equal(hear(&f, 1, &beat, now), DETECTOR_WITHHELD);
    beat = beat_of(&f, 1, t0);
    beat.echo.term = TERM - 1; /* a stamp of our earlier leadership, on another clock base even */
    assert_int_equal(hear(&f, 1, &beat, now), DETECTOR_WITHHELD);
    beat = beat_of(&f, 1, now + 1); /* we did not send that yet */
    assert_int_equal(hear(&f, 1, &beat, now), DETECTOR_WITHHELD);
    beat = beat_of(&f, 1, t0);
    beat.published_term = 0; /* its log is not loaded */
    assert_int_equal(hear(&f, 1, &beat, now), DETECTOR_WITHHELD);
    assert_int_equal(echoes(&f, 1, t0, now), DETECTOR_GRANT);
    end(&f);
}

static void test_lease_is_never_longer_than_the_ceiling(void **unused)
{
    struct fixture f;
    struct command lower = {.type = COMMAND_NODE_CEILING};
    struct beat beat;
    uint32_t lease_ms = 0;

    (void)unused;
    begin(&f, 1);
    beat = beat_of(&f, 1, t0);
    detector_beat(&f.d, &f.c.state, f.node[1], &beat, t0, &lease_ms);
    assert_int_equal(lease_ms, L_MS);
    lower.node_ceiling.node = f.node[1];
    lower.node_ceiling.ceiling_ms = 200;
    assert_int_equal(cluster_apply(&f.c, &lower), 0);
    beat = beat_of(&f, 1, t0);
    detector_beat(&f.d, &f.c.state, f.node[1], &beat, t0, &lease_ms);
    assert_int_equal(lease_ms, 200);
    end(&f);
}

/* No lease reaches farther than one that was granted at the end of authority. */
static void test_lease_after_authority_is_shorter_by_as_much(void **unused)
{
    static const struct {
        uint64_t late_us;  /* after the end of authority */
        uint32_t lease_ms; /* 0 = withheld */
    } rows[] = {
        {0, L_MS},
        {1, L_MS - 1},
        {1000, L_MS - 1},
        {100 * us, L_MS - 100},
        {L_MS / 2 * us, L_MS / 2},
        {L_MS / 2 * us + 1, 0},
    };

    (void)unused;
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        struct fixture f;
        struct beat beat;
        uint32_t lease_ms = 0;

        begin(&f, 3);
        for (unsigned i = 1; i <= 2; i++)
            echoes(&f, i, t0, t0);
        beat = beat_of(&f, 3, t0 - 1);
        assert_int_equal(detector_beat(&f.d, &f.c.state, f.node[3], &beat,
                                       t0 + A_MS * us + rows[r].late_us, &lease_ms),
                         rows[r].lease_ms != 0 ? DETECTOR_GRANT : DETECTOR_WITHHELD);
        assert_int_equal(lease_ms, rows[r].lease_ms);
        end(&f);
    }
}

/* now > last ack + ceiling (1 + 3ρ), and now > leadership + (A + ceiling) (1 + 3ρ) */
static void test_node_is_lost_when_every_lease_is_over_and_not_before(void **unused)
{
    struct fixture f;
    uint64_t by_earlier_leaders = t0 + (A_MS + L_MS) * 1030;
    uint64_t last_ack = t0 + 2000 * us;
    uint64_t over = last_ack + L_MS * 1030;

    (void)unused;
    begin(&f, 3);
    /* never heard: what earlier leaders may have granted */
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, 0, by_earlier_leaders), 0);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, 0, by_earlier_leaders + 1), f.node[1]);
    assert_int_equal(detector_deadline(&f.d, &f.c.state), by_earlier_leaders + 1);
    /* all granted at last_ack */
    for (unsigned i = 1; i <= 3; i++)
        echoes(&f, i, last_ack, last_ack);
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(echoes(&f, i, last_ack, last_ack), DETECTOR_GRANT);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, 0, over), 0);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, 0, over + 1), f.node[1]);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, f.node[1], over + 1), f.node[2]);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, f.node[3], over + 1), 0);
    assert_true(detector_is_present(&f.d, f.node[1], last_ack + L_MS * us - 1));
    assert_false(detector_is_present(&f.d, f.node[1], last_ack + L_MS * us));
    end(&f);
}

static void test_no_ack_from_the_decision_to_its_outcome(void **unused)
{
    struct fixture f;
    uint64_t later = t0 + 5000 * us;

    (void)unused;
    begin(&f, 3);
    detector_decide(&f.d, f.node[2], true);
    for (unsigned i = 1; i <= 3; i++)
        echoes(&f, i, later, later);
    assert_int_equal(echoes(&f, 1, later, later), DETECTOR_GRANT);
    assert_int_equal(echoes(&f, 2, later, later), DETECTOR_WITHHELD);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, f.node[1], 2 * later), f.node[3]);
    detector_decide(&f.d, f.node[2], false);
    assert_int_equal(echoes(&f, 2, later, later), DETECTOR_GRANT);
    end(&f);
}

static void test_lost_node_must_return_first(void **unused)
{
    struct fixture f;

    (void)unused;
    begin(&f, 1);
    assert_int_equal(cluster_event(&f.c, COMMAND_NODE_LOST, "n1", 0), 0);
    assert_int_equal(echoes(&f, 1, t0, t0), DETECTOR_RETURNED);
    assert_int_equal(cluster_event(&f.c, COMMAND_NODE_RETURNED, "n1", 0), 0);
    assert_int_equal(echoes(&f, 1, t0, t0), DETECTOR_GRANT);
    end(&f);
}

/* One that returned is not lost again on the spot: it counts anew. */
static void test_node_with_a_new_epoch_counts_anew(void **unused)
{
    struct fixture f;
    uint64_t later = t0 + 9000 * us;

    (void)unused;
    begin(&f, 1);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, 0, later), f.node[1]);
    cluster_event(&f.c, COMMAND_NODE_LOST, "n1", 0);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, 0, later), 0); /* it is already */
    cluster_event(&f.c, COMMAND_NODE_RETURNED, "n1", 0);
    detector_sync(&f.d, &f.c.state, later);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, 0, later + L_MS * 1030), 0);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, 0, later + L_MS * 1030 + 1), f.node[1]);
    end(&f);
}

static void test_overtaken_beat_is_no_news(void **unused)
{
    struct fixture f;
    struct beat old, newer, next_run;

    (void)unused;
    begin(&f, 1);
    old = beat_of(&f, 1, t0);
    newer = beat_of(&f, 1, t0);
    next_run = beat_of(&f, 1, t0);
    next_run.stamp.run = 2;
    next_run.stamp.sequence = 1;
    assert_int_equal(hear(&f, 1, &newer, t0), DETECTOR_GRANT);
    assert_int_equal(hear(&f, 1, &old, t0), DETECTOR_STALE);
    assert_int_equal(hear(&f, 1, &newer, t0), DETECTOR_STALE); /* doubled */
    assert_int_equal(hear(&f, 1, &next_run, t0), DETECTOR_GRANT);
    assert_int_equal(hear(&f, 1, &newer, t0), DETECTOR_STALE);
    end(&f);
}

/* A new boot needs no waiting, so it must be sure: a late message of an earlier boot is not. */
static void test_new_boot_proves_itself_by_an_echo(void **unused)
{
    struct fixture f;
    struct beat late, fresh;
    uint64_t now = t0 + 100 * us;

    (void)unused;
    begin(&f, 1);
    late = beat_of(&f, 1, t0);
    late.stamp.boot_nonce[0] = 99; /* a boot before the one in the state, say */
    for (int i = 0; i < 3; i++) {  /* however often it arrives */
        late.stamp.sequence++;
        assert_int_equal(hear(&f, 1, &late, now), DETECTOR_UNPROVEN);
    }
    fresh = late;
    fresh.stamp.sequence++;
    fresh.echo.sent_us = now; /* what we sent in answer to it */
    assert_int_equal(hear(&f, 1, &fresh, now + 1), DETECTOR_REBOOTED);
    /* until that is applied nothing is granted */
    fresh.stamp.sequence++;
    assert_int_equal(hear(&f, 1, &fresh, now + 2), DETECTOR_REBOOTED);
    cluster_event(&f.c, COMMAND_NODE_REBOOTED, "n1", 99);
    detector_sync(&f.d, &f.c.state, now + 3);
    fresh.stamp.sequence++;
    assert_int_equal(hear(&f, 1, &fresh, now + 3), DETECTOR_GRANT);
    /* and now the earlier boot's messages prove nothing */
    assert_int_equal(echoes(&f, 1, t0, now + 4), DETECTOR_UNPROVEN);
    assert_int_equal(echoes(&f, 1, t0, now + 5), DETECTOR_UNPROVEN);
    end(&f);
}

static void test_node_that_was_never_seen_has_time(void **unused)
{
    struct fixture f;
    uint64_t limit;

    (void)unused;
    begin(&f, 2);
    assert_int_equal(cluster_token(&f.c, 50, 1), 0);
    assert_int_equal(cluster_join(&f.c, 50, 3), 0);
    limit = t0 + (uint64_t)DETECTOR_FIRST_BEAT_MS * us;
    detector_sync(&f.d, &f.c.state, t0);
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, f.node[2], limit), 0);
    assert_int_not_equal(detector_next_lost(&f.d, &f.c.state, f.node[2], limit + 1), 0);
    end(&f);
}

static void set_ceiling(struct fixture *f, uint32_t ceiling_ms)
{
    struct command command = {.type = COMMAND_NODE_CEILING};

    command.node_ceiling.node = f->node[1];
    command.node_ceiling.ceiling_ms = ceiling_ms;
    assert_int_equal(cluster_apply(&f->c, &command), 0);
}

static uint32_t ceiling(struct fixture *f, uint64_t now)
{
    return detector_ceiling(&f->d, &f->c.state, f->node[1], now);
}

/* Longer: agreed on, then granted. Shorter: granted, run out, then agreed on. */
static void test_leases_follow_what_the_link_is_like(void **unused)
{
    struct fixture f;
    struct beat beat;
    uint32_t lease_ms = 0;
    uint64_t now = t0 + 2000 * us;

    (void)unused;
    begin(&f, 1);
    echoes(&f, 1, now, now);
    for (int i = 0; i < DETECTOR_GAPS; i++) {
        assert_int_equal(ceiling(&f, now), 0);
        now += 400 * us; /* more than half a lease */
        beat = beat_of(&f, 1, now);
        detector_beat(&f.d, &f.c.state, f.node[1], &beat, now, &lease_ms);
    }
    assert_int_equal(ceiling(&f, now), 900);
    assert_int_equal(lease_ms, 600); /* not agreed on yet */
    set_ceiling(&f, 900);
    assert_int_equal(ceiling(&f, now), 0);
    beat = beat_of(&f, 1, now);
    detector_beat(&f.d, &f.c.state, f.node[1], &beat, now, &lease_ms);
    assert_int_equal(lease_ms, 900);

    now += (uint64_t)DETECTOR_CALM_MS * us; /* nothing of the kind since */
    assert_int_equal(ceiling(&f, now), 0);  /* from here on less is granted */
    beat = beat_of(&f, 1, now);
    detector_beat(&f.d, &f.c.state, f.node[1], &beat, now, &lease_ms);
    assert_int_equal(lease_ms, 600);
    assert_int_equal(ceiling(&f, now + 900 * 1030), 0);
    assert_int_equal(ceiling(&f, now + 900 * 1030 + 1), 600);
    end(&f);
}

static void test_each_leadership_starts_afresh(void **unused)
{
    struct fixture f;
    uint64_t later = t0 + 3000 * us;

    (void)unused;
    begin(&f, 1);
    assert_int_equal(echoes(&f, 1, t0, t0), DETECTOR_GRANT);
    detector_yield(&f.d);
    assert_false(detector_has_authority(&f.d, t0));
    assert_int_equal(detector_next_lost(&f.d, &f.c.state, 0, later), 0);
    detector_lead(&f.d, TERM + 2, later);
    detector_sync(&f.d, &f.c.state, later);
    assert_false(detector_is_present(&f.d, f.node[1], later));
    assert_int_equal(detector_deadline(&f.d, &f.c.state), later + (A_MS + L_MS) * 1030 + 1);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authority_is_a_majoritys_echo),
        cmocka_unit_test(test_echo_counts_only_in_our_term_and_before_any_vote),
        cmocka_unit_test(test_lease_is_never_longer_than_the_ceiling),
        cmocka_unit_test(test_lease_after_authority_is_shorter_by_as_much),
        cmocka_unit_test(test_node_is_lost_when_every_lease_is_over_and_not_before),
        cmocka_unit_test(test_no_ack_from_the_decision_to_its_outcome),
        cmocka_unit_test(test_lost_node_must_return_first),
        cmocka_unit_test(test_node_with_a_new_epoch_counts_anew),
        cmocka_unit_test(test_overtaken_beat_is_no_news),
        cmocka_unit_test(test_new_boot_proves_itself_by_an_echo),
        cmocka_unit_test(test_node_that_was_never_seen_has_time),
        cmocka_unit_test(test_leases_follow_what_the_link_is_like),
        cmocka_unit_test(test_each_leadership_starts_afresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

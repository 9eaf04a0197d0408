/* The guard's side of the lease: tables and a transcript under a virtual clock (ms here). */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/guard/holder.h"

enum { LEASE = 600, FREEZE = 20 };

static const uint8_t boot[NONCE_SIZE] = {1, 2, 3};
static const uint8_t other_boot[NONCE_SIZE] = {3, 2, 1};

static uint64_t us(uint64_t ms)
{
    return ms * 1000;
}

static struct lease_ack ack_of(struct stamp stamp, uint64_t term, uint32_t lease_ms,
                               bool has_copies, uint64_t index)
{
    return (struct lease_ack){.stamp = stamp,
                              .term = term,
                              .lease_ms = lease_ms,
                              .has_copies = has_copies,
                              .index = index};
}

/* A holder whose lease, from a stamp of 1000, ends at 1600; term 5, floor 40. */
static struct stamp lifted(struct holder *h)
{
    struct stamp stamp;
    struct lease_ack ack;

    holder_init(h, boot, 1, FREEZE);
    holder_issue(h, us(1000), &stamp);
    ack = ack_of(stamp, 5, LEASE, true, 40);
    assert_int_equal(holder_ack(h, &ack, us(1010)), HOLDER_LIFT);
    assert_true(holder_lifted(h, us(1012)));
    return stamp;
}

static void starts_lapsed(void **state)
{
    struct holder h;

    (void)state;
    holder_init(&h, boot, 1, FREEZE);
    assert_true(h.lapsed);
    assert_true(holder_freeze_at(&h) == UINT64_MAX);
    assert_false(holder_expire(&h, us(1)));
    assert_int_equal(holder_may_start(&h, 1000, us(1)), -EKEYEXPIRED);
}

static void lift_needs_the_list_and_the_callers_word(void **state)
{
    struct holder h;
    struct stamp stamp;
    struct lease_ack ack;

    (void)state;
    holder_init(&h, boot, 1, FREEZE);
    holder_issue(&h, us(1000), &stamp);
    ack = ack_of(stamp, 5, LEASE, false, 40);
    assert_int_equal(holder_ack(&h, &ack, us(1010)), HOLDER_IGNORED);
    ack.has_copies = true;
    assert_int_equal(holder_ack(&h, &ack, us(1011)), HOLDER_LIFT);
    /* Destroying the others is not done yet: nothing may start, nothing expires. */
    assert_true(h.lapsed);
    assert_int_equal(holder_may_start(&h, 40, us(1011)), -EKEYEXPIRED);
    assert_true(holder_lifted(&h, us(1015)));
    assert_int_equal(holder_may_start(&h, 40, us(1015)), 0);
    assert_true(holder_freeze_at(&h) == us(1000 + LEASE - FREEZE));
}

static void lift_that_took_too_long_lifts_nothing(void **state)
{
    struct holder h;
    struct stamp stamp;
    struct lease_ack ack;

    (void)state;
    holder_init(&h, boot, 1, FREEZE);
    holder_issue(&h, us(1000), &stamp);
    ack = ack_of(stamp, 5, LEASE, true, 40);
    assert_int_equal(holder_ack(&h, &ack, us(1010)), HOLDER_LIFT);
    assert_false(holder_lifted(&h, us(1000 + LEASE - FREEZE)));
    assert_true(h.lapsed);
}

static void freezes_a_margin_before_the_end_of_the_stamps_lease(void **state)
{
    struct holder h;

    (void)state;
    lifted(&h);
    assert_false(holder_expire(&h, us(1580) - 1));
    assert_int_equal(holder_may_start(&h, 40, us(1580) - 1), 0);
    assert_int_equal(holder_may_start(&h, 40, us(1580)), -EKEYEXPIRED);
    assert_true(holder_expire(&h, us(1580)));
    assert_false(holder_expire(&h, us(1581))); /* once */
    assert_true(holder_freeze_at(&h) == UINT64_MAX);
}

static void extension_counts_from_the_issue(void **state)
{
    struct holder h;
    struct stamp stamp;
    struct lease_ack ack;

    (void)state;
    lifted(&h);
    holder_issue(&h, us(1100), &stamp);
    ack = ack_of(stamp, 5, LEASE, false, 50);
    assert_int_equal(holder_ack(&h, &ack, us(1400)), HOLDER_EXTENDED);
    assert_true(holder_freeze_at(&h) == us(1100 + LEASE - FREEZE));
    /* A smaller grant takes nothing back: the old one runs out. */
    holder_issue(&h, us(1410), &stamp);
    ack = ack_of(stamp, 5, 200, false, 50);
    assert_int_equal(holder_ack(&h, &ack, us(1420)), HOLDER_IGNORED);
    assert_true(holder_freeze_at(&h) == us(1100 + LEASE - FREEZE));
}

/* Acks that extend nothing, each against a fresh holder of lifted(). */
static void refused_acks_change_nothing(void **state)
{
    struct stamp good, stamp;
    struct holder h;
    struct lease_ack ack;

    (void)state;
    for (int i = 0; i < 8; i++) {
        uint64_t now = us(1210);

        good = lifted(&h);
        holder_issue(&h, us(1200), &stamp);
        ack = ack_of(stamp, 5, LEASE, false, 50);
        if (i == 0)
            memcpy(ack.stamp.boot_nonce, other_boot, NONCE_SIZE);
        if (i == 1)
            ack.stamp.run = 2;
        if (i == 2)
            ack.stamp.sequence = 3; /* not issued yet */
        if (i == 3)
            ack.stamp.sequence = 0;
        if (i == 4)
            ack.term = 4;
        if (i == 5)
            ack.lease_ms = 0;
        if (i == 6)
            ack.lease_ms = FREEZE + 5; /* over already: 1200 + 25 - 20 < 1210 */
        if (i == 7)
            ack.stamp = good; /* a repetition */
        assert_int_equal(holder_ack(&h, &ack, now), HOLDER_IGNORED);
        assert_true(holder_freeze_at(&h) == us(1580));
        assert_false(h.lapsed);
    }
}

static void a_newer_term_shuts_the_older_out(void **state)
{
    struct stamp first, second;
    struct holder h;
    struct lease_ack ack;

    (void)state;
    lifted(&h);
    holder_issue(&h, us(1100), &first);
    holder_issue(&h, us(1150), &second);
    ack = ack_of(first, 7, 0, false, 50); /* grants nothing, but shows the term */
    assert_int_equal(holder_ack(&h, &ack, us(1160)), HOLDER_IGNORED);
    ack = ack_of(second, 6, LEASE, false, 50);
    assert_int_equal(holder_ack(&h, &ack, us(1170)), HOLDER_IGNORED);
    ack.term = 7;
    assert_int_equal(holder_ack(&h, &ack, us(1170)), HOLDER_EXTENDED);
}

static void ack_after_the_end_is_too_late(void **state)
{
    struct stamp before, after;
    struct holder h;
    struct lease_ack ack;

    (void)state;
    lifted(&h);
    holder_issue(&h, us(1500), &before);
    /* 1580 has passed and nobody asked: the ack must not hide the lapse. */
    ack = ack_of(before, 5, LEASE, true, 50);
    assert_int_equal(holder_ack(&h, &ack, us(1590)), HOLDER_IGNORED);
    assert_true(holder_expire(&h, us(1591)));
    /* Lapsed, and the stamp is of before: its list may be older than what was started since. */
    assert_int_equal(holder_ack(&h, &ack, us(1592)), HOLDER_IGNORED);
    holder_issue(&h, us(1600), &after);
    ack = ack_of(after, 5, LEASE, true, 60);
    assert_int_equal(holder_ack(&h, &ack, us(1610)), HOLDER_LIFT);
    assert_true(holder_lifted(&h, us(1611)));
    assert_true(holder_freeze_at(&h) == us(1600 + LEASE - FREEZE));
}

static void floor_is_raised_by_the_ack_that_lifts(void **state)
{
    struct stamp stamp;
    struct holder h;
    struct lease_ack ack;

    (void)state;
    lifted(&h);
    assert_int_equal(holder_may_start(&h, 39, us(1100)), -ESTALE);
    assert_int_equal(holder_may_start(&h, 40, us(1100)), 0);
    holder_issue(&h, us(1100), &stamp);
    ack = ack_of(stamp, 5, LEASE, false, 90); /* an extension leaves it */
    assert_int_equal(holder_ack(&h, &ack, us(1110)), HOLDER_EXTENDED);
    assert_int_equal(holder_may_start(&h, 40, us(1120)), 0);
    assert_true(holder_expire(&h, us(2000)));
    holder_issue(&h, us(2000), &stamp);
    ack = ack_of(stamp, 5, LEASE, true, 95);
    assert_int_equal(holder_ack(&h, &ack, us(2010)), HOLDER_LIFT);
    assert_true(holder_lifted(&h, us(2010)));
    assert_int_equal(holder_may_start(&h, 94, us(2020)), -ESTALE);
    assert_int_equal(holder_may_start(&h, 95, us(2020)), 0);
}

static void restarted_guard_knows_no_stamp_of_before(void **state)
{
    struct stamp old, new_one;
    struct holder h;
    struct lease_ack ack;

    (void)state;
    lifted(&h);
    holder_issue(&h, us(1100), &old);
    holder_init(&h, boot, 2, FREEZE);
    holder_issue(&h, us(1110), &new_one);
    holder_issue(&h, us(1120), &new_one);
    ack = ack_of(old, 5, LEASE, true, 50);
    assert_int_equal(holder_ack(&h, &ack, us(1130)), HOLDER_IGNORED);
    ack.stamp = new_one;
    assert_int_equal(holder_ack(&h, &ack, us(1130)), HOLDER_LIFT);
}

static void stamps_are_forgotten_in_order(void **state)
{
    struct stamp first, stamp;
    struct holder h;
    struct lease_ack ack;

    (void)state;
    first = lifted(&h);
    for (int i = 0; i < HOLDER_STAMPS_KEPT; i++)
        holder_issue(&h, us(1100), &stamp);
    ack = ack_of(first, 5, MAX_LEASE_MS, false, 50);
    assert_int_equal(holder_ack(&h, &ack, us(1110)), HOLDER_IGNORED);
    ack.stamp.sequence = first.sequence + 1;
    assert_int_equal(holder_ack(&h, &ack, us(1110)), HOLDER_EXTENDED);
}

/* Beats every 50 ms, answered after 10; nothing arrives from 400 to 1300. */
static void short_partition_is_a_pause(void **state)
{
    char transcript[512] = "";
    struct stamp stamp, sent = {0};
    uint64_t answer_at = 0;
    struct holder h;
    bool said_lapsed = true;

    (void)state;
    holder_init(&h, boot, 1, FREEZE);
    for (uint64_t now = 10; now < 1500; now += 10) {
        size_t used = strlen(transcript);

        if (holder_expire(&h, us(now)))
            snprintf(transcript + used, sizeof(transcript) - used, "[%llu] freeze\n",
                     (unsigned long long)now);
        if (answer_at == now && (now < 400 || now > 1300)) {
            struct lease_ack ack = ack_of(sent, 1, LEASE, said_lapsed, now);

            if (holder_ack(&h, &ack, us(now)) == HOLDER_LIFT && holder_lifted(&h, us(now)))
                snprintf(transcript + used, sizeof(transcript) - used, "[%llu] lift\n",
                         (unsigned long long)now);
        }
        if (now % 50 == 0) {
            holder_issue(&h, us(now), &stamp);
            sent = stamp;
            said_lapsed = h.lapsed;
            answer_at = now + 10;
        }
    }
    assert_string_equal(transcript, "[60] lift\n[930] freeze\n[1310] lift\n");
}

static void the_cluster_says_when_freezing_begins(void **context)
{
    struct holder h;
    struct stamp stamp;
    struct lease_ack ack;

    (void)context;
    holder_init(&h, boot, 1, FREEZE);
    holder_issue(&h, us(1000), &stamp);
    ack = ack_of(stamp, 5, LEASE, true, 40);
    ack.freeze_ms = 50;
    assert_int_equal(holder_ack(&h, &ack, us(1010)), HOLDER_LIFT);
    assert_true(holder_lifted(&h, us(1012)));
    assert_true(holder_freeze_at(&h) == us(1000 + LEASE - 50));
}

static const uint8_t first_cluster[NONCE_SIZE] = {1}, second_cluster[NONCE_SIZE] = {2};

static struct lease_ack ack_by(const uint8_t cluster[NONCE_SIZE], struct stamp stamp, uint64_t term,
                               bool has_copies, uint64_t index)
{
    struct lease_ack ack = ack_of(stamp, term, LEASE, has_copies, index);

    memcpy(ack.cluster, cluster, NONCE_SIZE);
    return ack;
}

/* A board leaves one cluster, of term 90, for another one that has just begun. */
static void another_clusters_lower_terms_count_once_the_lease_is_over(void **context)
{
    struct stamp stamp;
    struct holder h;
    struct lease_ack ack;

    (void)context;
    holder_init(&h, boot, 1, FREEZE);
    holder_issue(&h, us(1000), &stamp);
    ack = ack_by(first_cluster, stamp, 90, true, 900);
    assert_int_equal(holder_ack(&h, &ack, us(1010)), HOLDER_LIFT);
    assert_true(holder_lifted(&h, us(1010)));

    /* While guests of the first may run, the second has nothing to say. */
    holder_issue(&h, us(1100), &stamp);
    ack = ack_by(second_cluster, stamp, 1, true, 3);
    ack.freeze_ms = 2 * FREEZE;
    assert_int_equal(holder_ack(&h, &ack, us(1110)), HOLDER_IGNORED);
    assert_true(holder_freeze_at(&h) == us(1000 + LEASE - FREEZE));
    assert_true(holder_expire(&h, us(1580)));
    assert_int_equal(holder_ack(&h, &ack, us(1590)),
                     HOLDER_IGNORED); /* a beat of before the lapse */

    holder_issue(&h, us(1600), &stamp);
    ack = ack_by(second_cluster, stamp, 1, true, 3);
    assert_int_equal(holder_ack(&h, &ack, us(1610)), HOLDER_LIFT);
    assert_true(holder_lifted(&h, us(1610)));
    assert_int_equal(holder_may_start(&h, 3, us(1620)), 0);
    assert_int_equal(holder_may_start(&h, 2, us(1620)), -ESTALE);

    /* From here on the first is the stranger, and the second's older terms are older. */
    holder_issue(&h, us(1650), &stamp);
    ack = ack_by(first_cluster, stamp, 91, true, 901);
    assert_int_equal(holder_ack(&h, &ack, us(1660)), HOLDER_IGNORED);
    ack = ack_by(second_cluster, stamp, 2, false, 4);
    assert_int_equal(holder_ack(&h, &ack, us(1660)), HOLDER_EXTENDED);
    holder_issue(&h, us(1700), &stamp);
    ack = ack_by(second_cluster, stamp, 1, false, 4);
    assert_int_equal(holder_ack(&h, &ack, us(1710)), HOLDER_IGNORED);
}

/* What grants nothing changes nothing, or a stray answer would open the way for old terms. */
static void another_cluster_that_grants_nothing_is_not_heard(void **context)
{
    struct stamp stamp;
    struct holder h;
    struct lease_ack ack;

    (void)context;
    holder_init(&h, boot, 1, FREEZE);
    holder_issue(&h, us(1000), &stamp);
    ack = ack_by(first_cluster, stamp, 90, false, 900); /* not the list: but it is known now */
    assert_int_equal(holder_ack(&h, &ack, us(1010)), HOLDER_IGNORED);
    ack = ack_by(second_cluster, stamp, 1, false, 3);
    ack.lease_ms = 0;
    assert_int_equal(holder_ack(&h, &ack, us(1010)), HOLDER_IGNORED);
    ack = ack_by(first_cluster, stamp, 89, true, 900);
    assert_int_equal(holder_ack(&h, &ack, us(1010)), HOLDER_IGNORED);
    ack.term = 90;
    assert_int_equal(holder_ack(&h, &ack, us(1010)), HOLDER_LIFT);
}

/* The same name and the same epoch in another cluster are another guest. */
static void ack_keeps_only_what_is_of_its_cluster(void **context)
{
    struct stamp stamp = {.run = 1};
    struct lease_ack ack = ack_by(first_cluster, stamp, 1, true, 9);

    (void)context;
    ack.n_copies = 1;
    strcpy(ack.copies[0].guest, "web");
    ack.copies[0].epoch = 5;
    assert_true(lease_ack_keeps(&ack, first_cluster, "web", 5));
    assert_false(lease_ack_keeps(&ack, first_cluster, "web", 4));
    assert_false(lease_ack_keeps(&ack, second_cluster, "web", 5));
}

/* A leader may have applied less than the node that it answers. */
static void ack_says_nothing_of_epochs_that_its_leader_does_not_know(void **context)
{
    struct stamp stamp = {.run = 1};
    struct lease_ack ack = ack_by(first_cluster, stamp, 1, true, 9);

    (void)context;
    assert_false(lease_ack_keeps(&ack, first_cluster, "web", 9));
    assert_true(lease_ack_keeps(&ack, first_cluster, "web", 10));
    assert_false(lease_ack_keeps(&ack, second_cluster, "web", 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_lapsed),
        cmocka_unit_test(lift_needs_the_list_and_the_callers_word),
        cmocka_unit_test(lift_that_took_too_long_lifts_nothing),
        cmocka_unit_test(freezes_a_margin_before_the_end_of_the_stamps_lease),
        cmocka_unit_test(extension_counts_from_the_issue),
        cmocka_unit_test(refused_acks_change_nothing),
        cmocka_unit_test(a_newer_term_shuts_the_older_out),
        cmocka_unit_test(ack_after_the_end_is_too_late),
        cmocka_unit_test(floor_is_raised_by_the_ack_that_lifts),
        cmocka_unit_test(restarted_guard_knows_no_stamp_of_before),
        cmocka_unit_test(stamps_are_forgotten_in_order),
        cmocka_unit_test(short_partition_is_a_pause),
        cmocka_unit_test(the_cluster_says_when_freezing_begins),
        cmocka_unit_test(another_clusters_lower_terms_count_once_the_lease_is_over),
        cmocka_unit_test(another_cluster_that_grants_nothing_is_not_heard),
        cmocka_unit_test(ack_keeps_only_what_is_of_its_cluster),
        cmocka_unit_test(ack_says_nothing_of_epochs_that_its_leader_does_not_know),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The way in which a guest is moved: a table of facts, the mode and the standstill expected. */
#include "tests/unit/test.h"

#include <string.h>

#include "migrate/mode.h"

enum { MIB = 1 << 20 };

static const struct {
    const char *when;
    enum move_mode asked;
    uint32_t downtime_ms, bandwidth_kbps, link_kbps;
    uint64_t memory_mib, dirty_mib_per_s;
    bool can_pre, can_lazy, allows_post;
    enum move_mode picked; /* 0: cannot be */
    uint32_t at_most_ms;   /* of blackout */
    const char *reason;    /* a code among the reasons; NULL: none is looked for */
} rows[] = {
    {"small guest", MOVE_AUTO, 300, 0, 1000000, 2, 0, true, true, true, MOVE_STOP, 100, NULL},
    {"nobody knows the rate", MOVE_AUTO, 300, 0, 0, 8, 0, false, true, true, MOVE_STOP, 300,
     "rate-unknown"},
    {"it would gain little by post-copy", MOVE_AUTO, 100, 0, 100000, 1, 0, false, true, true,
     MOVE_STOP, 150, "no-post-copy"},
    {"64 MiB within 100 ms, no tracking", MOVE_AUTO, 100, 0, 1000000, 64, 0, false, true, true,
     MOVE_POST, 100, "no-pre-copy"},
    {"64 MiB within 100 ms, tracked", MOVE_AUTO, 100, 0, 1000000, 64, 2, true, true, true, MOVE_PRE,
     100, "stop-too-long"},
    {"it writes faster than the link", MOVE_AUTO, 300, 0, 100000, 256, 20, true, true, true,
     MOVE_POST, 300, "no-convergence"},
    {"the same, and it must not be lost", MOVE_AUTO, 300, 0, 100000, 256, 20, true, true, false,
     MOVE_STOP, 60000, "no-post-copy"},
    {"the same, and no kernel for it", MOVE_AUTO, 300, 0, 100000, 256, 20, false, false, true,
     MOVE_STOP, 60000, "downtime"},
    {"a slow link, tracked", MOVE_AUTO, 300, 0, 100000, 256, 1, true, true, true, MOVE_PRE, 300,
     NULL},
    {"the bandwidth is what counts", MOVE_AUTO, 300, 10000, 1000000, 64, 0, false, true, true,
     MOVE_POST, 300, "handover"},
    {"stop is insisted on", MOVE_STOP, 300, 0, 100000, 256, 20, true, true, true, MOVE_STOP, 60000,
     "downtime"},
    {"post is insisted on", MOVE_POST, 300, 0, 100000, 4, 0, false, true, false, MOVE_POST, 300,
     NULL},
    {"post, and no kernel for it", MOVE_POST, 300, 0, 100000, 4, 0, false, false, true, 0, 0,
     "mode"},
    {"pre, and no tracking", MOVE_PRE, 300, 0, 100000, 4, 0, false, true, true, 0, 0, "mode"},
};

static bool has_reason(const struct look *look, const char *code)
{
    for (uint32_t i = 0; i < look->n_reasons; i++) {
        if (strcmp(look->reasons[i].code, code) == 0)
            return true;
    }
    return false;
}

static void the_mode_follows_from_the_facts(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct mode_wish wish = {
            .terms = {rows[i].asked, rows[i].downtime_ms, rows[i].bandwidth_kbps, 1},
            .link_kbps = rows[i].link_kbps,
            .target_can_lazy = true,
            .allows_post = rows[i].allows_post};
        struct look look = {.memory_bytes = rows[i].memory_mib * MIB,
                            .dirty_bytes_per_s = rows[i].dirty_mib_per_s * MIB,
                            .can_pre = rows[i].can_pre,
                            .can_track_dirty = rows[i].can_pre,
                            .can_lazy = rows[i].can_lazy};
        struct mode_verdict verdict;

        mode_pick(&wish, &look, &verdict);
        if (verdict.mode != rows[i].picked || verdict.blackout_ms > rows[i].at_most_ms ||
            (rows[i].reason != NULL && !has_reason(&look, rows[i].reason)))
            print_error("%s: %s, %u ms\n", rows[i].when, move_mode_name(verdict.mode),
                        verdict.blackout_ms);
        assert_int_equal(verdict.mode, rows[i].picked);
        assert_true(verdict.blackout_ms <= rows[i].at_most_ms);
        assert_true(rows[i].reason == NULL || has_reason(&look, rows[i].reason));
        assert_true((verdict.mode == 0) == (look_obstacle(&look) != NULL));
        assert_true(verdict.total_ms >= verdict.blackout_ms);
    }
}

static void a_target_without_userfaultfd_rules_post_copy_out(void **unused)
{
    const struct mode_wish wish = {
        .terms = {MOVE_AUTO, 100, 0, 1}, .link_kbps = 100000, .allows_post = true};
    struct look look = {.memory_bytes = 64 * MIB, .can_lazy = true};
    struct mode_verdict verdict;

    (void)unused;
    mode_pick(&wish, &look, &verdict);
    assert_int_equal(verdict.mode, MOVE_STOP);
    assert_true(has_reason(&look, "no-post-copy"));
}

static void files_that_go_ahead_are_not_waited_for(void **unused)
{
    const struct mode_wish wish = {.terms = {MOVE_AUTO, 300, 0, 1}, .link_kbps = 1000000};
    struct look look = {
        .memory_bytes = MIB, .files_bytes = 301ull * MIB, .ahead_bytes = 300ull * MIB};
    struct mode_verdict verdict;

    (void)unused;
    mode_pick(&wish, &look, &verdict);
    assert_int_equal(verdict.mode, MOVE_STOP);
    assert_int_equal(verdict.ahead_bytes, 300ull * MIB);
    assert_true(verdict.blackout_ms < 120);
    assert_true(verdict.total_ms > 4000);
    assert_true(has_reason(&look, "files-ahead"));
    look = (struct look){.memory_bytes = MIB, .files_bytes = MIB / 2, .ahead_bytes = MIB / 2};
    mode_pick(&wish, &look, &verdict);
    assert_int_equal(verdict.ahead_bytes, 0);
    assert_false(has_reason(&look, "files-ahead"));
}

static void what_moves_have_shown_counts(void **unused)
{
    struct mode_wish wish = {
        .terms = {MOVE_AUTO, 300, 0, 1}, .target_can_lazy = true, .allows_post = true};
    struct look look = {.memory_bytes = 64 * MIB, .can_lazy = true};
    struct mode_verdict verdict;

    (void)unused;
    mode_pick(&wish, &look, &verdict); /* as MODE_COPY_KBPS has it */
    assert_int_equal(verdict.mode, MOVE_POST);
    wish.copy_kbps = mode_measure(0, 64 * MIB, 100000);
    assert_int_equal(wish.copy_kbps, 5368709);
    mode_pick(&wish, &look, &verdict);
    assert_int_equal(verdict.mode, MOVE_STOP);
    assert_int_equal(verdict.blackout_ms, MODE_BASE_MS + 100);
    wish.copy_kbps = mode_measure(wish.copy_kbps, 64 * MIB, 1000000);
    assert_int_equal(wish.copy_kbps, (5368709 + 536870) / 2);
    assert_int_equal(mode_measure(7, MIB, 1000), 7); /* too small */
    assert_int_equal(mode_measure(7, 64 * MIB, 0), 7);
    assert_int_equal(mode_measure(0, 16 * MIB, UINT64_MAX / 2), 1);
}

/* A guest that is copied live goes on by post-copy: at once where that is insisted on, else only
 * when it must not be pre-copy, and may. */
static void a_live_copy_ends_by_post_copy(void **unused)
{
    static const struct {
        enum move_mode asked;
        bool target_can_lazy, allows_post;
        enum move_mode begun;
        uint32_t post_after;
    } live[] = {
        {MOVE_POST, true, false, MOVE_POST, 1}, {MOVE_AUTO, true, true, MOVE_PRE, MODE_MAX_ROUNDS},
        {MOVE_AUTO, false, true, MOVE_PRE, 0},  {MOVE_AUTO, true, false, MOVE_PRE, 0},
        {MOVE_PRE, true, true, MOVE_PRE, 0},    {MOVE_STOP, true, true, MOVE_STOP, 0},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(live) / sizeof(live[0]); i++) {
        struct mode_wish wish = {.terms = {live[i].asked, 100, 0, 1},
                                 .target_can_lazy = live[i].target_can_lazy,
                                 .allows_post = live[i].allows_post};

        mode_begin_live(&wish);
        assert_int_equal(wish.terms.mode, live[i].begun);
        assert_int_equal(mode_post_after(&wish), live[i].post_after);
    }
}

/* The rest of the downtime is for what comes behind the last page. */
static void the_last_round_takes_a_part_of_the_downtime(void **unused)
{
    static const struct {
        uint32_t downtime_ms, last_round_ms;
    } parts[] = {{1, 1},
                 {2, 1},
                 {100, 50},
                 {2 * MODE_LIVE_MS - 1, MODE_LIVE_MS - 1},
                 {2 * MODE_LIVE_MS, MODE_LIVE_MS},
                 {1000, 1000 - MODE_LIVE_MS}};

    (void)unused;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const struct mode_wish wish = {.terms.downtime_ms = parts[i].downtime_ms};

        assert_int_equal(mode_last_round_ms(&wish), parts[i].last_round_ms);
    }
}

static void a_wish_survives_the_way(void **unused)
{
    const struct mode_wish wish = {{MOVE_PRE, 50, 20000, 4}, 100000, 300000, true, false, "n2",
                                   {true, 5, 6, true, 7}};
    struct mode_wish back;
    uint8_t bytes[64];
    struct writer w;
    struct reader r;

    (void)unused;
    writer_init(&w, bytes, sizeof(bytes));
    mode_wish_encode(&wish, &w);
    assert_false(w.failed);
    reader_init(&r, bytes, w.size);
    mode_wish_decode(&r, &back);
    assert_true(reader_done(&r));
    assert_memory_equal(&back.terms, &wish.terms, sizeof(wish.terms));
    assert_int_equal(back.link_kbps, 100000);
    assert_int_equal(back.copy_kbps, 300000);
    assert_true(back.target_can_lazy);
    assert_false(back.allows_post);
    assert_string_equal(back.target, "n2");
    assert_true(back.room.is_known && back.room.is_one);
    assert_int_equal(back.room.files_bytes, 5);
    assert_int_equal(back.room.volumes_bytes, 6);
    assert_int_equal(back.room.memory_bytes, 7);
    bytes[0] = MOVE_POST; /* of which several connections are not possible */
    reader_init(&r, bytes, w.size);
    mode_wish_decode(&r, &back);
    assert_false(reader_done(&r));
    bytes[0] = 0; /* no mode */
    reader_init(&r, bytes, w.size);
    mode_wish_decode(&r, &back);
    assert_false(reader_done(&r));
}

static void several_connections_go_with_pre_copy_alone(void **unused)
{
    (void)unused;
    for (enum move_mode mode = MOVE_AUTO; mode <= MOVE_POST; mode++) {
        assert_false(move_connections_fit(mode, 0));
        assert_true(move_connections_fit(mode, 1));
        assert_int_equal(move_connections_fit(mode, 2), mode == MOVE_PRE);
        assert_int_equal(move_connections_fit(mode, MOVE_CONNECTIONS_MAX), mode == MOVE_PRE);
        assert_false(move_connections_fit(mode, MOVE_CONNECTIONS_MAX + 1));
    }
}

/* Rounds of a guest that writes at a steady rate over a link of a steady rate, one after the other.
 */
static enum mode_next run_rounds(struct mode_rounds *rounds, uint64_t memory_mib,
                                 uint64_t dirty_kbps, uint64_t link_kbps, uint32_t last_round_ms,
                                 uint32_t post_after)
{
    uint64_t memory = memory_mib << 20, bytes = memory;
    enum mode_next next = MODE_AGAIN;

    *rounds = (struct mode_rounds){0};
    while (next == MODE_AGAIN) {
        uint64_t us = bytes * 8000 / link_kbps, left = dirty_kbps * us / 8000;

        mode_round_over(rounds, bytes, us, left < memory ? left : memory);
        next = mode_next(rounds, memory, last_round_ms, post_after);
        bytes = rounds->left_bytes;
    }
    return next;
}

static void rounds_go_on_while_they_converge(void **unused)
{
    static const struct {
        const char *when;
        uint64_t memory_mib, dirty_kbps, link_kbps;
        uint32_t last_round_ms, post_after;
        uint32_t n;
        enum mode_next next;
    } cases[] = {
        {"it writes nothing", 256, 0, 100000, 150, 10, 1, MODE_HALT},
        {"it writes a tenth", 256, 10000, 100000, 150, 10, 3, MODE_HALT},
        {"it writes half", 64, 50000, 100000, 150, 10, 6, MODE_HALT},
        {"it writes faster than the link, and may be lost", 64, 200000, 100000, 150, 10, 1,
         MODE_FOLLOW},
        {"likewise, and may not", 64, 200000, 100000, 150, 0, 1, MODE_HALT},
        {"it writes nearly as fast", 64, 90000, 100000, 150, 10, 1, MODE_FOLLOW},
        {"it hardly converges, and the target keeps all", 256, 75000, 1000000, 1, 10, 3, MODE_HALT},
        {"a link so slow that one round is too long", 256, 10, 10000, 0, 10, 1, MODE_FOLLOW},
        {"no last round is short enough", 64, 30000, 100000, 0, 10, 0, MODE_FOLLOW},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mode_rounds rounds;
        enum mode_next next =
            run_rounds(&rounds, cases[i].memory_mib, cases[i].dirty_kbps, cases[i].link_kbps,
                       cases[i].last_round_ms, cases[i].post_after);

        if (next != cases[i].next || (cases[i].n != 0 && rounds.n != cases[i].n))
            print_error("%s: %d after %u rounds\n", cases[i].when, next, rounds.n);
        assert_int_equal(next, cases[i].next);
        assert_true(cases[i].n == 0 || rounds.n == cases[i].n);
        assert_true(rounds.n <= MODE_MAX_ROUNDS);
        assert_true(rounds.all_bytes <= MODE_ROUNDS_FACTOR * (cases[i].memory_mib << 20));
    }
}

/* A round that carries little takes its time all the same. */
static void a_short_round_says_nothing_of_the_link(void **unused)
{
    struct mode_rounds rounds = {0};

    (void)unused;
    mode_round_over(&rounds, 64 * MIB, 1000000, 4 * MIB);
    assert_int_equal(mode_next(&rounds, 64 * MIB, 20, 0), MODE_AGAIN);
    mode_round_over(&rounds, 4 * MIB, 500000, MIB);
    assert_int_equal(rounds.kbps, 64 * 8 * MIB / 1000);
    assert_int_equal(mode_next(&rounds, 64 * MIB, 20, 0), MODE_HALT);
}

static void what_it_will_stand_still_for_follows_from_what_is_left(void **unused)
{
    struct mode_wish wish = {.terms = {MOVE_STOP, 300, 0, 1}, .link_kbps = 100000};
    struct mode_rounds rounds = {0};

    (void)unused;
    assert_int_equal(mode_expected_ms(&wish, 100 * 1000 * 1000 / 8), MODE_BASE_MS + 1000);
    wish.terms.bandwidth_kbps = 50000;
    assert_int_equal(mode_expected_ms(&wish, 100 * 1000 * 1000 / 8), MODE_BASE_MS + 2000);
    wish.terms.mode = MOVE_POST;
    assert_int_equal(mode_expected_ms(&wish, 1 << 30), MODE_BASE_MS + MODE_POST_MS);
    wish.terms.mode = MOVE_PRE; /* nobody knows what it will have written */
    assert_int_equal(mode_expected_ms(&wish, 1 << 30), 0);

    assert_int_equal(mode_rounds_expected_ms(&rounds, MODE_AGAIN), 0);
    mode_round_over(&rounds, 64 * MIB, 1000000, 8 * MIB);
    assert_int_equal(mode_rounds_expected_ms(&rounds, MODE_AGAIN), MODE_BASE_MS + 125);
    mode_round_over(&rounds, 8 * MIB, 500000, MIB); /* it is the best rate that counts */
    assert_int_equal(mode_rounds_expected_ms(&rounds, MODE_HALT), MODE_BASE_MS + 15);
    assert_int_equal(mode_rounds_expected_ms(&rounds, MODE_FOLLOW), MODE_BASE_MS + MODE_POST_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mode_follows_from_the_facts),
        cmocka_unit_test(a_target_without_userfaultfd_rules_post_copy_out),
        cmocka_unit_test(files_that_go_ahead_are_not_waited_for),
        cmocka_unit_test(what_moves_have_shown_counts),
        cmocka_unit_test(a_live_copy_ends_by_post_copy),
        cmocka_unit_test(the_last_round_takes_a_part_of_the_downtime),
        cmocka_unit_test(rounds_go_on_while_they_converge),
        cmocka_unit_test(what_it_will_stand_still_for_follows_from_what_is_left),
        cmocka_unit_test(a_short_round_says_nothing_of_the_link),
        cmocka_unit_test(a_wish_survives_the_way),
        cmocka_unit_test(several_connections_go_with_pre_copy_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

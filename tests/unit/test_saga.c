/* The steps of a move: what source and target do at each sight, and the leader's transcripts. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

#include "migrate/saga.h"

#define RESERVED  SAGA_PHASE_RESERVED
#define COMMITTED SAGA_PHASE_COMMITTED
#define HANDOVER  SAGA_PHASE_HANDOVER
#define OVER      SAGA_PHASE_OVER

static void test_source_does(void **unused)
{
    static const struct {
        const char *when;
        struct saga_local sees;
        enum saga_deed does;
    } rows[] = {
        {"not told to capture", {.phase = RESERVED, .copy = SAGA_COPY_RUNNING}, SAGA_REST},
        {"told to", {.phase = RESERVED, .copy = SAGA_COPY_RUNNING, .ordered = true}, SAGA_CAPTURE},
        {"told, but it failed before",
         {.phase = RESERVED, .copy = SAGA_COPY_RUNNING, .ordered = true, .failed = true},
         SAGA_REST},
        {"captured",
         {.phase = RESERVED, .copy = SAGA_COPY_HANDED_OVER, .ordered = true},
         SAGA_REST},
        {"ended by itself",
         {.phase = RESERVED, .copy = SAGA_COPY_ENDED, .ordered = true},
         SAGA_REST},
        {"committed: kept frozen", {.phase = COMMITTED, .copy = SAGA_COPY_HANDED_OVER}, SAGA_REST},
        {"its memory is asked for", {.phase = HANDOVER, .copy = SAGA_COPY_HANDED_OVER}, SAGA_REST},
        {"aborted", {.phase = OVER, .copy = SAGA_COPY_HANDED_OVER, .is_owner = true}, SAGA_RESUME},
        {"done", {.phase = OVER, .copy = SAGA_COPY_HANDED_OVER}, SAGA_DISCARD},
        {"over and running",
         {.phase = OVER, .copy = SAGA_COPY_RUNNING, .is_owner = true},
         SAGA_REST},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (saga_source(&rows[i].sees) != rows[i].does)
            print_error("source, %s\n", rows[i].when);
        assert_int_equal(saga_source(&rows[i].sees), rows[i].does);
    }
}

static void test_target_does(void **unused)
{
    static const struct {
        const char *when;
        struct saga_local sees;
        enum saga_deed does;
    } rows[] = {
        {"no image yet", {.phase = RESERVED, .copy = SAGA_COPY_NONE}, SAGA_REST},
        {"image here",
         {.phase = RESERVED, .copy = SAGA_COPY_NONE, .image_ready = true},
         SAGA_PREPARE},
        {"it failed before",
         {.phase = RESERVED, .copy = SAGA_COPY_NONE, .image_ready = true, .failed = true},
         SAGA_REST},
        {"prepared", {.phase = RESERVED, .copy = SAGA_COPY_PREPARED}, SAGA_RECEIVE},
        {"received", {.phase = RESERVED, .copy = SAGA_COPY_RECEIVED}, SAGA_REST},
        {"committed, no lease",
         {.phase = COMMITTED, .copy = SAGA_COPY_RECEIVED, .switch_ready = true},
         SAGA_REST},
        {"committed, switch not ready",
         {.phase = COMMITTED, .copy = SAGA_COPY_RECEIVED, .lease_live = true},
         SAGA_REST},
        {"committed and ready",
         {.phase = COMMITTED, .copy = SAGA_COPY_RECEIVED, .lease_live = true, .switch_ready = true},
         SAGA_ACTIVATE},
        {"it cannot be activated",
         {.phase = COMMITTED,
          .copy = SAGA_COPY_RECEIVED,
          .failed = true,
          .lease_live = true,
          .switch_ready = true},
         SAGA_DISCARD},
        {"committed, nothing here", {.phase = COMMITTED, .copy = SAGA_COPY_NONE}, SAGA_REST},
        {"committed and running", {.phase = COMMITTED, .copy = SAGA_COPY_RUNNING}, SAGA_REST},
        {"handed over and ready",
         {.phase = HANDOVER, .copy = SAGA_COPY_RECEIVED, .lease_live = true, .switch_ready = true},
         SAGA_ACTIVATE},
        {"handed over, source lost before it runs: the restore finds out",
         {.phase = HANDOVER,
          .copy = SAGA_COPY_RECEIVED,
          .source_gone = true,
          .lease_live = true,
          .switch_ready = true},
         SAGA_ACTIVATE},
        {"handed over, it cannot be activated",
         {.phase = HANDOVER, .copy = SAGA_COPY_RECEIVED, .failed = true},
         SAGA_DISCARD},
        {"handed over, and nothing here",
         {.phase = HANDOVER, .copy = SAGA_COPY_NONE, .failed = true},
         SAGA_REST},
        {"its memory follows", {.phase = HANDOVER, .copy = SAGA_COPY_RUNNING}, SAGA_AWAIT},
        {"its memory is here",
         {.phase = HANDOVER, .copy = SAGA_COPY_RUNNING, .memory_here = true},
         SAGA_REST},
        {"its memory is here, the source lost after that",
         {.phase = HANDOVER, .copy = SAGA_COPY_RUNNING, .memory_here = true, .source_gone = true},
         SAGA_REST},
        {"the source was lost while it follows",
         {.phase = HANDOVER, .copy = SAGA_COPY_RUNNING, .source_gone = true},
         SAGA_KILL},
        {"its memory will not come",
         {.phase = HANDOVER, .copy = SAGA_COPY_RUNNING, .failed = true},
         SAGA_KILL},
        {"killed for want of its memory: what its policy says, when this is over",
         {.phase = HANDOVER, .copy = SAGA_COPY_ENDED, .failed = true},
         SAGA_REST},
        {"aborted while prepared", {.phase = OVER, .copy = SAGA_COPY_PREPARED}, SAGA_DISCARD},
        {"aborted while received", {.phase = OVER, .copy = SAGA_COPY_RECEIVED}, SAGA_DISCARD},
        {"over, nothing here", {.phase = OVER, .copy = SAGA_COPY_NONE}, SAGA_REST},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (saga_target(&rows[i].sees) != rows[i].does)
            print_error("target, %s\n", rows[i].when);
        assert_int_equal(saga_target(&rows[i].sees), rows[i].does);
    }
}

/* ---- the leader's side, as transcripts: each line is time, sight > step, advice */

struct sight {
    uint64_t ms;
    enum saga_phase phase;
    enum saga_copy source, target;
    bool source_failed, target_failed;
};

static const char *copy_name(enum saga_copy copy)
{
    static const char *const names[] = {"?",        "none",     "running",  "busy",
                                        "prepared", "received", "captured", "ended"};

    return names[copy];
}

static const char *advice_name(enum saga_advice advice)
{
    static const char *const names[] = {"wait",  "order capture", "commit",
                                        "abort", "done",          "return"};

    return names[advice];
}

static void check_transcript(const struct sight *sights, size_t n, const char *expected)
{
    static const char *const phases[] = {"over", "reserved", "committed"};
    char text[4096] = "";
    struct saga saga;

    saga_init(&saga, 5, sights[0].ms * 1000);
    for (size_t i = 0; i < n; i++) {
        const struct sight *s = &sights[i];
        struct saga_facts facts = {.phase = s->phase,
                                   .source = s->source,
                                   .target = s->target,
                                   .source_failed = s->source_failed,
                                   .target_failed = s->target_failed,
                                   .source_text = "disk",
                                   .target_text = "memory"};
        enum saga_advice advice = saga_step(&saga, &facts, s->ms * 1000);
        bool is_undone = advice == SAGA_PROPOSE_ABORT || advice == SAGA_PROPOSE_RETURN;
        size_t used = strlen(text);

        snprintf(text + used, sizeof(text) - used, "[%6llu] %s %s/%s%s > %s: %s%s%s\n",
                 (unsigned long long)s->ms, phases[s->phase], copy_name(s->source),
                 copy_name(s->target), s->source_failed || s->target_failed ? " failed" : "",
                 saga_step_name(saga.step), advice_name(advice), is_undone ? ", " : "",
                 is_undone ? saga.reason : "");
    }
    assert_string_equal(text, expected);
}

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void test_a_move_that_goes_well(void **unused)
{
    static const struct sight sights[] = {
        {0, RESERVED, SAGA_COPY_UNHEARD, SAGA_COPY_UNHEARD, 0, 0},
        {5, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_NONE, 0, 0},
        {9, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_BUSY, 0, 0},
        {20, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_PREPARED, 0, 0},
        {50, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_PREPARED, 0, 0},
        {120, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_PREPARED, 0, 0}, /* the order was lost */
        {130, RESERVED, SAGA_COPY_BUSY, SAGA_COPY_PREPARED, 0, 0},
        {160, RESERVED, SAGA_COPY_HANDED_OVER, SAGA_COPY_PREPARED, 0, 0},
        {161, RESERVED, SAGA_COPY_HANDED_OVER, SAGA_COPY_RECEIVED, 0, 0},
        {170, COMMITTED, SAGA_COPY_HANDED_OVER, SAGA_COPY_RECEIVED, 0, 0},
        {180, COMMITTED, SAGA_COPY_HANDED_OVER, SAGA_COPY_BUSY, 0, 0},
        {190, COMMITTED, SAGA_COPY_HANDED_OVER, SAGA_COPY_RUNNING, 0, 0},
    };

    (void)unused;
    check_transcript(sights, N(sights),
                     "[     0] reserved ?/? > preparing: wait\n"
                     "[     5] reserved running/none > preparing: wait\n"
                     "[     9] reserved running/busy > preparing: wait\n"
                     "[    20] reserved running/prepared > copying: order capture\n"
                     "[    50] reserved running/prepared > copying: wait\n"
                     "[   120] reserved running/prepared > copying: order capture\n"
                     "[   130] reserved busy/prepared > copying: wait\n"
                     "[   160] reserved captured/prepared > copying: wait\n"
                     "[   161] reserved captured/received > verified: commit\n"
                     "[   170] committed captured/received > committed: wait\n"
                     "[   180] committed captured/busy > committed: wait\n"
                     "[   190] committed captured/running > running: done\n");
}

static void test_moves_that_fail(void **unused)
{
    static const struct sight capture[] = {
        {0, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_PREPARED, 0, 0},
        {10, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_PREPARED, 1, 0},
        {20, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_PREPARED, 0, 0}, /* no way back */
    };
    static const struct sight receive[] = {
        {0, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_PREPARED, 0, 0},
        {10, RESERVED, SAGA_COPY_HANDED_OVER, SAGA_COPY_NONE, 0, 1},
    };
    static const struct sight rebooted[] = {
        {0, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_PREPARED, 0, 0},
        {10, RESERVED, SAGA_COPY_BUSY, SAGA_COPY_NONE, 0, 0},
    };
    static const struct sight ended[] = {
        {0, RESERVED, SAGA_COPY_ENDED, SAGA_COPY_NONE, 0, 0},
    };
    static const struct sight unstarted[] = {
        {0, RESERVED, SAGA_COPY_UNHEARD, SAGA_COPY_NONE, 0, 0},
        {10, RESERVED, SAGA_COPY_NONE, SAGA_COPY_PREPARED, 0, 0},
    };
    static const struct sight slow[] = {
        {0, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_NONE, 0, 0},
        {SAGA_PREPARE_LIMIT_MS - 1, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_NONE, 0, 0},
        {SAGA_PREPARE_LIMIT_MS, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_NONE, 0, 0},
    };

    (void)unused;
    check_transcript(capture, N(capture),
                     "[     0] reserved running/prepared > copying: order capture\n"
                     "[    10] reserved running/prepared failed > aborting: abort, disk\n"
                     "[    20] reserved running/prepared > aborting: abort, disk\n");
    check_transcript(receive, N(receive),
                     "[     0] reserved running/prepared > copying: order capture\n"
                     "[    10] reserved captured/none failed > aborting: abort, memory\n");
    check_transcript(
        rebooted, N(rebooted),
        "[     0] reserved running/prepared > copying: order capture\n"
        "[    10] reserved busy/none > aborting: abort, the target lost what it had prepared\n");
    check_transcript(ended, N(ended),
                     "[     0] reserved ended/none > aborting: abort, the guest ended by itself\n");
    check_transcript(
        unstarted, N(unstarted),
        "[     0] reserved ?/none > preparing: wait\n"
        "[    10] reserved none/prepared > aborting: abort, the guest does not run on its node "
        "yet\n");
    check_transcript(
        slow, N(slow),
        "[     0] reserved running/none > preparing: wait\n"
        "[ 29999] reserved running/none > preparing: wait\n"
        "[ 30000] reserved running/none > aborting: abort, the target took too long to prepare\n");
}

/* While it is copied a cell stands still, and a virtual machine does not. */
static void test_who_runs_meanwhile_may_take_longer(void **unused)
{
    const struct saga_facts facts = {
        .phase = RESERVED, .source = SAGA_COPY_RUNNING, .target = SAGA_COPY_PREPARED};
    struct saga saga;

    (void)unused;
    saga_init(&saga, 7, 0);
    assert_int_equal(saga_step(&saga, &facts, 0), SAGA_ORDER_CAPTURE);
    assert_int_equal(saga_deadline(&saga), SAGA_COPY_LIMIT_MS * 1000ull);
    saga.is_live = true;
    assert_int_equal(saga_deadline(&saga), SAGA_LIVE_COPY_LIMIT_MS * 1000ull);
    assert_int_not_equal(saga_step(&saga, &facts, SAGA_COPY_LIMIT_MS * 1000ull),
                         SAGA_PROPOSE_ABORT);
}

/* A new leader finds a move at any step, and a commit of its predecessor wins over its abort. */
static void test_new_leader_picks_up(void **unused)
{
    static const struct sight verified[] = {
        {0, RESERVED, SAGA_COPY_UNHEARD, SAGA_COPY_UNHEARD, 0, 0},
        {9, RESERVED, SAGA_COPY_HANDED_OVER, SAGA_COPY_UNHEARD, 0, 0},
        {10, RESERVED, SAGA_COPY_HANDED_OVER, SAGA_COPY_RECEIVED, 0, 0},
    };
    static const struct sight running[] = {
        {0, COMMITTED, SAGA_COPY_UNHEARD, SAGA_COPY_UNHEARD, 0, 0},
        {9, COMMITTED, SAGA_COPY_UNHEARD, SAGA_COPY_RUNNING, 0, 0},
    };
    static const struct sight late[] = {
        {0, RESERVED, SAGA_COPY_RUNNING, SAGA_COPY_NONE, 0, 1},
        {9, COMMITTED, SAGA_COPY_HANDED_OVER, SAGA_COPY_RECEIVED, 0, 0},
    };

    (void)unused;
    check_transcript(verified, N(verified),
                     "[     0] reserved ?/? > preparing: wait\n"
                     "[     9] reserved captured/? > preparing: wait\n"
                     "[    10] reserved captured/received > verified: commit\n");
    check_transcript(running, N(running),
                     "[     0] committed ?/? > committed: wait\n"
                     "[     9] committed ?/running > running: done\n");
    check_transcript(late, N(late),
                     "[     0] reserved running/none failed > aborting: abort, memory\n"
                     "[     9] committed captured/received > committed: wait\n");
}

/* It is the cluster that says where a guest goes on which its new owner could not restore. */
static void test_a_restore_that_fails(void **unused)
{
    static const struct sight returned[] = {
        {0, COMMITTED, SAGA_COPY_HANDED_OVER, SAGA_COPY_RECEIVED, 0, 0},
        {10, COMMITTED, SAGA_COPY_HANDED_OVER, SAGA_COPY_BUSY, 0, 0},
        {20, COMMITTED, SAGA_COPY_HANDED_OVER, SAGA_COPY_RECEIVED, 0, 1},
        {30, COMMITTED, SAGA_COPY_HANDED_OVER, SAGA_COPY_NONE, 0, 1},
    };
    static const struct sight unheard[] = {
        {0, COMMITTED, SAGA_COPY_UNHEARD, SAGA_COPY_NONE, 0, 1},
        {10, COMMITTED, SAGA_COPY_BUSY, SAGA_COPY_NONE, 0, 0}, /* its skeind started again */
        {20, COMMITTED, SAGA_COPY_NONE, SAGA_COPY_NONE, 0, 1}, /* it booted */
    };

    (void)unused;
    check_transcript(returned, N(returned),
                     "[     0] committed captured/received > committed: wait\n"
                     "[    10] committed captured/busy > committed: wait\n"
                     "[    20] committed captured/received failed > committed: wait\n"
                     "[    30] committed captured/none failed > returning: return, memory\n");
    check_transcript(
        unheard, N(unheard),
        "[     0] committed ?/none failed > committed: wait\n"
        "[    10] committed busy/none > returning: return, the target lost what it had "
        "received\n"
        "[    20] committed none/none failed > committed: done\n");
}

static void test_no_step_leads_back_before_the_commit(void **unused)
{
    (void)unused;
    for (unsigned from = SAGA_COMMITTED; from <= SAGA_RUNNING; from++) {
        for (unsigned to = SAGA_PREPARING; to < SAGA_STEP_END; to++)
            assert_int_equal(saga_step_is_legal(from, to),
                             to != from && to >= SAGA_COMMITTED && to != SAGA_ABORTING &&
                                 !(from == SAGA_FETCHING && to == SAGA_RETURNING));
    }
    for (unsigned to = SAGA_PREPARING; to <= SAGA_VERIFIED; to++)
        assert_false(saga_step_is_legal(SAGA_ABORTING, to));
}

/* Memory that follows: a handover is committed, and only the target's word, or its end, ends it. */
static void test_handover(void **unused)
{
    struct saga_facts facts = {.phase = RESERVED,
                               .source = SAGA_COPY_HANDED_OVER,
                               .target = SAGA_COPY_RECEIVED,
                               .is_lazy = true};
    struct saga saga;

    (void)unused;
    saga_init(&saga, 7, 0);
    assert_int_equal(saga_step(&saga, &facts, 0), SAGA_PROPOSE_COMMIT);
    facts.phase = HANDOVER;
    assert_int_equal(saga_step(&saga, &facts, 1), SAGA_WAIT);
    assert_int_equal(saga.step, SAGA_COMMITTED);
    facts.target = SAGA_COPY_RUNNING;
    assert_int_equal(saga_step(&saga, &facts, 2), SAGA_WAIT);
    assert_int_equal(saga.step, SAGA_FETCHING);
    assert_string_equal(saga_step_name(saga.step), "fetching");
    assert_int_equal(saga_deadline(&saga), UINT64_MAX);
    facts.target_failed = true; /* its own affair: it is killed, and that is the end */
    assert_int_equal(saga_step(&saga, &facts, 3), SAGA_WAIT);
    facts.target = SAGA_COPY_ENDED;
    assert_int_equal(saga_step(&saga, &facts, 4), SAGA_PROPOSE_DONE);
    facts.target = SAGA_COPY_RUNNING;
    facts.target_failed = false;
    facts.memory_here = true;
    assert_int_equal(saga_step(&saga, &facts, 5), SAGA_PROPOSE_DONE);
    saga_init(&saga, 7, 0); /* a new leader */
    assert_int_equal(saga_step(&saga, &facts, 0), SAGA_PROPOSE_DONE);
}

/* A machine that ended before the target let it go: its source was asked for nothing yet. */
static void test_a_handover_that_was_never_begun_returns(void **unused)
{
    struct saga_facts facts = {.phase = HANDOVER,
                               .source = SAGA_COPY_HANDED_OVER,
                               .target = SAGA_COPY_NONE,
                               .target_failed = true,
                               .target_text = "it ended before it ran",
                               .is_lazy = true};
    struct saga saga;

    (void)unused;
    saga_init(&saga, 7, 0);
    facts.target_activates = true; /* the guard's answer says which */
    assert_int_equal(saga_step(&saga, &facts, 0), SAGA_WAIT);
    facts.target_activates = false;
    assert_int_equal(saga_step(&saga, &facts, 0), SAGA_PROPOSE_DONE); /* it may have run */
    facts.never_ran = true;
    assert_int_equal(saga_step(&saga, &facts, 1), SAGA_PROPOSE_RETURN);
    assert_int_equal(saga.step, SAGA_RETURNING);
    assert_string_equal(saga.reason, "it ended before it ran");
    facts.source = SAGA_COPY_NONE; /* nothing is left to return to */
    assert_int_equal(saga_step(&saga, &facts, 2), SAGA_PROPOSE_DONE);
    facts.source = SAGA_COPY_HANDED_OVER; /* seen to run: whatever is said later */
    facts.target = SAGA_COPY_RUNNING;
    assert_int_equal(saga_step(&saga, &facts, 3), SAGA_WAIT);
    facts.target = SAGA_COPY_NONE;
    assert_int_equal(saga_step(&saga, &facts, 4), SAGA_PROPOSE_DONE);
}

/* A second, or what the user allows; never more than any stream. */
static void test_patience_follows_the_downtime_asked_for(void **unused)
{
    static const struct {
        bool is_live;
        uint32_t downtime_ms, patience_ms;
    } rows[] = {{false, 1, 1000},    {false, 300, 1000},   {false, 1000, 1000},
                {false, 1500, 1500}, {false, 60000, 3000}, {true, 300, 0}};

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(saga_patience_ms(rows[i].is_live, rows[i].downtime_ms),
                         rows[i].patience_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_does),
        cmocka_unit_test(test_target_does),
        cmocka_unit_test(test_a_move_that_goes_well),
        cmocka_unit_test(test_moves_that_fail),
        cmocka_unit_test(test_who_runs_meanwhile_may_take_longer),
        cmocka_unit_test(test_new_leader_picks_up),
        cmocka_unit_test(test_a_restore_that_fails),
        cmocka_unit_test(test_handover),
        cmocka_unit_test(test_a_handover_that_was_never_begun_returns),
        cmocka_unit_test(test_patience_follows_the_downtime_asked_for),
        cmocka_unit_test(test_no_step_leads_back_before_the_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Protected guests in small worlds: checkpoints, buddies, and what happens at a loss; see
 * agent/core/protect.c and core/buddy.c. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/world.h"

enum { PERIOD_MS = 2000 };

static const struct guest *web(const struct world *w)
{
    return state_guest(world_state(w), "web");
}

static unsigned number_of(const struct world *w, uint64_t id)
{
    for (unsigned i = 1; i <= w->n; i++) {
        if (w->nodes[i].id == id)
            return i;
    }
    return 0;
}

/* A protected guest that runs on node 2; node 1 leads. */
static void lives_protected(struct world *w)
{
    unsigned at = 0;

    world_init(w, 3);
    w->protect_ms = PERIOD_MS;
    world_run(w, 2000);
    world_create(w, "web", RESTART_ALWAYS);
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(w, "web", &at), 1);
    if (at != 2) {
        world_migrate(w, "web", 2);
        assert_true(world_answered(w, 2000));
        assert_int_equal(w->answer.kind, ANSWER_DONE);
    }
    world_run(w, 5 * PERIOD_MS);
}

static void checkpoints_come_with_the_period(void **unused)
{
    struct protection_view view;
    struct world w;
    uint8_t before;

    (void)unused;
    lives_protected(&w);
    before = w.n_checkpoints;
    world_run(&w, 10 * PERIOD_MS);
    assert_in_range(w.n_checkpoints - before, 9, 11);
    assert_int_equal(web(&w)->checkpoints[0].digest[0], w.n_checkpoints);
    assert_int_equal(web(&w)->checkpoints[1].digest[0], w.n_checkpoints - 1);
    assert_int_equal(web(&w)->checkpoints[0].node, web(&w)->buddy);
    assert_int_equal(web(&w)->checkpoints[0].frozen_us, WORLD_FREEZE_US);
    assert_int_not_equal(web(&w)->buddy, w.nodes[2].id);
    core_protection_view(w.nodes[1].core, "web", &view);
    assert_true(view.has_age && view.age_ms <= PERIOD_MS + 200);
    assert_true(view.is_told);
    assert_int_equal(view.interval_ms, PERIOD_MS);
    world_deinit(&w);
}

static void a_loss_resumes_at_the_buddy(void **unused)
{
    struct world w;
    unsigned buddy, at = 0;
    const char *text;
    uint8_t newest;

    (void)unused;
    lives_protected(&w);
    buddy = number_of(&w, web(&w)->buddy);
    newest = web(&w)->checkpoints[0].digest[0];
    world_kill(&w, 2);
    world_run(&w, 3000);
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_int_equal(at, buddy);
    assert_int_equal(w.restored, newest);
    text = strstr(w.records, "failover web");
    assert_non_null(text);
    assert_non_null(strstr(text, "; resumed from "));
    /* It is protected again, by the node that is left. */
    world_run(&w, 3 * PERIOD_MS);
    assert_int_not_equal(web(&w)->buddy, w.nodes[buddy].id);
    assert_int_equal(web(&w)->checkpoints[0].node, web(&w)->buddy);
    world_deinit(&w);
}

static void the_next_leader_knows_who_has_the_newest(void **unused)
{
    struct world w;
    unsigned buddy, other, at = 0;
    uint8_t newest;

    (void)unused;
    lives_protected(&w);
    buddy = number_of(&w, web(&w)->buddy);
    newest = web(&w)->checkpoints[0].digest[0];
    other = buddy == 1 ? 3 : 1;
    world_kill(&w, 2);
    world_lead(&w, buddy == 1 ? other : buddy);
    world_run(&w, 4000);
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_int_equal(at, buddy);
    assert_int_equal(w.restored, newest);
    world_deinit(&w);
}

static void a_checkpoint_that_fails_gives_way_to_the_one_before(void **unused)
{
    struct world w;
    uint8_t newest;

    (void)unused;
    lives_protected(&w);
    newest = web(&w)->checkpoints[0].digest[0];
    w.fail_op = GUARD_RESTORE;
    w.fail_code = -EBADMSG;
    world_kill(&w, 2);
    world_run(&w, 3000);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_int_equal(w.restored, newest - 1);
    world_deinit(&w);
}

static void without_a_checkpoint_it_starts_afresh(void **unused)
{
    struct world w;
    unsigned buddy, at = 0;

    (void)unused;
    lives_protected(&w);
    buddy = number_of(&w, web(&w)->buddy);
    if (buddy == 1) { /* the leader lives on */
        world_lead(&w, 3);
        world_run(&w, 1000);
    }
    world_kill(&w, buddy);
    world_kill(&w, 2);
    world_run(&w, 500);
    /* Two of three are gone: nothing until one is back, empty-handed. */
    assert_int_equal(world_n_running(&w, "web", NULL), 0);
    w.restored = 0;
    world_boot(&w, 2);
    world_run(&w, 5000);
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_int_equal(w.restored, 0);
    assert_int_equal(
        web(&w)->checkpoints[0].index != 0 && web(&w)->checkpoints[0].node == w.nodes[buddy].id, 0);
    world_deinit(&w);
}

static void a_lost_buddy_is_replaced(void **unused)
{
    struct world w;
    unsigned buddy;

    (void)unused;
    lives_protected(&w);
    buddy = number_of(&w, web(&w)->buddy);
    if (buddy == 1) {
        world_lead(&w, 3);
        world_run(&w, 1000);
    }
    world_kill(&w, buddy);
    world_run(&w, 2000 + 2 * PERIOD_MS);
    assert_int_equal(number_of(&w, web(&w)->buddy), 4 - buddy); /* of 1 and 3 the other one */
    assert_int_equal(web(&w)->checkpoints[0].node, web(&w)->buddy);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    world_deinit(&w);
}

static void a_move_to_the_buddy_chooses_another(void **unused)
{
    struct world w;
    uint64_t buddy;

    (void)unused;
    lives_protected(&w);
    buddy = web(&w)->buddy;
    world_migrate(&w, "web", number_of(&w, buddy));
    assert_true(world_answered(&w, 3000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    world_run(&w, 2 * PERIOD_MS);
    assert_int_equal(web(&w)->placement.node, buddy);
    assert_int_not_equal(web(&w)->buddy, buddy);
    assert_int_equal(web(&w)->checkpoints[0].node, web(&w)->buddy);
    world_deinit(&w);
}

static void a_slow_way_stretches_the_period(void **unused)
{
    struct protection_view view;
    struct world w;
    uint8_t before;

    (void)unused;
    lives_protected(&w);
    w.send_us = 3000000;
    world_run(&w, 4 * PERIOD_MS);
    before = w.n_checkpoints;
    world_run(&w, 20000);
    assert_in_range(w.n_checkpoints - before, 4, 6); /* three quarters of the time on its way */
    core_protection_view(w.nodes[1].core, "web", &view);
    assert_in_range(view.interval_ms, 3900, 4200);
    w.send_us = 0;
    world_run(&w, 20000);
    core_protection_view(w.nodes[1].core, "web", &view);
    assert_int_equal(view.interval_ms, PERIOD_MS);
    world_deinit(&w);
}

static void failures_are_told_and_tried_again(void **unused)
{
    struct protection_view view;
    struct world w;

    (void)unused;
    lives_protected(&w);
    w.fail_op = GUARD_SEND;
    w.fail_code = -EREMOTEIO;
    for (int ms = 0; ms < 2 * PERIOD_MS; ms++) {
        world_run(&w, 1);
        core_protection_view(w.nodes[1].core, "web", &view);
        if (view.n_failures > 0)
            break;
    }
    assert_int_equal(view.n_failures, 1);
    assert_non_null(strstr(view.text, "made to fail"));
    world_run(&w, 2 * PERIOD_MS);
    core_protection_view(w.nodes[1].core, "web", &view);
    assert_int_equal(view.n_failures, 0);
    assert_int_equal(web(&w)->checkpoints[0].digest[0], w.n_checkpoints);
    world_deinit(&w);
}

static void a_crash_in_place_resumes_nothing(void **unused)
{
    struct world w;

    (void)unused;
    lives_protected(&w);
    w.restored = 0;
    world_end_guest(&w, 2, "web", 1);
    world_run(&w, 3000);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_int_equal(world_copy(&w, 2, "web")->n_starts, 2);
    assert_int_equal(w.restored, 0);
    world_deinit(&w);
}

static void daemons_may_restart(void **unused)
{
    struct world w;
    uint8_t before;

    (void)unused;
    lives_protected(&w);
    world_restart_skeind(&w, 2);
    world_restart_guard(&w, 2);
    world_run(&w, 2 * PERIOD_MS);
    before = w.n_checkpoints;
    world_run(&w, 2 * PERIOD_MS);
    assert_true(w.n_checkpoints > before);
    assert_int_equal(web(&w)->checkpoints[0].digest[0], w.n_checkpoints);
    assert_int_equal(world_copy(&w, 2, "web")->n_starts, 1);
    world_deinit(&w);
}

/* ---- increments */

static uint32_t n_increments(const struct world *w)
{
    return web(w)->checkpoints[0].n_increments;
}

/* It has a chain of some. */
static void has_increments(struct world *w)
{
    lives_protected(w);
    w->tracks = true;
    world_run(w, 4 * PERIOD_MS);
    assert_in_range(n_increments(w), 2, 4);
}

static void increments_continue_what_the_buddy_has(void **unused)
{
    struct world w;
    uint32_t before;

    (void)unused;
    has_increments(&w);
    before = n_increments(&w);
    world_run(&w, PERIOD_MS);
    assert_int_equal(n_increments(&w), before + 1);
    assert_int_equal(w.since, w.n_checkpoints - 1);
    assert_int_equal(web(&w)->checkpoints[0].digest[0], w.n_checkpoints);
    assert_int_equal(web(&w)->checkpoints[0].sent, 10);
    assert_int_equal(web(&w)->checkpoints[0].size, 1000);
    w.tracks = false; /* the guard thinks better of it */
    world_run(&w, PERIOD_MS);
    assert_int_equal(n_increments(&w), 0);
    assert_int_equal(w.since, 0);
    assert_int_equal(web(&w)->checkpoints[0].sent, 1000);
    world_deinit(&w);
}

/* Runs until a checkpoint was named after the one that there is; its increments. */
static uint32_t next_one(struct world *w)
{
    uint64_t index = web(w)->checkpoints[0].index;

    for (int ms = 0; ms < 10 * PERIOD_MS && web(w)->checkpoints[0].index == index; ms++)
        world_run(w, 1);
    assert_int_not_equal(web(w)->checkpoints[0].index, index);
    return n_increments(w);
}

static void after_a_failure_it_is_whole(void **unused)
{
    static const enum guard_op ops[] = {GUARD_CHECKPOINT, GUARD_SEND};

    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        struct world w;

        has_increments(&w);
        w.fail_op = ops[i];
        w.fail_code = -EIO;
        assert_int_equal(next_one(&w), 0);
        assert_int_equal(w.since_us, 0);
        assert_int_equal(next_one(&w), 1);
        world_deinit(&w);
    }
}

static void a_guest_that_is_busy_loses_nothing(void **unused)
{
    struct world w;
    uint32_t before;

    (void)unused;
    has_increments(&w);
    before = n_increments(&w);
    w.fail_op = GUARD_CHECKPOINT;
    w.fail_code = -EAGAIN;
    assert_int_equal(next_one(&w), before + 1);
    world_deinit(&w);
}

static void a_buddy_without_room_gets_it_whole(void **unused)
{
    struct world w;

    (void)unused;
    has_increments(&w);
    w.is_full = true;
    (void)next_one(&w);
    assert_int_equal(next_one(&w), 0);
    assert_int_equal(next_one(&w), 0);
    w.is_full = false;
    assert_int_equal(next_one(&w), 0);
    assert_int_equal(next_one(&w), 1);
    world_deinit(&w);
}

static void increments_say_which_period_is_held(void **unused)
{
    struct protection_view view;
    struct world w;

    (void)unused;
    has_increments(&w);
    w.send_us = 3000000; /* longer than the period */
    w.tracks = false;
    assert_int_equal(next_one(&w), 0);
    world_run(&w, 200);
    core_protection_view(w.nodes[1].core, "web", &view);
    assert_int_equal(view.interval_ms, PERIOD_MS);
    assert_int_equal(next_one(&w), 0); /* and now all are */
    world_run(&w, 200);
    core_protection_view(w.nodes[1].core, "web", &view);
    assert_in_range(view.interval_ms, 3900, 4200);
    world_deinit(&w);
}

static void another_buddy_gets_it_whole(void **unused)
{
    struct world w;
    unsigned buddy;

    (void)unused;
    has_increments(&w);
    buddy = number_of(&w, web(&w)->buddy);
    if (buddy == 1) {
        world_lead(&w, 3);
        world_run(&w, 1000);
    }
    world_kill(&w, buddy);
    do
        (void)next_one(&w);
    while (number_of(&w, web(&w)->checkpoints[0].node) == buddy);
    assert_int_equal(n_increments(&w), 0);
    assert_int_equal(next_one(&w), 1);
    world_deinit(&w);
}

static void another_run_begins_whole(void **unused)
{
    struct world w;

    (void)unused;
    has_increments(&w);
    world_end_guest(&w, 2, "web", 1);
    world_run(&w, 100);
    assert_int_equal(next_one(&w), 0);
    assert_int_equal(next_one(&w), 1);
    world_deinit(&w);
}

static void a_move_begins_whole_there_and_when_it_failed(void **unused)
{
    (void)unused;
    for (int fails = 0; fails < 2; fails++) {
        struct world w;

        has_increments(&w);
        w.fail_op = GUARD_CAPTURE;
        w.fail_code = fails ? -EIO : 0;
        world_migrate(&w, "web", number_of(&w, web(&w)->buddy) == 1 ? 3 : 1);
        assert_true(world_answered(&w, 3000));
        assert_int_equal(w.answer.kind == ANSWER_DONE, !fails);
        assert_int_equal(next_one(&w), 0);
        world_deinit(&w);
    }
}

static void daemons_that_start_begin_whole(void **unused)
{
    struct world w;

    (void)unused;
    has_increments(&w);
    world_restart_skeind(&w, 2);
    assert_int_equal(next_one(&w), 0);
    assert_int_equal(next_one(&w), 1);
    world_deinit(&w);
}

static void a_resume_from_an_increment_says_so(void **unused)
{
    struct world w;
    uint8_t newest;

    (void)unused;
    has_increments(&w);
    newest = web(&w)->checkpoints[0].digest[0];
    world_kill(&w, 2);
    world_run(&w, 3000);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_int_equal(w.restored, newest);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_come_with_the_period),
        cmocka_unit_test(a_loss_resumes_at_the_buddy),
        cmocka_unit_test(the_next_leader_knows_who_has_the_newest),
        cmocka_unit_test(a_checkpoint_that_fails_gives_way_to_the_one_before),
        cmocka_unit_test(without_a_checkpoint_it_starts_afresh),
        cmocka_unit_test(a_lost_buddy_is_replaced),
        cmocka_unit_test(a_move_to_the_buddy_chooses_another),
        cmocka_unit_test(a_slow_way_stretches_the_period),
        cmocka_unit_test(failures_are_told_and_tried_again),
        cmocka_unit_test(a_crash_in_place_resumes_nothing),
        cmocka_unit_test(daemons_may_restart),
        cmocka_unit_test(increments_continue_what_the_buddy_has),
        cmocka_unit_test(after_a_failure_it_is_whole),
        cmocka_unit_test(a_guest_that_is_busy_loses_nothing),
        cmocka_unit_test(a_buddy_without_room_gets_it_whole),
        cmocka_unit_test(increments_say_which_period_is_held),
        cmocka_unit_test(another_buddy_gets_it_whole),
        cmocka_unit_test(another_run_begins_whole),
        cmocka_unit_test(a_move_begins_whole_there_and_when_it_failed),
        cmocka_unit_test(daemons_that_start_begin_whole),
        cmocka_unit_test(a_resume_from_an_increment_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The core in small worlds: leases, the life of a guest, images and answers; see
 * tests/support/world.h. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"
#include "tests/unit/small_world.h"

static void test_leases_are_granted_and_kept(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 3);
    for (unsigned i = 1; i <= 3; i++)
        assert_false(w.nodes[i].guard.holder.lapsed);
    assert_true(core_is_leader(w.nodes[1].core));
    assert_true(core_has_authority(w.nodes[1].core, w.now));
    world_run(&w, 5000);
    for (unsigned i = 1; i <= 3; i++) {
        assert_false(w.nodes[i].guard.holder.lapsed);
        assert_in_range(w.nodes[i].stamps, 100, 140); /* about 20 a second */
    }
    world_deinit(&w);
}

static void test_guest_runs_stops_and_starts(void **unused)
{
    struct world w;
    struct command start = {.type = COMMAND_GUEST_START, .guest_place.name = "web"};

    (void)unused;
    lives(&w, 3);
    created(&w, "web", RESTART_ALWAYS);

    world_by_name(&w, COMMAND_GUEST_REMOVE, "web"); /* runs: refused */
    assert_true(world_answered(&w, 1000));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);

    world_by_name(&w, COMMAND_GUEST_STOP, "web");
    assert_true(world_answered(&w, 1000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(&w, "web", NULL), 0);
    assert_string_equal(core_guest_state_word(w.nodes[1].core, "web"), "stopped");

    world_ask(&w, &start);
    assert_true(world_answered(&w, 1000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);

    world_by_name(&w, COMMAND_GUEST_STOP, "web");
    assert_true(world_answered(&w, 1000));
    world_by_name(&w, COMMAND_GUEST_REMOVE, "web");
    assert_true(world_answered(&w, 1000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(world_state(&w)->n_guests, 0);
    world_deinit(&w);
}

static void test_guest_that_fits_nowhere_is_refused_with_reasons(void **unused)
{
    struct world w;
    char name[NAME_SIZE];

    (void)unused;
    lives(&w, 3);
    for (int i = 0; i < 9; i++) { /* three nodes, three isolated cores each */
        snprintf(name, sizeof(name), "web%d", i);
        created(&w, name, RESTART_ALWAYS);
    }
    world_create(&w, "more", RESTART_ALWAYS);
    assert_true(world_answered(&w, 1000));
    assert_int_equal(w.answer.kind, ANSWER_NO_PLACE);
    assert_non_null(strstr(w.answer.text, "n2"));
    assert_int_equal(world_state(&w)->n_guests, 9);
    world_deinit(&w);
}

static void test_guest_that_does_not_start_is_said_to(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 3);
    w.fail_op = GUARD_START;
    w.fail_code = -EIO;
    world_create(&w, "web", RESTART_ALWAYS);
    assert_true(world_answered(&w, 1000));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);
    assert_non_null(strstr(w.answer.text, "made to fail"));
    world_run(&w, 1000); /* it is tried again */
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    world_deinit(&w);
}

static void test_restart_policy_and_back_off(void **unused)
{
    struct world w;
    unsigned at;
    uint64_t died;

    (void)unused;
    lives(&w, 3);
    at = created(&w, "web", RESTART_ALWAYS);
    world_end_guest(&w, at, "web", 1);
    world_run(&w, 150);
    assert_int_equal(world_n_running(&w, "web", NULL), 0);
    world_run(&w, 150); /* 200 ms and its start */
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    world_end_guest(&w, at, "web", 1);
    died = w.now;
    while (world_n_running(&w, "web", NULL) == 0 && w.now < died + 2000000)
        world_run(&w, 10);
    assert_in_range(w.now - died, 400000, 460000); /* doubled */

    at = created(&w, "once", RESTART_NEVER);
    world_end_guest(&w, at, "once", 3);
    world_run(&w, 200);
    assert_int_equal(world_n_running(&w, "once", NULL), 0);
    assert_int_equal(state_guest(world_state(&w), "once")->desired, DESIRED_STOPPED);
    assert_null(world_copy(&w, at, "once"));
    world_deinit(&w);
}

static void add_image(struct world *w, const char *name, uint8_t digest)
{
    struct command command = {.type = COMMAND_IMAGE_ADD};
    struct image *image = &command.image_add.image;

    snprintf(image->name, sizeof(image->name), "%s", name);
    image->format = IMAGE_TAR;
    image->digest[0] = digest;
    image->size = 1;
    image->n_holders = 1;
    image->holders = calloc(1, sizeof(uint64_t));
    assert_non_null(image->holders);
    image->holders[0] = w->nodes[1].id;
    world_ask(w, &command);
}

static void test_image_is_added_when_every_present_node_holds_it(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 3);
    add_image(&w, "db", 2);
    assert_true(world_answered(&w, 2000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(state_image(world_state(&w), "db")->n_holders, 3);

    world_kill(&w, 3); /* an absent node holds nobody up, and fetches it when it is back */
    world_run(&w, 1000);
    add_image(&w, "web2", 3);
    assert_true(world_answered(&w, 2000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(state_image(world_state(&w), "web2")->n_holders, 2);
    world_boot(&w, 3);
    world_run(&w, 500);
    assert_int_equal(state_image(world_state(&w), "web2")->n_holders, 3);

    w.fail_op = GUARD_UNPACK;
    w.fail_code = -EIO;
    add_image(&w, "broken", 4);
    assert_true(world_answered(&w, 2000));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);
    assert_non_null(strstr(w.answer.text, "made to fail"));
    world_deinit(&w);
}

/* docs/leases.md, lemma 4: what the log has seen is not known before it is loaded. */
static void test_an_answer_before_the_log_is_loaded_starts_nothing(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 3);
    world_restart_skeind(&w, 3);
    w.nodes[3].published_term = 0;
    world_run(&w, 300);
    assert_false(w.nodes[3].guard.holder.lapsed); /* the lease goes on */
    assert_false(core_node_is_current(w.nodes[3].core));
    w.nodes[3].published_term = w.term;
    world_run(&w, 100);
    assert_true(core_node_is_current(w.nodes[3].core));
    world_deinit(&w);
}

static void test_wish_without_an_outcome_is_answered(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 3);
    for (unsigned i = 2; i <= 3; i++) /* the leader alone, from now on */
        world_isolate(&w, i, true);
    world_by_name(&w, COMMAND_SLICE_REMOVE, "red");
    assert_true(world_answered(&w, 6000));
    assert_int_equal(w.answer.kind, ANSWER_NOT_NOW);
    assert_in_range(w.answered_us / 1000, 1500 + 2000, 1500 + 2400);
    world_deinit(&w);
}

static void test_no_quorum_is_said(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 3);
    world_isolate(&w, 1, true);
    world_run(&w, 2500);
    world_create(&w, "web", RESTART_ALWAYS);
    assert_true(w.has_answer); /* at once */
    assert_int_equal(w.answer.kind, ANSWER_NOT_NOW);
    world_deinit(&w);
}

static void test_follower_names_the_leader(void **unused)
{
    struct world w;
    struct command command = {.type = COMMAND_GUEST_STOP, .by_name.name = "web"};
    struct core_event event = {.type = CORE_REQUEST, .ticket = 9, .command = &command};
    struct core_actions actions = {0};

    (void)unused;
    lives(&w, 3);
    core_step(w.nodes[2].core, &event, w.now, &actions);
    assert_true(actions.n >= 1);
    assert_int_equal(actions.list[0].type, CORE_RESPOND);
    assert_int_equal(actions.list[0].answer->kind, ANSWER_NOT_LEADER);
    assert_int_equal(actions.list[0].answer->leader, w.nodes[1].id);
    core_actions_deinit(&actions);
    world_deinit(&w);
}

/* Ticks of one core from `now` on until it wants its next stamp; when that was. */
static uint64_t next_stamp_wanted(struct core *core, uint64_t now)
{
    struct core_event tick = {.type = CORE_TICK};
    struct core_actions actions = {0};
    bool wanted = false;

    for (uint64_t end = now + 1000000; !wanted && now < end; now += 1000) {
        core_step(core, &tick, now, &actions);
        for (size_t i = 0; i < actions.n; i++)
            wanted = wanted || actions.list[i].type == CORE_WANT_STAMP;
        core_actions_clear(&actions);
    }
    core_actions_deinit(&actions);
    assert_true(wanted);
    return now - 1000;
}

static void test_the_log_says_how_often_a_node_beats(void **unused)
{
    struct core_config config = {.id = 1, .timers = *timers_of_profile("default")};
    struct command init = {
        .type = COMMAND_CLUSTER_INIT,
        .cluster_init = {.cluster = {7}, .name = "n1", .timers = *timers_of_profile("fast")}};
    struct core_event hello = {.type = CORE_GUARD_HELLO, .hello = {.run = 1}};
    struct core_event committed = {.type = CORE_COMMITTED, .index = 1, .term = 1};
    struct core_actions actions = {0};
    struct core *core;
    struct writer w;
    uint64_t before, at;

    (void)unused;
    cluster_facts(1, 4, &config.facts);
    cluster_facts(1, 4, &init.cluster_init.facts);
    assert_int_equal(core_new(&config, &core, NULL), 0);
    core_step(core, &hello, 1000, &actions);
    before = next_stamp_wanted(core, 2000000);
    assert_int_equal(next_stamp_wanted(core, before + 1000) - before, 50000);
    writer_init_growing(&w, COMMAND_MAX_SIZE);
    command_encode(&init, &w);
    committed.data = w.data;
    committed.size = w.size;
    core_step(core, &committed, before + 51000, &actions);
    at = next_stamp_wanted(core, before + 2000000);
    assert_int_equal(next_stamp_wanted(core, at + 1000) - at, 20000);
    writer_deinit(&w);
    core_actions_deinit(&actions);
    core_free(core);
    node_facts_deinit(&config.facts);
    command_deinit(&init);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leases_are_granted_and_kept),
        cmocka_unit_test(test_guest_runs_stops_and_starts),
        cmocka_unit_test(test_guest_that_fits_nowhere_is_refused_with_reasons),
        cmocka_unit_test(test_guest_that_does_not_start_is_said_to),
        cmocka_unit_test(test_restart_policy_and_back_off),
        cmocka_unit_test(test_image_is_added_when_every_present_node_holds_it),
        cmocka_unit_test(test_an_answer_before_the_log_is_loaded_starts_nothing),
        cmocka_unit_test(test_wish_without_an_outcome_is_answered),
        cmocka_unit_test(test_no_quorum_is_said),
        cmocka_unit_test(test_follower_names_the_leader),
        cmocka_unit_test(test_the_log_says_how_often_a_node_beats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

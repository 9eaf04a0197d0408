/* The core in small worlds: nodes that join and leave, and the roles of those that stay. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"
#include "tests/unit/small_world.h"

static void test_node_joins_and_is_removed(void **unused)
{
    struct world w;
    struct command token = {.type = COMMAND_TOKEN_CREATE,
                            .token_create.token = {.hash = {9}, .expires_s = 5000, .uses_left = 1}};
    struct command join = {.type = COMMAND_NODE_JOIN,
                           .node_join = {.token_hash = {9}, .name = "n9"}};
    struct command again = {.type = COMMAND_NODE_JOIN,
                            .node_join = {.token_hash = {9}, .name = "n8"}};
    uint64_t id;

    (void)unused;
    lives(&w, 3);
    world_ask(&w, &token);
    assert_true(world_answered(&w, 1000));
    cluster_facts(9, 4, &join.node_join.facts);
    world_ask(&w, &join);
    assert_true(world_answered(&w, 1000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    id = w.answer.id;
    world_run(&w, 200); /* added to Raft's members, then told so to the state */
    assert_non_null(state_node(world_state(&w), id));
    assert_int_equal(state_node(world_state(&w), id)->role, ROLE_VOTER);

    cluster_facts(8, 4, &again.node_join.facts);
    world_ask(&w, &again); /* the token is used */
    assert_true(world_answered(&w, 1000));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);
    assert_non_null(strstr(w.answer.text, "token"));

    world_by_name(&w, COMMAND_NODE_REMOVE, "n9");
    assert_true(world_answered(&w, 1000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_null(state_node(world_state(&w), id));
    world_deinit(&w);
}

static void remove_node(struct world *w, const char *name, enum answer_kind wanted)
{
    unsigned n_promoted = w->n_promoted;

    world_by_name(w, COMMAND_NODE_REMOVE, name);
    assert_true(world_answered(w, 5000));
    if (w->answer.kind != wanted)
        fail_msg("remove %s: %d: %s", name, w->answer.kind, w->answer.text);
    assert_int_equal(w->n_promoted, n_promoted); /* who leaves gets no vote again on its way */
}

static void test_removal_moves_the_guests_and_hands_over(void **unused)
{
    struct world w;
    unsigned at = 0;

    (void)unused;
    lives(&w, 3);
    world_create(&w, "web", RESTART_ALWAYS);
    assert_true(world_answered(&w, 2000));
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    if (at == 1) {
        world_migrate(&w, "web", 2);
        assert_true(world_answered(&w, 5000));
        at = 2;
    }
    remove_node(&w, at == 2 ? "n2" : "n3", ANSWER_DONE); /* drained first, alive */
    assert_int_equal(world_state(&w)->n_nodes, 2);
    assert_int_equal(w.n_stopped, 1); /* it learned so from the log */
    assert_int_equal(state_guest(world_state(&w), "web")->placement.node, w.nodes[1].id);

    /* the leader itself: another one leads first, and is asked again */
    world_by_name(&w, COMMAND_NODE_REMOVE, "n1");
    for (int ms = 0; ms < 2000 && w.successor == 0; ms++)
        world_run(&w, 1);
    assert_int_equal(w.successor, at == 2 ? 3 : 2);
    world_lead(&w, w.successor);
    assert_true(w.has_answer);
    assert_int_equal(w.answer.kind, ANSWER_LEADER_LOST);
    world_run(&w, 1000);
    remove_node(&w, "n1", ANSWER_DONE);
    assert_int_equal(world_state(&w)->n_nodes, 1);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    remove_node(&w, at == 2 ? "n3" : "n2", ANSWER_REFUSED);
    assert_non_null(strstr(w.answer.text, "only node"));
    world_deinit(&w);
}

static void test_removal_never_breaks_the_quorum(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 5);
    world_kill(&w, 4);
    world_kill(&w, 5);
    world_run(&w, 2000);
    assert_int_equal(state_node(world_state(&w), w.nodes[4].id)->state, NODE_LOST);
    remove_node(&w, "n9", ANSWER_REFUSED);
    remove_node(&w, "n2", ANSWER_REFUSED); /* two of the other four would answer */
    assert_non_null(strstr(w.answer.text, "could not decide"));
    assert_false(state_node(world_state(&w), w.nodes[2].id)->draining); /* nothing was changed */
    remove_node(&w, "n4", ANSWER_DONE);
    remove_node(&w, "n5", ANSWER_DONE);
    remove_node(&w, "n2", ANSWER_DONE);
    assert_int_equal(world_state(&w)->n_nodes, 2);
    world_deinit(&w);
}

static enum raft_role role_of(const struct world *w, unsigned i)
{
    return state_node(world_state(w), w->nodes[i].id)->role;
}

static void test_lost_voter_is_replaced(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 4); /* all of them vote */
    w.max_voters = 3;
    world_restart_skeind(&w, 1); /* the leader, from now on content with three */
    world_lead(&w, 1);
    world_run(&w, 500);
    assert_int_equal(role_of(&w, 4), ROLE_VOTER); /* nobody is sent away who is well */

    world_kill(&w, 4);
    world_run(&w, 2000);
    assert_int_equal(role_of(&w, 4), ROLE_SPARE); /* three are left, and enough */
    world_boot(&w, 4);
    world_run(&w, 1000);
    assert_int_equal(role_of(&w, 4), ROLE_STANDBY);

    world_kill(&w, 3);
    world_run(&w, 2000);
    assert_int_equal(role_of(&w, 4), ROLE_VOTER);
    assert_int_equal(role_of(&w, 3), ROLE_SPARE);
    world_boot(&w, 3);
    world_run(&w, 1000);
    assert_int_equal(role_of(&w, 3), ROLE_STANDBY);
    world_deinit(&w);
}

static void test_standby_that_is_silent_is_not_promoted(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 5);
    w.max_voters = 3;
    world_restart_skeind(&w, 1);
    world_lead(&w, 1);
    world_run(&w, 500);
    for (unsigned i = 4; i <= 5; i++) {
        world_kill(&w, i);
        world_run(&w, 2000);
        world_boot(&w, i);
        world_run(&w, 1000);
        assert_int_equal(role_of(&w, i), ROLE_STANDBY);
    }
    world_kill(&w, 3);
    world_run(&w, 150);
    world_isolate(&w, 4, true); /* its lease outlasts the moment at which n3 is lost */
    world_run(&w, 560);
    assert_int_equal(role_of(&w, 3), ROLE_SPARE);
    assert_int_equal(role_of(&w, 4), ROLE_STANDBY);
    assert_int_equal(role_of(&w, 5), ROLE_VOTER);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node_joins_and_is_removed),
        cmocka_unit_test(test_removal_moves_the_guests_and_hands_over),
        cmocka_unit_test(test_removal_never_breaks_the_quorum),
        cmocka_unit_test(test_lost_voter_is_replaced),
        cmocka_unit_test(test_standby_that_is_silent_is_not_promoted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

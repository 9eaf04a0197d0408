/* Asking others about a silent node: who is asked, what is said, and that nothing is decided by it.
 */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/message.h"
#include "tests/support/world.h"

enum { N_NODES = 5 };

static void lives(struct world *w, unsigned n)
{
    world_init(w, n);
    world_run(w, 2000);
}

/* The path between two nodes, both ways; all others stand. */
static void cut_path(struct world *w, unsigned a, unsigned b, bool is_cut)
{
    w->cut[a][b] = w->cut[b][a] = is_cut;
}

static struct node_view seen(const struct world *w, unsigned of)
{
    struct node_view view;

    core_node_view(w->nodes[1].core, w->nodes[of].id, w->now, &view);
    return view;
}

static const char *words(const struct world *w, unsigned of)
{
    static char text[CORE_OTHERS_SIZE];

    core_ask_words(w->nodes[1].core, w->nodes[of].id, text, sizeof(text));
    return text;
}

static void nobody_is_asked_about_a_node_that_beats(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 3);
    assert_false(seen(&w, 2).is_silent);
    assert_string_equal(words(&w, 2), "");
    assert_string_equal(words(&w, 1), "");
    world_deinit(&w);
}

static void a_cut_path_is_told_from_a_death(void **unused)
{
    struct node_view view;
    struct world w;

    (void)unused;
    lives(&w, 3);
    cut_path(&w, 1, 2, true);
    world_run(&w, 250);
    view = seen(&w, 2);
    assert_true(view.is_silent);
    assert_in_range(view.silent_ms, 200, 300);
    assert_int_equal(view.n_others, 1);
    assert_int_equal(view.others[0].node, w.nodes[3].id);
    assert_true(view.others[0].is_answered && view.others[0].is_heard);
    assert_string_equal(words(&w, 2), "n3 hears it: only its path to the leader n1 is down");

    cut_path(&w, 1, 2, false);
    world_run(&w, 200);
    assert_false(seen(&w, 2).is_silent);
    assert_string_equal(words(&w, 2), "");

    world_kill(&w, 2);
    world_run(&w, 250); /* silent for 150 ms, and n3 still waits */
    assert_string_equal(words(&w, 2), "n3 is asked and has not answered yet");
    world_run(&w, 200);
    assert_false(seen(&w, 2).others[0].is_heard);
    assert_string_equal(words(&w, 2), "n3 does not hear it either: dead or cut off");
    world_deinit(&w);
}

static void the_records_of_a_loss_say_it(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 4);
    cut_path(&w, 1, 2, true);
    world_run(&w, 1000);
    assert_int_equal(state_node(world_state(&w), w.nodes[2].id)->state, NODE_LOST);
    assert_non_null(strstr(w.records, "no beat of n2, its lease is over; n3 and n4 hear it: only"));
    /* A lost node is asked about too, and the answer changes when it dies. */
    world_kill(&w, 2);
    world_run(&w, 8000);
    assert_string_equal(words(&w, 2), "n3 and n4 do not hear it either: dead or cut off");
    world_deinit(&w);
}

static void silent_nodes_are_no_helpers(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, N_NODES);
    cut_path(&w, 1, 2, true);
    cut_path(&w, 1, 3, true);
    world_run(&w, 300);
    assert_string_equal(words(&w, 2), "n4 and n5 hear it: only its path to the leader n1 is down");
    assert_int_equal(seen(&w, 3).n_others, 2);
    world_deinit(&w);
}

static void at_most_three_are_asked(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, WORLD_MAX_NODES);
    cut_path(&w, 1, 6, true);
    world_run(&w, 300);
    assert_int_equal(seen(&w, 6).n_others, 3);
    world_deinit(&w);
}

/* ---- never decisive */

static void say_heard(struct world *w, unsigned from, unsigned about, bool is_heard)
{
    struct message message = {.type = MESSAGE_HEARD};
    struct core_event event = {.type = CORE_PEER_MESSAGE, .from = w->nodes[from].id};
    struct core_actions actions = {0};
    struct writer out;
    uint8_t bytes[64];

    message.heard.node = w->nodes[about].id;
    message.heard.is_heard = is_heard;
    writer_init(&out, bytes, sizeof(bytes));
    message_encode(&message, &out);
    event.data = bytes;
    event.size = out.size;
    core_step(w->nodes[1].core, &event, w->now, &actions);
    assert_int_equal(actions.n, 0); /* it causes nothing at all */
    core_actions_deinit(&actions);
}

enum answers { ANSWERS_TRUE, ANSWERS_LIE_YES, ANSWERS_LIE_NO };

/* How long after the power-off of n2 it is called lost, in ms. */
static unsigned lost_after(enum answers answers)
{
    struct world w;
    unsigned ms = 0;

    lives(&w, 3);
    world_kill(&w, 2);
    for (; ms < 2000 && state_node(world_state(&w), w.nodes[2].id)->state != NODE_LOST; ms++) {
        if (answers != ANSWERS_TRUE && core_next_deadline(w.nodes[1].core) > w.now)
            say_heard(&w, 3, 2, answers == ANSWERS_LIE_YES);
        world_run(&w, 1);
    }
    if (answers == ANSWERS_LIE_YES)
        assert_non_null(strstr(w.records, "its lease is over; n3 hears it"));
    world_deinit(&w);
    return ms;
}

static void losses_come_at_the_same_moment_whatever_is_answered(void **unused)
{
    unsigned ms = lost_after(ANSWERS_TRUE);

    (void)unused;
    assert_in_range(ms, 560, 700);
    assert_int_equal(lost_after(ANSWERS_LIE_YES), ms);
    assert_int_equal(lost_after(ANSWERS_LIE_NO), ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_asked_about_a_node_that_beats),
        cmocka_unit_test(a_cut_path_is_told_from_a_death),
        cmocka_unit_test(the_records_of_a_loss_say_it),
        cmocka_unit_test(silent_nodes_are_no_helpers),
        cmocka_unit_test(at_most_three_are_asked),
        cmocka_unit_test(losses_come_at_the_same_moment_whatever_is_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

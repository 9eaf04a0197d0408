/* consensus/state_protect: which checkpoints a guest may resume from, and when they end. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/three_nodes.h"

enum { N2 = 4, N3 = 6 }; /* ids, as cluster_form() makes them */

static int protected_guest(void **state)
{
    struct cluster *c;

    assert_int_equal(three_nodes(state), 0);
    c = *state;
    assert_int_equal(state_node_by_name(&c->state, "n2")->id, N2);
    assert_int_equal(state_node_by_name(&c->state, "n3")->id, N3);
    assert_int_equal(cluster_guest(c, "web", cluster_place(c, "n2", 1, 1), FAILOVER_RESTORE), 0);
    return 0;
}

static const struct guest *web(const struct cluster *c)
{
    return state_guest(&c->state, "web");
}

static int buddy(struct cluster *c, uint64_t node)
{
    struct command command = {.type = COMMAND_GUEST_BUDDY,
                              .guest_buddy = {.name = "web", .node = node}};

    return cluster_apply(c, &command);
}

static int checkpoint(struct cluster *c, uint64_t node, uint8_t digest)
{
    struct command command = {
        .type = COMMAND_GUEST_CHECKPOINT,
        .guest_checkpoint = {
            .name = "web",
            .epoch = web(c)->placement.epoch,
            .checkpoint = {.node = node, .digest = {digest}, .size = 1000, .frozen_us = 20000}}};

    return cluster_apply(c, &command);
}

static int protect(struct cluster *c, const char *name, uint32_t protect_ms)
{
    struct command command = {.type = COMMAND_GUEST_PROTECT,
                              .guest_protect = {.protect_ms = protect_ms}};

    snprintf(command.guest_protect.name, NAME_SIZE, "%s", name);
    return cluster_apply(c, &command);
}

static int lose(struct cluster *c, uint64_t node)
{
    struct command command = {.type = COMMAND_NODE_LOST,
                              .node_event = {.node = node,
                                             .expect_epoch = state_node(&c->state, node)->epoch,
                                             .term = c->state.term}};

    return cluster_apply(c, &command);
}

static int place(struct cluster *c, const char *node)
{
    return cluster_place_guest(c, COMMAND_GUEST_PLACE, "web", web(c)->placement.epoch,
                               cluster_place(c, node, 1, 1));
}

static void two_are_kept_the_newest_first(void **state)
{
    struct cluster *c = *state;

    assert_int_equal(checkpoint(c, N3, 1), -ESTALE); /* no buddy yet */
    assert_int_equal(checkpoint(c, 0, 1), -ESTALE);
    assert_int_equal(buddy(c, N3), 0);
    for (uint8_t digest = 1; digest <= 3; digest++)
        assert_int_equal(checkpoint(c, N3, digest), 0);
    assert_int_equal(web(c)->checkpoints[0].digest[0], 3);
    assert_int_equal(web(c)->checkpoints[0].index, c->state.index);
    assert_int_equal(web(c)->checkpoints[1].digest[0], 2);
    assert_int_equal(state_checkpoint_at(web(c), N3, 0)->digest[0], 3);
    assert_int_equal(state_checkpoint_at(web(c), N3, 1)->digest[0], 2);
    assert_null(state_checkpoint_at(web(c), N3, 2));
    assert_null(state_checkpoint_at(web(c), 1, 0));
}

static void a_buddy_is_another_node_that_lives(void **state)
{
    struct cluster *c = *state;

    assert_int_equal(buddy(c, N2), -ESTALE); /* it runs there itself */
    assert_int_equal(buddy(c, 99), -ENOENT);
    assert_int_equal(lose(c, N3), 0);
    assert_int_equal(buddy(c, N3), -ESTALE);
    assert_int_equal(buddy(c, 1), 0);
    assert_int_equal(checkpoint(c, N3, 1), -ESTALE);
    assert_int_equal(checkpoint(c, 1, 1), 0);
}

static void a_loss_keeps_them_and_their_holder_may_resume(void **state)
{
    struct cluster *c = *state;

    buddy(c, N3);
    checkpoint(c, N3, 1);
    assert_int_equal(lose(c, N2), 0);
    assert_int_equal(web(c)->placement.node, 0);
    assert_int_equal(checkpoint(c, N3, 2), -ESTALE); /* of a copy that is no more */
    assert_int_equal(place(c, "n3"), 0);
    assert_int_equal(state_checkpoint_at(web(c), N3, 0)->digest[0], 1);
}

static void a_place_without_one_begins_a_new_life(void **state)
{
    struct cluster *c = *state;

    buddy(c, N3);
    checkpoint(c, N3, 1);
    lose(c, N2);
    assert_int_equal(place(c, "n1"), 0);
    assert_int_equal(web(c)->checkpoints[0].index, 0);
}

static void an_orderly_stop_and_a_start_end_them(void **state)
{
    struct cluster *c = *state;
    struct command stop = {.type = COMMAND_GUEST_STOP, .by_name.name = "web"};
    struct command stopped = {.type = COMMAND_GUEST_STOPPED, .guest_stopped.name = "web"};

    buddy(c, N3);
    checkpoint(c, N3, 1);
    cluster_apply(c, &stop);
    assert_int_equal(checkpoint(c, N3, 2), -ESTALE); /* meant to be stopped */
    stopped.guest_stopped.epoch = web(c)->placement.epoch;
    assert_int_equal(cluster_apply(c, &stopped), 0);
    assert_int_equal(web(c)->checkpoints[0].index, 0);

    /* Lost while it was being stopped: a start is a start all the same. */
    assert_int_equal(cluster_place_guest(c, COMMAND_GUEST_START, "web", web(c)->placement.epoch,
                                         cluster_place(c, "n2", 1, 1)),
                     0);
    checkpoint(c, N3, 3);
    cluster_apply(c, &stop);
    lose(c, N2);
    assert_int_equal(web(c)->checkpoints[0].digest[0], 3);
    assert_int_equal(cluster_place_guest(c, COMMAND_GUEST_START, "web", web(c)->placement.epoch,
                                         cluster_place(c, "n3", 1, 1)),
                     0);
    assert_int_equal(web(c)->checkpoints[0].index, 0);
}

static void a_removed_node_holds_none(void **state)
{
    struct cluster *c = *state;
    struct command remove = {.type = COMMAND_NODE_REMOVE, .by_name.name = "n3"};

    buddy(c, 1);
    checkpoint(c, 1, 1);
    buddy(c, N3);
    checkpoint(c, N3, 2);
    assert_int_equal(cluster_apply(c, &remove), 0);
    assert_int_equal(web(c)->buddy, 0);
    assert_int_equal(web(c)->checkpoints[0].digest[0], 1);
    assert_int_equal(web(c)->checkpoints[1].index, 0);
}

static void a_running_guest_is_protected_and_not_any_more(void **state)
{
    struct cluster *c = *state;

    cluster_guest(c, "db", cluster_place(c, "n3", 1, 1), FAILOVER_RESTART);
    assert_int_equal(protect(c, "db", 2000), 0);
    assert_int_equal(state_guest(&c->state, "db")->spec.failover, FAILOVER_RESTORE);
    assert_int_equal(protect(c, "db", 100), -EINVAL);
    assert_string_equal(c->out.reason, "guest db: a checkpoint every 500 ms to 3600 s");
    assert_int_equal(state_guest(&c->state, "db")->spec.protect_ms, 2000);
    assert_int_equal(protect(c, "nil", 2000), -ENOENT);

    buddy(c, N3);
    checkpoint(c, N3, 1);
    assert_int_equal(protect(c, "web", 0), 0);
    assert_int_equal(web(c)->spec.failover, FAILOVER_RESTART);
    assert_int_equal(web(c)->buddy, 0);
    assert_int_equal(web(c)->checkpoints[0].index, 0);
    assert_int_equal(checkpoint(c, N3, 1), -ESTALE);
}

/* As a request of its own. */
static int create(struct cluster *c, struct command *command)
{
    memset(command->request, 0, NONCE_SIZE);
    return cluster_apply(c, command);
}

static void restore_and_a_period_go_together(void **state)
{
    struct cluster *c = *state;
    struct command command = {.type = COMMAND_GUEST_CREATE};

    memcpy(&command.guest_create.spec, &web(c)->spec, sizeof(struct guest_spec)); /* borrowed */
    memcpy(command.guest_create.spec.name, "two", sizeof("two"));
    command.guest_create.placement = cluster_place(c, "n3", 1, 1);
    command.guest_create.spec.protect_ms = 0;
    assert_int_equal(create(c, &command), -EINVAL);
    command.guest_create.spec.protect_ms = PROTECT_MIN_MS - 1;
    assert_int_equal(create(c, &command), -EINVAL);
    command.guest_create.spec.protect_ms = PROTECT_MIN_MS;
    memcpy(command.guest_create.spec.on, "n3", sizeof("n3"));
    assert_int_equal(create(c, &command), -EINVAL);
    assert_string_equal(c->out.reason,
                        "guest two: it must run on n3, so no other node could resume it");
    memset(command.guest_create.spec.on, 0, NAME_SIZE);
    assert_int_equal(create(c, &command), 0);
}

static int run(struct cluster *c, const char *name, enum guest_kind kind)
{
    char *argv[] = {"server"};
    struct command command = {.type = COMMAND_GUEST_CREATE,
                              .guest_create = {.spec = {.kind = kind,
                                                        .image = "web",
                                                        .memory_mib = 16,
                                                        .restart = RESTART_ALWAYS,
                                                        .failover = FAILOVER_RESTORE,
                                                        .protect_ms = 5000,
                                                        .n_argv = kind == KIND_VM ? 0 : 1,
                                                        .argv = argv},
                                               .placement = cluster_place(c, "n2", 0, 0)}};

    snprintf(command.guest_create.spec.name, NAME_SIZE, "%s", name);
    return cluster_apply(c, &command);
}

static void a_container_is_protected_as_a_cell_is_and_no_machine(void **state)
{
    struct cluster *c = *state;

    for (size_t i = 0; i < c->state.n_nodes; i++)
        c->state.nodes[i].facts.kinds |= KIND_BIT(KIND_LXC) | KIND_BIT(KIND_VM);
    assert_int_equal(run(c, "box", KIND_LXC), 0);
    assert_int_equal(protect(c, "box", 0), 0);
    assert_int_equal(protect(c, "box", 1000), 0);
    run(c, "vm1", KIND_VM);
    assert_refused(c, -EINVAL, "guest vm1: no checkpoint can be taken of kind vm");
}

static void they_survive_a_snapshot(void **state)
{
    struct cluster *c = *state;
    struct state copy;
    struct writer w;
    uint8_t *bytes;
    size_t size;

    buddy(c, N3);
    checkpoint(c, N3, 7);
    writer_init_growing(&w, SNAPSHOT_MAX_SIZE);
    state_snapshot(&c->state, &w);
    bytes = writer_steal(&w, &size);
    assert_int_equal(state_restore(&copy, bytes, size, NULL), 0);
    assert_memory_equal(state_guest(&copy, "web")->checkpoints, web(c)->checkpoints,
                        sizeof(web(c)->checkpoints));
    assert_int_equal(state_guest(&copy, "web")->buddy, N3);
    state_deinit(&copy);
    free(bytes);
}

#define protect_test(f) cmocka_unit_test_setup_teardown(f, protected_guest, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        protect_test(two_are_kept_the_newest_first),
        protect_test(a_buddy_is_another_node_that_lives),
        protect_test(a_loss_keeps_them_and_their_holder_may_resume),
        protect_test(a_place_without_one_begins_a_new_life),
        protect_test(an_orderly_stop_and_a_start_end_them),
        protect_test(a_removed_node_holds_none),
        protect_test(a_running_guest_is_protected_and_not_any_more),
        protect_test(restore_and_a_period_go_together),
        protect_test(a_container_is_protected_as_a_cell_is_and_no_machine),
        protect_test(they_survive_a_snapshot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

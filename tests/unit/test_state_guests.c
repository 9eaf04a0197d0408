/* consensus/state: what each command does to guests, in their lives and in losses, and what it
 * refuses in which words.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/three_nodes.h"

/* ---- guests */

static void a_guest_gets_the_lowest_free_address_and_its_epoch(void **state)
{
    struct cluster *c = *state;

    assert_int_equal(cluster_guest(c, "a", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART), 0);
    assert_int_equal(state_guest(&c->state, "a")->ip, 0x0a070002);
    assert_int_equal(place_of(c, "a")->epoch, c->state.index);
    assert_int_equal(cluster_guest(c, "b", cluster_place(c, "n2", 2, 1), FAILOVER_RESTART), 0);
    assert_int_equal(state_guest(&c->state, "b")->ip, 0x0a070003);
    cluster_by_name(c, COMMAND_GUEST_STOP, "a");
    cluster_stopped(c, "a", false);
    cluster_by_name(c, COMMAND_GUEST_REMOVE, "a");
    assert_int_equal(cluster_guest(c, "c", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART), 0);
    assert_int_equal(state_guest(&c->state, "c")->ip, 0x0a070002);
    assert_int_equal(state_guest(&c->state, "b")->slot, 1); /* kept */
    assert_int_equal(state_guest(&c->state, "c")->slot, 0); /* the one that "a" had */
}

static void a_full_subnet_refuses(void **state)
{
    struct cluster *c = *state;
    struct command slice = {.type = COMMAND_SLICE_CREATE,
                            .slice_create.slice = {.name = "tiny", .subnet = {0x0a080000, 30}}};
    char *argv[] = {"x"};
    struct command guest = {.type = COMMAND_GUEST_CREATE,
                            .guest_create = {.spec = {.name = "a",
                                                      .kind = KIND_CELL,
                                                      .image = "web",
                                                      .slice = "tiny",
                                                      .memory_mib = 1,
                                                      .restart = RESTART_ALWAYS,
                                                      .failover = FAILOVER_RESTART,
                                                      .n_argv = 1,
                                                      .argv = argv},
                                             .placement = {.node = 1}}};

    cluster_apply(c, &slice);
    assert_int_equal(cluster_apply(c, &guest), 0);
    assert_int_equal(state_guest(&c->state, "a")->ip, 0x0a080002);
    strcpy(guest.guest_create.spec.name, "b");
    memset(guest.request, 0, NONCE_SIZE);
    cluster_apply(c, &guest);
    assert_refused(c, -ENOSPC, "slice tiny: no address is free in 10.8.0.0/30");
    assert_null(state_guest(&c->state, "b"));
}

static void impossible_guests_are_refused(void **state)
{
    struct cluster *c = *state;

    cluster_guest(c, "web", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    cluster_guest(c, "web", cluster_place(c, "n2", 2, 1), FAILOVER_RESTART);
    assert_refused(c, -EEXIST, "guest web exists already");
    cluster_guest(c, "b", (struct placement){0}, FAILOVER_RESTART);
    assert_refused(c, -EINVAL, "guest b: no node is given");
    cluster_guest(c, "b", (struct placement){.node = 77}, FAILOVER_RESTART);
    assert_refused(c, -ENOENT, "guest b: node 77 is unknown");
    cluster_guest(c, "b", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    assert_refused(c, -ESTALE, "node n2: core 1 is taken");
    cluster_guest(c, "b", cluster_place(c, "n2", 0, 1), FAILOVER_RESTART);
    assert_refused(c, -EINVAL, "node n2: core 0 is not an isolated core");
    cluster_guest(c, "b", cluster_place(c, "n2", 3, 2), FAILOVER_RESTART);
    assert_refused(c, -EINVAL, "node n2: core 4 is not an isolated core");
    cluster_flag(c, COMMAND_NODE_CORDON, "n2", true);
    cluster_guest(c, "b", cluster_place(c, "n2", 2, 1), FAILOVER_RESTART);
    assert_refused(c, -ESTALE, "node n2: cordoned");
    cluster_event(c, COMMAND_NODE_LOST, "n3", 0);
    cluster_guest(c, "b", cluster_place(c, "n3", 1, 1), FAILOVER_RESTART);
    assert_refused(c, -ESTALE, "node n3: lost");
    assert_int_equal(c->state.n_guests, 1);
}

/* What the scheduler looked at is looked at again: it may have changed on the way through the log.
 */
static void hard_rules_are_checked_again(void **state)
{
    static const struct {
        const char *on, *key, *value, *env, *image, *slice;
        enum guest_kind kind;
        int code;
        const char *reason;
    } rows[] = {
        {"n1", "", "", "", "web", "red", KIND_CELL, -EINVAL, "node n2: the guest must run on n1"},
        {"", "zone", "a", "", "web", "red", KIND_CELL, -ESTALE,
         "node n2: label zone=a wanted, has zone=b"},
        {"", "gpu", "a", "", "web", "red", KIND_CELL, -ESTALE,
         "node n2: label gpu=a wanted, has none"},
        {"", "", "", "", "web", "red", KIND_LXC, -EINVAL, "node n2: cannot run guests of kind lxc"},
        {"", "", "", "", "web", "red", KIND_VM, -EINVAL, "node n2: cannot run guests of kind vm"},
        {"", "", "", "A", "web", "red", KIND_CELL, -EINVAL,
         "guest web: its environment must be KEY=VALUE"},
        {"", "", "", "", "none", "red", KIND_CELL, -ENOENT, "guest web: image none is unknown"},
        {"", "", "", "", "web", "blue", KIND_CELL, -ENOENT, "guest web: slice blue is unknown"},
        {"n2", "zone", "b", "A=", "web", "", KIND_CELL, 0, ""},
    };
    struct cluster *c = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *argv[] = {"server"}, env[4], *envs[] = {env};
        struct command command = {.type = COMMAND_GUEST_CREATE,
                                  .guest_create = {.spec = {.name = "web",
                                                            .kind = rows[i].kind,
                                                            .memory_mib = 64,
                                                            .restart = RESTART_ALWAYS,
                                                            .failover = FAILOVER_RESTART,
                                                            .n_constraints = rows[i].key[0] != '\0',
                                                            .n_env = rows[i].env[0] != '\0',
                                                            .env = envs,
                                                            .n_argv = rows[i].kind != KIND_VM,
                                                            .argv = argv},
                                                   .placement = cluster_place(c, "n2", 0, 0)}};
        struct guest_spec *spec = &command.guest_create.spec;

        strcpy(env, rows[i].env);
        strcpy(spec->on, rows[i].on);
        strcpy(spec->image, rows[i].image);
        strcpy(spec->slice, rows[i].slice);
        strcpy(spec->constraints[0].key, rows[i].key);
        strcpy(spec->constraints[0].value, rows[i].value);
        cluster_apply(c, &command);
        assert_refused(c, rows[i].code, rows[i].reason);
    }
    assert_int_equal(state_guest(&c->state, "web")->ip, 0);
}

static void no_physical_core_is_shared(void **state)
{
    struct cluster *c = *state;
    struct command facts = {.type = COMMAND_NODE_FACTS, .node_facts.node = cluster_node(c, "n2")};

    cluster_facts(2, 6, &facts.node_facts.facts);
    for (uint16_t i = 0; i < 6; i++)
        facts.node_facts.facts.cores[i].sibling = i / 2;
    assert_int_equal(cluster_apply(c, &facts), 0);
    command_deinit(&facts);
    assert_int_equal(cluster_guest(c, "a", cluster_place(c, "n2", 2, 1), FAILOVER_RESTART), 0);
    cluster_guest(c, "b", cluster_place(c, "n2", 3, 1), FAILOVER_RESTART);
    assert_refused(c, -ESTALE, "node n2: core 3 shares a physical core with another guest");
    assert_int_equal(cluster_guest(c, "b", cluster_place(c, "n2", 4, 2), FAILOVER_RESTART), 0);
}

static void the_shortest_ceiling_is_of_nodes_that_are_up(void **state)
{
    struct cluster *c = *state;
    uint64_t lost = cluster_node(c, "n2");

    for (size_t i = 0; i < c->state.n_nodes; i++) {
        struct command ceiling = {
            .type = COMMAND_NODE_CEILING,
            .node_ceiling = {.node = c->state.nodes[i].id,
                             .ceiling_ms = c->state.nodes[i].id == lost ? 700 : 900}};

        assert_int_equal(cluster_apply(c, &ceiling), 0);
    }
    assert_int_equal(state_shortest_ceiling_ms(&c->state, 0), 700);
    assert_int_equal(state_shortest_ceiling_ms(&c->state, lost), 900);
    assert_int_equal(cluster_event(c, COMMAND_NODE_LOST, "n2", 0), 0);
    assert_int_equal(state_shortest_ceiling_ms(&c->state, 0), 900);
}

static void limits_are_refusals(void **state)
{
    struct cluster *c = *state;
    struct command ceiling = {.type = COMMAND_NODE_CEILING,
                              .node_ceiling = {.node = 1, .ceiling_ms = MAX_LEASE_MS + 1}};

    cluster_apply(c, &ceiling);
    assert_refused(c, -EINVAL, "a lease lasts 1 to 60000 ms, not 60001");
    for (uint8_t i = 0; i < MAX_TOKENS; i++)
        assert_int_equal(cluster_token(c, (uint8_t)(100 + i), 1), 0);
    cluster_token(c, 99, 1);
    assert_refused(c, -ENOSPC, "64 join tokens are open; wait until one is used or expires");
    c->time_s += 60;
    assert_int_equal(cluster_token(c, 99, 1), 0);
    assert_int_equal(c->state.n_tokens, 1); /* the expired ones made room */
    {
        struct cluster alone;

        cluster_form(&alone, 1);
        alone.state.leader = 0;
        cluster_by_name(&alone, COMMAND_NODE_REMOVE, "n1");
        assert_refused(&alone, -EBUSY, "node n1 is the only node");
        cluster_deinit(&alone);
    }
}

static void memory_is_counted(void **state)
{
    struct cluster *c = *state;
    char name[8];

    for (int i = 0; i < 8; i++) { /* 8 of 64 MiB fill 512 */
        snprintf(name, sizeof(name), "g%d", i);
        assert_int_equal(cluster_guest(c, name, cluster_place(c, "n2", 0, 0), FAILOVER_RESTART), 0);
    }
    cluster_guest(c, "g8", cluster_place(c, "n2", 0, 0), FAILOVER_RESTART);
    assert_refused(c, -ESTALE, "node n2: 0m of 512m memory free, 64m wanted");
}

static void an_image_must_be_on_the_node(void **state)
{
    struct cluster *c = *state;

    cluster_token(c, 9, 1);
    cluster_join(c, 9, 4);
    cluster_guest(c, "a", cluster_place(c, "n4", 1, 1), FAILOVER_RESTART);
    assert_refused(c, -ESTALE, "node n4: does not hold image web");
}

static void a_guest_stops_starts_and_goes(void **state)
{
    struct cluster *c = *state;
    uint64_t epoch;

    cluster_guest(c, "web", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    epoch = place_of(c, "web")->epoch;
    cluster_place_guest(c, COMMAND_GUEST_START, "web", epoch, cluster_place(c, "n3", 1, 1));
    assert_refused(c, -EBUSY, "guest web runs already, on node n2");
    cluster_by_name(c, COMMAND_GUEST_REMOVE, "web");
    assert_refused(c, -EBUSY, "guest web is meant to run; stop it first");
    assert_int_equal(cluster_by_name(c, COMMAND_GUEST_STOP, "web"), 0);
    assert_int_equal(place_of(c, "web")->node, cluster_node(c, "n2"));
    cluster_by_name(c, COMMAND_GUEST_REMOVE, "web");
    assert_refused(c, -EBUSY, "guest web is still being stopped");
    cluster_place_guest(c, COMMAND_GUEST_START, "web", epoch, cluster_place(c, "n3", 1, 1));
    assert_refused(c, -EBUSY, "guest web is still being stopped on node n2");
    assert_int_equal(cluster_stopped(c, "web", false), 0);
    assert_nowhere_now(c, "web");
    cluster_place_guest(c, COMMAND_GUEST_PLACE, "web", c->state.index,
                        cluster_place(c, "n3", 1, 1));
    assert_refused(c, -ESTALE, "guest web is meant to be stopped");
    cluster_place_guest(c, COMMAND_GUEST_START, "web", epoch, cluster_place(c, "n3", 1, 1));
    assert_int_equal(c->out.code, -ESTALE);
    epoch = place_of(c, "web")->epoch;
    assert_int_equal(
        cluster_place_guest(c, COMMAND_GUEST_START, "web", epoch, cluster_place(c, "n3", 1, 1)), 0);
    assert_int_equal(state_guest(&c->state, "web")->desired, DESIRED_RUNNING);
    assert_int_equal(place_of(c, "web")->epoch, c->state.index);
    assert_int_equal(cluster_stopped(c, "web", true), 0); /* it exited by itself */
    assert_int_equal(cluster_by_name(c, COMMAND_GUEST_REMOVE, "web"), 0);
    assert_int_equal(c->state.n_guests, 0);
}

static void a_word_about_an_older_epoch_is_stale(void **state)
{
    struct cluster *c = *state;
    struct command stopped = {.type = COMMAND_GUEST_STOPPED, .guest_stopped = {.name = "web"}};

    cluster_guest(c, "web", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    stopped.guest_stopped.epoch = place_of(c, "web")->epoch - 1;
    cluster_apply(c, &stopped);
    assert_int_equal(c->out.code, -ESTALE);
    assert_int_equal(place_of(c, "web")->node, cluster_node(c, "n2"));
}

/* ---- losses */

static void a_loss_needs_its_term_and_epoch(void **state)
{
    struct cluster *c = *state;
    struct command lost = {.type = COMMAND_NODE_LOST,
                           .node_event = {.node = cluster_node(c, "n2"),
                                          .expect_epoch = cluster_node(c, "n2"),
                                          .term = 1}};
    struct command started = {.type = COMMAND_TERM_STARTED, .term_started = {.node = 1, .term = 3}};

    c->term = 2; /* another leader's entry, before its term-started is applied */
    cluster_apply(c, &lost);
    assert_refused(c, -ESTALE, "decided in term 1, which is over");
    lost.node_event.term = 2;
    memset(lost.request, 0, NONCE_SIZE);
    cluster_apply(c, &lost);
    assert_refused(c, -ESTALE, "decided in term 2, which is over");
    c->term = 3;
    cluster_apply(c, &started);
    lost.node_event.term = 3;
    lost.node_event.expect_epoch++;
    memset(lost.request, 0, NONCE_SIZE);
    cluster_apply(c, &lost);
    assert_int_equal(c->out.code, -ESTALE);
    lost.node_event.expect_epoch--;
    memset(lost.request, 0, NONCE_SIZE);
    assert_int_equal(cluster_apply(c, &lost), 0);
    assert_int_equal(state_node_by_name(&c->state, "n2")->state, NODE_LOST);
    assert_int_equal(state_node_by_name(&c->state, "n2")->epoch, c->state.index);
    cluster_event(c, COMMAND_NODE_LOST, "n2", 0);
    assert_refused(c, -ESTALE, "node n2 is lost already");
    assert_int_equal(cluster_event(c, COMMAND_NODE_RETURNED, "n2", 0), 0);
    assert_int_equal(state_node_by_name(&c->state, "n2")->epoch, c->state.index);
    cluster_event(c, COMMAND_NODE_RETURNED, "n2", 0);
    assert_refused(c, -ESTALE, "node n2 is not lost");
}

static void a_loss_frees_all_guests_but_those_that_stay(void **state)
{
    struct cluster *c = *state;
    uint64_t stay_epoch;

    cluster_guest(c, "again", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    cluster_guest(c, "restore", cluster_place(c, "n2", 2, 1), FAILOVER_RESTORE);
    cluster_guest(c, "stay", cluster_place(c, "n2", 3, 1), FAILOVER_STAY);
    cluster_guest(c, "stopping", cluster_place(c, "n2", 0, 0), FAILOVER_RESTART);
    cluster_guest(c, "other", cluster_place(c, "n3", 1, 1), FAILOVER_RESTART);
    cluster_by_name(c, COMMAND_GUEST_STOP, "stopping");
    stay_epoch = place_of(c, "stay")->epoch;
    assert_int_equal(cluster_event(c, COMMAND_NODE_LOST, "n2", 0), 0);
    assert_nowhere_now(c, "again");
    assert_nowhere_now(c, "restore");
    assert_nowhere_now(c, "stopping");
    assert_int_equal(state_guest(&c->state, "stopping")->desired, DESIRED_STOPPED);
    assert_int_equal(place_of(c, "stay")->node, cluster_node(c, "n2"));
    assert_int_equal(place_of(c, "stay")->epoch, stay_epoch);
    assert_int_equal(place_of(c, "other")->node, cluster_node(c, "n3"));
    assert_int_equal(cluster_place_guest(c, COMMAND_GUEST_PLACE, "again", c->state.index,
                                         cluster_place(c, "n3", 2, 1)),
                     0);
    assert_int_equal(place_of(c, "again")->epoch, c->state.index);
}

static void a_reboot_gives_every_guest_a_new_epoch(void **state)
{
    struct cluster *c = *state;
    uint64_t epoch;

    cluster_guest(c, "again", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    cluster_guest(c, "stay", cluster_place(c, "n2", 3, 1), FAILOVER_STAY);
    epoch = state_node_by_name(&c->state, "n2")->epoch;
    assert_int_equal(cluster_event(c, COMMAND_NODE_REBOOTED, "n2", 1), 0); /* first seen */
    assert_int_equal(place_of(c, "again")->node, cluster_node(c, "n2"));
    assert_int_equal(state_node_by_name(&c->state, "n2")->epoch, epoch);
    cluster_event(c, COMMAND_NODE_REBOOTED, "n2", 1);
    assert_refused(c, -ESTALE, "node n2: this boot is known already");
    assert_int_equal(cluster_event(c, COMMAND_NODE_REBOOTED, "n2", 2), 0);
    assert_nowhere_now(c, "again");
    assert_int_equal(place_of(c, "stay")->node, cluster_node(c, "n2"));
    assert_int_equal(place_of(c, "stay")->epoch, c->state.index);
    assert_int_equal(place_of(c, "stay")->cores[0], 3);
    assert_int_equal(state_node_by_name(&c->state, "n2")->epoch, c->state.index);
    assert_int_equal(state_node_by_name(&c->state, "n2")->state, NODE_UP);
    cluster_by_name(c, COMMAND_GUEST_STOP, "stay");
    assert_int_equal(cluster_event(c, COMMAND_NODE_REBOOTED, "n2", 3), 0);
    assert_nowhere_now(c, "stay");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_guest_gets_the_lowest_free_address_and_its_epoch),
        TEST(a_full_subnet_refuses),
        TEST(impossible_guests_are_refused),
        TEST(hard_rules_are_checked_again),
        TEST(no_physical_core_is_shared),
        TEST(the_shortest_ceiling_is_of_nodes_that_are_up),
        TEST(limits_are_refusals),
        TEST(memory_is_counted),
        TEST(an_image_must_be_on_the_node),
        TEST(a_guest_stops_starts_and_goes),
        TEST(a_word_about_an_older_epoch_is_stale),
        TEST(a_loss_needs_its_term_and_epoch),
        TEST(a_loss_frees_all_guests_but_those_that_stay),
        TEST(a_reboot_gives_every_guest_a_new_epoch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

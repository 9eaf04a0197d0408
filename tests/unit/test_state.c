/* consensus/state: what each command does to the cluster, its nodes, slices and images, and what it
 * refuses in which words.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/three_nodes.h"

/* ---- the cluster and its nodes */

static void first_node_is_a_voter_with_id_1(void **state)
{
    struct cluster *c = *state;
    const struct node *n1 = state_node_by_name(&c->state, "n1");
    const struct node *n2 = state_node_by_name(&c->state, "n2");

    assert_int_equal(n1->id, 1);
    assert_int_equal(n1->role, ROLE_VOTER);
    assert_int_equal(n1->epoch, 1);
    assert_int_equal(n1->ceiling_ms, DEFAULT_LEASE_MS);
    assert_int_equal(n2->id, 4); /* after init, term-started and token-create */
    assert_int_equal(n2->role, ROLE_SPARE);
    assert_int_equal(n2->state, NODE_UP);
    assert_int_equal(c->state.leader, 1);
    assert_int_equal(state_n_voters(&c->state), 1);
    assert_ptr_equal(state_node_by_curve_key(&c->state, n2->facts.curve_key), n2);
}

/* ---- timers */

static void fast_init(struct cluster *c)
{
    struct command init = {
        .type = COMMAND_CLUSTER_INIT,
        .cluster_init = {.cluster = {7}, .name = "n1", .timers = *timers_of_profile("fast")}};

    cluster_init(c);
    cluster_facts(1, 4, &init.cluster_init.facts);
    assert_int_equal(cluster_apply(c, &init), 0);
    command_deinit(&init);
}

static int join_wishing(struct cluster *c, struct timers wish)
{
    struct command join = {.type = COMMAND_NODE_JOIN,
                           .node_join = {.token_hash = {2}, .name = "n2", .timers = wish}};
    int code;

    cluster_facts(2, 4, &join.node_join.facts);
    code = cluster_apply(c, &join);
    command_deinit(&join);
    return code;
}

static void a_node_begins_with_the_leases_of_its_cluster(void **state)
{
    struct cluster c;
    struct state copy;
    struct writer w;

    (void)state;
    fast_init(&c);
    assert_int_equal(cluster_token(&c, 2, 1), 0);
    assert_int_equal(join_wishing(&c, (struct timers){.beat_ms = 20}), 0);
    assert_int_equal(state_node_by_name(&c.state, "n1")->ceiling_ms, 300);
    assert_int_equal(state_node_by_name(&c.state, "n2")->ceiling_ms, 300);
    writer_init_growing(&w, SNAPSHOT_MAX_SIZE);
    state_snapshot(&c.state, &w);
    assert_int_equal(state_restore(&copy, w.data, w.size, NULL), 0);
    assert_true(timers_are_equal(&copy.timers, timers_of_profile("fast")));
    state_deinit(&copy);
    writer_deinit(&w);
    cluster_deinit(&c);
}

static void a_joiner_with_timers_of_its_own_changes_nothing(void **state)
{
    struct cluster c;

    (void)state;
    fast_init(&c);
    assert_int_equal(cluster_token(&c, 2, 1), 0);
    join_wishing(&c, (struct timers){.lease_ms = 600});
    assert_refused(&c, -EINVAL,
                   "lease_ms = 600 here, but the cluster has 300 since its init; take the key (or "
                   "the profile) out of this node's settings");
    assert_int_equal(c.state.n_nodes, 1);
    assert_int_equal(c.state.tokens[0].uses_left, 1);
    cluster_deinit(&c);
}

static void timers_that_break_the_proof_begin_no_cluster(void **state)
{
    struct command init = {
        .type = COMMAND_CLUSTER_INIT,
        .cluster_init = {.cluster = {7}, .name = "n1", .timers = *timers_of_profile("default")}};
    struct cluster c;

    (void)state;
    init.cluster_init.timers.lease_ms = 549;
    cluster_init(&c);
    cluster_apply(&c, &init);
    assert_refused(
        &c, -EINVAL,
        "lease_ms >= 2 election_ms + authority_ms + 2 beat_ms does not hold (549 < 550): "
        "a leader's death must freeze no guest on another node");
    assert_int_equal(c.state.n_nodes, 0);
    cluster_deinit(&c);
}

static void nothing_goes_before_init_nor_init_twice(void **state)
{
    struct cluster fresh, *c = *state;
    struct command init = {.type = COMMAND_CLUSTER_INIT,
                           .cluster_init = {.cluster = {1}, .name = "n9"}};

    cluster_init(&fresh);
    cluster_token(&fresh, 1, 1);
    assert_refused(&fresh, -EINVAL, "there is no cluster yet; begin with 'skein init'");
    assert_int_equal(fresh.state.n_tokens, 0);
    cluster_deinit(&fresh);
    cluster_apply(c, &init);
    assert_refused(c, -EEXIST, "this cluster was initialised before");
}

static void maintenance_is_kept_in_snapshots(void **state)
{
    struct cluster *c = *state;
    struct command set = {.type = COMMAND_CLUSTER_SET,
                          .cluster_set = {.setting = SETTING_MAINTENANCE, .flag = true}};
    struct state copy;
    struct writer w;

    assert_int_equal(cluster_apply(c, &set), 0);
    assert_true(c->state.maintenance);
    writer_init_growing(&w, SNAPSHOT_MAX_SIZE);
    state_snapshot(&c->state, &w);
    assert_int_equal(state_restore(&copy, w.data, w.size, NULL), 0);
    assert_true(copy.maintenance);
    state_deinit(&copy);
    writer_deinit(&w);
    set = (struct command){.type = COMMAND_CLUSTER_SET, .cluster_set = {.setting = 9}};
    cluster_apply(c, &set);
    assert_refused(c, -EINVAL, "setting 9 is unknown");
    assert_true(c->state.maintenance);
}

static void tokens_are_used_up_and_expire(void **state)
{
    struct cluster *c = *state;

    cluster_join(c, 99, 4);
    assert_refused(c, -EKEYREJECTED,
                   "the join token is unknown or used; make a new one with 'skein token create'");
    cluster_join(c, 2, 4); /* n2's */
    assert_int_equal(c->out.code, -EKEYREJECTED);
    cluster_token(c, 9, 2);
    assert_int_equal(cluster_join(c, 9, 4), 0);
    assert_int_equal(c->out.id, c->state.index);
    assert_int_equal(c->state.tokens[0].uses_left, 1);
    c->time_s += 60;
    cluster_join(c, 9, 5);
    assert_refused(c, -EKEYREJECTED,
                   "the join token has expired; make a new one with 'skein token create'");
    cluster_token(c, 10, 0);
    assert_int_equal(c->out.code, -EINVAL);
}

static void a_refused_join_costs_no_use(void **state)
{
    struct cluster *c = *state;
    struct command join = {.type = COMMAND_NODE_JOIN,
                           .node_join = {.token_hash = {9}, .name = "n3"}};

    cluster_token(c, 9, 1);
    cluster_facts(4, 4, &join.node_join.facts);
    cluster_apply(c, &join);
    assert_refused(c, -EEXIST, "node name n3 is taken; choose another with --name");
    strcpy(join.node_join.name, "n4");
    join.node_join.facts.address = 0x0a000003;
    memset(join.request, 0, NONCE_SIZE);
    cluster_apply(c, &join);
    assert_refused(c, -EEXIST, "address 10.0.0.3 is taken by node n3");
    join.node_join.facts.address = 0x0a000004;
    memset(join.node_join.facts.curve_key, 102, KEY_SIZE);
    memset(join.request, 0, NONCE_SIZE);
    cluster_apply(c, &join);
    assert_refused(c, -EEXIST, "these keys are taken by node n2");
    command_deinit(&join);
    assert_int_equal(cluster_join(c, 9, 4), 0);
    assert_int_equal(c->state.n_tokens, 0);
}

static void a_repeated_request_is_answered_and_not_done_again(void **state)
{
    struct cluster *c = *state;
    struct command token = {.type = COMMAND_TOKEN_CREATE,
                            .request = {42},
                            .token_create.token = {.hash = {9}, .expires_s = 2000, .uses_left = 1}};
    struct outcome first;

    cluster_apply(c, &token);
    first = c->out;
    cluster_join(c, 9, 4);
    cluster_apply(c, &token);
    assert_int_equal(c->out.code, 0);
    assert_int_equal(c->out.index, first.index);
    assert_int_equal(c->state.n_tokens, 0);

    /* a refusal is remembered likewise */
    token.request[0] = 43;
    token.token_create.token.uses_left = 0;
    cluster_apply(c, &token);
    token.token_create.token.uses_left = 1;
    cluster_apply(c, &token);
    assert_int_equal(c->out.code, -EINVAL);

    /* until 256 others came after it; zeroes are never remembered */
    token.request[0] = 42;
    for (int i = 0; i < STATE_REQUESTS_KEPT; i++)
        cluster_by_name(c, COMMAND_GUEST_STOP, "none");
    assert_int_equal(c->state.n_requests, STATE_REQUESTS_KEPT);
    cluster_apply(c, &token);
    assert_int_equal(c->out.index, c->state.index);
    memset(token.request, 0, NONCE_SIZE);
    state_apply(&c->state, c->state.index + 1, 1, &token, &c->out);
    assert_int_equal(c->out.code, -EEXIST);
    state_apply(&c->state, c->state.index + 1, 1, &token, &c->out);
    assert_int_equal(c->out.index, c->state.index);
}

static void facts_change_but_not_identity_or_held_cores(void **state)
{
    struct cluster *c = *state;
    struct command facts = {.type = COMMAND_NODE_FACTS, .node_facts.node = cluster_node(c, "n2")};

    cluster_guest(c, "web", cluster_place(c, "n2", 3, 1), FAILOVER_RESTART);
    cluster_facts(2, 3, &facts.node_facts.facts);
    cluster_apply(c, &facts);
    assert_refused(c, -EBUSY, "a guest holds core 3 of node n2; move the guest away first");
    command_deinit(&facts);

    facts.type = COMMAND_NODE_FACTS;
    facts.node_facts.node = cluster_node(c, "n2");
    cluster_facts(2, 8, &facts.node_facts.facts);
    assert_int_equal(cluster_apply(c, &facts), 0);
    assert_int_equal(state_node_by_name(&c->state, "n2")->facts.n_cores, 8);
    facts.node_facts.facts.link_key[0]++;
    memset(facts.request, 0, NONCE_SIZE);
    assert_int_equal(cluster_apply(c, &facts), -EINVAL);
    command_deinit(&facts);
}

static void a_node_is_removed_only_without_guests_and_office(void **state)
{
    struct cluster *c = *state;
    uint64_t n3 = cluster_node(c, "n3");

    cluster_guest(c, "web", cluster_place(c, "n3", 1, 1), FAILOVER_RESTART);
    cluster_by_name(c, COMMAND_NODE_REMOVE, "n3");
    assert_refused(c, -EBUSY, "node n3 has 1 guests or migrations; drain it first");
    cluster_by_name(c, COMMAND_NODE_REMOVE, "n1");
    assert_refused(c, -EBUSY, "node n1 is the leader; let another node lead first");
    cluster_by_name(c, COMMAND_GUEST_STOP, "web");
    cluster_stopped(c, "web", false);
    assert_int_equal(cluster_by_name(c, COMMAND_NODE_REMOVE, "n3"), 0);
    assert_null(state_node(&c->state, n3));
    assert_false(image_is_held(state_image(&c->state, "web"), n3));
    cluster_by_name(c, COMMAND_NODE_REMOVE, "n3");
    assert_refused(c, -ENOENT, "node n3 is unknown");
}

/* ---- slices and images */

static void slices_do_not_overlap_and_vnis_are_never_reused(void **state)
{
    struct cluster *c = *state;
    static const struct {
        const char *name;
        struct subnet subnet;
        int code;
        const char *reason;
    } rows[] = {
        {"blue", {0x0a080000, 24}, 0, ""},
        {"blue", {0x0a090000, 24}, -EEXIST, "slice blue exists already"},
        {"green",
         {0x0a070080, 25},
         -EEXIST,
         "subnet 10.7.0.128/25 overlaps 10.7.0.0/24 of slice red"},
        {"green",
         {0x0a0a0001, 24},
         -EINVAL,
         "10.10.0.1/24 is no subnet for a slice: prefix 8 to 30, no host bits"},
        {"green",
         {0x0a0a0000, 31},
         -EINVAL,
         "10.10.0.0/31 is no subnet for a slice: prefix 8 to 30, no host bits"},
        {"Green",
         {0x0a0a0000, 24},
         -EINVAL,
         "'Green' is no name for a slice: a-z, 0-9 and '-', at most 32"},
    };

    assert_int_equal(state_slice(&c->state, "red")->vni, 100);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct command command = {.type = COMMAND_SLICE_CREATE,
                                  .slice_create.slice.subnet = rows[i].subnet};

        strcpy(command.slice_create.slice.name, rows[i].name);
        cluster_apply(c, &command);
        assert_refused(c, rows[i].code, rows[i].reason);
    }
    assert_int_equal(cluster_by_name(c, COMMAND_SLICE_REMOVE, "blue"), 0);
    {
        struct command again = {
            .type = COMMAND_SLICE_CREATE,
            .slice_create.slice = {.name = "blue", .vni = 7, .subnet = {0x0a080000, 24}}};

        assert_int_equal(cluster_apply(c, &again), 0);
        assert_int_equal(c->out.id, 102);
    }
    cluster_guest(c, "web", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    cluster_by_name(c, COMMAND_SLICE_REMOVE, "red");
    assert_refused(c, -EBUSY, "slice red is used by guest web");
}

/* They are part of every snapshot. */
static void words_of_an_image_have_a_limit(void **state)
{
    struct cluster *c = *state;
    char text[ARGUMENT_SIZE] = {0}, *texts[16];
    struct command image = {
        .type = COMMAND_IMAGE_ADD,
        .image_add.image = {.name = "wordy", .format = IMAGE_TAR, .digest = {9}}};

    memset(text, 'x', sizeof(text) - 2); /* with its two bytes of overhead 1 KiB */
    for (size_t i = 0; i < 16; i++)
        texts[i] = text;
    image.image_add.image.defaults.command = texts;
    image.image_add.image.defaults.n_command = 16;
    image.image_add.image.defaults.env = texts;
    image.image_add.image.defaults.n_env = 1;
    cluster_apply(c, &image);
    assert_refused(c, -ENOSPC, "image wordy: its variables and commands exceed 16 KiB");
    memset(image.request, 0, NONCE_SIZE);
    image.image_add.image.defaults.n_env = 0;
    assert_int_equal(cluster_apply(c, &image), 0);
    assert_int_equal(state_image(&c->state, "wordy")->defaults.n_command, 16);
}

static void images_are_held_by_digest(void **state)
{
    struct cluster *c = *state;
    struct command image = {.type = COMMAND_IMAGE_ADD,
                            .image_add.image = {.name = "web", .format = IMAGE_TAR, .digest = {1}}};
    struct command held = {.type = COMMAND_IMAGE_HELD,
                           .image_held = {.name = "db", .digest = {5}, .node = 1}};

    cluster_apply(c, &image);
    assert_refused(c, -EEXIST, "image web exists already");
    memset(image.request, 0, NONCE_SIZE);
    strcpy(image.image_add.image.name, "db");
    assert_int_equal(cluster_apply(c, &image), 0);
    assert_int_equal(state_image(&c->state, "db")->added, c->state.index);
    cluster_apply(c, &held);
    assert_refused(c, -ESTALE, "image db has another digest");
    memset(held.request, 0, NONCE_SIZE);
    held.image_held.digest[0] = 1;
    assert_int_equal(cluster_apply(c, &held), 0);
    memset(held.request, 0, NONCE_SIZE);
    assert_int_equal(cluster_apply(c, &held), 0);
    assert_int_equal(state_image(&c->state, "db")->n_holders, 1);
    cluster_guest(c, "web", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    cluster_by_name(c, COMMAND_IMAGE_REMOVE, "web");
    assert_refused(c, -EBUSY, "image web is used by guest web");
    assert_int_equal(cluster_by_name(c, COMMAND_IMAGE_REMOVE, "db"), 0);
}

/* ---- names */

static void names_and_their_enums(void **state)
{
    enum failover_policy failover;
    enum restart_policy restart;
    enum guest_kind kind;

    (void)state;
    assert_string_equal(node_state_name(NODE_LOST), "lost");
    assert_string_equal(raft_role_name(ROLE_STANDBY), "standby");
    assert_string_equal(desired_state_name(DESIRED_STOPPED), "stopped");
    assert_string_equal(migration_phase_name(MIGRATION_COMMITTED), "committed");
    assert_string_equal(migration_phase_name(MIGRATION_HANDOVER), "handover");
    assert_int_equal(guest_kind_parse("vm", &kind), 0);
    assert_string_equal(guest_kind_name(kind), "vm");
    assert_int_equal(restart_policy_parse("on-failure", &restart), 0);
    assert_string_equal(restart_policy_name(restart), "on-failure");
    assert_int_equal(failover_policy_parse("stay", &failover), 0);
    assert_string_equal(failover_policy_name(failover), "stay");
    assert_int_equal(failover_policy_parse("run", &failover), -EINVAL);
    assert_int_equal(guest_kind_parse("", &kind), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(first_node_is_a_voter_with_id_1),
        TEST(nothing_goes_before_init_nor_init_twice),
        TEST(maintenance_is_kept_in_snapshots),
        TEST(tokens_are_used_up_and_expire),
        TEST(a_refused_join_costs_no_use),
        TEST(a_repeated_request_is_answered_and_not_done_again),
        TEST(facts_change_but_not_identity_or_held_cores),
        TEST(a_node_is_removed_only_without_guests_and_office),
        TEST(slices_do_not_overlap_and_vnis_are_never_reused),
        TEST(words_of_an_image_have_a_limit),
        TEST(images_are_held_by_digest),
        cmocka_unit_test(a_node_begins_with_the_leases_of_its_cluster),
        cmocka_unit_test(a_joiner_with_timers_of_its_own_changes_nothing),
        cmocka_unit_test(timers_that_break_the_proof_begin_no_cluster),
        cmocka_unit_test(names_and_their_enums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* consensus/state: what each command does, and what it refuses in which words. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cluster.h"

static int three_nodes(void **state)
{
    struct cluster *c = calloc(1, sizeof(*c));

    assert_non_null(c);
    cluster_form(c, 3);
    *state = c;
    return 0;
}

static int tear_down(void **state)
{
    struct cluster *c = *state;

    assert_int_equal(state_check(&c->state, NULL), 0);
    cluster_deinit(c);
    free(c);
    return 0;
}

#define assert_refused(c, code_, text)                                                             \
    do {                                                                                           \
        assert_int_equal((c)->out.code, code_);                                                    \
        assert_string_equal((c)->out.reason, text);                                                \
    } while (0)

static const struct placement *place_of(const struct cluster *c, const char *guest)
{
    return &state_guest(&c->state, guest)->placement;
}

static void assert_nowhere_now(const struct cluster *c, const char *guest)
{
    const struct placement *at = place_of(c, guest);

    assert_int_equal(at->node, 0);
    assert_int_equal(at->n_cores, 0);
    assert_int_equal(at->epoch, c->state.index);
}

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

static void limits_are_refusals(void **state)
{
    struct cluster *c = *state;
    struct command ceiling = {.type = COMMAND_NODE_CEILING,
                              .node_ceiling = {.node = 1, .ceiling_ms = MAX_LEASE_MS + 1}};

    cluster_apply(c, &ceiling);
    assert_refused(c, -EINVAL, "a lease lasts 1 to 3000 ms, not 3001");
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

/* ---- migrations */

static uint64_t reserved(struct cluster *c)
{
    assert_int_equal(cluster_guest(c, "web", cluster_place(c, "n2", 1, 2), FAILOVER_RESTART), 0);
    assert_int_equal(cluster_reserve(c, "web", cluster_place(c, "n3", 1, 2)), 0);
    return c->out.id;
}

static void a_migration_runs_through(void **state)
{
    struct cluster *c = *state;
    uint64_t id = reserved(c), source_epoch = place_of(c, "web")->epoch;
    const struct migration *m = state_migration(&c->state, id);

    assert_int_equal(id, c->state.index);
    assert_int_equal(m->from, cluster_node(c, "n2"));
    assert_int_equal(m->source_epoch, source_epoch);
    assert_int_equal(m->target.epoch, 0);
    assert_int_equal(m->terms.mode, MOVE_AUTO);
    assert_int_equal(m->terms.downtime_ms, MOVE_DOWNTIME_MS);
    assert_int_equal(state_guest(&c->state, "web")->migration, id);
    cluster_guest(c, "b", cluster_place(c, "n3", 2, 1), FAILOVER_RESTART);
    assert_refused(c, -ESTALE, "node n3: core 2 is taken");
    cluster_by_name(c, COMMAND_GUEST_STOP, "web");
    assert_refused(c, -EBUSY, "guest web is being migrated; wait for its end, or abort it");
    cluster_step(c, COMMAND_MIGRATION_DONE, id);
    assert_int_equal(c->out.code, -ESTALE);
    assert_int_equal(cluster_step(c, COMMAND_MIGRATION_COMMIT, id), 0);
    m = state_migration(&c->state, id);
    assert_int_equal(m->phase, MIGRATION_COMMITTED);
    assert_int_equal(m->target.epoch, c->state.index);
    assert_int_equal(place_of(c, "web")->node, cluster_node(c, "n3"));
    assert_int_equal(place_of(c, "web")->epoch, c->state.index);
    cluster_step(c, COMMAND_MIGRATION_ABORT, id);
    assert_int_equal(c->out.code, -ESTALE);
    cluster_guest(c, "b", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    assert_refused(c, -ESTALE, "node n2: core 1 is taken"); /* by the frozen copy */
    assert_int_equal(cluster_step(c, COMMAND_MIGRATION_DONE, id), 0);
    assert_int_equal(state_guest(&c->state, "web")->migration, 0);
    assert_int_equal(cluster_guest(c, "b", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART), 0);
    cluster_step(c, COMMAND_MIGRATION_DONE, id);
    assert_int_equal(c->out.code, -ENOENT);
}

static void an_abort_leaves_the_guest_at_the_source(void **state)
{
    struct cluster *c = *state;
    uint64_t id = reserved(c), epoch = place_of(c, "web")->epoch;

    assert_int_equal(cluster_step(c, COMMAND_MIGRATION_ABORT, id), 0);
    assert_int_equal(place_of(c, "web")->epoch, epoch);
    assert_int_equal(state_guest(&c->state, "web")->migration, 0);
    cluster_step(c, COMMAND_MIGRATION_COMMIT, id);
    assert_int_equal(c->out.code, -ENOENT);
    assert_int_equal(cluster_guest(c, "b", cluster_place(c, "n3", 1, 1), FAILOVER_RESTART), 0);
}

static void reservations_are_refused_where_they_make_no_sense(void **state)
{
    struct cluster *c = *state;
    struct command stale = {.type = COMMAND_MIGRATION_RESERVE,
                            .migration_reserve = {.guest = "web", .source_epoch = 1}};

    cluster_guest(c, "web", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    cluster_reserve(c, "web", cluster_place(c, "n2", 2, 1));
    assert_refused(c, -EINVAL, "guest web is on that node already");
    stale.migration_reserve.target = cluster_place(c, "n3", 1, 1);
    cluster_apply(c, &stale);
    assert_int_equal(c->out.code, -ESTALE);
    cluster_guest(c, "b", cluster_place(c, "n3", 1, 1), FAILOVER_RESTART);
    cluster_reserve(c, "web", cluster_place(c, "n3", 1, 1));
    assert_refused(c, -ESTALE, "node n3: core 1 is taken");
    assert_int_equal(cluster_reserve(c, "web", cluster_place(c, "n3", 2, 1)), 0);
    cluster_reserve(c, "web", cluster_place(c, "n1", 1, 1));
    assert_refused(c, -EBUSY, "guest web is being migrated already");
    cluster_by_name(c, COMMAND_GUEST_STOP, "b");
    cluster_reserve(c, "b", cluster_place(c, "n1", 1, 1));
    assert_refused(c, -ESTALE, "guest b is meant to be stopped");
}

static void a_return_gives_the_guest_back_to_the_source(void **state)
{
    struct cluster *c = *state;
    uint64_t id = reserved(c), epoch = place_of(c, "web")->epoch;

    cluster_step(c, COMMAND_MIGRATION_RETURN, id);
    assert_int_equal(c->out.code, -ESTALE); /* not committed yet: an abort does it */
    assert_int_equal(cluster_step(c, COMMAND_MIGRATION_COMMIT, id), 0);
    assert_int_equal(cluster_step(c, COMMAND_MIGRATION_RETURN, id), 0);
    assert_int_equal(place_of(c, "web")->node, cluster_node(c, "n2"));
    assert_int_equal(place_of(c, "web")->epoch, epoch);
    assert_int_equal(state_guest(&c->state, "web")->migration, 0);
    assert_int_equal(state_check(&c->state, NULL), 0);
    cluster_step(c, COMMAND_MIGRATION_DONE, id);
    assert_int_equal(c->out.code, -ENOENT);
    assert_int_equal(cluster_guest(c, "b", cluster_place(c, "n3", 1, 1), FAILOVER_RESTART), 0);
}

/* A source that went away and came back has no frozen copy: nothing returns to it. */
static void nothing_returns_to_a_source_that_was_away(void **state)
{
    static const enum command_type events[] = {COMMAND_NODE_LOST, COMMAND_NODE_REBOOTED};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct cluster c;
        uint64_t id;

        cluster_form(&c, 3);
        cluster_event(&c, COMMAND_NODE_REBOOTED, "n2", 1);
        cluster_event(&c, COMMAND_NODE_REBOOTED, "n3", 1);
        id = reserved(&c);
        cluster_step(&c, COMMAND_MIGRATION_COMMIT, id);
        cluster_event(&c, events[i % 2], "n2", 2);
        if (i % 2 == 0)
            cluster_event(&c, COMMAND_NODE_RETURNED, "n2", 2);
        if (i < 2) {
            cluster_step(&c, COMMAND_MIGRATION_RETURN, id);
            assert_int_equal(c.out.code, -ESTALE);
            assert_int_equal(place_of(&c, "web")->node, cluster_node(&c, "n3"));
        } else {
            cluster_event(&c, COMMAND_NODE_LOST, "n3", 2);
            assert_int_equal(place_of(&c, "web")->node, 0);
        }
        assert_int_equal(state_check(&c.state, NULL), 0);
        cluster_deinit(&c);
    }
}

/* What is left when a node goes away at each step: by loss and by reboot alike. */
static void losses_during_a_migration(void **state)
{
    static const struct {
        bool committed;
        const char *lost;
        const char *guest_on; /* afterwards */
        bool in_flight;
        bool same_epoch;
    } rows[] = {
        {false, "n2", "", false, false},
        {false, "n3", "n2", false, true},
        {true, "n2", "n3", true, true},
        {true, "n3", "n2", false, false},
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        uint64_t id, epoch, source_epoch;

        cluster_form(&c, 3);
        cluster_event(&c, COMMAND_NODE_REBOOTED, rows[i / 2].lost, 1);
        id = reserved(&c);
        source_epoch = place_of(&c, "web")->epoch;
        if (rows[i / 2].committed)
            cluster_step(&c, COMMAND_MIGRATION_COMMIT, id);
        epoch = place_of(&c, "web")->epoch;
        cluster_event(&c, i % 2 == 0 ? COMMAND_NODE_LOST : COMMAND_NODE_REBOOTED, rows[i / 2].lost,
                      2);
        assert_int_equal(c.out.code, 0);
        assert_int_equal(place_of(&c, "web")->node, cluster_node(&c, rows[i / 2].guest_on));
        assert_true((place_of(&c, "web")->epoch == epoch) == rows[i / 2].same_epoch);
        if (strcmp(rows[i / 2].guest_on, "n2") == 0) /* as its copy there is */
            assert_int_equal(place_of(&c, "web")->epoch, source_epoch);
        assert_true((state_migration(&c.state, id) != NULL) == rows[i / 2].in_flight);
        assert_true((state_guest(&c.state, "web")->migration != 0) == rows[i / 2].in_flight);
        assert_int_equal(state_check(&c.state, NULL), 0);
        cluster_deinit(&c);
    }
}

/* A loss places such a guest nowhere else: it stays with whoever owned it, and nothing is in
 * flight. */
static void a_guest_that_stays_stays_with_its_owner(void **state)
{
    static const struct {
        bool committed;
        const char *lost;
    } rows[] = {{false, "n2"}, {true, "n3"}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster c;
        uint64_t id, epoch;

        cluster_form(&c, 3);
        cluster_guest(&c, "web", cluster_place(&c, "n2", 1, 1), FAILOVER_STAY);
        cluster_reserve(&c, "web", cluster_place(&c, "n3", 1, 1));
        id = c.out.id;
        if (rows[i].committed)
            cluster_step(&c, COMMAND_MIGRATION_COMMIT, id);
        epoch = place_of(&c, "web")->epoch;
        assert_int_equal(cluster_event(&c, COMMAND_NODE_LOST, rows[i].lost, 0), 0);
        assert_int_equal(place_of(&c, "web")->node, cluster_node(&c, rows[i].lost));
        assert_int_equal(place_of(&c, "web")->epoch, epoch);
        assert_int_equal(state_guest(&c.state, "web")->migration, 0);
        assert_int_equal(c.state.n_migrations, 0);
        cluster_deinit(&c);
    }
}

static void a_guest_that_ends_ends_its_migration(void **state)
{
    struct cluster *c = *state;
    uint64_t id = reserved(c);

    assert_int_equal(cluster_stopped(c, "web", true), 0);
    assert_null(state_migration(&c->state, id));
    assert_nowhere_now(c, "web");
}

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
    assert_int_equal(guest_kind_parse("vm", &kind), 0);
    assert_string_equal(guest_kind_name(kind), "vm");
    assert_int_equal(restart_policy_parse("on-failure", &restart), 0);
    assert_string_equal(restart_policy_name(restart), "on-failure");
    assert_int_equal(failover_policy_parse("stay", &failover), 0);
    assert_string_equal(failover_policy_name(failover), "stay");
    assert_int_equal(failover_policy_parse("run", &failover), -EINVAL);
    assert_int_equal(guest_kind_parse("", &kind), -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, three_nodes, tear_down)

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
        TEST(a_guest_gets_the_lowest_free_address_and_its_epoch),
        TEST(a_full_subnet_refuses),
        TEST(impossible_guests_are_refused),
        TEST(hard_rules_are_checked_again),
        TEST(no_physical_core_is_shared),
        TEST(limits_are_refusals),
        TEST(memory_is_counted),
        TEST(an_image_must_be_on_the_node),
        TEST(a_guest_stops_starts_and_goes),
        TEST(a_word_about_an_older_epoch_is_stale),
        TEST(a_loss_needs_its_term_and_epoch),
        TEST(a_loss_frees_all_guests_but_those_that_stay),
        TEST(a_reboot_gives_every_guest_a_new_epoch),
        TEST(a_migration_runs_through),
        TEST(an_abort_leaves_the_guest_at_the_source),
        TEST(a_return_gives_the_guest_back_to_the_source),
        TEST(reservations_are_refused_where_they_make_no_sense),
        cmocka_unit_test(losses_during_a_migration),
        cmocka_unit_test(nothing_returns_to_a_source_that_was_away),
        cmocka_unit_test(a_guest_that_stays_stays_with_its_owner),
        TEST(a_guest_that_ends_ends_its_migration),
        cmocka_unit_test(a_node_begins_with_the_leases_of_its_cluster),
        cmocka_unit_test(a_joiner_with_timers_of_its_own_changes_nothing),
        cmocka_unit_test(timers_that_break_the_proof_begin_no_cluster),
        cmocka_unit_test(names_and_their_enums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

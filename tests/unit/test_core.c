/* The core in small worlds: leases, guests, failover, migrations; see tests/support/world.h. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"
#include "tests/support/world.h"

static void lives(struct world *w, unsigned n)
{
    world_init(w, n);
    world_run(w, 500);
}

static unsigned created(struct world *w, const char *name, enum restart_policy restart)
{
    unsigned at = 0;

    world_create(w, name, restart);
    assert_true(world_answered(w, 2000));
    if (w->answer.kind != ANSWER_DONE)
        print_error("%s\n%s", w->answer.text, w->records);
    assert_int_equal(w->answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(w, name, &at), 1);
    assert_int_equal(w->answer.node, w->nodes[at].id);
    return at;
}

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

static void test_node_dies_and_its_guest_runs_elsewhere(void **unused)
{
    struct world w;
    unsigned at, other = 0;
    uint64_t died;

    (void)unused;
    lives(&w, 3);
    world_lead(&w, 1);
    world_run(&w, 2000);
    at = created(&w, "web", RESTART_ALWAYS);
    if (at == 1) { /* the follower's death is meant here */
        world_migrate(&w, "web", 2);
        assert_true(world_answered(&w, 2000));
        at = 2;
    }
    died = w.now;
    world_kill(&w, at);
    while (world_n_running(&w, "web", NULL) == 0 && w.now < died + 3000000)
        world_run(&w, 1);
    assert_int_equal(world_n_running(&w, "web", &other), 1);
    assert_int_not_equal(other, at);
    assert_in_range((w.now - died) / 1000, 550, 750);
    assert_int_equal(state_node(world_state(&w), w.nodes[at].id)->state, NODE_LOST);

    world_run(&w, 200); /* until the leader hears of it */
    assert_non_null(strstr(w.records, "failover web: ms after the last beat of n"));
    assert_non_null(strstr(w.records, "serving "));

    world_boot(&w, at); /* comes back healthy, with no second copy */
    world_run(&w, 1000);
    assert_int_equal(state_node(world_state(&w), w.nodes[at].id)->state, NODE_UP);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_false(w.nodes[at].guard.holder.lapsed);
    world_deinit(&w);
}

static void create_with_priority(struct world *w, const char *name, uint32_t priority)
{
    struct command command = {.type = COMMAND_GUEST_CREATE};
    struct guest_spec *spec = &command.guest_create.spec;

    snprintf(spec->name, sizeof(spec->name), "%s", name);
    spec->kind = KIND_CELL;
    strcpy(spec->image, "web");
    spec->n_cores = 1;
    spec->memory_mib = 64;
    spec->priority = priority;
    spec->restart = RESTART_ALWAYS;
    spec->failover = FAILOVER_RESTART;
    spec->n_argv = 1;
    spec->argv = calloc(1, sizeof(char *));
    assert_non_null(spec->argv);
    spec->argv[0] = strdup("/bin/server");
    world_ask(w, &command);
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
}

/* Nine guests fill three nodes; one node dies, then there is room for one of its three guests. */
static void test_without_room_guests_wait_and_the_most_important_goes_first(void **unused)
{
    static const char *const names[] = {"g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8"};
    unsigned n_waiting = 0, first = 0, stopped = 9;
    struct world w;

    (void)unused;
    lives(&w, 3);
    for (unsigned i = 0; i < 9; i++) /* the most important is the youngest */
        create_with_priority(&w, names[i], i);
    world_kill(&w, 3);
    world_run(&w, 2000);
    for (unsigned i = 0; i < 9; i++) {
        if (state_guest(world_state(&w), names[i])->placement.node == 0) {
            n_waiting++;
            first = i;
        } else {
            stopped = i;
        }
    }
    assert_int_equal(n_waiting, 3);
    world_by_name(&w, COMMAND_GUEST_STOP, names[stopped]);
    assert_true(world_answered(&w, 2000));
    world_run(&w, 1500);
    assert_int_equal(world_n_running(&w, names[first], NULL), 1);
    n_waiting = 0;
    for (unsigned i = 0; i < 9; i++)
        n_waiting += i != stopped && world_n_running(&w, names[i], NULL) == 0;
    assert_int_equal(n_waiting, 2);
    world_deinit(&w);
}

static void test_view_says_how_long_until_a_silent_node_is_lost(void **unused)
{
    struct node_view view;
    struct world w;

    (void)unused;
    lives(&w, 3);
    world_run(&w, 2000);
    core_node_view(w.nodes[1].core, w.nodes[3].id, w.now, &view);
    assert_true(view.present && view.heard && view.may_be_lost);
    assert_in_range(view.lost_in_ms, 560, 620);
    assert_in_range(view.n_beats, 30, 64);
    assert_int_equal(view.n_beats_unanswered, 0);

    world_isolate(&w, 3, true);
    world_run(&w, 500);
    core_node_view(w.nodes[1].core, w.nodes[3].id, w.now, &view);
    assert_in_range(view.heard_ms_ago, 450, 550);
    assert_in_range(view.lost_in_ms, 60, 170);

    world_run(&w, 500);
    core_node_view(w.nodes[1].core, w.nodes[3].id, w.now, &view);
    assert_false(view.may_be_lost); /* it is lost */

    world_isolate(&w, 3, false);
    world_run(&w, 600);
    core_node_view(w.nodes[1].core, w.nodes[3].id, w.now, &view);
    assert_true(view.present);
    assert_in_range(view.n_beats_unanswered, 10, 30);
    world_deinit(&w);
}

static void test_partitioned_node_freezes_before_its_guest_runs_elsewhere(void **unused)
{
    struct world w;
    unsigned at;

    (void)unused;
    lives(&w, 3);
    world_run(&w, 2000);
    at = created(&w, "web", RESTART_ALWAYS);
    if (at == 1) {
        world_migrate(&w, "web", 3);
        assert_true(world_answered(&w, 2000));
        at = 3;
    }
    world_isolate(&w, at, true);
    for (int ms = 0; ms < 2000; ms++) {
        world_run(&w, 1);
        assert_in_range(world_n_running(&w, "web", NULL), 0, 1);
    }
    assert_non_null(world_copy(&w, at, "web"));
    assert_int_equal(world_copy(&w, at, "web")->state, GUEST_FROZEN);
    world_isolate(&w, at, false);
    for (int ms = 0; ms < 1000; ms++) {
        world_run(&w, 1);
        assert_int_equal(world_n_running(&w, "web", NULL), 1);
    }
    assert_null(world_copy(&w, at, "web")); /* no longer its own: destroyed */
    world_deinit(&w);
}

static void test_short_partition_costs_a_pause_never_a_kill(void **unused)
{
    struct world w;
    unsigned at;
    uint64_t epoch;

    (void)unused;
    lives(&w, 3);
    at = created(&w, "web", RESTART_ALWAYS);
    epoch = world_copy(&w, at, "web")->epoch;
    for (unsigned i = 1; i <= 3; i++) /* nobody hears anybody */
        world_isolate(&w, i, true);
    world_run(&w, 1000);
    assert_int_equal(world_n_running(&w, "web", NULL), 0);
    for (unsigned i = 1; i <= 3; i++)
        world_isolate(&w, i, false);
    world_run(&w, 300);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_int_equal(world_copy(&w, at, "web")->epoch, epoch);
    assert_int_equal(world_copy(&w, at, "web")->n_starts, 1);
    world_deinit(&w);
}

static void test_leader_change_freezes_nobody(void **unused)
{
    struct world w;

    (void)unused;
    lives(&w, 3);
    created(&w, "web", RESTART_ALWAYS);
    world_lead(&w, 0);
    for (int ms = 0; ms < 250; ms++) {
        world_run(&w, 1);
        assert_int_equal(world_n_running(&w, "web", NULL), 1);
    }
    world_lead(&w, 2);
    for (int ms = 0; ms < 3000; ms++) {
        world_run(&w, 1);
        assert_int_equal(world_n_running(&w, "web", NULL), 1);
    }
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(state_node(world_state(&w), w.nodes[i].id)->state, NODE_UP);
    world_deinit(&w);
}

static void test_restart_of_skeind_disturbs_no_guest(void **unused)
{
    struct world w;
    unsigned at;

    (void)unused;
    lives(&w, 3);
    at = created(&w, "web", RESTART_ALWAYS);
    for (unsigned i = 2; i <= 3; i++) {
        world_restart_skeind(&w, i);
        for (int ms = 0; ms < 1000; ms++) {
            world_run(&w, 1);
            assert_int_equal(world_n_running(&w, "web", NULL), 1);
        }
    }
    assert_int_equal(world_copy(&w, at, "web")->n_starts, 1);
    world_deinit(&w);
}

static void test_reboot_places_guests_anew_at_once(void **unused)
{
    struct world w;
    unsigned at;
    uint64_t epoch;

    (void)unused;
    lives(&w, 3);
    at = created(&w, "web", RESTART_ALWAYS);
    if (at == 1) {
        world_migrate(&w, "web", 2);
        assert_true(world_answered(&w, 2000));
        at = 2;
    }
    epoch = world_copy(&w, at, "web")->epoch;
    world_kill(&w, at);
    world_boot(&w, at);
    world_run(&w, 200); /* far less than a lease */
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_true(world_copy(&w, at, "web")->epoch > epoch);
    world_deinit(&w);
}

static void set_maintenance(struct world *w, bool flag)
{
    struct command command = {.type = COMMAND_CLUSTER_SET,
                              .cluster_set = {.setting = SETTING_MAINTENANCE, .flag = flag}};

    world_ask(w, &command);
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
}

static unsigned created_on_a_follower(struct world *w)
{
    unsigned at = created(w, "web", RESTART_ALWAYS);

    if (at == 1) {
        world_migrate(w, "web", 2);
        assert_true(world_answered(w, 2000));
        at = 2;
    }
    return at;
}

static void test_in_maintenance_no_node_is_lost(void **unused)
{
    struct world w;
    unsigned at;

    (void)unused;
    lives(&w, 3);
    at = created_on_a_follower(&w);
    set_maintenance(&w, true);
    world_isolate(&w, at, true);
    world_run(&w, 5000);
    assert_int_equal(state_node(world_state(&w), w.nodes[at].id)->state, NODE_UP);
    assert_int_equal(world_n_running(&w, "web", NULL), 0); /* frozen, and not elsewhere */
    world_isolate(&w, at, false);
    world_run(&w, 500);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_int_equal(world_copy(&w, at, "web")->n_starts, 1);

    world_kill(&w, at); /* a reboot says by itself that the old copy is gone */
    world_run(&w, 3000);
    world_boot(&w, at);
    world_run(&w, 300);
    assert_int_equal(world_n_running(&w, "web", &at), 1);

    world_kill(&w, at == 1 ? 2 : at);
    set_maintenance(&w, false);
    world_run(&w, 1500);
    assert_int_equal(state_node(world_state(&w), w.nodes[at == 1 ? 2 : at].id)->state, NODE_LOST);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    world_deinit(&w);
}

static void test_migration_moves_the_guest_and_says_its_blackout(void **unused)
{
    struct world w;
    unsigned from, to, at = 0;

    (void)unused;
    lives(&w, 3);
    from = created(&w, "web", RESTART_ALWAYS);
    to = from % 3 + 1;
    world_migrate(&w, "web", to);
    while (!w.has_answer && w.now < 10000000) {
        world_run(&w, 1);
        assert_in_range(world_n_running(&w, "web", NULL), 0, 1);
    }
    if (w.answer.kind != ANSWER_DONE)
        print_error("%s\n%s", w.answer.text, w.records);
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(w.answer.from, w.nodes[from].id);
    assert_int_equal(w.answer.node, w.nodes[to].id);
    assert_int_equal(w.answer.bytes, 4096);
    assert_string_equal(w.answer.mode, "stop-and-copy");
    /* frozen for half the copy, the commit and the start, and no beat interval in between */
    assert_in_range(w.answer.blackout_us, 45000, 60000);
    assert_in_range(w.answer.total_ms, 70, 150);
    world_run(&w, 200);
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_int_equal(at, to);
    assert_null(world_copy(&w, from, "web"));
    assert_int_equal(world_state(&w)->n_migrations, 0);
    world_deinit(&w);
}

/* Every step of the guard that can fail before the commit leaves the guest where it was. */
static void test_failed_migration_leaves_the_guest_where_it_was(void **unused)
{
    static const enum guard_op ops[] = {GUARD_PREPARE, GUARD_CAPTURE, GUARD_RECEIVE};

    (void)unused;
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        unsigned from, at = 0;

        lives(&w, 3);
        from = created(&w, "web", RESTART_ALWAYS);
        w.fail_op = ops[i];
        w.fail_code = -EIO;
        world_migrate(&w, "web", from % 3 + 1);
        assert_true(world_answered(&w, 5000));
        assert_int_equal(w.answer.kind, ANSWER_REFUSED);
        assert_non_null(strstr(w.answer.text, "made to fail"));
        world_run(&w, 300);
        assert_int_equal(world_n_running(&w, "web", &at), 1);
        assert_int_equal(at, from);
        assert_null(world_copy(&w, from % 3 + 1, "web"));
        assert_int_equal(world_state(&w)->n_migrations, 0);
        world_deinit(&w);
    }
}

/* Behind the commit, too: what the source holds is whole. */
static void test_guest_that_cannot_be_activated_goes_on_where_it_was(void **unused)
{
    struct world w;
    unsigned from, at = 0;
    uint64_t epoch;

    (void)unused;
    lives(&w, 3);
    from = created(&w, "web", RESTART_ALWAYS);
    epoch = state_guest(world_state(&w), "web")->placement.epoch;
    w.fail_op = GUARD_ACTIVATE;
    w.fail_code = -EIO;
    world_migrate(&w, "web", from % 3 + 1);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);
    assert_non_null(strstr(w.answer.text, "made to fail"));
    world_run(&w, 300);
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_int_equal(at, from);
    assert_int_equal(state_guest(world_state(&w), "web")->placement.epoch, epoch);
    assert_null(world_copy(&w, from % 3 + 1, "web"));
    assert_int_equal(world_state(&w)->n_migrations, 0);
    world_deinit(&w);
}

/* Nothing is thrown away for a switch that does not follow: it is said, and tried again. Only what
 * happens on the leader is kept in the world's records: the guest moves there. */
static void test_guest_whose_switch_does_not_follow_is_activated_later(void **unused)
{
    struct world w;
    unsigned from, at = 0;

    (void)unused;
    lives(&w, 3);
    from = created(&w, "web", RESTART_ALWAYS);
    if (from == w.leader) {
        world_migrate(&w, "web", from % 3 + 1);
        assert_true(world_answered(&w, 5000));
        world_run(&w, 300);
    }
    w.fail_op = GUARD_ACTIVATE;
    w.fail_code = -ETIMEDOUT;
    world_migrate(&w, "web", w.leader);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_string_equal(w.answer.mode, "stop-and-copy");
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    assert_int_equal(at, w.leader);
    assert_non_null(strstr(w.records, " migration-waits web: made to fail"));
    world_deinit(&w);
}

/* Something happens to the source (end 0) or the target (end 1) at a moment of a migration: one
 * copy in the end, at most one at any time. */
static void harm_a_migration(void (*harm)(struct world *w, unsigned node), unsigned end,
                             unsigned ms)
{
    struct world w;
    unsigned from, to;

    lives(&w, 4);
    world_run(&w, 2000);
    from = created(&w, "web", RESTART_ALWAYS);
    if (from == 1) { /* the leader stays out of it */
        world_migrate(&w, "web", 2);
        assert_true(world_answered(&w, 2000));
        from = 2;
    }
    to = from == 4 ? 3 : 4;
    world_migrate(&w, "web", to);
    world_run(&w, ms);
    harm(&w, end == 0 ? from : to);
    for (int i = 0; i < 1500; i++) {
        world_run(&w, 1);
        assert_in_range(world_n_running(&w, "web", NULL), 0, 1);
    }
    if (world_n_running(&w, "web", NULL) != 1)
        print_error("end %u harmed at %u ms:\n%s", end, ms, w.records);
    assert_int_equal(world_n_running(&w, "web", NULL), 1);
    assert_int_equal(world_state(&w)->n_migrations, 0);
    world_deinit(&w);
}

static void test_migration_survives_the_death_of_either_end(void **unused)
{
    (void)unused;
    for (unsigned ms = 1; ms < 140; ms += 3) {
        for (unsigned end = 0; end < 2; end++)
            harm_a_migration(world_kill, end, ms);
    }
}

/* The guards go on. */
static void test_migration_survives_restarts_of_skeind(void **unused)
{
    (void)unused;
    for (unsigned ms = 1; ms < 140; ms += 3) {
        for (unsigned end = 0; end < 2; end++)
            harm_a_migration(world_restart_skeind, end, ms);
    }
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

static void ask_move(struct world *w, const char *guest, unsigned to)
{
    struct command command = {.type = COMMAND_MIGRATION_RESERVE, .request = {42}};

    snprintf(command.migration_reserve.guest, NAME_SIZE, "%s", guest);
    command.migration_reserve.target.node = w->nodes[to].id;
    command.migration_reserve.terms = MOVE_TERMS_DEFAULT;
    world_ask(w, &command);
}

static void test_a_move_outlasts_its_leader(void **unused)
{
    struct world w;
    unsigned at = 0, to;

    (void)unused;
    lives(&w, 3);
    world_create(&w, "web", RESTART_ALWAYS);
    assert_true(world_answered(&w, 2000));
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    to = at == 3 ? 2 : 3;
    ask_move(&w, "web", to);
    for (int ms = 0; ms < 1000 && world_state(&w)->n_migrations == 0; ms++)
        world_run(&w, 1);
    assert_int_equal(world_state(&w)->n_migrations, 1);
    world_lead(&w, 2);
    assert_true(w.has_answer);
    assert_int_equal(w.answer.kind, ANSWER_LEADER_LOST);

    world_run(&w, 100);
    ask_move(&w, "web", to); /* the same again: no second move */
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    assert_int_equal(state_guest(world_state(&w), "web")->placement.node, w.nodes[to].id);

    ask_move(&w, "web", to); /* over, and this leader knows how it ended */
    assert_true(world_answered(&w, 1100));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    world_deinit(&w);
}

static void test_a_move_that_was_undone_unseen(void **unused)
{
    struct world w;
    unsigned at = 0, to;

    (void)unused;
    lives(&w, 3);
    world_create(&w, "web", RESTART_ALWAYS);
    assert_true(world_answered(&w, 2000));
    assert_int_equal(world_n_running(&w, "web", &at), 1);
    to = at == 3 ? 2 : 3;
    w.fail_op = GUARD_RECEIVE;
    w.fail_code = -EIO;
    ask_move(&w, "web", to);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);
    ask_move(&w, "web", to);
    assert_true(world_answered(&w, 10));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);
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
        cmocka_unit_test(test_node_dies_and_its_guest_runs_elsewhere),
        cmocka_unit_test(test_without_room_guests_wait_and_the_most_important_goes_first),
        cmocka_unit_test(test_view_says_how_long_until_a_silent_node_is_lost),
        cmocka_unit_test(test_partitioned_node_freezes_before_its_guest_runs_elsewhere),
        cmocka_unit_test(test_short_partition_costs_a_pause_never_a_kill),
        cmocka_unit_test(test_leader_change_freezes_nobody),
        cmocka_unit_test(test_restart_of_skeind_disturbs_no_guest),
        cmocka_unit_test(test_reboot_places_guests_anew_at_once),
        cmocka_unit_test(test_in_maintenance_no_node_is_lost),
        cmocka_unit_test(test_migration_moves_the_guest_and_says_its_blackout),
        cmocka_unit_test(test_failed_migration_leaves_the_guest_where_it_was),
        cmocka_unit_test(test_guest_that_cannot_be_activated_goes_on_where_it_was),
        cmocka_unit_test(test_guest_whose_switch_does_not_follow_is_activated_later),
        cmocka_unit_test(test_migration_survives_the_death_of_either_end),
        cmocka_unit_test(test_migration_survives_restarts_of_skeind),
        cmocka_unit_test(test_image_is_added_when_every_present_node_holds_it),
        cmocka_unit_test(test_node_joins_and_is_removed),
        cmocka_unit_test(test_an_answer_before_the_log_is_loaded_starts_nothing),
        cmocka_unit_test(test_a_move_outlasts_its_leader),
        cmocka_unit_test(test_a_move_that_was_undone_unseen),
        cmocka_unit_test(test_removal_moves_the_guests_and_hands_over),
        cmocka_unit_test(test_removal_never_breaks_the_quorum),
        cmocka_unit_test(test_lost_voter_is_replaced),
        cmocka_unit_test(test_standby_that_is_silent_is_not_promoted),
        cmocka_unit_test(test_wish_without_an_outcome_is_answered),
        cmocka_unit_test(test_no_quorum_is_said),
        cmocka_unit_test(test_follower_names_the_leader),
        cmocka_unit_test(test_the_log_says_how_often_a_node_beats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* consensus/state: what each command does to migrations, what it refuses in which words, and what
 * losses and reboots leave of them.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/three_nodes.h"

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

/* Its memory is still to follow: the target owns it, and only its word ends the migration. */
static void a_handover_runs_through(void **state)
{
    struct cluster *c = *state;
    uint64_t id = reserved(c);
    struct command commit = {.type = COMMAND_MIGRATION_COMMIT,
                             .migration_step = {.id = id, .is_lazy = true}};

    assert_int_equal(cluster_apply(c, &commit), 0);
    assert_int_equal(state_migration(&c->state, id)->phase, MIGRATION_HANDOVER);
    assert_int_equal(place_of(c, "web")->node, cluster_node(c, "n3"));
    cluster_step(c, COMMAND_MIGRATION_ABORT, id);
    assert_int_equal(c->out.code, -ESTALE);
    cluster_guest(c, "b", cluster_place(c, "n2", 1, 1), FAILOVER_RESTART);
    assert_refused(c, -ESTALE, "node n2: core 1 is taken"); /* by what gives out the memory */
    assert_int_equal(cluster_step(c, COMMAND_MIGRATION_DONE, id), 0);
    assert_int_equal(state_guest(&c->state, "web")->migration, 0);
}

/* Only by a return that says so: one of an older leader's means a commit of another kind. */
static void a_handover_returns_when_it_was_never_begun(void **state)
{
    struct cluster *c = *state;
    uint64_t id = reserved(c), epoch = place_of(c, "web")->epoch;
    struct command commit = {.type = COMMAND_MIGRATION_COMMIT,
                             .migration_step = {.id = id, .is_lazy = true}};
    struct command back = {.type = COMMAND_MIGRATION_RETURN,
                           .migration_step = {.id = id, .is_lazy = true}};

    assert_int_equal(cluster_apply(c, &commit), 0);
    cluster_step(c, COMMAND_MIGRATION_RETURN, id);
    assert_int_equal(c->out.code, -ESTALE);
    assert_int_equal(place_of(c, "web")->node, cluster_node(c, "n3"));
    assert_int_equal(cluster_apply(c, &back), 0);
    assert_null(state_migration(&c->state, id));
    assert_int_equal(place_of(c, "web")->node, cluster_node(c, "n2"));
    assert_int_equal(place_of(c, "web")->epoch, epoch);
    assert_int_equal(state_check(&c->state, NULL), 0);
}

static void a_handover_and_its_losses(void **state)
{
    struct cluster *c = *state;
    uint64_t id = reserved(c), epoch;
    struct command commit = {.type = COMMAND_MIGRATION_COMMIT,
                             .migration_step = {.id = id, .is_lazy = true}};

    cluster_apply(c, &commit);
    epoch = place_of(c, "web")->epoch;
    assert_int_equal(cluster_event(c, COMMAND_NODE_LOST, "n2", 0), 0);
    assert_non_null(state_migration(&c->state, id)); /* the target sees it, and acts */
    assert_int_equal(place_of(c, "web")->epoch, epoch);
    assert_true(state_node_by_name(&c->state, "n2")->epoch > epoch);
    assert_int_equal(cluster_event(c, COMMAND_NODE_LOST, "n3", 0), 0);
    assert_null(state_migration(&c->state, id));
    assert_nowhere_now(c, "web");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_migration_runs_through),
        TEST(a_handover_runs_through),
        TEST(a_handover_returns_when_it_was_never_begun),
        TEST(a_handover_and_its_losses),
        TEST(an_abort_leaves_the_guest_at_the_source),
        TEST(a_return_gives_the_guest_back_to_the_source),
        TEST(reservations_are_refused_where_they_make_no_sense),
        cmocka_unit_test(losses_during_a_migration),
        cmocka_unit_test(nothing_returns_to_a_source_that_was_away),
        cmocka_unit_test(a_guest_that_stays_stays_with_its_owner),
        TEST(a_guest_that_ends_ends_its_migration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What tests of the core in small worlds begin with. */
#ifndef SKEIN_TESTS_UNIT_SMALL_WORLD_H
#define SKEIN_TESTS_UNIT_SMALL_WORLD_H

#include "tests/support/world.h"
#include "tests/unit/test.h"

/* A cluster of n nodes that live; n1 leads. */
static inline void lives(struct world *w, unsigned n)
{
    world_init(w, n);
    world_run(w, 500);
}

/* The guest runs; returns on which node. */
static inline unsigned created(struct world *w, const char *name, enum restart_policy restart)
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

/* "web" runs; not on the leader. */
static inline unsigned created_on_a_follower(struct world *w, enum restart_policy restart)
{
    unsigned at = created(w, "web", restart);

    if (at == 1) {
        world_migrate(w, "web", 2);
        assert_true(world_answered(w, 2000));
        at = 2;
    }
    return at;
}

/* For so long there is at most one copy of "web", and one at the end; no move is under way then. */
static inline bool keeps_one_copy(struct world *w, unsigned ms)
{
    bool is_one = true;

    while (ms-- > 0) {
        world_run(w, 1);
        is_one = is_one && world_n_running(w, "web", NULL) <= 1;
    }
    return is_one && world_n_running(w, "web", NULL) == 1 && world_state(w)->n_migrations == 0;
}

#endif

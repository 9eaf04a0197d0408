/* What tests of the replicated state begin with: a cluster of three nodes, checked as a whole when
 * a test ends.
 */
#ifndef SKEIN_TESTS_UNIT_THREE_NODES_H
#define SKEIN_TESTS_UNIT_THREE_NODES_H

#include <stdlib.h>

#include "tests/support/cluster.h"
#include "tests/unit/test.h"

static inline int three_nodes(void **state)
{
    struct cluster *c = calloc(1, sizeof(*c));

    assert_non_null(c);
    cluster_form(c, 3);
    *state = c;
    return 0;
}

static inline int tear_down(void **state)
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

static inline const struct placement *place_of(const struct cluster *c, const char *guest)
{
    return &state_guest(&c->state, guest)->placement;
}

static inline void assert_nowhere_now(const struct cluster *c, const char *guest)
{
    const struct placement *at = place_of(c, guest);

    assert_int_equal(at->node, 0);
    assert_int_equal(at->n_cores, 0);
    assert_int_equal(at->epoch, c->state.index);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, three_nodes, tear_down)

#endif

/* The core in small worlds: whose volumes stay on a node, as its guard is told. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"
#include "tests/unit/small_world.h"

/* The volumes of so many guests stay there, and its guard was told so. */
static void stays(const struct world *w, unsigned i, uint32_t n)
{
    const struct node_part *node = &w->nodes[i].core->node;

    assert_true(node->keeps_told && node->keeps_serial == 0);
    assert_int_equal(node->n_keeps, n);
}

/* "web" with a volume; returns on which node it runs. */
static unsigned created_with_a_volume(struct world *w)
{
    struct command command = {.type = COMMAND_GUEST_CREATE};
    struct guest_spec *spec = &command.guest_create.spec;
    unsigned at = 0;

    world_spec(spec, "web");
    spec->volumes = calloc(1, sizeof(*spec->volumes));
    assert_non_null(spec->volumes);
    spec->volumes[0] = (struct volume){"data", "/var/lib/data"};
    spec->n_volumes = 1;
    world_ask(w, &command);
    assert_true(world_answered(w, 2000));
    assert_int_equal(w->answer.kind, ANSWER_DONE);
    assert_int_equal(world_n_running(w, "web", &at), 1);
    return at;
}

static unsigned begins(struct world *w)
{
    unsigned at;

    lives(w, 3);
    at = created_with_a_volume(w);
    world_run(w, 100);
    for (unsigned i = 1; i <= 3; i++)
        stays(w, i, i == at);
    return at;
}

static void volumes_stay_through_a_stop_and_go_with_the_guest(void **unused)
{
    struct world w;
    unsigned at = begins(&w);

    (void)unused;
    world_by_name(&w, COMMAND_GUEST_STOP, "web");
    assert_true(world_answered(&w, 5000));
    world_run(&w, 100);
    stays(&w, at, 1);
    world_by_name(&w, COMMAND_GUEST_REMOVE, "web");
    assert_true(world_answered(&w, 5000));
    world_run(&w, 100);
    stays(&w, at, 0);
    world_deinit(&w);
}

static void volumes_move_with_the_guest(void **unused)
{
    struct world w;
    unsigned from = begins(&w), to = from % 3 + 1;

    (void)unused;
    world_migrate(&w, "web", to);
    while (world_state(&w)->n_migrations == 0 && w.now < 10000000)
        world_run(&w, 1);
    world_run(&w, 5);
    stays(&w, to, 1); /* what arrives is not removed */
    stays(&w, from, 1);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    world_run(&w, 1000);
    stays(&w, to, 1);
    stays(&w, from, 0);
    world_deinit(&w);
}

static void a_node_is_not_removed_over_the_volumes_of_a_stopped_guest(void **unused)
{
    struct world w;
    unsigned at = begins(&w);
    char name[NAME_SIZE];

    (void)unused;
    if (at == 1) {
        world_migrate(&w, "web", 2);
        assert_true(world_answered(&w, 5000));
        at = 2;
    }
    snprintf(name, sizeof(name), "n%u", at);
    world_by_name(&w, COMMAND_GUEST_STOP, "web");
    assert_true(world_answered(&w, 5000));
    world_by_name(&w, COMMAND_NODE_REMOVE, name);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_REFUSED);
    assert_non_null(strstr(w.answer.text, "keeps the volumes of guest web"));
    world_by_name(&w, COMMAND_GUEST_REMOVE, "web");
    assert_true(world_answered(&w, 5000));
    world_by_name(&w, COMMAND_NODE_REMOVE, name);
    assert_true(world_answered(&w, 5000));
    assert_int_equal(w.answer.kind, ANSWER_DONE);
    world_deinit(&w);
}

static void a_guard_that_cannot_yet_is_asked_again(void **unused)
{
    struct world w;
    unsigned at = begins(&w);

    (void)unused;
    world_by_name(&w, COMMAND_GUEST_STOP, "web");
    assert_true(world_answered(&w, 5000));
    w.fail_op = GUARD_KEEP_VOLUMES;
    w.fail_code = -EBUSY;
    world_by_name(&w, COMMAND_GUEST_REMOVE, "web");
    assert_true(world_answered(&w, 5000));
    world_run(&w, 10);
    assert_int_equal(w.fail_code, 0);
    assert_false(w.nodes[at].core->node.keeps_told);
    world_run(&w, 5000);
    stays(&w, at, 0);
    world_deinit(&w);
}

static void what_a_lost_node_still_has_goes_when_it_is_back(void **unused)
{
    struct world w;
    unsigned at, now = 0;

    (void)unused;
    at = begins(&w);
    if (at == 1) {
        world_migrate(&w, "web", 2);
        assert_true(world_answered(&w, 5000));
        at = 2;
        world_run(&w, 1000);
    }
    world_kill(&w, at);
    for (int ms = 0; ms < 10000 && world_n_running(&w, "web", &now) == 0; ms++)
        world_run(&w, 1);
    assert_int_not_equal(now, at);
    world_run(&w, 100);
    stays(&w, now, 1);
    world_boot(&w, at);
    world_run(&w, 5000);
    stays(&w, at, 0);
    stays(&w, now, 1);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(volumes_stay_through_a_stop_and_go_with_the_guest),
        cmocka_unit_test(volumes_move_with_the_guest),
        cmocka_unit_test(a_node_is_not_removed_over_the_volumes_of_a_stopped_guest),
        cmocka_unit_test(a_guard_that_cannot_yet_is_asked_again),
        cmocka_unit_test(what_a_lost_node_still_has_goes_when_it_is_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

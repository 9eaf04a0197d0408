/* Which nodes are to hold an image, and which copies are more than it needs. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "consensus/copies.h"
#include "tests/support/cluster.h"

enum { N = 4 };

struct fixture {
    struct cluster c;
    uint64_t node[N + 1];
};

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    cluster_form(&f->c, N);
    for (int i = 1; i <= N; i++) {
        char name[3] = {'n', (char)('0' + i), 0};

        f->node[i] = cluster_node(&f->c, name);
    }
}

/* An image "app" that is on the nodes of `held`, ascending, ended by 0. */
static const struct image *image_with(struct fixture *f, uint32_t copies, const int *held)
{
    struct command command = {.type = COMMAND_IMAGE_ADD};
    struct image *image = &command.image_add.image;
    uint64_t holders[N];
    int code;

    strcpy(image->name, "app");
    image->format = IMAGE_TAR;
    image->digest[0] = 1;
    image->size = 1000;
    image->copies = copies;
    while (held[image->n_holders] != 0) {
        holders[image->n_holders] = f->node[held[image->n_holders]];
        image->n_holders++;
    }
    image->holders = holders;
    code = cluster_apply(&f->c, &command);
    assert_int_equal(code, 0);
    return state_image(&f->c.state, "app");
}

/* "1234": the nodes for which it is so. */
static const char *those(const struct fixture *f, bool is_surplus)
{
    static char text[N + 1];
    const struct image *image = state_image(&f->c.state, "app");
    int n = 0;

    for (int i = 1; i <= N; i++) {
        const struct node *node = state_node(&f->c.state, f->node[i]);

        if (is_surplus ? image_is_surplus(&f->c.state, image, node->id)
                       : image_is_wanted(&f->c.state, image, node))
            text[n++] = (char)('0' + i);
    }
    text[n] = '\0';
    return text;
}

static void release(struct fixture *f, const char *name, int node, int code, uint64_t n)
{
    struct command command = {.type = COMMAND_IMAGE_RELEASE};

    strcpy(command.image_release.name, name);
    command.image_release.node = node != 0 ? f->node[node] : 0;
    assert_int_equal(cluster_apply(&f->c, &command), code);
    if (code == 0)
        assert_int_equal(f->c.out.id, n);
}

static void everywhere_is_everywhere(void **unused)
{
    struct fixture f;

    (void)unused;
    begin(&f);
    image_with(&f, 0, (int[]){2, 0});
    assert_string_equal(those(&f, false), "1234");
    assert_string_equal(those(&f, true), "");
    release(&f, "app", 0, -ESTALE, 0);
    cluster_deinit(&f.c);
}

static void holders_first_then_those_with_room(void **unused)
{
    struct fixture f;

    (void)unused;
    begin(&f);
    image_with(&f, 2, (int[]){3, 0});
    assert_string_equal(those(&f, false), "13"); /* all are as roomy: the first by id */
    assert_string_equal(those(&f, true), "");
    /* One that is being emptied does not count, and gets none. */
    cluster_flag(&f.c, COMMAND_NODE_DRAIN, "n1", true);
    assert_string_equal(those(&f, false), "23");
    cluster_flag(&f.c, COMMAND_NODE_DRAIN, "n3", true);
    assert_string_equal(those(&f, false), "234");
    cluster_deinit(&f.c);
}

static void what_is_more_may_go_but_never_the_last(void **unused)
{
    struct fixture f;

    (void)unused;
    begin(&f);
    image_with(&f, 1, (int[]){2, 3, 4, 0});
    assert_string_equal(those(&f, false), "2");
    assert_string_equal(those(&f, true), "34");
    release(&f, "app", 2, -ESTALE, 0);
    release(&f, "nothing", 0, -ENOENT, 0);
    release(&f, "app", 3, 0, 1);
    assert_string_equal(those(&f, true), "4");
    release(&f, "", 0, 0, 1);
    assert_string_equal(those(&f, false), "2");
    release(&f, "", 0, 0, 0);
    release(&f, "app", 2, -ESTALE, 0);
    cluster_deinit(&f.c);
}

static void a_lost_holder_is_no_copy(void **unused)
{
    struct fixture f;

    (void)unused;
    begin(&f);
    image_with(&f, 1, (int[]){2, 3, 0});
    cluster_event(&f.c, COMMAND_NODE_LOST, "n2", 0);
    assert_string_equal(those(&f, false), "3");
    assert_string_equal(those(&f, true), "2");
    cluster_event(&f.c, COMMAND_NODE_LOST, "n3", 0);
    assert_string_equal(those(&f, true), ""); /* nobody else has it */
    cluster_deinit(&f.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everywhere_is_everywhere),
        cmocka_unit_test(holders_first_then_those_with_room),
        cmocka_unit_test(what_is_more_may_go_but_never_the_last),
        cmocka_unit_test(a_lost_holder_is_no_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

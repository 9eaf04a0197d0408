/* cell_root: the program cell-init gets into a guest's root, and nowhere else. Runs as anybody. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/cell_init.h"
#include "agent/guest/cell_init_image.h"
#include "agent/guest/cell_root.h"
#include "base/tree_posix.h"

struct place {
    char outside[64], root[96], init[128]; /* the root is below outside; its init */
};

static int make_place(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    assert_non_null(place);
    snprintf(place->outside, sizeof(place->outside), "/tmp/skein-cell-root-XXXXXX");
    assert_non_null(mkdtemp(place->outside));
    snprintf(place->root, sizeof(place->root), "%s/root", place->outside);
    snprintf(place->init, sizeof(place->init), "%s" CELL_INIT_PATH, place->root);
    assert_int_equal(mkdir(place->root, 0755), 0);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;

    assert_int_equal(tree_remove(place->outside, NULL), 0);
    free(place);
    return 0;
}

static void in_root(const struct place *place, const char *path, char ret[160])
{
    snprintf(ret, 160, "%s%s", place->root, path);
}

static off_t size_of(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
}

static void init_is_written_anew(void **state)
{
    const struct place *place = *state;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(cell_root_write_init(place->root, NULL), 0);
        assert_int_equal(size_of(place->init), cell_init_image_end - cell_init_image);
        assert_int_equal(access(place->init, X_OK), 0);
        assert_int_equal(truncate(place->init, 1), 0);
    }
}

static void links_of_an_image_lead_nowhere(void **state)
{
    const struct place *place = *state;
    char path[160], outside[160];
    int fd;

    snprintf(outside, sizeof(outside), "%s/init", place->outside);
    fd = open(outside, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    close(fd);

    in_root(place, CELL_INIT_DIRECTORY, path);
    assert_int_equal(symlink(place->outside, path), 0);
    assert_int_equal(cell_root_write_init(place->root, NULL), -ENOTDIR);
    assert_int_equal(size_of(outside), 0);

    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(symlink(outside, place->init), 0);
    assert_int_equal(cell_root_write_init(place->root, NULL), 0);
    assert_int_equal(size_of(outside), 0);
    assert_int_equal(size_of(place->init), cell_init_image_end - cell_init_image);
}

static void root_that_is_not_there_is_an_error(void **state)
{
    const struct place *place = *state;
    char path[160];

    in_root(place, "/nowhere", path);
    assert_int_equal(cell_root_write_init(path, NULL), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(init_is_written_anew, make_place, remove_place),
        cmocka_unit_test_setup_teardown(links_of_an_image_lead_nowhere, make_place, remove_place),
        cmocka_unit_test_setup_teardown(root_that_is_not_there_is_an_error, make_place,
                                        remove_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

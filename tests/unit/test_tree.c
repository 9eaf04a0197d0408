/* A tree that is copied while it changes: after a last copy of what changed it is the same, name
 * for name, whatever was done to it meanwhile (a seed; the first argument sets another). */
#include "tests/unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/tree_posix.h"
#include "migrate/tree_changes_archive.h"
#include "migrate/tree_edit_posix.h"
#include "migrate/tree_walk_posix.h"

enum { N_NAMES = 12, N_STEPS = 60, N_RUNS = 40 };

static unsigned seed = 20261129;

struct trees {
    char top[64], from[80], to[80];
};

static int set_up(void **state)
{
    struct trees *t = calloc(1, sizeof(*t));

    snprintf(t->top, sizeof(t->top), "/tmp/skein-tree-XXXXXX");
    assert_non_null(mkdtemp(t->top));
    snprintf(t->from, sizeof(t->from), "%s/from", t->top);
    snprintf(t->to, sizeof(t->to), "%s/to", t->top);
    assert_int_equal(mkdir(t->from, 0755), 0);
    assert_int_equal(mkdir(t->to, 0700), 0);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct trees *t = *state;

    assert_int_equal(chdir("/"), 0);
    tree_remove(t->top, NULL);
    free(t);
    return 0;
}

/* ---- what lies in a tree, as text */

static char *described;
static size_t n_described;

static void describe_content(FILE *out, const char *path, const struct stat *status)
{
    char bytes[4096] = {0};
    ssize_t n = 0;
    int fd;

    if (S_ISLNK(status->st_mode)) {
        n = readlink(path, bytes, sizeof(bytes) - 1);
    } else if (S_ISREG(status->st_mode)) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        n = read(fd, bytes, sizeof(bytes) - 1);
        close(fd);
    }
    assert_true(n >= 0);
    fprintf(out, " %s", bytes);
    n = S_ISLNK(status->st_mode) ? -1 : getxattr(path, "user.note", bytes, sizeof(bytes) - 1);
    if (n >= 0)
        fprintf(out, " note=%.*s", (int)n, bytes);
}

static void describe_below(FILE *out, const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        char inner[512];
        struct stat status;

        snprintf(inner, sizeof(inner), "%s/%s", path, names[i]->d_name);
        free(names[i]);
        if (strcmp(strrchr(inner, '/'), "/..") == 0)
            continue;
        assert_int_equal(lstat(inner, &status), 0);
        fprintf(out, "%s %o %u %lld %lld.%09ld", inner, status.st_mode, status.st_uid,
                S_ISDIR(status.st_mode) ? 0LL : (long long)status.st_nlink,
                (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
        describe_content(out, inner, &status);
        fputs("\n", out);
        if (S_ISDIR(status.st_mode) && strcmp(strrchr(inner, '/'), "/.") != 0)
            describe_below(out, inner);
    }
    free(names);
}

static char *describe(const char *top)
{
    FILE *out = open_memstream(&described, &n_described);

    assert_int_equal(chdir(top), 0);
    describe_below(out, ".");
    fclose(out);
    return described;
}

/* ---- what a guest does to it */

static const char *any_path(char ret[64])
{
    int depth = rand() % 3, used = 0;

    for (int i = 0; i <= depth; i++)
        used += snprintf(ret + used, 64 - (size_t)used, "%s%c%d", i > 0 ? "/" : "",
                         i < depth ? 'd' : 'n', rand() % (i < depth ? 3 : N_NAMES));
    return ret;
}

static const char *any_directory(char ret[64])
{
    snprintf(ret, 64, rand() % 2 ? "d%d" : "d%d/d%d", rand() % 3, rand() % 3);
    return ret;
}

static void write_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd < 0)
        return;
    if (rand() % 3 == 0)
        assert_int_equal(ftruncate(fd, 3000), 0);
    (void)!pwrite(fd, "wxyz" + rand() % 3, 1, rand() % 40);
    close(fd);
}

/* Of some it may turn out that they cannot be. */
static void do_anything(void)
{
    char one[64], other[64];

    switch (rand() % 12) {
    case 0:
    case 1:
    case 2:
        write_file(any_path(one));
        break;
    case 3:
        (void)!mkdir(any_directory(one), 0755);
        break;
    case 4:
        (void)!rename(any_path(one), any_path(other));
        break;
    case 5:
        (void)!rename(any_directory(one), any_directory(other));
        break;
    case 6:
        (void)!link(any_path(one), any_path(other));
        break;
    case 7:
        (void)!unlink(any_path(one));
        break;
    case 8:
        (void)!chmod(rand() % 2 ? any_path(one) : any_directory(one), 0700 + (mode_t)rand() % 64);
        break;
    case 9:
        (void)!symlink(any_path(one), any_path(other));
        break;
    case 10:
        tree_remove(any_directory(one), NULL);
        break;
    case 11:
        if (rand() % 2)
            (void)!setxattr(any_directory(one), "user.note", one, 2, 0);
        else
            (void)!removexattr(any_directory(one), "user.note");
        break;
    }
}

static void do_much(const char *top)
{
    assert_int_equal(chdir(top), 0);
    for (int i = 0; i < N_STEPS; i++)
        do_anything();
}

/* ---- its way */

static int write_to_file(void *context, const void *data, size_t size, struct err *err)
{
    (void)err;
    return write(*(int *)context, data, size) == (ssize_t)size ? 0 : -EIO;
}

/* Until the next change has another time. */
static void await_tick(void)
{
    struct timespec first, now;

    clock_gettime(CLOCK_REALTIME_COARSE, &first);
    do
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
    while (now.tv_sec == first.tv_sec && now.tv_nsec == first.tv_nsec);
}

/* As if long after the last change, and before the next. */
static void settle(struct tree_index *index)
{
    await_tick();
    for (size_t i = 0; i < index->n; i++)
        index->entries[i].is_unsettled = false;
}

static void look(const char *top, struct tree_index *ret)
{
    int directory = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err err;

    assert_int_equal(tree_walk(directory, true, ret, &err), 0);
    close(directory);
}

static int pass(const struct trees *t, struct tree_index *before, struct tree_index *now,
                bool is_live, struct err *err)
{
    int directory = open(t->from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = memfd_create("changes", MFD_CLOEXEC), r;

    r = tree_pack_changes(directory, before, now, is_live, write_to_file, &fd, err);
    close(directory);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(chdir(t->to), 0);
    if (r == 0 && before != NULL)
        r = tree_edit_here(fd, err);
    if (r == 0)
        r = tree_unpack_into_here(fd, true, err);
    close(fd);
    return r;
}

static void next_pass(const struct trees *t, struct tree_index *has, bool is_live, bool settles)
{
    struct tree_index now = {0};
    struct tree_change change;
    struct err err = {0};

    look(t->from, &now);
    if (settles)
        settle(&now);
    tree_index_compare(has, &now, &change);
    if (is_live)
        do_much(t->from);
    if (pass(t, has, &now, is_live, &err) != 0)
        fail_msg("seed %u: %s", seed, err.text);
    tree_index_deinit(has);
    *has = now;
}

static void a_changing_tree_arrives(void **state)
{
    struct trees *t = *state;

    srand(seed);
    for (int run = 0; run < N_RUNS; run++) {
        struct tree_index has = {0};
        struct err err = {0};
        char *left, *arrived;

        do_much(t->from);
        look(t->from, &has);
        if (run % 2)
            settle(&has);
        do_much(t->from); /* and only now is it read */
        if (pass(t, NULL, &has, true, &err) != 0)
            fail_msg("seed %u: %s", seed, err.text);
        next_pass(t, &has, true, run % 2);
        do_much(t->from);
        next_pass(t, &has, false, false);
        left = describe(t->from);
        arrived = describe(t->to);
        if (strcmp(left, arrived) != 0)
            fail_msg("seed %u, run %d, left:\n%s\narrived:\n%s", seed, run, left, arrived);
        free(left);
        free(arrived);
        tree_index_deinit(&has);
        assert_int_equal(tree_remove(t->to, &err), 0);
        assert_int_equal(mkdir(t->to, 0700), 0);
    }
}

static void a_tree_that_did_not_change_stays_as_it_is(void **state)
{
    struct tree_index has = {0}, now = {0};
    struct trees *t = *state;
    struct tree_change change;
    char *before, *after;
    struct err err;

    do_much(t->from);
    look(t->from, &has);
    settle(&has);
    assert_int_equal(pass(t, NULL, &has, true, &err), 0);
    before = describe(t->to);
    look(t->from, &now);
    tree_index_compare(&has, &now, &change);
    assert_int_equal(change.n, 0);
    assert_int_equal(pass(t, &has, &now, false, &err), 0);
    after = describe(t->to);
    assert_string_equal(before, after);
    free(before);
    free(after);
    tree_index_deinit(&has);
    tree_index_deinit(&now);
}

static void nothing_is_left_out_of_a_tree_that_stands_still(void **state)
{
    struct tree_index now = {0};
    struct trees *t = *state;
    struct err err;

    do_much(t->from);
    write_file("n1");
    look(t->from, &now);
    assert_int_equal(chdir(t->from), 0);
    assert_int_equal(unlink("n1"), 0);
    assert_int_equal(pass(t, NULL, &now, false, &err), -ESTALE);
    tree_index_deinit(&now);
}

static void a_tree_sent_anew_takes_the_place_of_all(void **state)
{
    struct trees *t = *state;
    int directory = open(t->from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = memfd_create("anew", MFD_CLOEXEC);
    char *left, *arrived;
    struct err err;

    do_much(t->to);
    do_much(t->from);
    assert_int_equal(tree_pack_anew(directory, true, write_to_file, &fd, &err), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(chdir(t->to), 0);
    assert_int_equal(tree_edit_here(fd, &err), 0);
    assert_int_equal(tree_unpack_into_here(fd, true, &err), 0);
    left = describe(t->from);
    arrived = describe(t->to);
    assert_string_equal(left, arrived);
    free(left);
    free(arrived);
    close(fd);
    close(directory);
}

static void put_piece(const char *path, off_t at, off_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    if (at >= 0)
        assert_int_equal(pwrite(fd, "piece", 5, at), 5);
    close(fd);
}

static bool has_piece(const char *path, off_t at)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char piece[6] = {0};

    assert_int_equal(pread(fd, piece, 5, at), 5);
    close(fd);
    return strcmp(piece, "piece") == 0;
}

static void holes_stay_holes(void **state)
{
    enum { MIB = 1 << 20 };
    struct tree_index now = {0};
    struct trees *t = *state;
    struct stat status;
    struct err err;

    assert_int_equal(chdir(t->from), 0);
    put_piece("middle", 3 * MIB, 8 * MIB);
    put_piece("begin", 0, 8 * MIB);
    put_piece("end", 8 * MIB - 5, 8 * MIB);
    put_piece("all", -1, 8 * MIB);
    look(t->from, &now);
    assert_int_equal(pass(t, NULL, &now, true, &err), 0);
    tree_index_deinit(&now);
    assert_true(has_piece("middle", 3 * MIB));
    assert_true(has_piece("begin", 0));
    assert_true(has_piece("end", 8 * MIB - 5));
    for (int i = 0; i < 4; i++) {
        static const char *const names[] = {"middle", "begin", "end", "all"};

        assert_int_equal(stat(names[i], &status), 0);
        assert_int_equal(status.st_size, 8 * MIB);
        assert_true(status.st_blocks * 512 < MIB);
    }
}

/* ---- edits by a stranger */

static int edit(const struct trees *t, const void *bytes, size_t size, struct err *err)
{
    int fd = memfd_create("edits", MFD_CLOEXEC), r;

    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(chdir(t->to), 0);
    r = tree_edit_here(fd, err);
    close(fd);
    return r;
}

static void edits_that_lead_out_are_refused(void **state)
{
    static const char *const bad[] = {"../from", "/tmp", "a/../../from", ""};
    struct trees *t = *state;
    uint8_t bytes[64];
    struct writer w;
    struct err err;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        writer_init(&w, bytes, sizeof(bytes));
        tree_edit_encode(TREE_EDIT_DROP, bad[i], &w);
        tree_edit_encode(TREE_EDIT_END, "", &w);
        assert_int_equal(edit(t, bytes, w.size, &err), -EBADMSG);
    }
    assert_int_equal(edit(t, "\x09\x01\x00x", 4, &err), -EBADMSG);
    assert_int_equal(edit(t, "\x01\xff\xff", 3, &err), -EBADMSG);
    assert_int_equal(edit(t, "\x01\x04\x00xy", 5, &err), -EBADMSG);
    assert_int_equal(access(t->from, F_OK), 0);
    assert_int_equal(edit(t, "\x01\x04\x00gone\x00", 8, &err), 0);
}

static void a_look_goes_no_further_than_it_has_to(void **state)
{
    struct trees *t = *state;
    struct ahead_size size = {0};
    int directory = open(t->from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(chdir(t->from), 0);
    for (int i = 0; i < 40; i++) {
        char name[16];

        snprintf(name, sizeof(name), "f%d", i);
        close(open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
    tree_measure(directory, 500000, &size);
    assert_int_equal(size.n, 41);
    size = (struct ahead_size){4 << 20, 0};
    tree_measure(directory, 500000, &size);
    assert_int_equal(size.n, 1);
    close(directory);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_changing_tree_arrives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_tree_that_did_not_change_stays_as_it_is, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_left_out_of_a_tree_that_stands_still, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_tree_sent_anew_takes_the_place_of_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(holes_stay_holes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(edits_that_lead_out_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_goes_no_further_than_it_has_to, set_up, tear_down),
    };

    if (argc > 1)
        seed = (unsigned)strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

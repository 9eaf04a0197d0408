/* The migration stream and the trees in it: what was written is read back; whatever is damaged, cut
 * or out of place is found. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/tree_posix.h"
#include "migrate/stream_sodium.h"
#include "migrate/tree_archive.h"

static struct stream_in in;
static struct stream_out out;

static int new_file(void)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* A stream with one of everything; returns its size. */
static size_t write_sample(int fd)
{
    struct err err;

    assert_int_equal(stream_out_start(&out, fd, 0, "web", &err), 0);
    assert_int_equal(stream_out_file(&out, "core-1.img", &err), 0);
    assert_int_equal(stream_out_data(&out, "core", 4, &err), 0);
    assert_int_equal(stream_out_file(&out, "empty.img", &err), 0);
    assert_int_equal(stream_out_tree(&out, STREAM_TREE_UPPER, &err), 0);
    assert_int_equal(stream_out_data(&out, "tree", 4, &err), 0);
    assert_int_equal(stream_out_tree(&out, STREAM_TREE_SHM, &err), 0);
    assert_int_equal(stream_out_log(&out, &err), 0);
    assert_int_equal(stream_out_data(&out, "words\n", 6, &err), 0);
    assert_int_equal(stream_out_lazy(&out, &err), 0);
    assert_int_equal(stream_out_end(&out, &err), 0);
    return (size_t)lseek(fd, 0, SEEK_END);
}

/* Reads to the end or to the first failure. */
static int read_all(int fd, struct err *err)
{
    struct stream_record record = {0};
    int r;

    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    r = stream_in_start(&in, fd, err);
    while (r == 0 && record.type != STREAM_END)
        r = stream_in_next(&in, &record, err);
    return r;
}

static void assert_next(enum stream_type type, const char *payload)
{
    struct stream_record record;
    struct err err;

    assert_int_equal(stream_in_next(&in, &record, &err), 0);
    assert_int_equal(record.type, type);
    assert_int_equal(record.size, strlen(payload));
    assert_memory_equal(in.payload, payload, record.size);
}

static void stream_is_read_as_written(void **state)
{
    struct stream_record record;
    int fd = new_file();
    size_t size = write_sample(fd);
    struct err err;

    (void)state;
    assert_int_equal(out.n_bytes, size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(stream_in_start(&in, fd, &err), 0);
    assert_next(STREAM_GUEST, "web");
    assert_next(STREAM_FILE, "core-1.img");
    assert_next(STREAM_DATA, "core");
    assert_next(STREAM_FILE, "empty.img");
    assert_next(STREAM_TREE, "\1");
    assert_next(STREAM_DATA, "tree");
    assert_next(STREAM_TREE, "\3");
    assert_next(STREAM_LOG, "");
    assert_next(STREAM_DATA, "words\n");
    assert_next(STREAM_LAZY, "");
    assert_int_equal(stream_in_next(&in, &record, &err), 0);
    assert_int_equal(record.type, STREAM_END);
    assert_true(in.grammar.is_lazy);
    assert_int_equal(in.n_bytes, size);
    close(fd);
}

static void large_data_is_cut_into_records(void **state)
{
    enum { SIZE = 3 * STREAM_DATA_MAX + 17 };
    uint8_t *data = malloc(SIZE), *back = malloc(SIZE);
    struct stream_record record;
    int fd = new_file();
    size_t at = 0;
    struct err err;

    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i * 7);
    assert_int_equal(stream_out_start(&out, fd, 0, "web", &err), 0);
    assert_int_equal(stream_out_file(&out, "pages-1.img", &err), 0);
    assert_int_equal(stream_out_data(&out, data, SIZE, &err), 0);
    assert_int_equal(stream_out_end(&out, &err), 0);

    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(stream_in_start(&in, fd, &err), 0);
    do {
        assert_int_equal(stream_in_next(&in, &record, &err), 0);
        if (record.type == STREAM_DATA) {
            memcpy(back + at, in.payload, record.size);
            at += record.size;
        }
    } while (record.type != STREAM_END);
    assert_int_equal(at, SIZE);
    assert_memory_equal(data, back, SIZE);
    free(data);
    free(back);
    close(fd);
}

/* The process that copied ends, another captures: one stream all the same. */
static void rounds_come_before_the_rest(void **state)
{
    char path[] = "/tmp/skein-stream-XXXXXX";
    struct stream_record record;
    int fd = new_file(), file = mkstemp(path);
    struct err err;

    (void)state;
    assert_true(file >= 0);
    close(file);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(stream_out_go_on(&out, fd, 0, path, &err), -ENOENT);
    assert_int_equal(stream_out_start(&out, fd, 0, "web", &err), 0);
    assert_int_equal(stream_out_round(&out, 1, &err), 0);
    assert_int_equal(stream_out_file(&out, "pages-1.img", &err), 0);
    assert_int_equal(stream_out_data(&out, "all", 3, &err), 0);
    assert_int_equal(stream_out_round(&out, 2, &err), 0);
    assert_int_equal(stream_out_file(&out, "pages-1.img", &err), 0);
    assert_int_equal(stream_out_data(&out, "some", 4, &err), 0);
    assert_int_equal(stream_out_leave(&out, path, &err), 0);
    memset(&out, 0xa5, sizeof(out));
    assert_int_equal(stream_out_go_on(&out, fd, 0, path, &err), 0);
    assert_int_equal(stream_out_round(&out, 0, &err), 0);
    assert_int_equal(stream_out_tree(&out, STREAM_TREE_UPPER, &err), 0);
    assert_int_equal(stream_out_end(&out, &err), 0);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(stream_in_start(&in, fd, &err), 0);
    assert_next(STREAM_GUEST, "web");
    assert_next(STREAM_ROUND, "\1");
    assert_next(STREAM_FILE, "pages-1.img");
    assert_next(STREAM_DATA, "all");
    assert_next(STREAM_ROUND, "\2");
    assert_next(STREAM_FILE, "pages-1.img");
    assert_next(STREAM_DATA, "some");
    assert_int_equal(stream_in_next(&in, &record, &err), 0);
    assert_int_equal(record.type, STREAM_ROUND);
    assert_int_equal(in.payload[0], 0);
    assert_next(STREAM_TREE, "\1");
    assert_int_equal(stream_in_next(&in, &record, &err), 0);
    assert_int_equal(record.type, STREAM_END);
    close(fd);
}

static void rounds_out_of_place_are_found(void **state)
{
    static const struct {
        uint8_t rounds[4];
        int n;
        bool file_first, tree_between, is_right;
    } cases[] = {
        {{1, 2, 0}, 3, false, false, true},  {{1, 0}, 2, false, false, true},
        {{0}, 1, false, false, false},       {{2, 0}, 2, false, false, false},
        {{1, 1, 0}, 3, false, false, false}, {{1, 3, 0}, 3, false, false, false},
        {{1, 2}, 2, false, false, false},    {{1, 0, 2, 0}, 4, false, false, false},
        {{1, 0, 0}, 3, false, false, false}, {{1, 0}, 2, true, false, false},
        {{1, 2, 0}, 3, false, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = new_file();
        struct err err;

        assert_int_equal(stream_out_start(&out, fd, 0, "web", &err), 0);
        if (cases[i].file_first)
            assert_int_equal(stream_out_file(&out, "core-1.img", &err), 0);
        for (int k = 0; k < cases[i].n; k++) {
            assert_int_equal(stream_out_round(&out, cases[i].rounds[k], &err), 0);
            if (k == 0 && cases[i].tree_between)
                assert_int_equal(stream_out_tree(&out, STREAM_TREE_UPPER, &err), 0);
        }
        assert_int_equal(stream_out_end(&out, &err), 0);
        assert_int_equal(read_all(fd, &err), cases[i].is_right ? 0 : -EBADMSG);
        close(fd);
    }
}

static void every_cut_is_found(void **state)
{
    int fd = new_file();
    size_t size = write_sample(fd);
    struct err err;

    (void)state;
    for (size_t keep = 0; keep < size; keep++) {
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        write_sample(fd);
        assert_int_equal(ftruncate(fd, (off_t)keep), 0);
        assert_int_equal(read_all(fd, &err), -ECONNRESET);
        assert_non_null(strstr(err.text, "ended early"));
    }
    close(fd);
}

static void every_changed_bit_is_found(void **state)
{
    int fd = new_file();
    size_t size = write_sample(fd);
    struct err err;

    (void)state;
    for (size_t at = 0; at < size; at++) {
        uint8_t byte, changed;

        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        changed = (uint8_t)(byte ^ (1 << (at % 8)));
        assert_int_equal(pwrite(fd, &changed, 1, (off_t)at), 1);
        assert_true(read_all(fd, &err) < 0);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    assert_int_equal(read_all(fd, &err), 0);
    close(fd);
}

static void nothing_is_read_past_the_end(void **state)
{
    int fd = new_file();
    size_t size = write_sample(fd);
    struct err err;

    (void)state;
    assert_int_equal(pwrite(fd, "more", 4, (off_t)size), 4);
    assert_int_equal(read_all(fd, &err), 0);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), size);
    close(fd);
}

static void grammar_is_kept(void **state)
{
    static const struct {
        const char *what;
        struct {
            enum stream_type type;
            const char *payload;
            uint32_t size;
        } records[4];
    } wrong[] = {
        {"data before the guest", {{STREAM_DATA, "x", 1}}},
        {"no name", {{STREAM_GUEST, "", 0}}},
        {"two guests", {{STREAM_GUEST, "a", 1}, {STREAM_GUEST, "a", 1}}},
        {"data of nothing", {{STREAM_GUEST, "a", 1}, {STREAM_DATA, "x", 1}}},
        {"empty data", {{STREAM_GUEST, "a", 1}, {STREAM_LOG, "", 0}, {STREAM_DATA, "", 0}}},
        {"a file elsewhere", {{STREAM_GUEST, "a", 1}, {STREAM_FILE, "../x", 4}}},
        {"a hidden file", {{STREAM_GUEST, "a", 1}, {STREAM_FILE, ".x", 2}}},
        {"a name with NUL", {{STREAM_GUEST, "a", 1}, {STREAM_FILE, "x\0y", 3}}},
        {"no such tree", {{STREAM_GUEST, "a", 1}, {STREAM_TREE, "\14", 1}}},
        {"a tree twice", {{STREAM_GUEST, "a", 1}, {STREAM_TREE, "\1", 1}, {STREAM_TREE, "\1", 1}}},
        {"the log twice", {{STREAM_GUEST, "a", 1}, {STREAM_LOG, "", 0}, {STREAM_LOG, "", 0}}},
        {"memory that follows twice",
         {{STREAM_GUEST, "a", 1}, {STREAM_LAZY, "", 0}, {STREAM_LAZY, "", 0}}},
        {"content of what follows",
         {{STREAM_GUEST, "a", 1}, {STREAM_LAZY, "", 0}, {STREAM_DATA, "x", 1}}},
        {"a wrong sum", {{STREAM_GUEST, "a", 1}, {STREAM_END, "\1\0\0\0\0\0\0\0", 8}}},
        {"more after the end",
         {{STREAM_GUEST, "a", 1}, {STREAM_END, "\0\0\0\0\0\0\0\0", 8}, {STREAM_LOG, "", 0}}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct stream_grammar grammar = {0};
        int r = 0;
        size_t n = 0;

        for (; n < 4 && wrong[i].records[n].type != 0; n++) {
            struct stream_record record = {wrong[i].records[n].type, wrong[i].records[n].size};

            assert_int_equal(r, 0); /* all but the last are right */
            r = stream_accept(&grammar, &record, (const uint8_t *)wrong[i].records[n].payload,
                              NULL);
        }
        print_message("# %s\n", wrong[i].what);
        assert_int_equal(r, -EBADMSG);
    }
}

static void header_bounds_are_kept(void **state)
{
    static const uint8_t unknown[] = {STREAM_SINCE + 1, 0, 0, 0, 0}, zero[] = {0, 0, 0, 0, 0},
                         huge[] = {5, 1, 0, 4, 0};
    struct stream_record record;

    (void)state;
    assert_int_equal(stream_record_decode(unknown, &record), -EBADMSG);
    assert_int_equal(stream_record_decode(zero, &record), -EBADMSG);
    assert_int_equal(stream_record_decode(huge, &record), -EBADMSG);
}

static void writer_says_when_the_reader_is_gone(void **state)
{
    void (*old)(int) = signal(SIGPIPE, SIG_IGN);
    int ends[2];
    struct err err;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    close(ends[1]);
    assert_int_equal(stream_out_start(&out, ends[0], 0, "web", &err), 0);
    assert_int_equal(stream_out_end(&out, &err), -EPIPE);
    close(ends[0]);
    signal(SIGPIPE, old);
}

/* ---- trees */

struct trees {
    char start[256], top[64], from[80], to[80];
};

static int make_trees(void **state)
{
    struct trees *t = calloc(1, sizeof(*t));

    assert_non_null(getcwd(t->start, sizeof(t->start)));
    snprintf(t->top, sizeof(t->top), "/tmp/skein-tree-XXXXXX");
    assert_non_null(mkdtemp(t->top));
    snprintf(t->from, sizeof(t->from), "%s/from", t->top);
    snprintf(t->to, sizeof(t->to), "%s/to", t->top);
    assert_int_equal(mkdir(t->from, 0755), 0);
    assert_int_equal(mkdir(t->to, 0755), 0);
    *state = t;
    return 0;
}

static int remove_trees(void **state)
{
    struct trees *t = *state;

    assert_int_equal(chdir(t->start), 0);
    assert_int_equal(tree_remove(t->top, NULL), 0);
    free(t);
    return 0;
}

static int write_to_file(void *context, const void *data, size_t size, struct err *err)
{
    (void)err;
    return write(*(int *)context, data, size) == (ssize_t)size ? 0 : -EIO;
}

static int refuse_to_write(void *context, const void *data, size_t size, struct err *err)
{
    (void)context;
    (void)data;
    (void)size;
    return err_set(err, -EPIPE, "gone");
}

static void put_file(const char *path, const char *content, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int pack(const char *from, bool keeps_whiteouts, int fd, struct err *err)
{
    int directory = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = tree_pack(directory, keeps_whiteouts, write_to_file, &fd, err);

    close(directory);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return r;
}

static void tree_arrives_as_it_left(void **state)
{
    const struct timespec times[2] = {{1, 2}, {1234567, 891234567}};
    struct trees *t = *state;
    struct stat status, twin;
    char target[32] = {0};
    int fd = new_file();
    struct err err;

    assert_int_equal(chdir(t->from), 0);
    assert_int_equal(mkdir("d", 0755), 0);
    put_file("d/file", "content", 0640);
    assert_int_equal(link("d/file", "twin"), 0);
    assert_int_equal(symlink("/etc/passwd", "way"), 0);
    put_file("holes", "", 0600);
    assert_int_equal(truncate("holes", 1 << 20), 0);
    assert_int_equal(utimensat(AT_FDCWD, "d/file", times, 0), 0);
    assert_int_equal(chmod("d", 02750), 0);
    assert_int_equal(utimensat(AT_FDCWD, "d", times, 0), 0);

    assert_int_equal(pack(t->from, true, fd, &err), 0);
    assert_int_equal(chdir(t->to), 0);
    assert_int_equal(tree_unpack_into_here(fd, true, &err), 0);

    assert_int_equal(stat("d", &status), 0);
    assert_int_equal(status.st_mode & 07777, 02750);
    assert_int_equal(status.st_mtim.tv_sec, 1234567);
    assert_int_equal(stat("d/file", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_int_equal(status.st_mtim.tv_sec, 1234567);
    assert_int_equal(status.st_mtim.tv_nsec, 891234567);
    assert_int_equal(status.st_size, 7);
    assert_int_equal(stat("twin", &twin), 0);
    assert_int_equal(twin.st_ino, status.st_ino);
    assert_int_equal(readlink("way", target, sizeof(target) - 1), 11);
    assert_string_equal(target, "/etc/passwd");
    assert_int_equal(stat("holes", &status), 0);
    assert_int_equal(status.st_size, 1 << 20);
    assert_true(status.st_blocks < 100);
    close(fd);
}

static void packing_ends_when_the_receiver_is_gone(void **state)
{
    struct trees *t = *state;
    int directory = open(t->from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err err;

    assert_int_equal(tree_pack(directory, true, refuse_to_write, NULL, &err), -EPIPE);
    assert_string_equal(err.text, "gone");
    close(directory);
}

static void damaged_tree_is_refused(void **state)
{
    struct trees *t = *state;
    int fd = new_file();
    struct err err;

    assert_int_equal(chdir(t->from), 0);
    put_file("file", "content", 0640);
    assert_int_equal(pack(t->from, true, fd, &err), 0);
    assert_int_equal(pwrite(fd, "garbage", 7, 100), 7);
    assert_int_equal(chdir(t->to), 0);
    assert_true(tree_unpack_into_here(fd, true, &err) < 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(ftruncate(fd, 700), 0);
    assert_true(tree_unpack_into_here(fd, true, &err) < 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_is_read_as_written),
        cmocka_unit_test(large_data_is_cut_into_records),
        cmocka_unit_test(rounds_come_before_the_rest),
        cmocka_unit_test(rounds_out_of_place_are_found),
        cmocka_unit_test(every_cut_is_found),
        cmocka_unit_test(every_changed_bit_is_found),
        cmocka_unit_test(nothing_is_read_past_the_end),
        cmocka_unit_test(grammar_is_kept),
        cmocka_unit_test(header_bounds_are_kept),
        cmocka_unit_test(writer_says_when_the_reader_is_gone),
        cmocka_unit_test_setup_teardown(tree_arrives_as_it_left, make_trees, remove_trees),
        cmocka_unit_test_setup_teardown(packing_ends_when_the_receiver_is_gone, make_trees,
                                        remove_trees),
        cmocka_unit_test_setup_teardown(damaged_tree_is_refused, make_trees, remove_trees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

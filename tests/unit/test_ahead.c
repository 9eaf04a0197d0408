/* Files that go ahead of a guest: when that is worth it, how often, and what of a tree goes after
 * an earlier look at it. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "migrate/ahead.h"
#include "migrate/stream.h"
#include "migrate/tree_index.h"

enum { MIB = 1 << 20, GIGABIT = 500000 };

/* ---- whether, and how often */

static const struct {
    const char *what;
    uint64_t bytes, n, kbps;
    bool is_worth;
} sizes[] = {
    {"nothing", 0, 1, GIGABIT, false},
    {"a small cell's upper layer", 40 * 1024, 12, GIGABIT, false},
    {"a MiB", MIB, 30, GIGABIT, false},
    {"a MiB over a slow link", MIB, 30, 8000, true},
    {"4 MiB", 4 * MIB, 30, GIGABIT, true},
    {"many small files", MIB / 2, 800, GIGABIT, true},
    {"a volume", 300ull * MIB, 10, GIGABIT, true},
};

static void only_what_takes_its_time_goes_ahead(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct ahead_size size = {sizes[i].bytes, sizes[i].n};

        if (ahead_is_worth(&size, sizes[i].kbps) != sizes[i].is_worth)
            fail_msg("%s", sizes[i].what);
    }
}

static const struct {
    const char *what;
    uint32_t n;
    uint64_t last_mib, left_mib, again_s;
    bool goes_on;
} rows[] = {
    {"nothing changed", 1, 300, 0, 0, false},
    {"some of it changed", 1, 300, 20, 0, true},
    {"all of it changed", 1, 300, 300, 0, true},
    {"all of it changed each time", AHEAD_MIN_PASSES, 300, 300, 9, false},
    {"it gets less", AHEAD_MIN_PASSES, 300, 100, 9, true},
    {"it gets less, and less", AHEAD_MAX_PASSES, 20, 10, 9, false},
    {"it takes too long", 2, 900, 100, AHEAD_AGAIN_MS / 1000, false},
};

static void passes_go_on_while_less_is_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ahead_size last = {rows[i].last_mib * MIB, 1}, left = {rows[i].left_mib * MIB, 1};
        struct ahead_passes passes = {0};

        for (uint32_t n = 0; n < rows[i].n; n++)
            ahead_pass_over(&passes, &last,
                            n == 0 ? 3000000000ull : rows[i].again_s * 1000000 / (rows[i].n - 1));
        if (ahead_goes_on(&passes, &left, GIGABIT) != rows[i].goes_on)
            fail_msg("%s", rows[i].what);
    }
}

/* ---- what goes */

/* "d a", "f a/b 7 3": kind, path, inode, ctime; a hard-linked file is an "h", one that is unsettled
 * an "u", a directory that could not be sent an "m". Then what is made of it: "+path" goes, "-path"
 * goes away, "~path" is cleared. */
struct line {
    char kind;
    const char *path;
    uint64_t inode;
    int64_t ctime_ns;
};

static void fill(struct tree_index *index, const struct line *lines)
{
    for (; lines->kind != 0; lines++) {
        char kind = lines->kind;
        struct tree_entry entry = {
            .kind = kind == 'd' || kind == 'm' ? TREE_DIRECTORY
                    : kind == 'l'              ? TREE_LINK
                                               : TREE_FILE,
            .is_unsettled = kind == 'u',
            .is_missing = kind == 'm',
            .inode = lines->inode,
            .n_links = kind == 'h' ? 2 : 1,
            .size = 10,
            .held = 4096,
            .ctime_ns = lines->ctime_ns,
        };

        assert_int_equal(tree_index_add(index, &entry, lines->path), 0);
    }
    tree_index_sort(index);
}

static void say(char *text, size_t size, char sign, const char *path)
{
    size_t used = strlen(text);

    snprintf(text + used, size - used, "%s%c%s", used > 0 ? " " : "", sign, path);
}

static void check(const struct line *before, const struct line *now, const char *wanted)
{
    struct tree_index was = {0}, is = {0};
    struct tree_change change;
    char text[512] = "";

    fill(&was, before);
    fill(&is, now);
    tree_index_compare(&was, &is, &change);
    for (size_t i = 0; i < was.n; i++) {
        if (was.entries[i].deed == TREE_DROP)
            say(text, sizeof(text), '-', was.entries[i].path);
        if (was.entries[i].deed == TREE_CLEAR)
            say(text, sizeof(text), '~', was.entries[i].path);
    }
    for (size_t i = 0; i < is.n; i++) {
        if (is.entries[i].deed == TREE_SEND)
            say(text, sizeof(text), '+', is.entries[i].path);
    }
    assert_string_equal(text, wanted);
    tree_index_deinit(&was);
    tree_index_deinit(&is);
}

#define LINES(...) ((const struct line[]){__VA_ARGS__, {0}})

static const struct line old[] = {{'d', "", 1, 1},
                                  {'d', "a", 2, 1},
                                  {'f', "a/x", 3, 1},
                                  {'d', "a/s", 4, 1},
                                  {'f', "a/s/y", 5, 1},
                                  {'f', "a-b", 6, 1},
                                  {0}};

static void what_stayed_does_not_go(void **state)
{
    (void)state;
    check(old, old, "");
    check(LINES({0}), LINES({'d', "", 1, 1}, {'f', "x", 2, 1}), "+ +x");
}

static void what_changed_takes_its_place(void **state)
{
    (void)state;
    check(old,
          LINES({'d', "", 1, 1}, {'d', "a", 2, 1}, {'f', "a/x", 3, 2}, {'d', "a/s", 4, 1},
                {'f', "a/s/y", 5, 1}, {'f', "a-b", 6, 1}),
          "~a -a/x +a +a/x");
    check(old,
          LINES({'d', "", 1, 1}, {'d', "a", 2, 1}, {'f', "a/x", 3, 1}, {'d', "a/s", 4, 7},
                {'f', "a/s/y", 5, 1}, {'f', "a-b", 6, 1}),
          "~a/s +a/s");
}

static void another_inode_with_its_times_is_another(void **state)
{
    (void)state;
    check(LINES({'d', "", 1, 1}, {'f', "x", 2, 1}), LINES({'d', "", 1, 1}, {'f', "x", 3, 1}),
          "~ -x + +x");
}

static void what_is_gone_goes_away_as_a_whole(void **state)
{
    (void)state;
    check(old, LINES({'d', "", 1, 2}, {'f', "a-b", 6, 1}), "~ -a +");
}

static void a_renamed_directory_goes_anew(void **state)
{
    (void)state;
    check(LINES({'d', "", 1, 1}, {'d', "a", 2, 1}, {'f', "a/x", 3, 1}),
          LINES({'d', "", 1, 2}, {'d', "b", 2, 2}, {'f', "b/x", 3, 1}), "~ -a + +b +b/x");
}

static void another_kind_takes_all_with_it(void **state)
{
    (void)state;
    check(LINES({'d', "", 1, 1}, {'d', "a", 2, 1}, {'f', "a/x", 3, 1}),
          LINES({'d', "", 1, 2}, {'l', "a", 4, 2}), "~ -a + +a");
    check(LINES({'d', "", 1, 1}, {'l', "a", 4, 1}),
          LINES({'d', "", 1, 2}, {'d', "a", 2, 2}, {'f', "a/x", 3, 1}), "~ -a + +a +a/x");
}

/* A file system need not stamp what was renamed. */
static void names_of_an_inode_go_together(void **state)
{
    (void)state;
    check(LINES({'d', "", 1, 1}, {'d', "a", 2, 1}, {'h', "a/x", 3, 1}, {'h', "y", 3, 1}),
          LINES({'d', "", 1, 2}, {'d', "a", 2, 1}, {'h', "a/x", 3, 1}, {'h', "z", 3, 1}),
          "~ ~a -a/x -y + +a +a/x +z");
}

static void what_was_unsettled_goes_once_more(void **state)
{
    (void)state;
    check(LINES({'d', "", 1, 1}, {'u', "x", 2, 1}), LINES({'d', "", 1, 1}, {'f', "x", 2, 1}),
          "~ -x + +x");
    check(LINES({'d', "", 1, 1}, {'m', "a", 2, 1}), LINES({'d', "", 1, 1}, {'d', "a", 2, 1}),
          "~ ~a + +a");
    assert_true(tree_is_unsettled(5000000000, 5500000000));
    assert_true(tree_is_unsettled(5000000000, 4000000000)); /* its clock was set back */
    assert_false(tree_is_unsettled(5000000000, 6500000000));
}

static void a_pass_is_as_large_as_what_goes(void **state)
{
    struct tree_index was = {0}, is = {0};
    struct tree_change change;

    (void)state;
    fill(&was, LINES({'d', "", 1, 1}, {'f', "gone", 2, 1}, {'f', "kept", 3, 1}));
    fill(&is, LINES({'d', "", 1, 2}, {'f', "kept", 3, 1}, {'f', "new", 4, 1}));
    tree_index_compare(&was, &is, &change);
    assert_int_equal(change.bytes, 10);
    assert_int_equal(change.n, 3);
    tree_index_deinit(&was);
    tree_index_deinit(&is);
}

static void an_index_comes_back_from_its_bytes(void **state)
{
    struct tree_index index = {0}, back = {0};
    struct writer w;
    struct reader r;

    (void)state;
    fill(&index, old);
    index.entries[1].is_unsettled = true;
    writer_init_growing(&w, TREE_INDEX_MAX_SIZE);
    tree_index_encode(&index, &w);
    reader_init(&r, w.data, w.size);
    assert_int_equal(tree_index_decode(&r, &back), 0);
    assert_true(reader_done(&r));
    assert_int_equal(back.n, index.n);
    assert_string_equal(back.entries[2].path, index.entries[2].path);
    assert_true(back.entries[1].is_unsettled);
    assert_int_equal(back.entries[5].inode, index.entries[5].inode);
    assert_int_equal(tree_index_find(&back, "a/s/y")->inode, 5);
    assert_null(tree_index_find(&back, "a/s/z"));
    tree_index_deinit(&back);
    for (size_t size = 0; size < w.size; size++) {
        reader_init(&r, w.data, size);
        assert_int_equal(tree_index_decode(&r, &back), -EBADMSG);
        tree_index_deinit(&back);
    }
    writer_deinit(&w);
    tree_index_deinit(&index);
}

static void paths_stay_below_their_root(void **state)
{
    static const char *const bad[] = {"",  "/",  "/a",   "a/",     "a//b",
                                      ".", "..", "a/..", "a/../b", "./a"};
    static const char *const good[] = {"a", "a/b", "...", "a/.b", "..a/b"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(tree_path_is_valid(bad[i]));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(tree_path_is_valid(good[i]));
}

/* ---- its place in a stream */

/* "1" a pass, "0" their end; "u" the upper layer, "v" a volume, "s" /dev/shm, "f" a file, "r" a
 * round, "o" the end of rounds, "l" memory that follows, "e" the end. */
static bool is_stream(const char *records, struct stream_grammar *grammar)
{
    static const char volume = STREAM_TREE_VOLUME, shm = STREAM_TREE_SHM;
    const struct stream_record guest = {STREAM_GUEST, 3};
    char pass = 0, byte;

    *grammar = (struct stream_grammar){0};
    assert_int_equal(stream_accept(grammar, &guest, (const uint8_t *)"web", NULL), 0);
    for (; *records != 0; records++) {
        struct stream_record record = {STREAM_TREE, 1};
        const char *payload = &byte;

        switch (*records) {
        case '0':
        case '1':
            byte = *records == '0' ? 0 : ++pass;
            record.type = STREAM_AHEAD;
            break;
        case 'u':
            payload = "\1";
            break;
        case 'v':
            payload = &volume;
            break;
        case 's':
            payload = &shm;
            break;
        case 'f':
            record.type = STREAM_FILE;
            payload = "f";
            break;
        case 'r':
        case 'o':
            record.type = STREAM_ROUND;
            byte = *records == 'r';
            break;
        case 'l':
            record = (struct stream_record){STREAM_LAZY, 0};
            break;
        default:
            record = (struct stream_record){STREAM_END, 8};
            payload = "\0\0\0\0\0\0\0\0";
        }
        if (stream_accept(grammar, &record, (const uint8_t *)payload, NULL) < 0)
            return false;
    }
    return true;
}

static void passes_come_first_in_a_stream(void **state)
{
    static const char *const good[] = {"1uv1v0uvfe", "1uv0uve", "10ue", "1u0rfouve", "1uv0luvfe"};
    static const char *const bad[] = {"0",     "11e",  "1uu", "1s", "1f", "1l", "1r",  "1ue",
                                      "1u0uu", "1u01", "u1",  "f1", "l1", "r1", "1u00"};
    struct stream_grammar grammar;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!is_stream(good[i], &grammar))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (is_stream(bad[i], &grammar))
            fail_msg("taken: %s", bad[i]);
    }
}

static void a_tree_that_came_before_holds_changes(void **state)
{
    struct stream_grammar grammar;

    (void)state;
    assert_true(is_stream("1u", &grammar));
    assert_false(stream_has_tree(&grammar, STREAM_TREE_UPPER));
    assert_true(is_stream("1u1u", &grammar));
    assert_true(stream_has_tree(&grammar, STREAM_TREE_UPPER));
    assert_true(is_stream("1u0uvs", &grammar));
    assert_true(stream_has_tree(&grammar, STREAM_TREE_UPPER));
    assert_false(stream_has_tree(&grammar, STREAM_TREE_VOLUME));
    assert_true(is_stream("us", &grammar));
    assert_false(stream_has_tree(&grammar, STREAM_TREE_UPPER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_takes_its_time_goes_ahead),
        cmocka_unit_test(passes_go_on_while_less_is_left),
        cmocka_unit_test(what_stayed_does_not_go),
        cmocka_unit_test(what_changed_takes_its_place),
        cmocka_unit_test(another_inode_with_its_times_is_another),
        cmocka_unit_test(what_is_gone_goes_away_as_a_whole),
        cmocka_unit_test(a_renamed_directory_goes_anew),
        cmocka_unit_test(another_kind_takes_all_with_it),
        cmocka_unit_test(names_of_an_inode_go_together),
        cmocka_unit_test(what_was_unsettled_goes_once_more),
        cmocka_unit_test(a_pass_is_as_large_as_what_goes),
        cmocka_unit_test(an_index_comes_back_from_its_bytes),
        cmocka_unit_test(paths_stay_below_their_root),
        cmocka_unit_test(passes_come_first_in_a_stream),
        cmocka_unit_test(a_tree_that_came_before_holds_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* migrate/increment: when a checkpoint may be an increment; migrate/merge_sodium: an increment and
 * what it continues become one stream. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clean.h"
#include "migrate/increment.h"
#include "migrate/merge_sodium.h"
#include "migrate/stream_sodium.h"

static struct stream_in in;
static struct stream_out out;

/* ---- decisions */

static const struct increment_chain a_chain = {
    .taken_us = 77, .pid = 9, .n = 3, .n_files = 20, .whole_bytes = 1000, .increment_bytes = 600};

static void what_may_be_an_increment(void **state)
{
    struct increment_chain none = {0}, longest = a_chain, many = a_chain, full = a_chain;

    (void)state;
    assert_true(increment_may_be(&a_chain, 77, 9, 400));
    assert_false(increment_may_be(&a_chain, 77, 9, 401)); /* together more than the whole */
    assert_false(increment_may_be(&a_chain, 76, 9, 0));   /* the buddy has another one */
    assert_false(increment_may_be(&a_chain, 0, 9, 0));    /* or none */
    assert_false(increment_may_be(&a_chain, 77, 8, 0));   /* another life of the guest */
    assert_false(increment_may_be(&none, 0, 0, 0));
    assert_false(increment_may_be(&none, 77, 9, 0));
    longest.n = INCREMENT_MAX;
    assert_false(increment_may_be(&longest, 77, 9, 0));
    longest.n--;
    assert_true(increment_may_be(&longest, 77, 9, 0));
    many.n_files = INCREMENT_MAX_FILES;
    assert_false(increment_may_be(&many, 77, 9, 0));
    full.increment_bytes = 1001; /* more was written than could be told */
    assert_false(increment_may_be(&full, 77, 9, 0));
    assert_false(increment_may_be(&a_chain, 77, 9, UINT64_MAX));
}

static void a_chain_grows_and_begins_anew(void **state)
{
    const struct increment_chain one = {.taken_us = 80, .pid = 9, .n_files = 4, .whole_bytes = 50};
    struct increment_chain chain = a_chain;

    (void)state;
    increment_add(&chain, true, &one);
    assert_int_equal(chain.taken_us, 80);
    assert_int_equal(chain.n, 4);
    assert_int_equal(chain.n_files, 24);
    assert_int_equal(chain.whole_bytes, 1000);
    assert_int_equal(chain.increment_bytes, 650);
    increment_add(&chain, false, &one);
    assert_int_equal(chain.n, 0);
    assert_int_equal(chain.n_files, 4);
    assert_int_equal(chain.whole_bytes, 50);
    assert_int_equal(chain.increment_bytes, 0);
}

static void a_chain_is_read_as_written(void **state)
{
    uint8_t bytes[INCREMENT_CHAIN_SIZE];
    struct increment_chain back, none = {0};
    struct writer w;

    (void)state;
    writer_init(&w, bytes, sizeof(bytes));
    increment_chain_encode(&a_chain, &w);
    assert_false(w.failed);
    assert_int_equal(increment_chain_decode(bytes, w.size, &back), 0);
    assert_memory_equal(&back, &a_chain, sizeof(back));
    for (size_t size = 0; size < w.size; size++)
        assert_int_equal(increment_chain_decode(bytes, size, &back), -EBADMSG);
    writer_init(&w, bytes, sizeof(bytes));
    increment_chain_encode(&none, &w);
    assert_int_equal(increment_chain_decode(bytes, w.size, &back), -EBADMSG);
}

static void memory_is_known_by_its_names(void **state)
{
    (void)state;
    assert_true(increment_is_memory("pages-12.img"));
    assert_true(increment_is_memory("pagemap-3.img"));
    assert_true(increment_is_memory("pagemap-shmem-3.img"));
    assert_false(increment_is_memory("mm-3.img"));
    assert_false(increment_is_memory("inventory.img"));
}

/* ---- one stream of two */

static const char *const old_names[] = {"inventory.img", "pagemap-1.img", "pages-1.img"};

static int new_file(void)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* One that holds `word` wherever something can be held; an increment of `since`, if there is one.
 */
static void write_checkpoint(int fd, const char *guest, const uint8_t *since, const char *word)
{
    static char large[4000];
    size_t size = strlen(word);

    memset(large, word[0], sizeof(large)); /* comes packed */
    assert_int_equal(stream_out_start(&out, fd, 0, guest, NULL), 0);
    if (since != NULL)
        assert_int_equal(stream_out_since(&out, since, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(stream_out_file(&out, old_names[i], NULL), 0);
        assert_int_equal(stream_out_data(&out, word, size, NULL), 0);
    }
    assert_int_equal(stream_out_data(&out, large, sizeof(large), NULL), 0);
    assert_int_equal(stream_out_tree(&out, STREAM_TREE_UPPER, NULL), 0);
    assert_int_equal(stream_out_data(&out, word, size, NULL), 0);
    assert_int_equal(stream_out_log(&out, NULL), 0);
    assert_int_equal(stream_out_data(&out, word, size, NULL), 0);
    assert_int_equal(stream_out_end(&out, NULL), 0);
}

static int write_all(void *context, const void *data, size_t size, struct err *err)
{
    (void)err;
    return write(*(int *)context, data, size) == (ssize_t)size ? 0 : -EIO;
}

/* Into `to`, which it empties. */
static int merge(int before, int increment, int to, struct err *err)
{
    const struct merge_sink sink = {write_all, &to};

    assert_int_equal(ftruncate(to, 0), 0);
    lseek(to, 0, SEEK_SET);
    lseek(before, 0, SEEK_SET);
    lseek(increment, 0, SEEK_SET);
    return merge_streams(before, increment, &sink, err);
}

static void assert_next(enum stream_type type, const char *payload)
{
    struct stream_record record;

    assert_int_equal(stream_in_next(&in, &record, NULL), 0);
    assert_int_equal(record.type, type);
    assert_int_equal(record.size, strlen(payload));
    assert_memory_equal(in.payload, payload, record.size);
}

static void assert_round(uint8_t round)
{
    struct stream_record record;

    assert_int_equal(stream_in_next(&in, &record, NULL), 0);
    assert_int_equal(record.type, STREAM_ROUND);
    assert_int_equal(in.payload[0], round);
}

static void assert_file(const char *name, const char *word, bool is_large)
{
    struct stream_record record;

    assert_next(STREAM_FILE, name);
    assert_next(STREAM_DATA, word);
    if (!is_large)
        return;
    assert_int_equal(stream_in_next(&in, &record, NULL), 0);
    assert_int_equal(record.type, STREAM_DATA);
    assert_int_equal(record.size, 4000);
    for (size_t i = 0; i < record.size; i++)
        assert_int_equal(in.payload[i], word[0]);
}

static void assert_memory(const char *word)
{
    assert_file("pagemap-1.img", word, false);
    assert_file("pages-1.img", word, true);
}

static void assert_newest(const char *word)
{
    struct stream_record record;

    assert_file("inventory.img", word, false);
    assert_memory(word);
    assert_int_equal(stream_in_next(&in, &record, NULL), 0);
    assert_int_equal(record.type, STREAM_TREE);
    assert_next(STREAM_DATA, word);
    assert_next(STREAM_LOG, "");
    assert_next(STREAM_DATA, word);
    assert_int_equal(stream_in_next(&in, &record, NULL), 0);
    assert_int_equal(record.type, STREAM_END);
}

static void assert_begins(int fd)
{
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(stream_in_start(&in, fd, NULL), 0);
    assert_next(STREAM_GUEST, "web");
}

static const uint8_t since[DIGEST_SIZE] = {1, 2, 3};

static void increments_become_rounds(void **state)
{
    cleanup_close int whole = new_file(), one = new_file(), two = new_file(), merged = new_file(),
                      both = new_file();

    (void)state;
    write_checkpoint(whole, "web", NULL, "a");
    write_checkpoint(one, "web", since, "b");
    write_checkpoint(two, "web", since, "c");
    assert_int_equal(merge(whole, one, merged, NULL), 0);
    assert_begins(merged);
    assert_round(1);
    assert_memory("a");
    assert_round(0);
    assert_newest("b");
    assert_int_equal(merge(merged, two, both, NULL), 0);
    assert_begins(both);
    assert_round(1);
    assert_memory("a");
    assert_round(2);
    assert_memory("b");
    assert_round(0);
    assert_newest("c");
}

static void only_what_belongs_together_is_merged(void **state)
{
    cleanup_close int whole = new_file(), other = new_file(), one = new_file(), to = new_file(),
                      empty = new_file(), again = new_file();
    struct err err;

    (void)state;
    write_checkpoint(whole, "web", NULL, "a");
    write_checkpoint(other, "db", NULL, "a");
    write_checkpoint(one, "web", since, "b");
    assert_int_equal(merge(other, one, to, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "another guest"));
    assert_int_equal(merge(one, one, to, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "does not stand for itself"));
    write_checkpoint(again, "web", NULL, "b");
    assert_int_equal(merge(whole, again, to, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "does not say which"));
    assert_int_equal(stream_out_start(&out, empty, 0, "web", NULL), 0);
    assert_int_equal(stream_out_end(&out, NULL), 0);
    assert_int_equal(merge(empty, one, to, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "no memory"));
}

static void longer_than_a_stream_can_be_is_refused(void **state)
{
    int chain = new_file(), one = new_file(), rc = 0;
    uint32_t n = 0;

    (void)state;
    write_checkpoint(chain, "web", NULL, "a");
    write_checkpoint(one, "web", since, "b");
    while (rc == 0) {
        int to = new_file();

        rc = merge(chain, one, to, NULL);
        n += rc == 0;
        close(chain);
        chain = to;
    }
    assert_int_equal(rc, -EBADMSG);
    assert_int_equal(n, STREAM_MAX_ROUNDS);
    close(chain);
    close(one);
}

/* Whatever is cut or changed in either is found. */
static void what_is_damaged_is_found(void **state)
{
    cleanup_close int whole = new_file(), one = new_file(), to = new_file();
    int files[2];

    (void)state;
    write_checkpoint(whole, "web", NULL, "a");
    write_checkpoint(one, "web", since, "b");
    files[0] = whole;
    files[1] = one;
    for (size_t k = 0; k < 2; k++) {
        off_t size = lseek(files[k], 0, SEEK_END);

        for (off_t at = 0; at < size; at++) {
            uint8_t byte, changed;

            assert_int_equal(pread(files[k], &byte, 1, at), 1);
            changed = byte ^ 4;
            assert_int_equal(pwrite(files[k], &changed, 1, at), 1);
            assert_true(merge(whole, one, to, NULL) < 0);
            assert_int_equal(pwrite(files[k], &byte, 1, at), 1);
        }
        assert_int_equal(merge(whole, one, to, NULL), 0);
    }
    for (off_t size = lseek(one, 0, SEEK_END) - 1; size >= 0; size--) {
        assert_int_equal(ftruncate(one, size), 0);
        assert_true(merge(whole, one, to, NULL) < 0);
    }
}

/* An increment says so at its head, and may hold only what one can. */
static void the_head_says_what_it_continues(void **state)
{
    cleanup_close int whole = new_file(), one = new_file(), rounds = new_file(), twice = new_file();
    uint8_t head[STREAM_HEAD_SIZE], found[DIGEST_SIZE];
    struct stream_record record;
    ssize_t n;

    (void)state;
    write_checkpoint(whole, "web", NULL, "a");
    write_checkpoint(one, "web", since, "b");
    n = pread(whole, head, sizeof(head), 0);
    assert_false(stream_head_since(head, (size_t)n, found));
    n = pread(one, head, sizeof(head), 0);
    assert_true(stream_head_since(head, (size_t)n, found));
    assert_memory_equal(found, since, DIGEST_SIZE);
    for (size_t size = 0; size < STREAM_MAGIC_SIZE + 2 * STREAM_HEADER_SIZE + 3 + DIGEST_SIZE;
         size++)
        assert_false(stream_head_since(head, size, found));

    assert_int_equal(stream_out_start(&out, rounds, 0, "web", NULL), 0);
    assert_int_equal(stream_out_since(&out, since, NULL), 0);
    assert_int_equal(stream_out_round(&out, 1, NULL), 0);
    assert_int_equal(stream_out_flush(&out, NULL), 0);
    assert_begins(rounds);
    assert_int_equal(stream_in_next(&in, &record, NULL), 0);
    assert_int_equal(stream_in_next(&in, &record, NULL), -EBADMSG);
    assert_int_equal(stream_out_start(&out, twice, 0, "web", NULL), 0);
    assert_int_equal(stream_out_file(&out, "a.img", NULL), 0);
    assert_int_equal(stream_out_since(&out, since, NULL), 0);
    assert_int_equal(stream_out_flush(&out, NULL), 0);
    assert_begins(twice);
    assert_int_equal(stream_in_next(&in, &record, NULL), 0);
    assert_int_equal(stream_in_next(&in, &record, NULL), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_be_an_increment),
        cmocka_unit_test(a_chain_grows_and_begins_anew),
        cmocka_unit_test(a_chain_is_read_as_written),
        cmocka_unit_test(memory_is_known_by_its_names),
        cmocka_unit_test(increments_become_rounds),
        cmocka_unit_test(only_what_belongs_together_is_merged),
        cmocka_unit_test(longer_than_a_stream_can_be_is_refused),
        cmocka_unit_test(what_is_damaged_is_found),
        cmocka_unit_test(the_head_says_what_it_continues),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

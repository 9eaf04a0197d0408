/* agent/checkpoints_uv: what a node keeps for guests of others, and what it answers. */
#include "tests/unit/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/streams/checkpoints_uv.h"
#include "base/clean.h"
#include "base/tree_posix.h"
#include "migrate/stream_sodium.h"

enum { LIMIT = 1024 * 1024, NOT_YET = 1 };

struct bench {
    char directory[64];
    uv_loop_t loop;
    struct checkpoints *checkpoints;
    int status;
    struct receipt receipt;
};

static int set_up(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));

    signal(SIGPIPE, SIG_IGN);
    strcpy(b->directory, "/tmp/skein-checkpoints-XXXXXX");
    assert_non_null(mkdtemp(b->directory));
    assert_int_equal(uv_loop_init(&b->loop), 0);
    assert_int_equal(checkpoints_new(&b->loop, b->directory, LIMIT, &b->checkpoints, NULL), 0);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;

    checkpoints_free(b->checkpoints);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    assert_int_equal(tree_remove(b->directory, NULL), 0);
    free(b);
    return 0;
}

static void on_receipt(void *context, int status, const struct receipt *receipt)
{
    struct bench *b = context;

    b->status = status;
    b->receipt = *receipt;
}

/* A stream with `size` bytes that cannot be packed, written to `fd`; for a child. */
static void write_stream(int fd, size_t size, unsigned seed, bool is_cut, const uint8_t *since)
{
    struct stream_out *out = malloc(sizeof(*out));
    uint8_t *data = malloc(size);

    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)rand_r(&seed);
    if (stream_out_start(out, fd, 0, "web", NULL) < 0 ||
        (since != NULL && stream_out_since(out, since, NULL) < 0) ||
        stream_out_file(out, "pages-1.img", NULL) < 0 ||
        stream_out_data(out, data, size, NULL) < 0 || (!is_cut && stream_out_end(out, NULL) < 0))
        _exit(1); /* nobody takes it any more */
    _exit(0);
}

/* Sends one in, and waits for the answer. */
static void bring_since(struct bench *b, uint64_t guest, size_t size, unsigned seed, bool is_cut,
                        const uint8_t *since)
{
    int pair[2];
    pid_t child;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    child = fork();
    if (child == 0) {
        close(pair[1]);
        write_stream(pair[0], size, seed, is_cut, since);
    }
    b->status = NOT_YET;
    checkpoints_receive(b->checkpoints, guest, pair[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    shutdown(pair[0], SHUT_WR);
    checkpoints_await(b->checkpoints, pair[0], on_receipt, b);
    while (b->status == NOT_YET)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_int_equal(b->status, 0);
}

static void bring(struct bench *b, uint64_t guest, size_t size, unsigned seed, bool is_cut)
{
    bring_since(b, guest, size, seed, is_cut, NULL);
}

static bool is_here(const struct bench *b, const uint8_t digest[DIGEST_SIZE])
{
    cleanup_close int fd = checkpoints_read(b->checkpoints, digest);

    return fd >= 0;
}

static void a_whole_one_is_kept(void **state)
{
    struct bench *b = *state;
    cleanup_close int fd = -1;

    bring(b, 7, 100000, 1, false);
    assert_true(b->receipt.is_kept);
    assert_in_range(b->receipt.size, 100000, 101000);
    fd = checkpoints_read(b->checkpoints, b->receipt.digest);
    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, 0, SEEK_END), b->receipt.size);
}

static void one_that_was_cut_is_not(void **state)
{
    struct bench *b = *state;

    bring(b, 7, 100000, 1, true);
    assert_false(b->receipt.is_kept);
    assert_non_null(strstr(b->receipt.text, "ended early"));
}

static void there_is_a_limit(void **state)
{
    struct bench *b = *state;
    uint8_t first[DIGEST_SIZE];

    bring(b, 7, 700000, 1, false);
    assert_true(b->receipt.is_kept);
    memcpy(first, b->receipt.digest, DIGEST_SIZE);
    bring(b, 8, 700000, 2, false);
    assert_false(b->receipt.is_kept);
    assert_non_null(strstr(b->receipt.text, "no room"));
    assert_true(is_here(b, first));
    bring(b, 9, 200000, 3, false);
    assert_true(b->receipt.is_kept);
}

static bool is_first(void *context, const uint8_t digest[DIGEST_SIZE])
{
    return memcmp(context, digest, DIGEST_SIZE) == 0;
}

static void the_named_and_the_newest_stay(void **state)
{
    struct bench *b = *state;
    uint8_t digests[3][DIGEST_SIZE];

    for (unsigned i = 0; i < 3; i++) {
        bring(b, 7, 1000, i + 1, false);
        memcpy(digests[i], b->receipt.digest, DIGEST_SIZE);
    }
    checkpoints_retain(b->checkpoints, is_first, digests[0]);
    assert_true(is_here(b, digests[0]));
    assert_false(is_here(b, digests[1]));
    assert_true(is_here(b, digests[2])); /* the newest of its guest, not named yet */
    checkpoints_retain(b->checkpoints, is_first, digests[2]);
    assert_false(is_here(b, digests[0]));
    checkpoints_retain(b->checkpoints, is_first, digests[1]); /* it was named meanwhile */
    assert_false(is_here(b, digests[2]));
}

/* It stands behind what it continues, as one that stands for itself. */
static void an_increment_is_kept_with_what_it_continues(void **state)
{
    struct bench *b = *state;
    uint8_t first[DIGEST_SIZE], second[DIGEST_SIZE];

    bring(b, 7, 100000, 1, false);
    memcpy(first, b->receipt.digest, DIGEST_SIZE);
    bring_since(b, 7, 5000, 2, false, first);
    assert_true(b->receipt.is_kept);
    assert_in_range(b->receipt.size, 105000, 107000);
    memcpy(second, b->receipt.digest, DIGEST_SIZE);
    assert_true(is_here(b, first));
    bring_since(b, 7, 5000, 3, false, second);
    assert_true(b->receipt.is_kept);
    assert_in_range(b->receipt.size, 110000, 113000);
}

static void a_torn_increment_changes_nothing(void **state)
{
    struct bench *b = *state;
    uint8_t first[DIGEST_SIZE];

    bring(b, 7, 100000, 1, false);
    memcpy(first, b->receipt.digest, DIGEST_SIZE);
    bring_since(b, 7, 100000, 2, true, first);
    assert_false(b->receipt.is_kept);
    assert_non_null(strstr(b->receipt.text, "ended early"));
    assert_true(is_here(b, first));
    bring_since(b, 7, 5000, 2, false, first);
    assert_true(b->receipt.is_kept);
}

static void an_increment_of_what_is_not_here_is_refused(void **state)
{
    static const uint8_t nothing[DIGEST_SIZE] = {1};
    struct bench *b = *state;

    bring_since(b, 7, 5000, 2, false, nothing);
    assert_false(b->receipt.is_kept);
    assert_non_null(strstr(b->receipt.text, "is not here"));
}

static void an_increment_needs_room_for_both(void **state)
{
    struct bench *b = *state;
    uint8_t first[DIGEST_SIZE];

    bring(b, 8, 100000, 1, false);
    assert_true(b->receipt.may_continue);
    bring(b, 7, 600000, 1, false);
    assert_false(b->receipt.may_continue);
    memcpy(first, b->receipt.digest, DIGEST_SIZE);
    bring_since(b, 7, 5000, 2, false, first);
    assert_false(b->receipt.is_kept);
    assert_non_null(strstr(b->receipt.text, "no room"));
    assert_true(is_here(b, first));
}

static void a_receipt_is_bounded(void **state)
{
    struct receipt receipt = {.is_kept = true, .size = 12, .digest = {1, 2}, .may_continue = true},
                   back;
    uint8_t bytes[RECEIPT_MAX_SIZE];
    struct writer w;

    (void)state;
    memset(receipt.text, 'x', sizeof(receipt.text) - 1);
    writer_init(&w, bytes, sizeof(bytes));
    receipt_encode(&receipt, &w);
    assert_false(w.failed);
    assert_int_equal(receipt_decode(bytes, w.size, &back), 0);
    assert_memory_equal(&back.digest, &receipt.digest, DIGEST_SIZE);
    assert_true(back.may_continue);
    assert_string_equal(back.text, receipt.text);
    for (size_t size = 0; size < w.size; size++)
        assert_int_equal(receipt_decode(bytes, size, &back), -EBADMSG);
}

#define bench_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(a_whole_one_is_kept),
        bench_test(one_that_was_cut_is_not),
        bench_test(there_is_a_limit),
        bench_test(the_named_and_the_newest_stay),
        bench_test(an_increment_is_kept_with_what_it_continues),
        bench_test(a_torn_increment_changes_nothing),
        bench_test(an_increment_of_what_is_not_here_is_refused),
        bench_test(an_increment_needs_room_for_both),
        cmocka_unit_test(a_receipt_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

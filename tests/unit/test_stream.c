/* stream: images stored, served and fetched between two nodes, and streams of migrations. */
#include "tests/unit/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "agent/streams/image_store.h"
#include "agent/streams/stream_job_uv.h"
#include "agent/streams/stream_uv.h"
#include "base/clean.h"
#include "base/digest_sodium.h"
#include "consensus/identity_sodium.h"
#include "consensus/keyring.h"

enum { N_NODES = 2, IMAGE_SIZE = 3 * 1024 * 1024 + 17, NOT_YET = 1 };

struct node {
    struct identity identity;
    struct image_store *store;
    struct streams *streams;
    uint64_t from, migration;
    int fd;   /* of a migration that arrived */
    int kept; /* of a checkpoint that arrived */
    uint64_t ended;
    int end_status;       /* of a migration that left */
    struct pace_flow sum; /* of the newest report of flows */
};

struct bench {
    char directory[64];
    uv_loop_t loop;
    struct keyring *keyring;
    struct node nodes[N_NODES]; /* ids 1 and 2, on 127.0.0.1 and 127.0.0.2 */
    uint8_t digest[DIGEST_SIZE];
    int status;
    int fd;
    void (*on_flows)(void *context, const struct pace_flow *flows, uint32_t n);
};

static void on_migration(void *context, uint64_t from, uint64_t migration, int fd)
{
    struct node *node = context;

    node->from = from;
    node->migration = migration;
    node->fd = fd;
}

static void on_migration_end(void *context, uint64_t migration, int status)
{
    struct node *node = context;

    node->ended = migration;
    node->end_status = status;
}

static void on_checkpoint(void *context, uint64_t from, uint64_t created, uint64_t epoch, int fd)
{
    struct node *node = context;

    assert_int_equal(from, 2);
    assert_int_equal(created, 7);
    assert_int_equal(epoch, 8);
    node->kept = fd;
}

static void open_node(struct bench *b, int i, uint16_t peer_port)
{
    char path[96];
    struct node *node = &b->nodes[i];
    struct streams_config config = {
        .main_loop = &b->loop,
        .identity = &node->identity,
        .keyring = b->keyring,
        .cluster = "cluster-id-16-by",
        .node = (uint64_t)i + 1,
        .address = 0x7f000001 + (uint32_t)i,
        .peer_port = peer_port,
        .context = node,
        .on_migration = on_migration,
        .on_migration_end = on_migration_end,
        .on_flows = b->on_flows,
        .on_checkpoint = on_checkpoint,
    };

    node->fd = node->kept = -1;
    snprintf(path, sizeof(path), "%s/%d", b->directory, i);
    assert_int_equal(image_store_open(path, &node->store, NULL), 0);
    config.store = node->store;
    assert_int_equal(streams_new(&config, &node->streams, NULL), 0);
}

static int set_up(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct keyring_entry entries[N_NODES] = {0};

    strcpy(b->directory, "/tmp/skein-stream-XXXXXX");
    assert_non_null(mkdtemp(b->directory));
    assert_int_equal(uv_loop_init(&b->loop), 0);
    b->keyring = keyring_new();
    for (int i = 0; i < N_NODES; i++) {
        assert_int_equal(identity_generate(&b->nodes[i].identity), 0);
        entries[i].id = (uint64_t)i + 1;
        entries[i].address = 0x7f000001 + (uint32_t)i;
        memcpy(entries[i].link_key, b->nodes[i].identity.link_public, KEY_SIZE);
    }
    assert_int_equal(keyring_replace(b->keyring, entries, N_NODES), 0);
    open_node(b, 0, 0);
    open_node(b, 1, streams_port(b->nodes[0].streams));
    b->fd = -1;
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    char command[96];

    for (int i = 0; i < N_NODES; i++) {
        streams_close(b->nodes[i].streams);
        image_store_close(b->nodes[i].store);
        identity_deinit(&b->nodes[i].identity);
        if (b->nodes[i].fd >= 0)
            close(b->nodes[i].fd);
        if (b->nodes[i].kept >= 0)
            close(b->nodes[i].kept);
    }
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    keyring_free(b->keyring);
    snprintf(command, sizeof(command), "rm -r %s", b->directory);
    assert_int_equal(system(command), 0);
    free(b);
    return 0;
}

static void store_image(struct bench *b, int node)
{
    struct image_upload *upload;
    uint64_t size;
    cleanup_free char *data = malloc(IMAGE_SIZE);

    for (int i = 0; i < IMAGE_SIZE; i++)
        data[i] = (char)(i * 7 + i / 1000);
    assert_int_equal(image_store_begin(b->nodes[node].store, &upload, NULL), 0);
    assert_int_equal(image_upload_write(upload, data, IMAGE_SIZE, NULL), 0);
    assert_int_equal(image_upload_finish(upload, NULL, b->digest, &size, NULL), 0);
    assert_int_equal(size, IMAGE_SIZE);
}

static void on_fetched(void *context, int status)
{
    ((struct bench *)context)->status = status;
}

static void on_opened(void *context, int status, int fd)
{
    struct bench *b = context;

    b->status = status;
    b->fd = fd;
}

static void fetch(struct bench *b, uint64_t from)
{
    b->status = NOT_YET;
    assert_int_equal(streams_fetch_image(b->nodes[1].streams, from, b->digest, on_fetched, b), 0);
    while (b->status == NOT_YET)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static void image_is_fetched_whole(void **state)
{
    struct bench *b = *state;
    uint8_t digest[DIGEST_SIZE];
    uint64_t size;

    store_image(b, 0);
    fetch(b, 1);
    assert_int_equal(b->status, 0);
    cleanup_close int fd = image_store_read(b->nodes[1].store, b->digest, &size);
    assert_true(fd >= 0);
    assert_int_equal(size, IMAGE_SIZE);
    assert_int_equal(digest_of_file(fd, digest, NULL, NULL), 0);
    assert_memory_equal(digest, b->digest, DIGEST_SIZE);
}

static void missing_image_is_said_to_be_missing(void **state)
{
    struct bench *b = *state;

    fetch(b, 1);
    assert_int_equal(b->status, -ENOENT);
    fetch(b, 77);
    assert_int_equal(b->status, -ENOKEY);
}

/* ---- what was interrupted goes on */

static void file_of(const struct bench *b, int node, const char *prefix, char ret[200])
{
    char hex[DIGEST_TEXT_SIZE];

    snprintf(ret, 200, "%s/%d/%s%s", b->directory, node, prefix, digest_format(b->digest, hex));
}

static off_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Puts the first `size` bytes of node 0's image into `path`. */
static void put_part(const struct bench *b, const char *path, size_t size)
{
    cleanup_free char *data = malloc(size);
    cleanup_close int from = image_store_read(b->nodes[0].store, b->digest, NULL);
    FILE *part = fopen(path, "w");

    assert_int_equal(read(from, data, size), size);
    assert_int_equal(fwrite(data, 1, size, part), size);
    fclose(part);
}

static void scribble(const char *path)
{
    FILE *file = fopen(path, "r+");

    assert_non_null(file);
    fputs("something else", file);
    fclose(file);
}

static void expect_fetched(const struct bench *b)
{
    uint8_t digest[DIGEST_SIZE];
    cleanup_close int fd = image_store_read(b->nodes[1].store, b->digest, NULL);

    assert_int_equal(b->status, 0);
    assert_true(fd >= 0);
    assert_int_equal(digest_of_file(fd, digest, NULL, NULL), 0);
    assert_memory_equal(digest, b->digest, DIGEST_SIZE);
}

static void what_is_here_already_is_not_sent_again(void **state)
{
    struct bench *b = *state;
    char part[200], source[200];

    store_image(b, 0);
    file_of(b, 1, "part-", part);
    file_of(b, 0, "", source);
    put_part(b, part, IMAGE_SIZE / 2);
    scribble(source); /* its beginning would give another digest */
    fetch(b, 1);
    expect_fetched(b);
    assert_int_equal(size_of(part), -1);
}

static void all_of_it_may_be_here_already(void **state)
{
    struct bench *b = *state;
    char part[200];

    store_image(b, 0);
    file_of(b, 1, "part-", part);
    put_part(b, part, IMAGE_SIZE);
    fetch(b, 1);
    expect_fetched(b);
}

static void a_wrong_part_is_thrown_away(void **state)
{
    struct bench *b = *state;
    char part[200];

    store_image(b, 0);
    file_of(b, 1, "part-", part);
    put_part(b, part, IMAGE_SIZE / 2);
    scribble(part);
    fetch(b, 1);
    assert_int_equal(b->status, -EBADMSG);
    assert_int_equal(size_of(part), -1);
    fetch(b, 1);
    expect_fetched(b);
}

static void a_part_longer_than_the_image_is_refused(void **state)
{
    struct bench *b = *state;
    char part[200], source[200];

    store_image(b, 0);
    file_of(b, 1, "part-", part);
    file_of(b, 0, "", source);
    put_part(b, part, IMAGE_SIZE / 2);
    assert_int_equal(truncate(source, 1000), 0);
    fetch(b, 1);
    assert_int_equal(b->status, -ENOENT); /* what that node has is not the image */
    assert_int_equal(size_of(part), IMAGE_SIZE / 2);
}

static void ignore_flows(void *context, const struct pace_flow *flows, uint32_t n)
{
    (void)context;
    (void)flows;
    (void)n;
}

/* Both nodes anew, with streams that are held back, and told of like this. */
static void hold_back(struct bench *b,
                      void (*on_flows)(void *context, const struct pace_flow *flows, uint32_t n))
{
    streams_close(b->nodes[1].streams);
    streams_close(b->nodes[0].streams);
    image_store_close(b->nodes[1].store);
    image_store_close(b->nodes[0].store);
    b->on_flows = on_flows;
    open_node(b, 0, 0);
    open_node(b, 1, streams_port(b->nodes[0].streams));
}

static void a_break_keeps_what_has_come(void **state)
{
    struct bench *b = *state;
    char part[200];
    off_t kept;

    store_image(b, 0);
    hold_back(b, ignore_flows); /* it begins slowly enough to be broken */
    file_of(b, 1, "part-", part);
    b->status = NOT_YET;
    assert_int_equal(streams_fetch_image(b->nodes[1].streams, 1, b->digest, on_fetched, b), 0);
    while (size_of(part) <= 0 && b->status == NOT_YET)
        uv_run(&b->loop, UV_RUN_NOWAIT);
    streams_close(b->nodes[1].streams);
    b->nodes[1].streams = NULL;
    assert_true(b->status < 0);
    kept = size_of(part);
    assert_in_range(kept, 1, IMAGE_SIZE - 1);

    /* The process starts anew; the part is kept, and goes with its image. */
    image_store_close(b->nodes[1].store);
    open_node(b, 1, streams_port(b->nodes[0].streams));
    assert_int_equal(size_of(part), kept);
    assert_int_equal(image_store_drop(b->nodes[1].store, b->digest, NULL), 0);
    assert_int_equal(size_of(part), -1);
}

/* From the second node to the first. */
static void open_migration(struct bench *b, uint32_t patience_ms, enum pace_manner manner)
{
    const struct stream_terms terms = {patience_ms, manner};

    b->status = NOT_YET;
    assert_int_equal(streams_open_migration(b->nodes[1].streams, 1, 42, &terms, on_opened, b), 0);
    while (b->status == NOT_YET || b->nodes[0].fd < 0)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_int_equal(b->status, 0);
}

static void await_its_end(struct bench *b)
{
    while (b->nodes[1].ended == 0)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_int_equal(b->nodes[1].ended, 42);
}

static void migration_stream_reaches_the_other_main_thread(void **state)
{
    struct bench *b = *state;
    char text[6] = "";

    open_migration(b, 0, PACE_URGENT);
    assert_int_equal(b->nodes[0].migration, 42);
    assert_int_equal(b->nodes[0].from, 2);
    /* Both ends block: they are for a process that knows nothing of loops. */
    assert_int_equal(write(b->fd, "guest", 5), 5);
    close(b->fd);
    for (ssize_t at = 0, n; at < 5; at += n) {
        n = read(b->nodes[0].fd, text + at, 5 - (size_t)at);
        assert_true(n > 0);
    }
    assert_string_equal(text, "guest");
    assert_int_equal(read(b->nodes[0].fd, text, 1), 0);
    close(b->nodes[0].fd);
    b->nodes[0].fd = -1;
    await_its_end(b);
    assert_int_equal(b->nodes[1].end_status, 0);
}

/* The target takes nothing, and its kernel's buffers are full: whoever stands still for that hears
 * so in time. */
static void migration_stream_that_is_not_taken_is_given_up(void **state)
{
    struct bench *b = *state;
    static const uint8_t memory[64 * 1024];

    open_migration(b, 500, PACE_URGENT);
    signal(SIGPIPE, SIG_IGN);
    while (write(b->fd, memory, sizeof(memory)) > 0)
        continue;
    assert_true(errno == EPIPE || errno == ECONNRESET);
    close(b->fd);
    await_its_end(b);
    assert_int_equal(b->nodes[1].end_status, -ETIMEDOUT);
}

static void sum_flows(void *context, const struct pace_flow *flows, uint32_t n)
{
    struct node *node = context;

    node->sum = n > 0 ? flows[0] : (struct pace_flow){0};
    assert_in_range(n, 0, 1); /* there is one peer */
}

static void until_flow_is(struct bench *b, uint32_t n_streams, uint32_t n_awaited)
{
    const struct pace_flow *sum = &b->nodes[1].sum;

    while (sum->n_streams != n_streams || sum->n_awaited != n_awaited)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static void what_nobody_stands_still_for_is_held_back(void **state)
{
    struct bench *b = *state;
    struct streams *streams;
    int move;

    hold_back(b, sum_flows);
    streams = b->nodes[1].streams;
    open_migration(b, 0, PACE_URGENT);
    move = b->fd;
    b->status = NOT_YET;
    assert_int_equal(streams_open_checkpoint(streams, 1, 7, 8, on_opened, b), 0);
    while (b->status == NOT_YET || b->nodes[0].kept < 0)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_int_equal(write(move, "guest", 5), 5);
    assert_int_equal(write(b->fd, "guest", 5), 5);
    until_flow_is(b, 1, 0);
    streams_set_terms(streams, 43, &(struct stream_terms){0, PACE_AWAITED}); /* no such */
    streams_set_terms(streams, 42, &(struct stream_terms){0, PACE_AWAITED});
    until_flow_is(b, 2, 1);
    streams_set_terms(streams, 42, &(struct stream_terms){1000, PACE_URGENT});
    until_flow_is(b, 1, 0);
    streams_set_terms(streams, 42, &(struct stream_terms){0, PACE_AWAITED});
    until_flow_is(b, 2, 1);
    close(b->fd);
    close(steal_fd(&b->nodes[0].kept));
    until_flow_is(b, 1, 1);
    close(move);
    close(steal_fd(&b->nodes[0].fd));
    until_flow_is(b, 0, 0);
}

static void streams_under_way_end_with_the_thread(void **state)
{
    struct bench *b = *state;

    b->status = NOT_YET;
    assert_int_equal(streams_fetch_image(b->nodes[1].streams, 1, b->digest, on_fetched, b), 0);
    streams_close(b->nodes[1].streams);
    b->nodes[1].streams = NULL;
    assert_true(b->status < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(image_is_fetched_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(missing_image_is_said_to_be_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_here_already_is_not_sent_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_of_it_may_be_here_already, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_part_is_thrown_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_longer_than_the_image_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_break_keeps_what_has_come, set_up, tear_down),
        cmocka_unit_test_setup_teardown(migration_stream_reaches_the_other_main_thread, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(migration_stream_that_is_not_taken_is_given_up, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_nobody_stands_still_for_is_held_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(streams_under_way_end_with_the_thread, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

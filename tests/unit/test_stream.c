/* stream: images stored, served and fetched between two nodes, and streams of migrations. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "agent/image_store.h"
#include "agent/stream_uv.h"
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
    int fd; /* of a migration that arrived */
};

struct bench {
    char directory[64];
    uv_loop_t loop;
    struct keyring *keyring;
    struct node nodes[N_NODES]; /* ids 1 and 2, on 127.0.0.1 and 127.0.0.2 */
    uint8_t digest[DIGEST_SIZE];
    int status;
    int fd;
};

static void on_migration(void *context, uint64_t from, uint64_t migration, int fd)
{
    struct node *node = context;

    node->from = from;
    node->migration = migration;
    node->fd = fd;
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
    };

    node->fd = -1;
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

static void migration_stream_reaches_the_other_main_thread(void **state)
{
    struct bench *b = *state;
    char text[6] = "";

    b->status = NOT_YET;
    assert_int_equal(streams_open_migration(b->nodes[1].streams, 1, 42, on_opened, b), 0);
    while (b->status == NOT_YET || b->nodes[0].fd < 0)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_int_equal(b->status, 0);
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

static void store_keeps_only_whole_images(void **state)
{
    struct bench *b = *state;
    uint8_t wrong[DIGEST_SIZE] = {1}, digest[DIGEST_SIZE];
    struct image_upload *upload;
    uint64_t size;
    char path[128];

    assert_int_equal(image_store_begin(b->nodes[0].store, &upload, NULL), 0);
    assert_int_equal(image_upload_finish(upload, NULL, digest, &size, NULL), -ENODATA);
    assert_int_equal(image_store_begin(b->nodes[0].store, &upload, NULL), 0);
    assert_int_equal(image_upload_write(upload, "x", 1, NULL), 0);
    assert_int_equal(image_upload_finish(upload, wrong, digest, &size, NULL), -EBADMSG);
    assert_int_equal(image_store_read(b->nodes[0].store, wrong, NULL), -ENOENT);
    /* An upload that its process did not live to finish is gone after the next start. */
    snprintf(path, sizeof(path), "%s/0/upload-9", b->directory);
    fclose(fopen(path, "w"));
    image_store_close(b->nodes[0].store);
    snprintf(path, sizeof(path), "%s/0", b->directory);
    assert_int_equal(image_store_open(path, &b->nodes[0].store, NULL), 0);
    snprintf(path, sizeof(path), "%s/0/upload-9", b->directory);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(image_is_fetched_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(missing_image_is_said_to_be_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(migration_stream_reaches_the_other_main_thread, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(streams_under_way_end_with_the_thread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(store_keeps_only_whole_images, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

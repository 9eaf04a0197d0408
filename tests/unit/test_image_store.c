/* image_store: what is in it is whole. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/streams/image_store.h"

static void store_keeps_only_whole_images(void **unused)
{
    uint8_t wrong[DIGEST_SIZE] = {1}, digest[DIGEST_SIZE];
    char directory[] = "/tmp/skein-store-XXXXXX", path[64], command[64];
    struct image_upload *upload;
    struct image_store *store;
    uint64_t size;

    (void)unused;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(image_store_open(directory, &store, NULL), 0);
    assert_int_equal(image_store_begin(store, &upload, NULL), 0);
    assert_int_equal(image_upload_finish(upload, NULL, digest, &size, NULL), -ENODATA);
    assert_int_equal(image_store_begin(store, &upload, NULL), 0);
    assert_int_equal(image_upload_write(upload, "x", 1, NULL), 0);
    assert_int_equal(image_upload_finish(upload, wrong, digest, &size, NULL), -EBADMSG);
    assert_int_equal(image_store_read(store, wrong, NULL), -ENOENT);
    /* An upload that its process did not live to finish is gone after the next start. */
    snprintf(path, sizeof(path), "%s/upload-9", directory);
    fclose(fopen(path, "w"));
    image_store_close(store);
    assert_int_equal(image_store_open(directory, &store, NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
    image_store_close(store);
    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_keeps_only_whole_images),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

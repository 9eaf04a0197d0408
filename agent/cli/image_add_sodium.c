/* image_add_sodium: `skein image add`: the file goes to the local skeind in chunks, with the digest
 * of what was read at the end; skeind compares it with what it wrote. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cli/run_jansson.h"
#include "base/clean.h"
#include "base/limits.h"

enum { CHUNK_SIZE = 256 * 1024, PROGRESS_STEP = 16 * 1024 * 1024 };

static int open_image(const struct run *run, int *ret_fd, off_t *ret_size)
{
    const char *path = args_find(run->args, "FILE")->text;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    struct err err = {0};

    if (fd < 0 || fstat(fd, &st) < 0)
        return run_error(run, -errno,
                         (err_set(&err, -errno, "%s: %s", path, strerror(errno)), &err));
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        err_set(&err, -EINVAL, "%s: %s; give a tar, tar.gz or tar.zst file", path,
                S_ISREG(st.st_mode) ? "the file is empty" : "this is no regular file");
        return run_error(run, -EINVAL, &err);
    }
    *ret_fd = steal_fd(&fd);
    *ret_size = st.st_size;
    return 0;
}

/* One question whose answer must be ok; its result, if wanted, is the caller's. */
static int ask_ok(struct run *run, const char *method, json_t *params, const void *data,
                  size_t size, json_t **ret_result)
{
    json_t *answer;
    int rc = run_ask(run, method, params, data, size, &answer);

    if (answer == NULL)
        return rc;
    if (!json_is_true(json_object_get(answer, "ok")))
        rc = run_refusal(run, answer);
    else if (ret_result != NULL)
        *ret_result = json_incref(json_object_get(answer, "result"));
    json_decref(answer);
    return rc;
}

static int send_file(struct run *run, int fd, off_t size, json_int_t upload,
                     crypto_generichash_state *hash)
{
    cleanup_free uint8_t *chunk = malloc(CHUNK_SIZE);
    off_t at = 0, told = 0;

    while (chunk != NULL && at < size) {
        ssize_t n = read(fd, chunk, CHUNK_SIZE);
        struct err err = {0};
        int rc;

        if (n <= 0) {
            err_set(&err, -EIO, "cannot read the file: %s", n < 0 ? strerror(errno) : "it shrank");
            return run_error(run, -EIO, &err);
        }
        crypto_generichash_update(hash, chunk, (unsigned long long)n);
        rc = ask_ok(run, "image.chunk",
                    json_pack("{s:I, s:I}", "upload", upload, "offset", (json_int_t)at), chunk,
                    (size_t)n, NULL);
        if (rc != 0)
            return rc;
        at += n;
        if (at - told >= PROGRESS_STEP && at < size) {
            fprintf(stderr, "sent %lld of %lld MB\n", (long long)at / 1000000,
                    (long long)size / 1000000);
            told = at;
        }
    }
    return chunk != NULL ? 0 : EXIT_FAILED;
}

int run_image_add(struct run *run)
{
    const char *name = args_find(run->args, "NAME")->text;
    cleanup_close int fd = -1;
    off_t size = 0;
    json_t *begun = NULL, *result = NULL;
    json_int_t upload;
    crypto_generichash_state hash;
    uint8_t digest[DIGEST_SIZE];
    char hex[2 * DIGEST_SIZE + 1];
    int rc = open_image(run, &fd, &size);

    if (rc != 0)
        return rc;
    rc = ask_ok(run, "image.begin",
                json_pack("{s:s, s:I}", "name", name, "size_bytes", (json_int_t)size), NULL, 0,
                &begun);
    if (rc != 0)
        return rc;
    upload = json_integer_value(json_object_get(begun, "upload"));
    json_decref(begun);
    crypto_generichash_init(&hash, NULL, 0, DIGEST_SIZE);
    rc = send_file(run, fd, size, upload, &hash);
    if (rc != 0)
        return rc;
    crypto_generichash_final(&hash, digest, sizeof(digest));
    sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
    rc = ask_ok(run, "image.commit",
                json_pack("{s:I, s:s, s:s}", "upload", upload, "name", name, "digest", hex), NULL,
                0, &result);
    if (rc == 0)
        run_print(run, "image.add", result);
    json_decref(result);
    return rc;
}

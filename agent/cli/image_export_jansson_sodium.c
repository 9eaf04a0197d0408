/* image_export_jansson_sodium: `skein image export`: an image's stored bytes into a new file, which
 * appears whole and checked, or not at all.
 */
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

struct export
{
    char *path; /* beside the file, until it is whole */
    int fd;
    crypto_generichash_state hash;
    uint64_t size;
};

static int take_bytes(void *context, const void *data, size_t size)
{
    struct export *export = context;
    const uint8_t *at = data;

    crypto_generichash_update(&export->hash, data, size);
    export->size += size;
    while (size > 0) {
        ssize_t n = write(export->fd, at, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int begin(struct export *export, const char *path, struct err *err)
{
    struct stat st;

    if (lstat(path, &st) == 0)
        return err_set(err, -EEXIST, "%s is there already; it is not overwritten", path);
    if (asprintf(&export->path, "%s.part-%d", path, (int)getpid()) < 0) {
        export->path = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    export->fd = open(export->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (export->fd < 0)
        return err_set(err, -errno, "%s: %s", export->path, strerror(errno));
    crypto_generichash_init(&export->hash, NULL, 0, DIGEST_SIZE);
    return 0;
}

/* Is it what the cluster calls the image? */
static int check(struct export *export, const json_t *image, struct err *err)
{
    const char *wanted = json_string_value(json_object_get(image, "digest"));
    uint8_t digest[DIGEST_SIZE];
    char hex[2 * DIGEST_SIZE + 1];

    crypto_generichash_final(&export->hash, digest, sizeof(digest));
    sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
    if (wanted == NULL || strcmp(wanted, hex) != 0)
        return err_set(err, -EBADMSG,
                       "what came (%llu bytes) has another digest than the image; the copy on this "
                       "node is damaged, ask another one",
                       (unsigned long long)export->size);
    return 0;
}

/* Under its own name, unless something else got that name meanwhile. */
static int put_in_place(struct export *export, const char *path, struct err *err)
{
    if (fsync(export->fd) < 0)
        return err_set(err, -errno, "%s: %s", export->path, strerror(errno));
    if (renameat2(AT_FDCWD, export->path, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

static void end(struct export *export)
{
    if (export->fd >= 0) {
        close(export->fd);
        unlink(export->path);
    }
    free(export->path);
}

/* What the cluster knows of the image; NULL: the exit code was printed for. */
static json_t *look_up(struct run *run, const char *name, int *ret_code)
{
    json_t *answer, *image = NULL;

    *ret_code = run_ask(run, "image.show", json_pack("{s:s}", "name", name), NULL, 0, &answer);
    if (answer == NULL)
        return NULL;
    if (json_is_true(json_object_get(answer, "ok")))
        image = json_incref(json_object_get(answer, "result"));
    else
        *ret_code = run_refusal(run, answer);
    json_decref(answer);
    return image;
}

int run_image_export(struct run *run)
{
    const char *path = args_find(run->args, "FILE")->text;
    struct export export = {.fd = -1};
    struct err err = {0};
    int code, rc;
    json_t *image = look_up(run, args_find(run->args, "NAME")->text, &code);

    if (image == NULL)
        return code;
    rc = begin(&export, path, &err);
    if (rc == 0) {
        code = run_stream_into(run, take_bytes, &export);
        if (code == 0)
            rc = check(&export, image, &err);
        if (code == 0 && rc == 0)
            rc = put_in_place(&export, path, &err);
    }
    if (rc < 0)
        code = run_error(run, rc, &err);
    else if (code == 0)
        run_print(run, "image.export", image);
    end(&export);
    json_decref(image);
    return code;
}

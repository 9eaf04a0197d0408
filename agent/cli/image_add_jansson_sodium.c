/* image_add_jansson_sodium: `skein image add`: the image goes to the local skeind in chunks, with
 * the digest of what was sent at the end; skeind compares it with what it wrote. A directory and an
 * OCI layout are packed on the way.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cli/image_oci_jansson_sodium.h"
#include "agent/cli/image_pack_archive.h"
#include "agent/cli/oci_user.h"
#include "agent/cli/run_jansson.h"
#include "base/clean.h"
#include "base/limits.h"

enum { CHUNK_SIZE = 256 * 1024, PROGRESS_STEP = 16 * 1024 * 1024 };

struct sending {
    struct run *run;
    json_int_t upload;
    crypto_generichash_state hash;
    uint64_t sent, told;
    uint64_t size; /* in all; 0 = not known beforehand */
    int exit_code; /* of the first failure that was printed for already, 0 = none */
};

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

static void tell_progress(struct sending *s)
{
    if (s->sent - s->told < PROGRESS_STEP || s->sent == s->size)
        return;
    s->told = s->sent;
    if (s->size > 0)
        fprintf(stderr, "sent %llu of %llu MB\n", (unsigned long long)s->sent / 1000000,
                (unsigned long long)s->size / 1000000);
    else
        fprintf(stderr, "sent %llu MB\n", (unsigned long long)s->sent / 1000000);
}

/* A pack_sink. -ECANCELED: exit_code says what happened. */
static int send_bytes(void *context, const void *data, size_t size)
{
    struct sending *s = context;
    const uint8_t *at = data;

    while (size > 0) {
        size_t n = size < CHUNK_SIZE ? size : CHUNK_SIZE;

        crypto_generichash_update(&s->hash, at, n);
        s->exit_code =
            ask_ok(s->run, "image.chunk",
                   json_pack("{s:I, s:I}", "upload", s->upload, "offset", (json_int_t)s->sent), at,
                   n, NULL);
        if (s->exit_code != 0)
            return -ECANCELED;
        s->sent += n;
        at += n;
        size -= n;
        tell_progress(s);
    }
    return 0;
}

static int send_file(struct sending *s, const char *path, struct err *err)
{
    cleanup_free uint8_t *chunk = malloc(CHUNK_SIZE);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    int rc = 0;

    if (fd < 0 || chunk == NULL)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    while (rc == 0 && (n = read(fd, chunk, CHUNK_SIZE)) != 0)
        rc = n < 0 ? err_set(err, -errno, "cannot read the file: %s", strerror(errno))
                   : send_bytes(s, chunk, (size_t)n);
    return rc;
}

/* ---- OCI */

/* What guests of the image take from its config (OCI image specification, config.md). */
static int defaults_of(const json_t *config, const struct pack_capture files[2], json_t **ret,
                       struct err *err)
{
    const char *user = json_string_value(json_object_get(config, "User"));
    uint32_t uid, gid;
    int rc = oci_user_find(user != NULL ? user : "", files[0].content, files[1].content, &uid, &gid,
                           err);

    if (rc < 0)
        return rc;
    *ret = json_pack("{s:O?, s:O?, s:O?, s:O?, s:I, s:I}", "env", json_object_get(config, "Env"),
                     "entrypoint", json_object_get(config, "Entrypoint"), "command",
                     json_object_get(config, "Cmd"), "directory",
                     json_object_get(config, "WorkingDir"), "uid", (json_int_t)uid, "gid",
                     (json_int_t)gid);
    return *ret != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int send_oci(struct sending *s, const char *path, json_t **ret_defaults, struct err *err)
{
    const struct arg_value *tag = args_find(s->run->args, "tag");
    struct pack_capture files[] = {{.path = "etc/passwd"}, {.path = "etc/group"}};
    struct oci_image image;
    int rc = oci_image_open(path, tag != NULL ? tag->text : NULL, &image, err);

    if (rc < 0)
        return rc;
    rc = pack_layers(image.layers, image.n_layers, files, 2, send_bytes, s, err);
    if (rc == 0)
        rc = defaults_of(image.config, files, ret_defaults, err);
    free(files[0].content);
    free(files[1].content);
    oci_image_close(&image);
    return rc;
}

/* ---- the whole */

static int look_at(const char *path, struct stat *ret, struct err *err)
{
    if (stat(path, ret) < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (S_ISREG(ret->st_mode) && ret->st_size == 0)
        return err_set(err, -EINVAL, "%s: the file is empty", path);
    if (!S_ISREG(ret->st_mode) && !S_ISDIR(ret->st_mode))
        return err_set(err, -EINVAL, "%s: this is neither a file nor a directory", path);
    return 0;
}

static int send_image(struct sending *s, const char *path, const struct stat *st,
                      json_t **ret_defaults)
{
    struct err err = {0};
    int rc;

    if (S_ISREG(st->st_mode))
        rc = send_file(s, path, &err);
    else if (oci_is_layout(path))
        rc = send_oci(s, path, ret_defaults, &err);
    else
        rc = pack_directory(path, send_bytes, s, &err);
    if (rc == 0)
        return 0;
    return s->exit_code != 0 ? s->exit_code : run_error(s->run, rc, &err);
}

static int commit(struct sending *s, const char *name, json_t *defaults)
{
    uint8_t digest[DIGEST_SIZE];
    char hex[2 * DIGEST_SIZE + 1];
    const struct arg_value *copies = args_find(s->run->args, "copies");
    json_t *result = NULL;
    int rc;

    crypto_generichash_final(&s->hash, digest, sizeof(digest));
    sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
    rc = ask_ok(s->run, "image.commit",
                json_pack("{s:I, s:s, s:s, s:I, s:O?}", "upload", s->upload, "name", name, "digest",
                          hex, "copies", (json_int_t)(copies != NULL ? copies->number : 0),
                          "defaults", defaults),
                NULL, 0, &result);
    if (rc == 0)
        run_print(s->run, "image.add", result);
    json_decref(result);
    return rc;
}

int run_image_add(struct run *run)
{
    const char *name = args_find(run->args, "NAME")->text;
    const char *path = args_find(run->args, "PATH")->text;
    struct sending s = {.run = run};
    json_t *begun = NULL, *defaults = NULL;
    struct err err = {0};
    struct stat st;
    int rc = look_at(path, &st, &err);

    if (rc < 0)
        return run_error(run, rc, &err);
    s.size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    rc = ask_ok(run, "image.begin",
                json_pack("{s:s, s:I}", "name", name, "size_bytes", (json_int_t)s.size), NULL, 0,
                &begun);
    if (rc != 0)
        return rc;
    s.upload = json_integer_value(json_object_get(begun, "upload"));
    json_decref(begun);
    crypto_generichash_init(&s.hash, NULL, 0, DIGEST_SIZE);
    rc = send_image(&s, path, &st, &defaults);
    if (rc == 0)
        rc = commit(&s, name, defaults);
    json_decref(defaults);
    return rc;
}

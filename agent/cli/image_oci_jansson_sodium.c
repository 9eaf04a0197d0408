#include "agent/cli/image_oci_jansson_sodium.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clean.h"

#define ALGORITHM "sha256:"
#define REF_NAME  "org.opencontainers.image.ref.name"

enum { JSON_MAX = 4 * 1024 * 1024, HEX_SIZE = 64, CHUNK = 256 * 1024, INDEX_DEPTH = 2 };

/* Docker's names mean the same (its image manifest, version 2, schema 2). */
static const char *const index_types[] = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json", NULL};
static const char *const manifest_types[] = {"application/vnd.oci.image.manifest.v1+json",
                                             "application/vnd.docker.distribution.manifest.v2+json",
                                             NULL};
static const char *const layer_types[] = {"application/vnd.oci.image.layer.v1.tar",
                                          "application/vnd.oci.image.layer.v1.tar+gzip",
                                          "application/vnd.oci.image.layer.v1.tar+zstd",
                                          "application/vnd.docker.image.rootfs.diff.tar",
                                          "application/vnd.docker.image.rootfs.diff.tar.gzip",
                                          NULL};

struct layout {
    int directory;
    const char *tag;
    const char *architecture;
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static bool is_one_of(const char *type, const char *const *types)
{
    for (size_t i = 0; types[i] != NULL; i++) {
        if (strcmp(type, types[i]) == 0)
            return true;
    }
    return false;
}

bool oci_is_layout(const char *directory)
{
    char path[OCI_PATH_SIZE];

    return snprintf(path, sizeof(path), "%s/oci-layout", directory) < (int)sizeof(path) &&
           access(path, F_OK) == 0;
}

/* As the image specification names them. */
static const char *architecture_here(struct utsname *name)
{
    static const struct {
        const char *machine, *architecture;
    } known[] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"},
        {"armv6l", "arm"},   {"i686", "386"},      {"i386", "386"},
    };

    if (uname(name) < 0)
        return "";
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name->machine, known[i].machine) == 0)
            return known[i].architecture;
    }
    return name->machine;
}

/* ---- blobs */

static int hash_file(int fd, char ret[HEX_SIZE + 1], uint64_t *ret_size)
{
    static uint8_t buffer[CHUNK];
    uint8_t digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state hash;
    ssize_t n;

    *ret_size = 0;
    crypto_hash_sha256_init(&hash);
    while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
        crypto_hash_sha256_update(&hash, buffer, (unsigned long long)n);
        *ret_size += (uint64_t)n;
    }
    if (n < 0)
        return -errno;
    crypto_hash_sha256_final(&hash, digest);
    sodium_bin2hex(ret, HEX_SIZE + 1, digest, sizeof(digest));
    return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

/* The blob that a descriptor names, its bytes checked against size and digest. `what` is for the
 * words of a failure. */
static int open_blob(const struct layout *layout, const json_t *descriptor, const char *what,
                     int *ret_fd, struct err *err)
{
    const char *digest = text_of(descriptor, "digest"), *hex = digest + strlen(ALGORITHM);
    char path[sizeof("blobs/sha256/") + HEX_SIZE], actual[HEX_SIZE + 1];
    cleanup_close int fd = -1;
    uint64_t size;
    int rc;

    if (strncmp(digest, ALGORITHM, strlen(ALGORITHM)) != 0 || strlen(hex) != HEX_SIZE ||
        strspn(hex, "0123456789abcdef") != HEX_SIZE)
        return err_set(err, -EBADMSG, "%s has a digest that is no sha256: '%.80s'", what, digest);
    snprintf(path, sizeof(path), "blobs/sha256/%s", hex);
    fd = openat(layout->directory, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -EBADMSG, "%s is missing from the layout: %s: %s", what, path,
                       strerror(errno));
    rc = hash_file(fd, actual, &size);
    if (rc < 0)
        return err_set(err, rc, "%s cannot be read: %s: %s", what, path, strerror(-rc));
    if (size != (uint64_t)json_integer_value(json_object_get(descriptor, "size")))
        return err_set(err, -EBADMSG, "%s has %llu bytes, its descriptor says %lld: %s", what,
                       (unsigned long long)size,
                       (long long)json_integer_value(json_object_get(descriptor, "size")), path);
    if (strcmp(actual, hex) != 0)
        return err_set(err, -EBADMSG, "%s is damaged: the digest of its bytes is another one: %s",
                       what, path);
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int read_json(int fd, const char *what, json_t **ret, struct err *err)
{
    struct stat st;
    json_error_t error;

    if (fstat(fd, &st) < 0 || st.st_size > JSON_MAX)
        return err_set(err, -EBADMSG, "%s is larger than %d MiB", what, JSON_MAX >> 20);
    *ret = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(*ret)) {
        json_decref(*ret);
        *ret = NULL;
        return err_set(err, -EBADMSG, "%s is no JSON object: %s", what, error.text);
    }
    return 0;
}

static int read_blob(const struct layout *layout, const json_t *descriptor, const char *what,
                     json_t **ret, struct err *err)
{
    cleanup_close int fd = -1;
    int rc = open_blob(layout, descriptor, what, &fd, err);

    return rc < 0 ? rc : read_json(fd, what, ret, err);
}

/* ---- the manifest */

static bool is_wanted(const struct layout *layout, const json_t *descriptor, bool by_tag)
{
    const json_t *platform = json_object_get(descriptor, "platform");
    const char *ref = text_of(json_object_get(descriptor, "annotations"), REF_NAME);

    if (by_tag && layout->tag != NULL && strcmp(ref, layout->tag) != 0)
        return false;
    return platform == NULL ||
           (strcmp(text_of(platform, "architecture"), layout->architecture) == 0 &&
            strcmp(text_of(platform, "os"), "linux") == 0);
}

/* The one entry of the index that is wanted. */
static int choose(const struct layout *layout, const json_t *index, bool by_tag, const json_t **ret,
                  struct err *err)
{
    const json_t *list = json_object_get(index, "manifests"), *item;
    char names[512] = "";
    size_t i, n = 0, used = 0;

    json_array_foreach(list, i, item)
    {
        const char *ref = text_of(json_object_get(item, "annotations"), REF_NAME);

        if (ref[0] != '\0' && used + strlen(ref) + 3 < sizeof(names))
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
                                     used > 0 ? ", " : "", ref);
        if (!is_wanted(layout, item, by_tag))
            continue;
        *ret = item;
        n++;
    }
    if (n == 1)
        return 0;
    if (n > 1)
        return err_set(err, -EINVAL, "the layout holds %zu images (%s); choose with --tag", n,
                       used > 0 ? names : "without names");
    if (by_tag && layout->tag != NULL)
        return err_set(err, -ENOENT, "the layout holds no image '%s' for %s; there are: %s",
                       layout->tag, layout->architecture, used > 0 ? names : "none with a name");
    return err_set(err, -EBADMSG, "the layout holds no image for linux on %s",
                   layout->architecture);
}

static int find_manifest(const struct layout *layout, json_t **ret, struct err *err)
{
    cleanup_close int fd = openat(layout->directory, "index.json", O_RDONLY | O_CLOEXEC);
    json_t *index = NULL, *next = NULL;
    const json_t *descriptor = NULL;
    int rc = fd < 0 ? err_set(err, -EBADMSG, "the layout has no index.json: %s", strerror(errno))
                    : read_json(fd, "index.json", &index, err);

    for (int depth = 0; rc == 0 && depth < INDEX_DEPTH; depth++) {
        const char *type;

        rc = choose(layout, index, depth == 0, &descriptor, err);
        if (rc < 0)
            break;
        type = text_of(descriptor, "mediaType");
        if (!is_one_of(type, index_types) && !is_one_of(type, manifest_types)) {
            rc = err_set(err, -EBADMSG, "the image is of an unsupported media type: '%.80s'", type);
            break;
        }
        rc = read_blob(layout, descriptor, "the manifest", &next, err);
        if (rc == 0 && is_one_of(type, manifest_types)) {
            json_decref(index);
            *ret = next;
            return 0;
        }
        json_decref(index);
        index = next;
        next = NULL;
    }
    json_decref(index);
    return rc < 0 ? rc : err_set(err, -EBADMSG, "the layout's indexes are nested too deeply");
}

/* ---- config and layers */

static int open_layers(const struct layout *layout, const json_t *manifest, struct oci_image *ret,
                       struct err *err)
{
    const json_t *list = json_object_get(manifest, "layers");
    size_t n = json_array_size(list);
    char what[64];

    if (n == 0 || n > OCI_LAYERS_MAX)
        return err_set(err, -EBADMSG, "the image has %zu layers; it must have 1 to %d", n,
                       OCI_LAYERS_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *descriptor = json_array_get(list, i);
        const char *type = text_of(descriptor, "mediaType");
        int rc;

        snprintf(what, sizeof(what), "layer %zu of %zu", i + 1, n);
        if (!is_one_of(type, layer_types))
            return err_set(err, -EBADMSG, "%s is of an unsupported media type: '%.80s'", what,
                           type);
        rc = open_blob(layout, descriptor, what, &ret->layers[i], err);
        if (rc < 0)
            return rc;
        ret->n_layers = (uint32_t)i + 1;
    }
    return 0;
}

static int read_config(const struct layout *layout, const json_t *manifest, struct oci_image *ret,
                       struct err *err)
{
    const json_t *descriptor = json_object_get(manifest, "config");
    const char *architecture;
    json_t *config = NULL;
    int rc = read_blob(layout, descriptor, "the image's config", &config, err);

    if (rc < 0)
        return rc;
    architecture = text_of(config, "architecture");
    if (architecture[0] != '\0' && strcmp(architecture, layout->architecture) != 0)
        rc = err_set(err, -EBADMSG, "the image is for %.20s; this node is %s", architecture,
                     layout->architecture);
    else
        ret->config = json_incref(json_object_get(config, "config"));
    json_decref(config);
    return rc;
}

int oci_image_open(const char *directory, const char *tag, struct oci_image *ret, struct err *err)
{
    struct utsname name;
    struct layout layout = {.tag = tag, .architecture = architecture_here(&name)};
    cleanup_close int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    json_t *manifest = NULL;
    int rc;

    *ret = (struct oci_image){0};
    if (fd < 0)
        return err_set(err, -errno, "cannot open %s: %s", directory, strerror(errno));
    layout.directory = fd;
    rc = find_manifest(&layout, &manifest, err);
    if (rc == 0)
        rc = read_config(&layout, manifest, ret, err);
    if (rc == 0)
        rc = open_layers(&layout, manifest, ret, err);
    json_decref(manifest);
    if (rc < 0)
        oci_image_close(ret);
    return rc;
}

void oci_image_close(struct oci_image *image)
{
    for (uint32_t i = 0; i < image->n_layers; i++)
        close(image->layers[i]);
    json_decref(image->config);
    *image = (struct oci_image){0};
}

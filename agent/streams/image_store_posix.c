#include "agent/streams/image_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/digest_sodium.h"

#define UPLOAD_PREFIX "upload-"
#define PART_PREFIX   "part-" /* of an image from another node, before its digest */

enum { FILE_NAME_SIZE = sizeof(PART_PREFIX) + DIGEST_TEXT_SIZE, READ_SIZE = 256 * 1024 };

struct image_store {
    int directory;
    atomic_ullong next_upload; /* uploads of several threads */
    atomic_int n_uploads;
};

struct image_upload {
    struct image_store *store;
    int fd;
    char name[FILE_NAME_SIZE];
    uint64_t size;
    struct digest digest;
};

static int open_directory(const char *path, struct err *err)
{
    int fd;

    if (mkdir(path, 0750) < 0 && errno != EEXIST)
        return err_set(err, -errno, "cannot make %s: %s", path, strerror(errno));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
    return fd;
}

/* Calls `each` with the name of every file in the directory. */
static int for_each_name(int directory, void (*each)(void *, const char *), void *context,
                         struct err *err)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;

    if (dir == NULL) {
        int code = -errno;

        if (fd >= 0)
            close(fd);
        return err_set(err, code, "cannot list the images: %s", strerror(-code));
    }
    while ((entry = readdir(dir)) != NULL)
        each(context, entry->d_name);
    closedir(dir);
    return 0;
}

static void remove_if_unfinished(void *context, const char *name)
{
    const struct image_store *store = context;

    if (strncmp(name, UPLOAD_PREFIX, strlen(UPLOAD_PREFIX)) == 0)
        unlinkat(store->directory, name, 0);
}

int image_store_open(const char *directory, struct image_store **ret, struct err *err)
{
    struct image_store *store;
    int fd = open_directory(directory, err), r;

    if (fd < 0)
        return fd;
    store = calloc(1, sizeof(*store));
    if (store == NULL) {
        close(fd);
        return err_set(err, -ENOMEM, "no memory for the image store");
    }
    store->directory = fd;
    r = for_each_name(fd, remove_if_unfinished, store, err);
    if (r < 0) {
        image_store_close(store);
        return r;
    }
    *ret = store;
    return 0;
}

void image_store_close(struct image_store *store)
{
    if (store == NULL)
        return;
    close(store->directory);
    free(store);
}

/* With a file of that name, opened with `flags`. */
static int upload_new(struct image_store *store, const char *name, int flags,
                      struct image_upload **ret, struct err *err)
{
    struct image_upload *upload;

    if (atomic_load(&store->n_uploads) >= IMAGE_UPLOADS_MAX)
        return err_set(err, -EBUSY, "%d images arrive already; try again", IMAGE_UPLOADS_MAX);
    upload = calloc(1, sizeof(*upload));
    if (upload == NULL)
        return err_set(err, -ENOMEM, "no memory for an image's arrival");
    snprintf(upload->name, sizeof(upload->name), "%s", name);
    upload->fd = openat(store->directory, name, flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (upload->fd < 0) {
        int code = -errno;

        free(upload);
        return err_set(err, code, "cannot make a file for the image: %s", strerror(-code));
    }
    upload->store = store;
    digest_init(&upload->digest);
    atomic_fetch_add(&store->n_uploads, 1);
    *ret = upload;
    return 0;
}

int image_store_begin(struct image_store *store, struct image_upload **ret, struct err *err)
{
    char name[FILE_NAME_SIZE];

    snprintf(name, sizeof(name), UPLOAD_PREFIX "%llu", atomic_fetch_add(&store->next_upload, 1));
    return upload_new(store, name, O_WRONLY | O_EXCL, ret, err);
}

static void part_name(const uint8_t digest[DIGEST_SIZE], char ret[FILE_NAME_SIZE])
{
    char hex[DIGEST_TEXT_SIZE];

    snprintf(ret, FILE_NAME_SIZE, PART_PREFIX "%s", digest_format(digest, hex));
}

/* Its digest goes on behind what the file has; so does the next write. */
static int read_again(struct image_upload *upload, struct err *err)
{
    cleanup_free uint8_t *piece = malloc(READ_SIZE);
    ssize_t n;

    if (piece == NULL)
        return err_set(err, -ENOMEM, "no memory for an image's arrival");
    while ((n = read(upload->fd, piece, READ_SIZE)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, -errno, "cannot read what is here of the image: %s",
                           strerror(errno));
        digest_update(&upload->digest, piece, (size_t)n);
        upload->size += (uint64_t)n;
    }
    return 0;
}

int image_store_resume(struct image_store *store, const uint8_t digest[DIGEST_SIZE],
                       struct image_upload **ret, struct err *err)
{
    struct image_upload *upload;
    char name[FILE_NAME_SIZE];
    int r;

    part_name(digest, name);
    r = upload_new(store, name, O_RDWR, &upload, err);
    if (r < 0)
        return r;
    r = read_again(upload, err);
    if (r < 0) {
        image_upload_abort(upload); /* from the beginning the next time */
        return r;
    }
    *ret = upload;
    return 0;
}

uint64_t image_upload_size(const struct image_upload *upload)
{
    return upload->size;
}

int image_upload_write(struct image_upload *upload, const void *data, size_t size, struct err *err)
{
    const uint8_t *at = data;

    if (upload->size + size > IMAGE_SIZE_MAX)
        return err_set(err, -EFBIG, "an image may have 16 GiB at most");
    digest_update(&upload->digest, data, size);
    upload->size += size;
    while (size > 0) {
        ssize_t n = write(upload->fd, at, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, -errno, "cannot store the image: %s", strerror(errno));
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static void upload_free(struct image_upload *upload)
{
    atomic_fetch_sub(&upload->store->n_uploads, 1);
    close(upload->fd);
    free(upload);
}

void image_upload_abort(struct image_upload *upload)
{
    if (upload == NULL)
        return;
    unlinkat(upload->store->directory, upload->name, 0);
    upload_free(upload);
}

void image_upload_pause(struct image_upload *upload)
{
    if (upload == NULL)
        return;
    if (upload->size == 0)
        image_upload_abort(upload);
    else
        upload_free(upload);
}

/* On the disk, under its own name, before anybody is told. */
static int make_durable(struct image_upload *upload, const uint8_t digest[DIGEST_SIZE],
                        struct err *err)
{
    char name[DIGEST_TEXT_SIZE];
    int directory = upload->store->directory;

    if (fsync(upload->fd) < 0 ||
        renameat(directory, upload->name, directory, digest_format(digest, name)) < 0 ||
        fsync(directory) < 0)
        return err_set(err, -errno, "cannot store the image: %s", strerror(errno));
    return 0;
}

int image_upload_finish(struct image_upload *upload, const uint8_t expected[DIGEST_SIZE],
                        uint8_t ret_digest[DIGEST_SIZE], uint64_t *ret_size, struct err *err)
{
    uint8_t digest[DIGEST_SIZE];
    uint64_t size = upload->size;
    int r;

    digest_final(&upload->digest, digest);
    if (size == 0)
        r = err_set(err, -ENODATA, "the image is empty");
    else if (expected != NULL && memcmp(digest, expected, DIGEST_SIZE) != 0)
        r = err_set(err, -EBADMSG, "the image arrived damaged: its digest is another one");
    else
        r = make_durable(upload, digest, err);
    if (r < 0) {
        image_upload_abort(upload);
        return r;
    }
    upload_free(upload);
    memcpy(ret_digest, digest, DIGEST_SIZE);
    *ret_size = size;
    return 0;
}

int image_store_read(const struct image_store *store, const uint8_t digest[DIGEST_SIZE],
                     uint64_t *ret_size)
{
    char name[DIGEST_TEXT_SIZE];
    cleanup_close int fd =
        openat(store->directory, digest_format(digest, name), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (ret_size != NULL)
        *ret_size = (uint64_t)st.st_size;
    return steal_fd(&fd);
}

static bool parse_hex(const char *text, uint8_t digest[DIGEST_SIZE])
{
    if (strlen(text) != 2 * DIGEST_SIZE || strspn(text, "0123456789abcdef") != 2 * DIGEST_SIZE)
        return false;
    for (int i = 0; i < DIGEST_SIZE; i++) {
        unsigned byte;

        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        digest[i] = (uint8_t)byte;
    }
    return true;
}

struct listing {
    void (*each)(void *context, const uint8_t digest[DIGEST_SIZE]);
    void *context;
};

static void list_one(void *context, const char *name)
{
    const struct listing *listing = context;
    uint8_t digest[DIGEST_SIZE];

    if (parse_hex(name, digest))
        listing->each(listing->context, digest);
}

int image_store_list(const struct image_store *store,
                     void (*each)(void *context, const uint8_t digest[DIGEST_SIZE]), void *context,
                     struct err *err)
{
    struct listing listing = {each, context};

    return for_each_name(store->directory, list_one, &listing, err);
}

int image_store_drop(struct image_store *store, const uint8_t digest[DIGEST_SIZE], struct err *err)
{
    char name[DIGEST_TEXT_SIZE], part[FILE_NAME_SIZE];

    part_name(digest, part);
    unlinkat(store->directory, part, 0);
    if (unlinkat(store->directory, digest_format(digest, name), 0) < 0 && errno != ENOENT)
        return err_set(err, -errno, "cannot remove image %s: %s", name, strerror(errno));
    return 0;
}

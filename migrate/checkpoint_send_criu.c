/* A checkpoint that was taken (checkpoint_criu.c) on its way, while its guest runs again; and one
 * that comes back.
 */
#include "migrate/mover_criu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/digest_sodium.h"
#include "base/tree_posix.h"
#include "migrate/connections.h"
#include "migrate/increment_criu.h"
#include "migrate/reset_linux.h"
#include "migrate/stream_sodium.h"

/* ---- while it runs again */

static int send_content(struct stream_out *out, int directory, const char *name, struct err *err)
{
    cleanup_close int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    void *content;
    int r;

    if (fd < 0 || fstat(fd, &status) < 0)
        return err_set(err, -errno, "cannot read %s: %s", name, strerror(errno));
    if (status.st_size == 0)
        return 0;
    content = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (content == MAP_FAILED)
        return err_set(err, -errno, "cannot map %s: %s", name, strerror(errno));
    r = stream_out_data(out, content, (size_t)status.st_size, err);
    munmap(content, (size_t)status.st_size);
    return r;
}

static bool is_image(const char *name)
{
    size_t size = strlen(name);

    return size > 4 && strcmp(name + size - 4, ".img") == 0;
}

static int send_images(struct stream_out *out, int snapshot, struct err *err)
{
    int fd = openat(snapshot, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *images = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int r = 0;

    if (images == NULL) {
        r = err_set(err, -errno, "cannot read the snapshot: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    while (r == 0 && (entry = readdir(images)) != NULL) {
        if (!is_image(entry->d_name))
            continue;
        r = stream_out_file(out, entry->d_name, err);
        if (r == 0)
            r = send_content(out, dirfd(images), entry->d_name, err);
    }
    closedir(images);
    return r;
}

static int send_parts(struct stream_out *out, const struct mover_guest *guest, int snapshot,
                      struct err *err)
{
    struct snapshot_part parts[SNAPSHOT_MAX_PARTS];
    uint32_t n;
    int r = snapshot_parts(guest, parts, &n, err);

    for (uint32_t i = 0; r == 0 && i < n; i++) {
        r = parts[i].tree == 0 ? stream_out_log(out, err)
                               : stream_out_tree(out, parts[i].tree, err);
        if (r == 0)
            r = send_content(out, snapshot, parts[i].name, err);
    }
    return r;
}

/* It takes memory: it goes whether it was sent or not, unless a newer one stands in its place. */
static void remove_snapshot(const char *path, int snapshot)
{
    struct stat opened, there;

    if (fstat(snapshot, &opened) == 0 && stat(path, &there) == 0 && opened.st_ino == there.st_ino &&
        opened.st_dev == there.st_dev)
        (void)tree_remove(path, NULL);
}

/* Whoever asks knows what it continues; the images know whether they continue anything. */
static int send_head(struct stream_out *out, int snapshot, const uint8_t since[DIGEST_SIZE],
                     struct err *err)
{
    static const uint8_t whole[DIGEST_SIZE];
    cleanup_close int images = openat(snapshot, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_whole = memcmp(since, whole, DIGEST_SIZE) == 0;

    if (images < 0)
        return err_set(err, -errno, "cannot read the snapshot: %s", strerror(errno));
    if (increment_is(images) == is_whole)
        return err_set(err, -ESTALE, "the snapshot is %s",
                       is_whole ? "an increment, of what is not known" : "no increment");
    return is_whole ? 0 : stream_out_since(out, since, err);
}

/* Everything is named below a descriptor of the snapshot: when a newer one takes its place
 * meanwhile, nothing is found any more, rather than the parts of another moment. */
int mover_send(const struct mover_guest *guest, int fd, const uint8_t since[DIGEST_SIZE],
               struct mover_report *ret, struct err *err)
{
    cleanup_free struct stream_out *out = malloc(sizeof(*out));
    cleanup_close int snapshot = -1;
    char path[SNAPSHOT_PATH_SIZE];
    int r = snapshot_path(guest, path, err);

    if (r < 0)
        return r;
    snapshot = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (snapshot < 0)
        return err_set(err, -errno, "guest %s has no snapshot to send", guest->name);
    if (out == NULL)
        return err_set(err, -ENOMEM, "no memory to send guest %s", guest->name);
    r = stream_out_start(out, fd, 0, guest->name, err);
    if (r == 0)
        r = send_head(out, snapshot, since, err);
    if (r == 0)
        r = send_images(out, snapshot, err);
    if (r == 0)
        r = send_parts(out, guest, snapshot, err);
    if (r == 0)
        r = stream_out_end(out, err);
    if (r == 0)
        increment_become_base(guest, snapshot);
    remove_snapshot(path, snapshot);
    if (r == 0)
        *ret = (struct mover_report){.bytes = out->n_bytes, .mode = MOVE_STOP};
    return r;
}

/* ---- coming back */

static int check_digest(int fd, const uint8_t digest[DIGEST_SIZE], struct err *err)
{
    uint8_t actual[DIGEST_SIZE];
    int r = digest_of_file(fd, actual, NULL, err);

    if (r == 0 && memcmp(actual, digest, DIGEST_SIZE) != 0)
        r = err_set(err, -EBADMSG, "the checkpoint is damaged: it is not the one that was kept");
    return r;
}

int mover_receive_kept(const struct mover_guest *guest, int fd, const uint8_t digest[DIGEST_SIZE],
                       struct mover_report *ret, struct err *err)
{
    int r = check_digest(fd, digest, err);

    return r < 0 ? r : mover_receive(guest, fd, ret, err);
}

int mover_reset_peers(const struct mover_guest *guest, struct err *err)
{
    char path[256];

    if (guest->ip == 0)
        return 0;
    if (snprintf(path, sizeof(path), "%s/images/" CONNECTIONS_FILE, guest->checkpoint) >=
        (int)sizeof(path))
        return err_set(err, -ENAMETOOLONG, "the paths of guest %s are too long", guest->name);
    return reset_peers(guest->netns, guest->ip, path, err);
}

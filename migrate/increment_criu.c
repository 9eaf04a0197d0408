#include "migrate/increment_criu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"
#include "migrate/run_criu.h"

#define NOTE "chain"

int snapshot_path(const struct mover_guest *guest, char ret[SNAPSHOT_PATH_SIZE], struct err *err)
{
    if (snprintf(ret, SNAPSHOT_PATH_SIZE, "%s/now", guest->snapshot) >= SNAPSHOT_PATH_SIZE)
        return err_set(err, -ENAMETOOLONG, "the paths of guest %s are too long", guest->name);
    return 0;
}

static bool base_path(const struct mover_guest *guest, char ret[SNAPSHOT_PATH_SIZE])
{
    return snprintf(ret, SNAPSHOT_PATH_SIZE, "%s/base", guest->snapshot) < SNAPSHOT_PATH_SIZE;
}

static int read_note(int images, struct increment_chain *ret)
{
    cleanup_close int fd = openat(images, NOTE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    uint8_t bytes[INCREMENT_CHAIN_SIZE];
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));

    return n < 0 ? -ENOENT : increment_chain_decode(bytes, (size_t)n, ret);
}

/* What is being sent first: should it become the base meanwhile, that is looked at behind it. */
void increment_forget(const struct mover_guest *guest)
{
    static const char *const places[] = {"now/images", "base"};
    char path[SNAPSHOT_PATH_SIZE];

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (snprintf(path, sizeof(path), "%s/%s/" NOTE, guest->snapshot, places[i]) <
            (int)sizeof(path))
            (void)unlink(path);
    }
}

bool increment_begin(const struct mover_guest *guest, uint64_t since_us,
                     struct increment_chain *ret)
{
    struct increment_chain chain = {0};
    char path[SNAPSHOT_PATH_SIZE];
    cleanup_close int base = -1;
    bool is_increment;

    if (!base_path(guest, path))
        return false;
    base = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    is_increment = since_us != 0 && base >= 0 && read_note(base, &chain) == 0 &&
                   increment_may_be(&chain, since_us, (uint32_t)guest->pid, mover_written(guest));
    increment_forget(guest);
    if (!is_increment)
        (void)tree_remove(path, NULL);
    *ret = chain;
    return is_increment;
}

/* How much memory there is in it, in how many files. */
static int count_memory(int images, struct increment_chain *ret, struct err *err)
{
    int fd = fcntl(images, F_DUPFD_CLOEXEC, 0);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat status;

    if (directory == NULL) {
        if (fd >= 0)
            close(fd);
        return err_set(err, -ENOMEM, "cannot read the snapshot");
    }
    rewinddir(directory);
    while ((entry = readdir(directory)) != NULL) {
        ret->n_files += increment_is_memory(entry->d_name);
        if (increment_is_pages(entry->d_name) && fstatat(images, entry->d_name, &status, 0) == 0)
            ret->whole_bytes += (uint64_t)status.st_size;
    }
    closedir(directory);
    return 0;
}

int increment_note(const struct mover_guest *guest, int images, bool is_increment,
                   uint64_t taken_us, struct increment_chain *chain, struct err *err)
{
    struct increment_chain one = {.taken_us = taken_us, .pid = (uint32_t)guest->pid};
    cleanup_close int fd = -1;
    uint8_t bytes[INCREMENT_CHAIN_SIZE];
    struct writer w;
    int r = count_memory(images, &one, err);

    if (r < 0)
        return r;
    increment_add(chain, is_increment, &one);
    writer_init(&w, bytes, sizeof(bytes));
    increment_chain_encode(chain, &w);
    fd = openat(images, NOTE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || w.failed || write(fd, bytes, w.size) != (ssize_t)w.size)
        return err_set(err, -ENOSPC, "cannot note what the checkpoint continues");
    return 0;
}

bool increment_is(int images)
{
    return faccessat(images, "parent", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Of a base CRIU asks when it was taken and which pages it had; the pages themselves it opens only,
 * so their length stays. */
static void strip(int images, const char *name)
{
    cleanup_close int fd = -1;
    struct stat status;

    if (name[0] == '.' || strcmp(name, NOTE) == 0 || strcmp(name, CRIU_FIRST_IMAGE) == 0 ||
        (increment_is_memory(name) && !increment_is_pages(name)))
        return;
    if (!increment_is_pages(name)) {
        (void)unlinkat(images, name, 0);
        return;
    }
    fd = openat(images, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0)
        (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, status.st_size);
}

void increment_become_base(const struct mover_guest *guest, int now)
{
    cleanup_close int above = open(guest->snapshot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int images = openat(now, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = images < 0 ? NULL : fdopendir(images);
    char path[SNAPSHOT_PATH_SIZE];
    struct dirent *entry;

    if (directory == NULL) {
        if (images >= 0)
            close(images);
        return;
    }
    if (above >= 0 && faccessat(images, NOTE, F_OK, 0) == 0 && base_path(guest, path)) {
        while ((entry = readdir(directory)) != NULL)
            strip(images, entry->d_name);
        if (tree_remove(path, NULL) == 0)
            (void)renameat(now, "images", above, "base");
    }
    closedir(directory);
}

#include "consensus/file_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"

int file_path(const char *directory, const char *name, char ret[FILE_PATH_SIZE], struct err *err)
{
    int n = snprintf(ret, FILE_PATH_SIZE, "%s/%s", directory, name);

    if (n < 0 || n >= FILE_PATH_SIZE)
        return err_set(err, -ENAMETOOLONG, "path too long: %.80s…/%s", directory, name);
    return 0;
}

int file_sync_directory(const char *directory, struct err *err)
{
    cleanup_close int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return err_set(err, -errno, "cannot sync %s: %s", directory, strerror(errno));
    return 0;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int write_aside(const char *path, const void *data, size_t size, mode_t mode,
                       struct err *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    int rc;

    if (fd < 0)
        return err_set(err, -errno, "cannot create %s: %s", path, strerror(errno));
    rc = fchmod(fd, mode) < 0 ? -errno : write_all(fd, data, size);
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    if (rc < 0) {
        unlink(path);
        return err_set(err, rc, "cannot write %s: %s", path, strerror(-rc));
    }
    return 0;
}

int file_replace(const char *directory, const char *name, const void *data, size_t size,
                 mode_t mode, struct err *err)
{
    char path[FILE_PATH_SIZE], aside[FILE_PATH_SIZE], aside_name[64];
    int rc;

    snprintf(aside_name, sizeof(aside_name), ".%.50s.new", name);
    rc = file_path(directory, name, path, err);
    if (rc == 0)
        rc = file_path(directory, aside_name, aside, err);
    if (rc == 0)
        rc = write_aside(aside, data, size, mode, err);
    if (rc < 0)
        return rc;
    if (rename(aside, path) < 0) {
        rc = -errno;
        unlink(aside);
        return err_set(err, rc, "cannot replace %s: %s", path, strerror(-rc));
    }
    return file_sync_directory(directory, err);
}

ssize_t file_read(const char *directory, const char *name, void *ret, size_t capacity,
                  struct err *err)
{
    char path[FILE_PATH_SIZE];
    cleanup_close int fd = -1;
    uint8_t *data = ret, beyond;
    size_t size = 0;
    int rc = file_path(directory, name, path, err);

    if (rc < 0)
        return rc;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
    for (;;) {
        bool full = size == capacity;
        ssize_t n = read(fd, full ? &beyond : data + size, full ? 1 : capacity - size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
        if (n == 0)
            return (ssize_t)size;
        if (full)
            return err_set(err, -EFBIG, "%s holds more than %zu bytes", path, capacity);
        size += (size_t)n;
    }
}

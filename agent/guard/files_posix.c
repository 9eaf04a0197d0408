#include "agent/guard/files_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"

enum { FILE_PATH_SIZE = 256 };

int file_write(const char *path, const void *data, size_t size, struct err *err)
{
    char temporary[FILE_PATH_SIZE];
    cleanup_close int fd = -1;

    snprintf(temporary, sizeof(temporary), "%s.new", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "cannot write %s: %s", temporary, strerror(errno));
    if (write(fd, data, size) != (ssize_t)size)
        return err_set(err, -EIO, "cannot write %s: %s", temporary, strerror(errno));
    if (rename(temporary, path) < 0)
        return err_set(err, -errno, "cannot rename %s: %s", temporary, strerror(errno));
    return 0;
}

ssize_t file_read(const char *path, void *ret, size_t capacity, struct err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t size = 0;
    char more;

    if (fd < 0)
        return errno == ENOENT ? -ENOENT
                               : err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    while (size < capacity) {
        ssize_t n = read(fd, (char *)ret + size, capacity - size);

        if (n < 0)
            return err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
        if (n == 0)
            return (ssize_t)size;
        size += (size_t)n;
    }
    if (read(fd, &more, 1) != 0)
        return err_set(err, -EFBIG, "%s is larger than it can be", path);
    return (ssize_t)size;
}

int directory_make(const char *path, mode_t mode, uid_t user, gid_t group, struct err *err)
{
    struct stat st;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set(err, -errno, "cannot make %s: %s", path, strerror(errno));
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, -ENOTDIR, "%s is no directory", path);
    if (st.st_uid != 0 && st.st_uid != user)
        return err_set(err, -EPERM, "%s belongs to user %u: give it to root", path, st.st_uid);
    if (chown(path, 0, group) < 0 || chmod(path, mode) < 0)
        return err_set(err, -errno, "cannot give %s its mode: %s", path, strerror(errno));
    return 0;
}

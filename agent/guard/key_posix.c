#include "agent/guard/key_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"

enum { KEY_PATH_SIZE = 160, MAX_TRIES = 8 };

/* The directory is the group's as well: what somebody else put there is no key. */
static bool is_ours(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 077) == 0 && st.st_nlink == 1 && st.st_size == GUARD_KEY_SIZE;
}

/* Makes the file whole or not at all; one that is there meanwhile stays. */
static int make(const char *path, struct err *err)
{
    char temporary[KEY_PATH_SIZE + 16];
    uint8_t key[GUARD_KEY_SIZE];
    cleanup_close int fd = -1;

    snprintf(temporary, sizeof(temporary), "%s.%d", path, getpid());
    unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "cannot make %s: %s", temporary, strerror(errno));
    if (getrandom(key, sizeof(key), 0) != sizeof(key) ||
        write(fd, key, sizeof(key)) != sizeof(key)) {
        unlink(temporary);
        return err_set(err, -EIO, "cannot write %s", temporary);
    }
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return 0;
    unlink(temporary);
    return errno == EEXIST ? 0 : err_set(err, -errno, "cannot make %s: %s", path, strerror(errno));
}

int guard_key_open(const char *run_dir, uint8_t ret[GUARD_KEY_SIZE], struct err *err)
{
    char path[KEY_PATH_SIZE];

    snprintf(path, sizeof(path), "%s/guard.key", run_dir);
    for (int i = 0; i < MAX_TRIES; i++) {
        cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        int rc = fd < 0 ? -errno : 0;

        if (rc == -EACCES)
            return err_set(err, rc,
                           "cannot read %s: start skeind as root, it changes its user "
                           "by itself",
                           path);
        if (rc == 0 && is_ours(fd) && pread(fd, ret, GUARD_KEY_SIZE, 0) == GUARD_KEY_SIZE)
            return steal_fd(&fd);
        if (rc != -ENOENT && unlink(path) < 0 && errno != ENOENT)
            return err_set(err, -EPERM, "%s is not this board's key: remove it", path);
        rc = make(path, err);
        if (rc < 0)
            return rc;
    }
    return err_set(err, -EPERM, "%s is replaced by somebody again and again", path);
}

int guard_key_lock(int fd, struct err *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, -EBUSY, "another skeind runs on this board");
    return 0;
}

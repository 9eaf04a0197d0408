#include "base/tree_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int tree_make(const char *path, mode_t mode, struct err *err)
{
    char part[PATH_MAX];
    size_t size = strlen(path);

    if (size == 0 || size >= sizeof(part))
        return err_set(err, -ENAMETOOLONG, "cannot make the directory '%s'", path);
    memcpy(part, path, size + 1);
    for (size_t i = 1; i <= size; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return err_set(err, -errno, "cannot make the directory %s: %s", part, strerror(errno));
        part[i] = path[i];
    }
    return 0;
}

int tree_make_above(const char *path, mode_t mode, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char above[PATH_MAX];

    if (slash == NULL || slash == path)
        return 0;
    if ((size_t)(slash - path) >= sizeof(above))
        return err_set(err, -ENAMETOOLONG, "cannot make the directory of '%s'", path);
    snprintf(above, sizeof(above), "%.*s", (int)(slash - path), path);
    return tree_make(above, mode, err);
}

static int remove_at(int dir, const char *name);

static int remove_entries(int fd)
{
    DIR *entries = fdopendir(fd);
    struct dirent *entry;
    int r = 0;

    if (entries == NULL) {
        r = -errno;
        close(fd);
        return r;
    }
    while (r == 0 && (entry = readdir(entries)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = remove_at(dirfd(entries), entry->d_name);
    }
    closedir(entries);
    return r;
}

static int remove_at(int dir, const char *name)
{
    int fd, r;

    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM && errno != EACCES)
        return -errno;
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = remove_entries(fd);
    if (r < 0)
        return r;
    return unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int tree_remove(const char *path, struct err *err)
{
    int r = remove_at(AT_FDCWD, path);

    return r < 0 ? err_set(err, r, "cannot remove %s: %s", path, strerror(-r)) : 0;
}

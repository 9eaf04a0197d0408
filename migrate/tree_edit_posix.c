#include "migrate/tree_edit_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"

void tree_edit_encode(enum tree_edit edit, const char *path, struct writer *w)
{
    write_u8(w, (uint8_t)edit);
    if (edit != TREE_EDIT_END)
        write_string(w, path);
}

/* -EBADMSG: it ended early. */
static int read_exactly(int fd, void *ret, size_t size)
{
    size_t at = 0;

    while (at < size) {
        ssize_t n = read(fd, (uint8_t *)ret + at, size - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EBADMSG;
        at += (size_t)n;
    }
    return 0;
}

static int read_edit(int fd, enum tree_edit *ret, char path[TREE_PATH_SIZE])
{
    uint8_t edit, bytes[2];
    struct reader r;
    uint16_t size;
    int failure = read_exactly(fd, &edit, 1);

    if (failure < 0 || edit == TREE_EDIT_END) {
        *ret = TREE_EDIT_END;
        return failure;
    }
    failure = edit > TREE_EDIT_EMPTY ? -EBADMSG : read_exactly(fd, bytes, sizeof(bytes));
    if (failure < 0)
        return failure;
    reader_init(&r, bytes, sizeof(bytes));
    size = read_u16(&r);
    if (size >= TREE_PATH_SIZE)
        return -EBADMSG;
    failure = read_exactly(fd, path, size);
    path[size] = '\0';
    *ret = (enum tree_edit)edit;
    return failure < 0 ? failure : strlen(path) == size ? 0 : -EBADMSG;
}

static int drop(const char *path, struct err *err)
{
    int r = tree_remove(path, err);

    return r == -ENOTDIR ? 0 : r;
}

static int empty_here(struct err *err)
{
    DIR *directory = opendir(".");
    const struct dirent *entry;
    int r = 0;

    if (directory == NULL)
        return err_set(err, -errno, "cannot read the guest's files: %s", strerror(errno));
    while (r == 0 && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = tree_remove(entry->d_name, err);
    }
    closedir(directory);
    return r;
}

/* A label that the node gives to all of its files stays. */
static int clear_one(int fd, const char *name)
{
    if (fremovexattr(fd, name) == 0 || errno == ENODATA)
        return 0;
    return strncmp(name, "security.", 9) == 0 ? 0 : -errno;
}

static int clear(const char *path, struct err *err)
{
    cleanup_close int fd =
        open(path[0] != '\0' ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : flistxattr(fd, NULL, 0);
    cleanup_free char *names = size > 0 ? malloc((size_t)size) : NULL;
    int r = 0;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (size < 0 && errno == ENOTSUP)
        return 0;
    if (size > 0)
        size = names == NULL ? -1 : flistxattr(fd, names, (size_t)size);
    if (size < 0)
        return err_set(err, -errno, "cannot read the attributes of %s: %s", path, strerror(errno));
    for (ssize_t at = 0; r == 0 && at < size; at += (ssize_t)strlen(names + at) + 1)
        r = clear_one(fd, names + at);
    return r < 0 ? err_set(err, r, "cannot clear the attributes of %s: %s", path, strerror(-r)) : 0;
}

static int do_edit(enum tree_edit edit, const char *path, struct err *err)
{
    if (!tree_path_is_valid(path) && (path[0] != '\0' || edit == TREE_EDIT_DROP))
        return err_set(err, -EBADMSG, "the moved guest's files lead out of their tree: %s", path);
    return edit == TREE_EDIT_DROP    ? drop(path, err)
           : edit == TREE_EDIT_EMPTY ? empty_here(err)
                                     : clear(path, err);
}

int tree_edit_here(int fd, struct err *err)
{
    enum tree_edit edit = TREE_EDIT_DROP;
    char path[TREE_PATH_SIZE];

    while (edit != TREE_EDIT_END) {
        int r = read_edit(fd, &edit, path);

        if (r < 0)
            return err_set(err, r, "the changes of the guest's files are broken");
        if (edit != TREE_EDIT_END)
            r = do_edit(edit, path, err);
        if (r < 0)
            return r;
    }
    return 0;
}

#include "migrate/tree_walk_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* What is seen of an entry: false ends the walk. */
typedef bool (*tree_see)(void *context, const char *path, const struct stat *status);

struct walk {
    dev_t device;
    bool keeps_whiteouts;
    tree_see see;
    void *context;
    char path[TREE_PATH_SIZE];
    int failure; /* negative errno */
};

enum { MAX_DEPTH = 512 }; /* each level holds a descriptor */

static bool is_taken(const struct walk *w, const struct stat *status)
{
    if (S_ISBLK(status->st_mode) || S_ISSOCK(status->st_mode))
        return false;
    return !S_ISCHR(status->st_mode) || (w->keeps_whiteouts && status->st_rdev == 0);
}

static bool walk_below(struct walk *w, int fd, size_t size, int depth);

static bool walk_entry(struct walk *w, int parent, const char *name, size_t size, int depth)
{
    struct stat status;
    int fd;

    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !is_taken(w, &status))
        return true;
    if (!w->see(w->context, w->path, &status))
        return false;
    if (!S_ISDIR(status.st_mode) || status.st_dev != w->device)
        return true;
    if (depth == MAX_DEPTH) {
        w->failure = -ENAMETOOLONG;
        return false;
    }
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return true;
    return walk_below(w, fd, size, depth + 1);
}

/* Takes the descriptor. */
static bool walk_below(struct walk *w, int fd, size_t size, int depth)
{
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    bool goes_on = directory != NULL;

    if (directory == NULL) {
        w->failure = -errno;
        if (fd >= 0)
            close(fd);
        return false;
    }
    while (goes_on && (entry = readdir(directory)) != NULL) {
        size_t left = sizeof(w->path) - size, more;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        more = (size_t)snprintf(w->path + size, left, "%s%s", size > 0 ? "/" : "", entry->d_name);
        if (more >= left)
            w->failure = -ENAMETOOLONG;
        goes_on = more < left && walk_entry(w, fd, entry->d_name, size + more, depth);
        w->path[size] = '\0';
    }
    closedir(directory);
    return goes_on;
}

/* The root comes first, with an empty path. */
static int walk(int directory, bool keeps_whiteouts, tree_see see, void *context)
{
    struct walk w = {.keeps_whiteouts = keeps_whiteouts, .see = see, .context = context};
    struct stat status;

    if (fstat(directory, &status) < 0)
        return -errno;
    w.device = status.st_dev;
    if (see(context, "", &status))
        walk_below(&w, openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0, 0);
    return w.failure;
}

/* ---- an index */

struct indexing {
    struct tree_index *index;
    int64_t now_ns; /* when it began: what is changed meanwhile is stamped later */
    int failure;
};

static int64_t ns_of(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static enum tree_kind kind_of(mode_t mode)
{
    return S_ISDIR(mode)   ? TREE_DIRECTORY
           : S_ISREG(mode) ? TREE_FILE
           : S_ISLNK(mode) ? TREE_LINK
                           : TREE_OTHER;
}

static bool add(void *context, const char *path, const struct stat *status)
{
    struct indexing *i = context;
    struct tree_entry entry = {
        .kind = kind_of(status->st_mode),
        .mode = status->st_mode,
        .inode = status->st_ino,
        .n_links = status->st_nlink,
        .size = S_ISREG(status->st_mode) ? (uint64_t)status->st_size : 0,
        .held = (uint64_t)status->st_blocks * 512,
        .mtime_ns = ns_of(&status->st_mtim),
        .ctime_ns = ns_of(&status->st_ctim),
    };

    entry.is_unsettled = tree_is_unsettled(entry.ctime_ns, i->now_ns);
    i->failure = tree_index_add(i->index, &entry, path);
    return i->failure == 0;
}

int tree_walk(int directory, bool keeps_whiteouts, struct tree_index *ret, struct err *err)
{
    struct indexing indexing = {.index = ret};
    struct timespec now;
    int r;

    clock_gettime(CLOCK_REALTIME, &now);
    indexing.now_ns = ns_of(&now);
    r = walk(directory, keeps_whiteouts, add, &indexing);
    if (indexing.failure < 0)
        r = indexing.failure;
    if (r < 0) {
        tree_index_deinit(ret);
        return err_set(err, r, "cannot look through the guest's files: %s", strerror(-r));
    }
    tree_index_sort(ret);
    return 0;
}

/* ---- their size */

struct measuring {
    struct ahead_size *size;
    uint64_t kbps;
};

static bool measure(void *context, const char *path, const struct stat *status)
{
    struct measuring *m = context;

    (void)path;
    m->size->n++;
    if (S_ISREG(status->st_mode))
        m->size->bytes += (uint64_t)status->st_blocks * 512;
    return m->kbps == 0 || !ahead_is_worth(m->size, m->kbps);
}

void tree_measure(int directory, uint64_t kbps, struct ahead_size *size)
{
    (void)walk(directory, true, measure, &(struct measuring){size, kbps});
}

bool tree_stamps_mappings(int directory)
{
    struct statfs status;

    return fstatfs(directory, &status) == 0 && status.f_type != TMPFS_MAGIC &&
           status.f_type != RAMFS_MAGIC;
}

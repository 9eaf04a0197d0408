#include "agent/guest/cell_root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/guest/cell_init.h"
#include "agent/guest/cell_init_image.h"
#include "base/clean.h"
#include "base/tree_posix.h"
#include "migrate/ground_criu.h"

/* Root in a cell is root to the file permissions of /proc: what it could reach the node by is read
 * only, or empty. */
static const char *const read_only[] = {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq",
                                        "/proc/bus", "/proc/fs"};
static const char *const emptied[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list",
                                      "/proc/latency_stats", "/proc/sched_debug"};

static int failed(const char *what, struct err *err)
{
    return err_set(err, -errno, "cannot set up the guest's %s: %s", what, strerror(errno));
}

int cell_root_prepare(const struct guest_paths *paths, struct err *err)
{
    const char *const directories[] = {paths->upper, paths->work, paths->merged};
    cleanup_close int log = -1;
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(directories) / sizeof(directories[0]); i++) {
        r = tree_make_above(directories[i], 0755, err);
        if (r == 0 && mkdir(directories[i], 0755) < 0 && errno != EEXIST)
            r = failed("directories", err);
    }
    if (r == 0)
        r = tree_make_above(paths->log, 0755, err);
    if (r < 0)
        return r;
    log = open(paths->log, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    return log < 0 ? failed("log", err) : 0;
}

static int make_point(const char *path)
{
    return mkdir(path, 0755) < 0 && errno != EEXIST ? -1 : 0;
}

static int mount_at(const char *path, const char *type, unsigned long flags, const char *options,
                    struct err *err)
{
    if (make_point(path) < 0 || mount(type, path, type, flags, options) < 0)
        return failed(path, err);
    return 0;
}

static int make_dev(struct err *err)
{
    int r;

    if (make_point(GROUND_DEV) < 0)
        return failed(GROUND_DEV, err);
    r = ground_mount_dev(GROUND_DEV, err);
    if (r == 0)
        r = mount_at("/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                     "newinstance,ptmxmode=0666,mode=620", err);
    return r < 0 ? r : ground_mount_shm(GROUND_SHM, err);
}

static int make_proc(struct err *err)
{
    const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    int r = mount_at("/proc", "proc", safe, NULL, err);

    for (size_t i = 0; r == 0 && i < sizeof(read_only) / sizeof(read_only[0]); i++) {
        const char *path = read_only[i];

        if (mount(path, path, NULL, MS_BIND, NULL) < 0) {
            if (errno != ENOENT)
                r = failed(path, err);
            continue;
        }
        if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | safe, NULL) < 0)
            r = failed(path, err);
    }
    for (size_t i = 0; r == 0 && i < sizeof(emptied) / sizeof(emptied[0]); i++) {
        if (mount("/dev/null", emptied[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
            r = failed(emptied[i], err);
    }
    return r;
}

static int fill_init(int fd, struct err *err)
{
    const uint8_t *at = cell_init_image;

    while (at < cell_init_image_end) {
        ssize_t n = write(fd, at, (size_t)(cell_init_image_end - at));

        if (n < 0)
            return failed("init", err);
        at += n;
    }
    return 0;
}

int cell_root_write_init(const char *root, struct err *err)
{
    static const char directory[] = CELL_INIT_DIRECTORY, path[] = CELL_INIT_PATH;
    const char *name = path + sizeof(directory);
    cleanup_close int top = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), above = -1, fd = -1;

    if (top >= 0 && (mkdirat(top, directory + 1, 0755) == 0 || errno == EEXIST))
        above = openat(top, directory + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (above < 0)
        return failed(directory, err);
    unlinkat(above, name, 0);
    fd = openat(above, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);
    return fd < 0 ? failed("init", err) : fill_init(fd, err);
}

/* The log stays a file of the node; it is bound into the cell, which can write it but not replace
 * it. */
static int bind_log(int tree, struct err *err)
{
    struct mount_attr safe = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
    cleanup_close int point =
        open(CELL_LOG_PATH, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);

    if (point < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &safe, sizeof(safe)) < 0 ||
        move_mount(tree, "", AT_FDCWD, CELL_LOG_PATH, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return failed("log", err);
    return 0;
}

static int move_into(const char *merged, struct err *err)
{
    if (chdir(merged) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
        umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return failed("root", err);
    return 0;
}

int cell_root_enter(const struct guest_paths *paths, struct err *err)
{
    cleanup_close int log = -1;
    int r;

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return failed("mount namespace", err);
    log =
        open_tree(AT_FDCWD, paths->log, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
    if (log < 0)
        return failed("log", err);
    r = ground_mount_root(paths->image_root, paths->upper, paths->work, paths->merged, err);
    if (r == 0)
        r = move_into(paths->merged, err);
    if (r == 0)
        r = make_dev(err);
    if (r == 0)
        r = make_proc(err);
    if (r == 0)
        r = cell_root_write_init("/", err);
    return r < 0 ? r : bind_log(log, err);
}

#include "agent/guest/cell_netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"

static bool stands(const char *path)
{
    struct statfs where;

    return statfs(path, &where) == 0 && where.f_type == NSFS_MAGIC;
}

/* In a child of its own, whose new namespace gets the name. Returns an errno. */
static int make_in_child(const char *path)
{
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    cleanup_close int any = -1;

    if (unshare(CLONE_NEWNET) < 0)
        return errno;
    any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (any < 0 || ioctl(any, SIOCSIFFLAGS, &loopback) < 0 ||
        mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0)
        return errno;
    return 0;
}

int cell_netns_make(const char *path, struct err *err)
{
    int r = tree_make_above(path, 0755, err), status = 0;
    cleanup_close int point = -1;
    pid_t pid;

    if (r < 0 || stands(path))
        return r;
    point = open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);
    pid = point < 0 ? -1 : fork();
    if (pid < 0)
        return err_set(err, -errno, "cannot make the network namespace %s: %s", path,
                       strerror(errno));
    if (pid == 0)
        _exit(make_in_child(path));
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
        status = EIO << 8;
    r = -WEXITSTATUS(status);
    if (r < 0)
        err_set(err, r, "cannot make the network namespace %s: %s", path, strerror(-r));
    return r;
}

int cell_netns_remove(const char *path, struct err *err)
{
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
        return err_set(err, -errno, "cannot remove the network namespace %s: %s", path,
                       strerror(errno));
    return tree_remove(path, err);
}

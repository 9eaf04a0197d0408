#include "migrate/ground_criu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clean.h"

static const struct {
    const char *name;
    unsigned major, minor;
} devices[] = {
    {"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static const struct {
    const char *name, *target;
} links[] = {
    {"ptmx", "pts/ptmx"},          {"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
};

static int failed(const char *what, struct err *err)
{
    return err_set(err, -errno, "cannot set up the guest's %s: %s", what, strerror(errno));
}

/* Everything that would tie the upper layer to this node's inodes is off: the upper layer moves. */
int ground_mount_root(const char *image_root, const char *upper, const char *work,
                      const char *merged, struct err *err)
{
    char options[512];
    int n = snprintf(options, sizeof(options),
                     "lowerdir=%s,upperdir=%s,workdir=%s,index=off,metacopy=off,redirect_dir=off",
                     image_root, upper, work);

    if (n >= (int)sizeof(options))
        return err_set(err, -ENAMETOOLONG, "the paths of the guest's layers are too long");
    if (mount("overlay", merged, "overlay", MS_NODEV, options) < 0)
        return err_set(err, -errno,
                       "cannot mount the guest's root over %s: %s (its upper layer has to be on an "
                       "ordinary file system, no overlay)",
                       image_root, strerror(errno));
    return 0;
}

static int fill_dev(int dev, struct err *err)
{
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        if (mknodat(dev, devices[i].name, S_IFCHR, makedev(devices[i].major, devices[i].minor)) <
                0 ||
            fchmodat(dev, devices[i].name, 0666, 0) < 0)
            return failed(devices[i].name, err);
    }
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        if (symlinkat(links[i].target, dev, links[i].name) < 0)
            return failed(links[i].name, err);
    }
    if (mkdirat(dev, "pts", 0755) < 0 || mkdirat(dev, "shm", 0755) < 0)
        return failed(GROUND_DEV, err);
    return 0;
}

int ground_mount_dev(const char *path, struct err *err)
{
    cleanup_close int dev = -1;

    if (mount("dev", path, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k") < 0)
        return failed(GROUND_DEV, err);
    dev = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dev < 0 ? failed(GROUND_DEV, err) : fill_dev(dev, err);
}

int ground_mount_shm(const char *path, struct err *err)
{
    if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777") < 0)
        return failed(GROUND_SHM, err);
    return 0;
}

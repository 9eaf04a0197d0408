#include "agent/guest/lxc_ground_linux.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"

enum { TRY_MS = 5, TRY_FOR_MS = 10000 };

static int failed(const char *what, struct err *err)
{
    return err_set(err, -errno, "cannot %s: %s", what, strerror(errno));
}

int lxc_ground_enter(struct err *err)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return failed("make a mount namespace", err);
    if (umount2(CGROUPS, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
        return failed("hide the cgroups", err);
    if (mount("cgroup", CGROUPS, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return failed("mount cgroup2 for liblxc", err);
    return 0;
}

/* EBUSY for some ms after a kill. */
static void remove_group(const char *path)
{
    const struct timespec step = {.tv_nsec = TRY_MS * 1000000L};

    for (int ms = 0; ms < TRY_FOR_MS && rmdir(path) < 0 && errno == EBUSY; ms += TRY_MS)
        nanosleep(&step, NULL);
}

static void remove_groups(const char *guest)
{
    static const char *const left[] = {"lxc.payload", "lxc.monitor"};
    char path[160];

    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        snprintf(path, sizeof(path), CGROUPS "/%s.%s", left[i], guest);
        remove_group(path);
    }
}

void lxc_ground_clear(const char *guest)
{
    pid_t child = fork();

    if (child == 0) {
        if (lxc_ground_enter(NULL) == 0)
            remove_groups(guest);
        _exit(0);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
}

#include "agent/guest/cell_confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What root of a container usually has. Not among them, on purpose: MKNOD (a cell's mounts carry no
 * devices but /dev), SYS_ADMIN, NET_ADMIN (its network is the switch's business), SYS_PTRACE. */
static const uint8_t kept[] = {
    CAP_CHOWN,      CAP_DAC_OVERRIDE, CAP_FOWNER,      CAP_FSETID,           CAP_KILL,
    CAP_SETGID,     CAP_SETUID,       CAP_SETPCAP,     CAP_NET_BIND_SERVICE, CAP_NET_RAW,
    CAP_SYS_CHROOT, CAP_SETFCAP,      CAP_AUDIT_WRITE,
};

static const struct {
    int resource;
    rlim_t soft, hard;
} limits[] = {
    {RLIMIT_CORE, 0, 0}, {RLIMIT_NOFILE, 1024, 65536},   {RLIMIT_RTPRIO, 0, 0},
    {RLIMIT_NICE, 0, 0}, {RLIMIT_MEMLOCK, 65536, 65536},
};

static rlim_t at_most(rlim_t wanted, rlim_t allowed)
{
    return wanted < allowed ? wanted : allowed;
}

/* Only ever lowers: raising takes CAP_SYS_RESOURCE, which not every node has. */
static int set_limits(struct err *err)
{
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        __rlimit_resource_t resource = (__rlimit_resource_t)limits[i].resource;
        struct rlimit limit;

        if (getrlimit(resource, &limit) < 0)
            return err_set(err, -errno, "cannot read a resource limit: %s", strerror(errno));
        limit.rlim_max = at_most(limits[i].hard, limit.rlim_max);
        limit.rlim_cur = at_most(limits[i].soft, limit.rlim_max);
        if (setrlimit(resource, &limit) < 0)
            return err_set(err, -errno, "cannot set a resource limit: %s", strerror(errno));
    }
    return 0;
}

int cell_reset_process(struct err *err)
{
    struct sched_param ordinary = {0};
    sigset_t none;

    setsid();
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    if (sched_setscheduler(0, SCHED_OTHER, &ordinary) < 0 || setpriority(PRIO_PROCESS, 0, 0) < 0)
        return err_set(err, -errno, "cannot take ordinary priority: %s", strerror(errno));
    if (setgroups(0, NULL) < 0)
        return err_set(err, -errno, "cannot leave supplementary groups: %s", strerror(errno));
    return set_limits(err);
}

static bool is_kept(int capability)
{
    return memchr(kept, capability, sizeof(kept)) != NULL;
}

static int drop_capabilities(struct err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
        if (!is_kept(capability) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
            return err_set(err, -errno, "cannot drop a capability: %s", strerror(errno));
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (size_t i = 0; i < sizeof(kept); i++) {
        data[CAP_TO_INDEX(kept[i])].permitted |= CAP_TO_MASK(kept[i]);
        data[CAP_TO_INDEX(kept[i])].effective |= CAP_TO_MASK(kept[i]);
    }
    if (syscall(SYS_capset, &header, data) < 0)
        return err_set(err, -errno, "cannot set capabilities: %s", strerror(errno));
    return 0;
}

int cell_confine(struct err *err)
{
    int r = drop_capabilities(err);

    if (r < 0)
        return r;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set(err, -errno, "cannot renounce new privileges: %s", strerror(errno));
    return cell_filter_guest(err);
}

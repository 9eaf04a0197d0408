#include "agent/skeind/privileges_linux.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

enum { REAL_TIME_PRIORITY = 10 };

static int find_user(const struct config *config, struct passwd **ret, struct err *err)
{
    errno = 0;
    *ret = getpwnam(config->user);
    if (*ret == NULL)
        return err_set(err, -ENOENT,
                       "there is no user '%s'; make it with useradd --system, or set 'user'",
                       config->user);
    return 0;
}

static int make_directory(const char *path, const struct passwd *owner, mode_t mode,
                          struct err *err)
{
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        return err_set(err, -errno, "cannot make %s: %s", path, strerror(errno));
    /* Root's, for the group: sticky, so that the guard's records and guests beside ours stay its.
     */
    if (owner != NULL && (chown(path, 0, owner->pw_gid) < 0 || chmod(path, mode) < 0))
        return err_set(err, -errno, "cannot give %s to %s: %s", path, owner->pw_name,
                       strerror(errno));
    return 0;
}

/* After the change of user nobody may raise its priority: the limit is raised before, and where it
 * may not be, threads inherit what main has. */
static void ask_real_time(void)
{
    struct rlimit limit = {REAL_TIME_PRIORITY, REAL_TIME_PRIORITY};
    struct rlimit memory = {RLIM_INFINITY, RLIM_INFINITY};

    if (setrlimit(RLIMIT_RTPRIO, &limit) < 0)
        log_warn("no real-time priority after start: %s", strerror(errno));
    if (setrlimit(RLIMIT_MEMLOCK, &memory) < 0)
        log_warn("memory is not locked: %s", strerror(errno));
    else if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        log_warn("memory is not locked: %s", strerror(errno));
}

int privileges_prepare(const struct config *config, struct err *err)
{
    struct passwd *user = NULL;
    int rc = geteuid() == 0 ? find_user(config, &user, err) : 0;

    /* The guard's directories lie beside ours, so that others must be able to pass through. */
    if (rc == 0)
        rc = make_directory(config->data_dir, user, 01775, err);
    if (rc == 0)
        rc = make_directory(config->run_dir, user, 01775, err);
    if (rc == 0 && geteuid() == 0)
        ask_real_time();
    return rc;
}

static bool has_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}, {0}};

    if (syscall(SYS_capget, &header, data) < 0)
        return true;
    return (data[0].effective | data[0].permitted | data[1].effective | data[1].permitted) != 0;
}

int privileges_drop(const struct config *config, struct err *err)
{
    struct passwd *user;
    int rc;

    if (geteuid() != 0) {
        log_info("runs as user %u", (unsigned)geteuid());
        return 0;
    }
    rc = find_user(config, &user, err);
    if (rc < 0)
        return rc;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || initgroups(user->pw_name, user->pw_gid) < 0 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
        return err_set(err, -errno, "cannot become user %s: %s", config->user, strerror(errno));
    if (user->pw_uid != 0 && (has_capabilities() || setresuid(0, 0, 0) == 0))
        return err_set(err, -EPERM, "capabilities remain after becoming user %s", config->user);
    log_info("runs as user %s, without capabilities", config->user);
    return 0;
}

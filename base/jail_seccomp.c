#include "base/jail_seccomp.h"

#include <errno.h>
#include <locale.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool add_rules(scmp_filter_ctx filter)
{
    static const int denied[] = {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace),
                                 SCMP_SYS(socket), SCMP_SYS(mount)};
    bool is_added = true;

    for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
        is_added = is_added && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied[i], 0) == 0;
    return is_added &&
           seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)) == 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)) == 0;
}

static int load_filter(struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter != NULL && add_rules(filter) ? seccomp_load(filter) : -ENOMEM;

    seccomp_release(filter);
    return r < 0 ? err_set(err, r, "cannot load the system call filter: %s", strerror(-r)) : 0;
}

/* The locale comes first: with it libc needs no converter of names, which it would look for, and
 * load, inside the foreign root. */
int jail_enter(const char *directory, struct err *err)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setlocale(LC_CTYPE, "C.UTF-8");
    umask(0);
    if (chdir(directory) < 0 || chroot(".") < 0)
        return err_set(err, -errno, "cannot enter %s: %s", directory, strerror(errno));
    return load_filter(err);
}

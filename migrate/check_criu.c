/* What CRIU could not move, as far as a look from outside tells. The dump itself finds the rest,
 * and then the guest runs on. */
#include "migrate/mover_criu.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate/proc_criu.h"

/* Whom to look for, and whether such a one was met. */
struct search {
    const struct mover_guest *guest;
    ino_t inside;
    bool found;
};

/* A process that was put into the cell from outside (guest exec) is no descendant of its init: CRIU
 * would not find it, and the move would leave it behind. */
static bool meet(pid_t pid, void *context)
{
    struct search *s = context;

    s->found = pid != s->guest->pid && proc_namespace(pid, "pid") == s->inside &&
               proc_namespace(proc_parent(pid), "pid") != s->inside;
    return !s->found;
}

static int check_processes(const struct mover_guest *guest, struct err *err)
{
    struct search search = {guest, proc_namespace(guest->pid, "pid"), false};

    proc_each(meet, &search);
    if (search.found)
        return err_set(err, -EBUSY,
                       "a command that was put into guest %s runs (guest exec): it could not move; "
                       "wait for it or end it",
                       guest->name);
    return 0;
}

static int check_network(const struct mover_guest *guest, struct err *err)
{
    struct stat status;

    if (stat(guest->netns, &status) < 0 || status.st_ino != proc_namespace(guest->pid, "net"))
        return err_set(err, -ENOTSUP, "guest %s does not run in its network namespace %s",
                       guest->name, guest->netns);
    return 0;
}

int mover_check(const struct mover_guest *guest, struct err *err)
{
    int r;

    if (access("/usr/sbin/criu", X_OK) < 0)
        return err_set(err, -ENOENT, "there is no /usr/sbin/criu: install the package criu");
    if (access("/dev/pts/ptmx", F_OK) < 0)
        return err_set(err, -ENOTSUP, "criu needs a devpts at /dev/pts of this node");
    if (proc_namespace(guest->pid, "pid") == 0)
        return err_set(err, -ESRCH, "guest %s does not run", guest->name);
    r = check_network(guest, err);
    return r < 0 ? r : check_processes(guest, err);
}

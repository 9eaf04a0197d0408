/* lxc_init: which process of an lxc guest is the container's own first one; see lxc.h. */
#include <errno.h>

#include "agent/guest/lxc.h"
#include "migrate/proc_criu.h"

struct search {
    pid_t keeper, found;
};

/* In a pid namespace of its own, below skein-lxc or liblxc's monitor. */
static bool meet(pid_t pid, void *context)
{
    struct search *s = context;
    pid_t parent = proc_parent(pid);

    if (parent == s->keeper || (parent > 1 && proc_parent(parent) == s->keeper)) {
        ino_t own = proc_namespace(pid, "pid");

        if (own != 0 && own != proc_namespace(s->keeper, "pid") &&
            proc_namespace(parent, "pid") == proc_namespace(s->keeper, "pid"))
            s->found = pid;
    }
    return s->found == 0;
}

int lxc_find_init(pid_t keeper, pid_t *ret, struct err *err)
{
    struct search search = {.keeper = keeper};

    proc_each(meet, &search);
    if (search.found == 0)
        return err_set(err, -ESRCH, "the container's first process has ended");
    *ret = search.found;
    return 0;
}

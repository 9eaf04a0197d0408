/* lxc: the guest kind `lxc` as the guard sees it (guest_lxc_ops): starts skein-lxc, which does the
 * rest. See lxc.h.
 */
#include <string.h>

#include "agent/guest/cell_exec.h"
#include "agent/guest/cell_netns.h"
#include "agent/guest/cell_root.h"
#include "agent/guest/cell_volumes.h"
#include "agent/guest/console_posix.h"
#include "agent/guest/keeper_posix.h"
#include "agent/guest/lxc.h"
#include "agent/guest/lxc_ground_linux.h"
#include "base/tree_posix.h"

static int lxc_prepare(const struct guest_run *run, const struct guest_paths *paths,
                       struct err *err)
{
    struct lxc_paths lxc;
    int rc = cell_root_prepare(paths, err);

    lxc_paths_init(&lxc, paths);
    if (rc == 0)
        rc = tree_make(lxc.home, 0700, err);
    return rc == 0 && run->vni == 0 ? cell_netns_make(paths->netns, err) : rc;
}

static int lxc_start(const struct guest_run *run, const struct guest_paths *paths, pid_t *ret_pid,
                     struct err *err)
{
    int rc = cell_volumes_prepare(run, paths, err);

    return rc < 0 ? rc : keeper_start(LXC_PROGRAM, "start", run, -1, ret_pid, err);
}

static int lxc_exec(pid_t pid, const struct guest_run *run, char *const argv[], const int stdio[3],
                    int *ret_status, struct err *err)
{
    pid_t init;
    int rc = lxc_find_init(pid, &init, err);

    return rc < 0 ? rc : cell_exec(init, run, argv, stdio, ret_status, err);
}

static int lxc_console(const struct guest_paths *paths, const int stdio[2], struct err *err)
{
    struct lxc_paths lxc;

    lxc_paths_init(&lxc, paths);
    return console_join(lxc.console, stdio, err);
}

/* Its mounts were in skein-lxc's own namespace and went with it. */
static int lxc_clean_up(const struct guest_paths *paths, bool keep_upper, struct err *err)
{
    struct lxc_paths lxc;
    int rc;

    lxc_paths_init(&lxc, paths);
    rc = tree_remove(lxc.home, err);
    if (rc == 0)
        rc = guest_cell_ops.clean_up(paths, keep_upper, err);
    lxc_ground_clear(strrchr(paths->netns, '/') + 1);
    return rc;
}

const struct guest_kind_ops guest_lxc_ops = {
    .kind = KIND_LXC,
    .name = "lxc",
    .can_exec = true,
    .can_console = true,
    .mover = &mover_lxc_ops,
    .start = lxc_start,
    .prepare = lxc_prepare,
    .terminate = keeper_terminate,
    .exec = lxc_exec,
    .console = lxc_console,
    .clean_up = lxc_clean_up,
};

/* lxc: the guest kind `lxc` as the guard sees it (guest_lxc_ops): starts skein-lxc, which does the
 * rest. See lxc.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/cell_env.h"
#include "agent/guest/cell_init.h"
#include "agent/guest/cell_netns.h"
#include "agent/guest/cell_root.h"
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
    (void)paths;
    return keeper_start(LXC_PROGRAM, "start", run, -1, ret_pid, err);
}

/* skein-lxc exec NAME INIT_WORDS… COMMAND…; returns only on failure. */
static void become_command(const char *path, const struct guest_run *run, char *const argv[],
                           const int stdio[3])
{
    char ids[CELL_IDS_SIZE], **env = cell_env_new(&run->spec);
    char *words[3 + CELL_INIT_WORDS + MAX_ARGUMENTS + 1] = {(char *)path,
                                                            (char *)"exec",
                                                            (char *)run->spec.name,
                                                            (char *)CELL_INIT_PATH,
                                                            (char *)"exec",
                                                            cell_ids_format(&run->spec, ids),
                                                            (char *)cell_directory(&run->spec)};
    int copies[3];

    for (int i = 0; i < MAX_ARGUMENTS && argv[i] != NULL; i++)
        words[3 + CELL_INIT_WORDS + i] = argv[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < 3; i++)
        copies[i] = fcntl(stdio[i], F_DUPFD_CLOEXEC, 64);
    for (int i = 0; i < 3; i++)
        dup2(copies[i], i);
    close_range(3, ~0U, 0);
    if (env != NULL)
        execve(path, words, env);
}

static int lxc_exec(pid_t pid, const struct guest_run *run, char *const argv[], const int stdio[3],
                    int *ret_status, struct err *err)
{
    char path[KEEPER_PATH_SIZE];
    int rc = keeper_find(LXC_PROGRAM, path, err);
    pid_t child;

    (void)pid;
    if (rc < 0)
        return rc;
    child = fork();
    if (child < 0)
        return err_set(err, -errno, "cannot fork: %s", strerror(errno));
    if (child == 0) {
        become_command(path, run, argv, stdio);
        _exit(125);
    }
    while (waitpid(child, ret_status, 0) < 0) {
        if (errno != EINTR)
            return err_set(err, -errno, "cannot wait: %s", strerror(errno));
    }
    return 0;
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
    .start = lxc_start,
    .prepare = lxc_prepare,
    .terminate = keeper_terminate,
    .exec = lxc_exec,
    .console = lxc_console,
    .clean_up = lxc_clean_up,
};

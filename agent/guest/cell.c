/* cell: a container run by the guard itself (guest_cell_ops): own pid, mount, uts, ipc and cgroup
 * namespaces, the network namespace that the switch made, an overlay over the image as its root,
 * few capabilities, a system call filter. No user namespace: CRIU moves it as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/cell_confine.h"
#include "agent/guest/cell_env.h"
#include "agent/guest/cell_exec.h"
#include "agent/guest/cell_init.h"
#include "agent/guest/cell_netns.h"
#include "agent/guest/cell_root.h"
#include "agent/guest/cell_volumes.h"
#include "agent/guest/guest.h"
#include "agent/guest/start_status_posix.h"
#include "base/clean.h"
#include "base/tree_posix.h"

/* What the starter hands to the cell's first process. */
struct start {
    const struct guest_run *run;
    const struct guest_paths *paths;
    int netns;
    int status; /* write end: READY, or words of failure */
};

static pid_t fork_into_namespaces(void)
{
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP,
        .exit_signal = SIGCHLD,
    };

    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* Moves descriptors to RUN_OUTPUT, RUN_INPUT and RUN_STATUS, /dev/null of the cell to 0, 1, 2. */
static int arrange_descriptors(int status, struct err *err)
{
    int pipes[2], null;

    /* Copies above everything first: a target number may be another one's present number. */
    status = fcntl(status, F_DUPFD, 64);
    if (status < 0 || pipe(pipes) < 0)
        return err_set(err, -errno, "cannot make the guest's output pipe: %s", strerror(errno));
    pipes[0] = fcntl(pipes[0], F_DUPFD, 64);
    pipes[1] = fcntl(pipes[1], F_DUPFD, 64);
    null = open("/dev/null", O_RDWR);
    if (pipes[0] < 0 || pipes[1] < 0 || null < 0)
        return err_set(err, -errno, "cannot open the guest's descriptors: %s", strerror(errno));
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    dup2(pipes[0], RUN_OUTPUT);
    dup2(pipes[1], RUN_INPUT);
    dup2(status, RUN_STATUS);
    if (close_range(RUN_STATUS + 1, ~0U, 0) < 0)
        return err_set(err, -errno, "cannot close descriptors: %s", strerror(errno));
    return 0;
}

/* In the cell's first process; returns only on failure. */
static int become_init(const struct start *start, struct err *err)
{
    const struct guest_spec *spec = &start->run->spec;
    cleanup_free char **env = cell_env_new(spec);
    char ids[CELL_IDS_SIZE];
    char *argv[MAX_ARGUMENTS + CELL_INIT_WORDS + 1] = {(char *)CELL_INIT_PATH, (char *)"run",
                                                       cell_ids_format(spec, ids),
                                                       (char *)cell_directory(spec)};
    int volumes[MAX_VOLUMES], r;

    if (env == NULL || spec->n_argv == 0 || spec->n_argv > MAX_ARGUMENTS)
        return err_set(err, -EINVAL, "guest %s has no command that can be run", spec->name);
    for (uint32_t i = 0; i < spec->n_argv; i++)
        argv[CELL_INIT_WORDS + i] = spec->argv[i];
    r = cell_reset_process(err);
    if (r < 0)
        return r;
    if (setns(start->netns, CLONE_NEWNET) < 0 || sethostname(spec->name, strlen(spec->name)) < 0)
        return err_set(err, -errno, "cannot enter the guest's network: %s", strerror(errno));
    r = cell_volumes_open(start->run, start->paths, volumes, err);
    if (r == 0)
        r = cell_root_enter(start->paths, err);
    if (r == 0)
        r = cell_volumes_mount(start->run, "/", volumes, err);
    if (r == 0)
        r = arrange_descriptors(start->status, err);
    if (r == 0)
        r = cell_confine(err);
    if (r < 0)
        return r;
    execve(CELL_INIT_PATH, argv, env);
    return err_set(err, -errno, "cannot run the guest's init: %s", strerror(errno));
}

/* The descriptor may be where arrange_descriptors put it already. */
static void report_failure(int status, const struct err *err)
{
    if (write(status, err->text, strlen(err->text)) < 0)
        (void)!write(RUN_STATUS, err->text, strlen(err->text));
}

static int start_with(struct start *start, pid_t *ret_pid, struct err *err)
{
    const char *name = start->run->spec.name;
    cleanup_close int read_end = -1, write_end = -1;
    int ends[2], r;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    read_end = ends[0];
    write_end = start->status = ends[1];
    pid = fork_into_namespaces();
    if (pid < 0)
        return err_set(err, -errno, "cannot make the namespaces of guest %s: %s", name,
                       strerror(errno));
    if (pid == 0) {
        struct err failure = {0};

        become_init(start, &failure);
        report_failure(start->status, &failure);
        _exit(127);
    }
    close(steal_fd(&write_end));
    r = start_status_await(read_end, READY, name, err);
    if (r < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return r;
    }
    *ret_pid = pid;
    return 0;
}

/* With a slice the namespace is made by whoever wires the guest. */
static int cell_prepare(const struct guest_run *run, const struct guest_paths *paths,
                        struct err *err)
{
    return run->vni == 0 ? cell_netns_make(paths->netns, err) : 0;
}

static int cell_start(const struct guest_run *run, const struct guest_paths *paths, pid_t *ret_pid,
                      struct err *err)
{
    struct start start = {.run = run, .paths = paths};
    cleanup_close int netns = -1;
    int r = cell_root_prepare(paths, err);

    if (r == 0)
        r = cell_volumes_prepare(run, paths, err);
    if (r == 0)
        r = cell_prepare(run, paths, err);
    if (r < 0)
        return r;
    netns = start.netns = open(paths->netns, O_RDONLY | O_CLOEXEC);
    if (netns < 0)
        return err_set(err, -errno, "guest %s has no network namespace %s: %s", run->spec.name,
                       paths->netns, strerror(errno));
    return start_with(&start, ret_pid, err);
}

static int cell_terminate(pid_t pid, struct err *err)
{
    if (kill(pid, SIGTERM) < 0 && errno != ESRCH)
        return err_set(err, -errno, "cannot ask the guest to end: %s", strerror(errno));
    return 0;
}

/* The guest's own directory goes when nothing is left in it. */
static void remove_above_if_empty(const char *path)
{
    char above[sizeof(((struct guest_paths *)0)->merged)];

    snprintf(above, sizeof(above), "%s", path);
    *strrchr(above, '/') = '\0';
    (void)rmdir(above);
}

static int cell_clean_up(const struct guest_paths *paths, bool keep_upper, struct err *err)
{
    const char *const always[] = {paths->checkpoint, paths->snapshot, paths->merged, paths->work};
    const char *const written[] = {paths->upper, paths->log};
    int r = cell_netns_remove(paths->netns, err);

    umount2(paths->merged, MNT_DETACH | UMOUNT_NOFOLLOW);
    for (size_t i = 0; r == 0 && i < sizeof(always) / sizeof(always[0]); i++)
        r = tree_remove(always[i], err);
    for (size_t i = 0; r == 0 && !keep_upper && i < sizeof(written) / sizeof(written[0]); i++)
        r = tree_remove(written[i], err);
    remove_above_if_empty(paths->merged);
    remove_above_if_empty(paths->upper);
    return r;
}

const struct guest_kind_ops guest_cell_ops = {
    .kind = KIND_CELL,
    .name = "cell",
    .can_exec = true,
    .mover = &mover_criu_ops,
    .start = cell_start,
    .prepare = cell_prepare,
    .terminate = cell_terminate,
    .exec = cell_exec,
    .clean_up = cell_clean_up,
};

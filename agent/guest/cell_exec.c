/* The command is run by a copy of cell-init in a sealed memory file. So the program that enters the
 * cell is never the guard's own: a cell whose /bin/sh is a link to /proc/self/exe gets at a file
 * that nobody can write. And it is no target for ptrace (dumpable 0) until it is confined.
 */
#include "agent/guest/cell_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/cell_confine.h"
#include "agent/guest/cell_env.h"
#include "agent/guest/cell_init.h"
#include "agent/guest/cell_init_image.h"
#include "base/clean.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

enum {
    ALL_NAMESPACES =
        CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP
};

/* What the entering process needs, all made before it exists. */
struct entry {
    int pidfd;  /* of the cell's init */
    int init;   /* sealed copy of cell-init */
    int status; /* where the command's wait status goes; on failure text follows a -1 */
    const int *stdio;
    char **argv; /* of cell-init */
    char **env;
};

static int failed(const char *what, struct err *err)
{
    return err_set(err, -errno, "cannot %s: %s", what, strerror(errno));
}

static int seal_init(int *ret_fd, struct err *err)
{
    size_t size = (size_t)(cell_init_image_end - cell_init_image);
    cleanup_close int fd = memfd_create("cell-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || write(fd, cell_init_image, size) != (ssize_t)size ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return failed("make the program that enters the guest", err);
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* A restored cell has a time namespace of its own; older kernels have none to enter. */
static int enter(int pidfd, struct err *err)
{
    if (setns(pidfd, ALL_NAMESPACES | CLONE_NEWTIME) == 0)
        return 0;
    if (errno == EINVAL && setns(pidfd, ALL_NAMESPACES) == 0)
        return 0;
    return failed("enter the guest", err);
}

/* In the cell; returns only on failure. */
static int become_command(const struct entry *entry, struct err *err)
{
    int copies[3], r;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != 0) /* the parent is outside of this pid namespace, as long as it lives */
        return err_set(err, -ECANCELED, "cancelled");
    for (int i = 0; i < 3; i++)
        copies[i] = fcntl(entry->stdio[i], F_DUPFD_CLOEXEC, 64);
    for (int i = 0; i < 3; i++) {
        if (copies[i] < 0 || dup2(copies[i], i) < 0)
            return failed("hand over the command's descriptors", err);
    }
    r = chdir("/") < 0 ? failed("enter the guest's root", err) : cell_reset_process(err);
    if (r == 0)
        r = cell_confine(err);
    if (r < 0)
        return r;
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        return failed("close descriptors", err);
    syscall(SYS_execveat, entry->init, "", entry->argv, entry->env, AT_EMPTY_PATH);
    return failed("run the program that enters the guest", err);
}

static void report(int fd, int status, const char *text)
{
    (void)!write(fd, &status, sizeof(status));
    if (status < 0)
        (void)!write(fd, text, strlen(text));
}

/* Between the caller and the command: its children are born in the cell's pid namespace. */
static int run_between(const struct entry *entry, struct err *err)
{
    int status = -1, r;
    pid_t pid;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    r = enter(entry->pidfd, err);
    if (r < 0)
        return r;
    pid = fork();
    if (pid < 0)
        return failed("fork into the guest", err);
    if (pid == 0) {
        struct err failure = {0};

        become_command(entry, &failure);
        report(entry->status, -1, failure.text);
        _exit(125);
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return failed("wait for the command", err);
    }
    report(entry->status, status, "");
    return 0;
}

static int read_report(int fd, int *ret_status, struct err *err)
{
    char text[ERR_TEXT_SIZE] = {0};
    int status;

    if (read(fd, &status, sizeof(status)) != (ssize_t)sizeof(status))
        return err_set(err, -ECHILD, "the command ended together with its guest");
    if (status < 0) {
        if (read(fd, text, sizeof(text) - 1) < 0)
            text[0] = '\0';
        return err_set(err, -ENOEXEC, "%s", text);
    }
    *ret_status = status;
    return 0;
}

static int run_entry(struct entry *entry, int *ret_status, struct err *err)
{
    cleanup_close int read_end = -1, write_end = -1;
    int ends[2], r;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return failed("make a pipe", err);
    read_end = ends[0];
    write_end = entry->status = ends[1];
    pid = fork();
    if (pid < 0)
        return failed("fork", err);
    if (pid == 0) {
        struct err failure = {0};

        if (run_between(entry, &failure) < 0)
            report(entry->status, -1, failure.text);
        _exit(0);
    }
    close(steal_fd(&write_end));
    r = read_report(read_end, ret_status, err);
    waitpid(pid, NULL, 0);
    return r;
}

int cell_exec(pid_t pid, const struct guest_run *run, char *const argv[], const int stdio[3],
              int *ret_status, struct err *err)
{
    char ids[CELL_IDS_SIZE];
    char *init_argv[MAX_ARGUMENTS + CELL_INIT_WORDS + 1] = {(char *)"init", (char *)"exec",
                                                            cell_ids_format(&run->spec, ids),
                                                            (char *)cell_directory(&run->spec)};
    cleanup_free char **env = cell_env_new(&run->spec);
    cleanup_close int pidfd = pidfd_open(pid, 0), init = -1;
    struct entry entry = {.stdio = stdio, .argv = init_argv, .env = env};
    size_t n = 0;
    int r;

    while (argv[n] != NULL && n < MAX_ARGUMENTS) {
        init_argv[CELL_INIT_WORDS + n] = argv[n];
        n++;
    }
    if (env == NULL || n == 0 || argv[n] != NULL)
        return err_set(err, -EINVAL, "no command that could be run in guest %s", run->spec.name);
    if (pidfd < 0)
        return err_set(err, -errno, "guest %s does not run", run->spec.name);
    r = seal_init(&init, err);
    if (r < 0)
        return r;
    entry.pidfd = pidfd;
    entry.init = init;
    return run_entry(&entry, ret_status, err);
}

#include "agent/guest/keeper_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/start_status_posix.h"
#include "base/clean.h"

/* The run for the program to read, in a memory file. */
static int write_run(const struct guest_run *run, int *ret_fd, struct err *err)
{
    cleanup_close int fd = memfd_create("run", MFD_CLOEXEC);
    struct writer w;
    int rc = 0;

    writer_init_growing(&w, KEEPER_RUN_MAX);
    guest_run_encode(run, &w);
    if (w.failed || fd < 0 || write(fd, w.data, w.size) != (ssize_t)w.size ||
        lseek(fd, 0, SEEK_SET) < 0)
        rc = err_set(err, -EIO, "cannot hand over what is to run");
    writer_deinit(&w);
    if (rc == 0)
        *ret_fd = steal_fd(&fd);
    return rc;
}

static void list_cpus(const struct guest_run *run, char *ret, size_t size)
{
    size_t used = 0;

    ret[0] = '\0';
    for (uint32_t i = 0; i < run->n_cores && used < size; i++)
        used += (size_t)snprintf(ret + used, size - used, "%s%u", i > 0 ? "," : "", run->cpus[i]);
}

int keeper_find(const char *program, char ret[KEEPER_PATH_SIZE], struct err *err)
{
    ssize_t n = readlink("/proc/self/exe", ret, KEEPER_PATH_SIZE - strlen(program) - 1);
    char *slash;

    if (n <= 0)
        return err_set(err, -errno, "cannot find %s: %s", program, strerror(errno));
    ret[n] = '\0';
    slash = strrchr(ret, '/');
    strcpy(slash + 1, program);
    return access(ret, X_OK) == 0
               ? 0
               : err_set(err, -ENOTSUP, "%s is not there: this node runs no such guests", ret);
}

/* `fds`: what becomes KEEPER_RUN and those after it; -1 ends them. */
static void become_keeper(const char *path, const char *what, const struct guest_run *run,
                          int fds[3])
{
    char cpus[CPUS_TEXT_SIZE], *const env[] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    char *const argv[] = {(char *)path, (char *)what, (char *)run->shared_cpus, cpus, NULL};
    sigset_t none;
    int n = 0;

    list_cpus(run, cpus, sizeof(cpus));
    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 0; i < 3; i++)
        fds[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD, 64);
    for (; n < 3 && fds[n] >= 0; n++)
        dup2(fds[n], KEEPER_RUN + n);
    close_range((unsigned int)(KEEPER_RUN + n), ~0U, 0);
    execve(path, argv, env);
    (void)!write(KEEPER_STATUS, "cannot run it", 13);
    _exit(127);
}

int keeper_start(const char *program, const char *what, const struct guest_run *run, int stream,
                 pid_t *ret_pid, struct err *err)
{
    cleanup_close int run_fd = -1, read_end = -1, write_end = -1;
    char path[KEEPER_PATH_SIZE];
    int ends[2], rc = keeper_find(program, path, err);
    pid_t pid;

    if (rc == 0)
        rc = write_run(run, &run_fd, err);
    if (rc < 0)
        return rc;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    read_end = ends[0];
    write_end = ends[1];
    pid = fork();
    if (pid < 0)
        return err_set(err, -errno, "cannot fork: %s", strerror(errno));
    if (pid == 0)
        become_keeper(path, what, run, (int[]){run_fd, write_end, stream});
    close(steal_fd(&write_end));
    rc = start_status_await(read_end, KEEPER_READY, run->spec.name, err);
    if (rc < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return rc;
    }
    *ret_pid = pid;
    return 0;
}

int keeper_become(const char *program, const char *what, const struct guest_run *run, int third,
                  struct err *err)
{
    cleanup_close int run_fd = -1, nobody = open("/dev/null", O_WRONLY | O_CLOEXEC);
    char path[KEEPER_PATH_SIZE];
    int rc = keeper_find(program, path, err);

    if (rc == 0)
        rc = write_run(run, &run_fd, err);
    if (rc == 0 && nobody < 0)
        rc = err_set(err, -errno, "cannot open /dev/null: %s", strerror(errno));
    if (rc == 0)
        become_keeper(path, what, run, (int[]){run_fd, nobody, third});
    return rc;
}

int keeper_terminate(pid_t pid, struct err *err)
{
    if (kill(pid, SIGTERM) < 0 && errno != ESRCH)
        return err_set(err, -errno, "cannot ask the guest to end: %s", strerror(errno));
    return 0;
}

int keeper_read_run(int argc, char *argv[], struct guest_run *ret, struct err *err)
{
    static uint8_t bytes[KEEPER_RUN_MAX];
    ssize_t n = read(KEEPER_RUN, bytes, sizeof(bytes));
    struct reader r;
    char *at = argc == 4 ? argv[3] : NULL;

    if (n <= 0 || at == NULL)
        return err_set(err, -EINVAL, "%s is started by skein-guard", argv[0]);
    reader_init(&r, bytes, (size_t)n);
    if (guest_run_decode(&r, ret) < 0)
        return err_set(err, -EBADMSG, "what is to run cannot be read");
    snprintf(ret->shared_cpus, sizeof(ret->shared_cpus), "%s", argv[2]);
    for (uint32_t i = 0; i < ret->n_cores; i++) {
        ret->cpus[i] = (uint16_t)strtoul(at, &at, 10);
        at += *at == ',';
    }
    return 0;
}

int keeper_watch_signals(int *ret_fd, struct err *err)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    *ret_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return *ret_fd < 0 ? err_set(err, -errno, "no signalfd: %s", strerror(errno)) : 0;
}

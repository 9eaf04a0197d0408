#include "agent/guard/health_posix.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clean.h"

enum { MAX_PROCESSES = 32768 };

/* ---- tcp */

static int failed_tcp(const struct health_probe *probe, int error, struct err *err)
{
    return err_set(err, -EREMOTEIO, "tcp:%u: %s", probe->port, strerror(error));
}

static int wait_connected(const struct health_probe *probe, int fd, struct err *err)
{
    struct pollfd out = {.fd = fd, .events = POLLOUT};
    int n = poll(&out, 1, (int)probe->timeout_ms), error = 0;
    socklen_t size = sizeof(error);

    if (n == 0)
        return err_set(err, -EREMOTEIO, "tcp:%u: no answer within %u ms", probe->port,
                       probe->timeout_ms);
    if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    return error == 0 ? 0 : failed_tcp(probe, error, err);
}

int health_probe_tcp(const struct health_probe *probe, struct err *err)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(probe->port),
                             .sin_addr.s_addr =
                                 htonl(probe->ip != 0 ? probe->ip : INADDR_LOOPBACK)};
    cleanup_close int ns = open(probe->netns, O_RDONLY | O_CLOEXEC), fd = -1;

    if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
        return err_set(err, -ENOENT, "cannot enter its network: %s", strerror(errno));
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(err, -errno, "no socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return 0;
    return errno == EINPROGRESS ? wait_connected(probe, fd, err) : failed_tcp(probe, errno, err);
}

/* ---- exec */

int health_probe_fork(int ret_fds[3], pid_t *ret_child, struct err *err)
{
    pid_t parent = getpid();

    for (int i = 0; i < 3; i++)
        ret_fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    *ret_child = ret_fds[0] < 0 || ret_fds[1] < 0 || ret_fds[2] < 0 ? -1 : fork();
    if (*ret_child < 0)
        return err_set(err, -EAGAIN, "no process for the check: %s", strerror(errno));
    if (*ret_child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(HEALTH_NOT_RUN);
    }
    return 0;
}

struct process {
    pid_t pid, parent;
    bool is_marked;
};

static pid_t parent_of(pid_t pid)
{
    char path[32], text[512];
    cleanup_close int fd = -1;
    const char *behind;
    ssize_t n;
    int parent;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    behind = strrchr(text, ')');
    return behind != NULL && sscanf(behind + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

static size_t list_processes(struct process *ret)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    size_t n = 0;

    while (dir != NULL && n < MAX_PROCESSES && (entry = readdir(dir)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        ret[n].pid = (pid_t)strtol(entry->d_name, NULL, 10);
        ret[n].parent = parent_of(ret[n].pid);
        n++;
    }
    if (dir != NULL)
        closedir(dir);
    return n;
}

/* True when a further process was found to descend from a marked one. */
static bool mark_children(struct process *list, size_t n, pid_t root)
{
    bool found = false;

    for (size_t i = 0; i < n; i++) {
        bool descends = list[i].pid == root;

        for (size_t k = 0; !list[i].is_marked && !descends && k < n; k++)
            descends = list[k].is_marked && list[k].pid == list[i].parent;
        found = found || (descends && !list[i].is_marked);
        list[i].is_marked = list[i].is_marked || descends;
    }
    return found;
}

/* The command is in a session of its own, and its children know no other bond. They are all killed
 * before the child is: then none has been given to another parent. */
static void kill_all(pid_t child)
{
    struct process *list = calloc(MAX_PROCESSES, sizeof(*list));
    size_t n = list != NULL ? list_processes(list) : 0;

    while (mark_children(list, n, child))
        ;
    for (size_t i = 0; i < n; i++) {
        if (list[i].is_marked && list[i].pid != child)
            kill(list[i].pid, SIGKILL);
    }
    kill(child, SIGKILL);
    free(list);
}

int health_probe_wait(const struct health_probe *probe, pid_t child, struct err *err)
{
    cleanup_close int pidfd = pidfd_open(child, 0);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    int n = pidfd < 0 ? -1 : poll(&ended, 1, (int)probe->timeout_ms), status = 0;

    /* What is frozen meanwhile dies when it is thawed: it is not waited for, but left to the reaper
     * of this process. */
    if (n != 1) {
        kill_all(child);
        return n == 0 ? err_set(err, -EREMOTEIO, "exec: it did not end within %u ms",
                                probe->timeout_ms)
                      : err_set(err, -EAGAIN, "cannot wait for the check");
    }
    if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        return err_set(err, -EAGAIN, "the check was ended by somebody else");
    if (WEXITSTATUS(status) == HEALTH_NOT_RUN)
        return err_set(err, -EAGAIN, "the check could not be run in the guest");
    if (WEXITSTATUS(status) != 0)
        return err_set(err, -EREMOTEIO, "exec: it ended with status %d", WEXITSTATUS(status));
    return 0;
}

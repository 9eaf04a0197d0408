#include "migrate/run_criu.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG "%s.log"

enum { PRELOADED = 200, GATE = 201 }; /* descriptors, out of the way of criu's own */

/* conntrack_criu.c, lazy_poll_criu.c and sockopt_criu.c; gate_criu.c; compiled */
extern const uint8_t preloaded_image[], preloaded_image_end[];
extern const uint8_t gate_image[], gate_image_end[];

/* A file that only this process tree has, at `to` or above. */
static int own_file(const char *name, const void *content, size_t size, int to)
{
    int fd = memfd_create(name, MFD_EXEC), copy;

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 all of them are */
        fd = memfd_create(name, 0);
    copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD, to);
    if (fd >= 0)
        close(fd);
    return copy >= 0 && write(copy, content, size) == (ssize_t)size ? copy : -1;
}

/* Of a dump, and of lazy-pages: what else criu does is about the node too. Without the library it
 * still moves what has no sockets, so failing is not worth an error. */
static int preloaded_file(const char *what)
{
    if (strcmp(what, "dump") != 0 && strcmp(what, "lazy-pages") != 0)
        return -1;
    return own_file("preloaded", preloaded_image, (size_t)(preloaded_image_end - preloaded_image),
                    PRELOADED);
}

static void preload(const struct criu_run *run, char *ret_variable, size_t size)
{
    int n = snprintf(ret_variable, size, "LD_PRELOAD="), fd = preloaded_file(run->what);

    if (fd >= 0)
        n += snprintf(ret_variable + n, size - (size_t)n, "/proc/self/fd/%d:", fd);
    if (run->gate == NULL && !run->is_held)
        return;
    fd = own_file("gate", gate_image, (size_t)(gate_image_end - gate_image), GATE);
    if (fd < 0)
        _exit(1); /* nobody would say that it is there */
    snprintf(ret_variable + n, size - (size_t)n, "/proc/self/fd/%d", fd);
}

/* They become 3, 4 ..., in this order; 0 or less: there is none. */
static void keep_only(const int *kept, int n)
{
    int copies[5];

    assert(n <= 5);
    for (int i = 0; i < n; i++)
        copies[i] = kept[i] > 0 ? fcntl(kept[i], F_DUPFD, 64) : -1;
    for (int i = 0; i < n; i++) {
        if (copies[i] < 0 || dup2(copies[i], 3 + i) < 0)
            close(3 + i);
    }
    close_range(3 + (unsigned)n, ~0U, 0);
}

static void become_criu(const struct criu_run *run)
{
    char log[32];
    char preloaded[64], gate[300];
    const char *environment[5] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", preloaded};
    const char *argv[CRIU_MAX_ARGUMENTS + 10] = {
        "criu", run->what, "--images-dir", run->directory, "--log-file", log, "-v1"};
    const int kept[] = {run->inherited, run->says_ready, run->presence, run->go, run->terminal};
    int null = open("/dev/null", O_RDWR), n = 7, n_variables = 2;

    snprintf(log, sizeof(log), LOG, run->what);
    for (int i = 0; run->arguments[i] != NULL; i++)
        argv[n++] = run->arguments[i];
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    keep_only(kept, sizeof(kept) / sizeof(kept[0]));
    preload(run, preloaded, sizeof(preloaded));
    snprintf(gate, sizeof(gate), "SKEIN_GATE=%s", run->gate != NULL ? run->gate : "");
    if (run->gate != NULL)
        environment[n_variables++] = gate;
    if (run->is_held)
        environment[n_variables++] = "SKEIN_HELD=1";
    signal(SIGPIPE, SIG_DFL);
    setsid();
    execve("/usr/sbin/criu", (char *const *)argv, (char *const *)environment);
    _exit(127);
}

/* The first error that means something: "(00.1234) Error (criu/x.c:12): words" -> "words". Without
 * CAP_SYS_RESOURCE criu complains of a limit that it then does without. */
static void find_reason(const struct criu_run *run, char *ret, size_t size)
{
    char path[512], line[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/" LOG, run->directory, run->what);
    snprintf(ret, size, "it gave no reason");
    file = fopen(path, "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *error = strstr(line, "Error ("), *words;

        if (error == NULL || strstr(error, "RLIMIT_NOFILE") != NULL)
            continue;
        words = strstr(error, "): ");
        snprintf(ret, size, "%.160s", words != NULL ? words + 3 : error);
        ret[strcspn(ret, "\n")] = '\0';
        break;
    }
    fclose(file);
}

void criu_add_argument(struct criu_run *run, const char *argument)
{
    int n = 0;

    while (run->arguments[n] != NULL)
        n++;
    assert(n < CRIU_MAX_ARGUMENTS - 1);
    run->arguments[n] = argument;
}

int criu_start(struct criu_run *run, struct err *err)
{
    run->pid = fork();
    if (run->pid < 0)
        return err_set(err, -errno, "cannot fork: %s", strerror(errno));
    if (run->pid == 0)
        become_criu(run);
    run->has_ended = false;
    return 0;
}

int criu_start_at_gate(struct criu_run *run, int *ret_ready, int *ret_go, struct err *err)
{
    int ready[2], go[2], r;

    if (pipe2(ready, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    *ret_ready = ready[0];
    run->says_ready = ready[1];
    r = pipe2(go, O_CLOEXEC) < 0 ? err_set(err, -errno, "cannot make a pipe: %s", strerror(errno))
                                 : 0;
    if (r == 0) {
        *ret_go = go[1];
        run->go = go[0];
        r = criu_start(run, err);
        close(go[0]);
    }
    close(ready[1]);
    return r;
}

bool criu_is_ready(int ready)
{
    struct pollfd fd = {.fd = ready, .events = POLLIN};

    return poll(&fd, 1, 0) == 1 && (fd.revents & POLLIN) != 0;
}

static void wait_for(struct criu_run *run, int flags)
{
    pid_t pid = 0;

    while (!run->has_ended && (pid = waitpid(run->pid, &run->status, flags)) < 0 && errno == EINTR)
        ;
    if (pid != 0)
        run->has_ended = true;
    if (pid < 0)
        run->status = -1;
}

bool criu_has_ended(struct criu_run *run)
{
    wait_for(run, WNOHANG);
    return run->has_ended;
}

int criu_finish(struct criu_run *run, struct err *err)
{
    char reason[200];

    wait_for(run, 0);
    if (WIFEXITED(run->status) && WEXITSTATUS(run->status) == 0)
        return 0;
    if (WIFEXITED(run->status) && WEXITSTATUS(run->status) == 127)
        return err_set(err, -ENOENT, "there is no /usr/sbin/criu: install the package criu");
    find_reason(run, reason, sizeof(reason));
    return err_set(err, -ENOTSUP, "criu %s failed: %s", run->what, reason);
}

bool criu_needs_warming(struct criu_run *run, const char *directory)
{
    *run = (struct criu_run){.what = "check", .directory = directory, .inherited = -1};
    return access("/run/criu.kdat", F_OK) < 0;
}

int criu_run(struct criu_run *run, struct err *err)
{
    int r = criu_start(run, err);

    return r < 0 ? r : criu_finish(run, err);
}

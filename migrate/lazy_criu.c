#include "migrate/lazy_criu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"
#include "migrate/freezer_cgroup.h"
#include "migrate/presence_posix.h"
#include "migrate/relay_posix.h"

#define PIPE_LIMIT "/proc/sys/fs/pipe-max-size"

#define ITS_SOCKET "3" /* to the relay, in criu lazy-pages: what it inherits (run_criu.h) */

enum { PIPE_NEEDED = 4 * 1024 * 1024, MAX_FAULTS = 256, FAULTS_MS = 50, PROGRESS_MS = 100 };

int lazy_make_room(struct err *err)
{
    cleanup_close int fd = open(PIPE_LIMIT, O_RDWR | O_CLOEXEC);
    char text[32] = "";
    int n;

    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && atol(text) >= PIPE_NEEDED)
        return 0;
    n = snprintf(text, sizeof(text), "%d", PIPE_NEEDED);
    if (fd < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return err_set(err, -ENOTSUP,
                       "post-copy needs a node-wide limit: sysctl fs.pipe-max-size=%d",
                       PIPE_NEEDED);
    return 0;
}

/* ---- source */

/* criu ends the dump, and lets go of the guest, when its socket ends: that is waited for. */
static void await_near(int near)
{
    struct pollfd fd = {.fd = near, .events = POLLIN};
    char rest[4096];

    shutdown(near, SHUT_WR);
    while (poll(&fd, 1, LAZY_END_MS) == 1 && read(near, rest, sizeof(rest)) > 0)
        ;
}

struct serving {
    struct relay relay;
    struct progress progress;
};

static void tell_progress(void *context)
{
    struct serving *s = context;
    uint64_t total = s->progress.value.total_bytes;

    /* A page that ends what was asked for is sent once more (read_ahead.h). */
    progress_tell(&s->progress, s->relay.n_out < total ? s->relay.n_out : total);
}

static void serve(struct serving *s)
{
    s->relay.each = tell_progress;
    s->relay.context = s;
    relay_run(&s->relay);
    tell_progress(s);
    close(s->relay.far);
    await_near(s->relay.near);
    _exit(0);
}

int lazy_serve(const struct mover_guest *guest, const struct mover_paths *paths, int near, int far,
               uint32_t rate_kbps, const struct progress *progress, struct err *err)
{
    cleanup_close int stop = presence_begin(paths->server, err);
    const int kept[] = {near, far, stop, progress->fd};
    struct serving serving = {.relay = {.near = near,
                                        .far = far,
                                        .stop = stop,
                                        .rate_kbps = rate_kbps,
                                        .interval_ms = PROGRESS_MS},
                              .progress = *progress};
    pid_t pid;

    if (stop < 0)
        return stop;
    pid = presence_fork(kept, 4);
    if (pid == 0)
        serve(&serving);
    return pid < 0 ? err_set(err, -errno, "no process to give out the memory of guest %s: %s",
                             guest->name, strerror(errno))
                   : 0;
}

/* ---- target */

struct fetching {
    const struct mover_guest *guest;
    const struct mover_paths *paths;
    struct criu_run run;
    int near, far, stop;
    int pidfd;              /* of run */
    int faults[MAX_FAULTS]; /* copies of run's userfaultfds, by their number there; -1 */
};

/* The same file, by a descriptor here and a path there. */
static bool is_copy(int fd, const char *path)
{
    struct stat own, its;

    return fstat(fd, &own) == 0 && stat(path, &its) == 0 && own.st_ino == its.st_ino;
}

/* As long as there is a copy of them a page that is missing is waited for, whatever becomes of
 * criu. What criu itself has closed is done with, or forked and gone: nobody would hear of it any
 * more, and what waits there would wait for ever. */
static void follow_fault(struct fetching *f, int number)
{
    char path[64], target[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", f->run.pid, number);
    n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    if (f->faults[number] >= 0 && !is_copy(f->faults[number], path)) {
        snprintf(path, sizeof(path), "/proc/%d/fd/" ITS_SOCKET, f->run.pid);
        if (access(path, F_OK) < 0)
            return; /* it has died: all of them are closed */
        close(f->faults[number]);
        f->faults[number] = -1;
    }
    if (f->faults[number] < 0 && strcmp(target, "anon_inode:[userfaultfd]") == 0)
        f->faults[number] = (int)syscall(SYS_pidfd_getfd, f->pidfd, number, 0);
}

static void hold_faults(void *context)
{
    struct fetching *f = context;

    for (int number = 0; number < MAX_FAULTS; number++)
        follow_fault(f, number);
}

static const char *words_of(enum relay_end end)
{
    switch (end) {
    case RELAY_NEAR_ENDED:
        break; /* criu itself has them */
    case RELAY_FAR_ENDED:
        return "the source gives out no more of its memory";
    case RELAY_STOPPED:
        return "the transfer of its memory was called off";
    case RELAY_SILENT:
        return "the source does not answer for its memory";
    case RELAY_GARBLED:
        return "what the source says of its memory is not understood";
    }
    return "";
}

/* The guest must not run a moment without what holds back its missing pages. */
static void give_up(struct fetching *f, const char *why)
{
    presence_leave_word(f->paths->verdict, why);
    while (freezer_kill(f->guest->freezer, NULL) < 0)
        nanosleep(&(struct timespec){.tv_nsec = 100 * 1000000}, NULL);
    (void)syscall(SYS_pidfd_send_signal, f->pidfd, SIGKILL, NULL, 0);
    (void)criu_finish(&f->run, NULL);
    _exit(1);
}

/* The source says good-bye first. If that was not the end, criu waits for pages: it is not told. */
static bool has_ended(const struct fetching *f, enum relay_end end)
{
    struct pollfd ended = {.fd = f->pidfd, .events = POLLIN};

    return end == RELAY_NEAR_ENDED ||
           (end == RELAY_FAR_ENDED && poll(&ended, 1, LAZY_GOODBYE_MS) == 1);
}

static void fetch(struct fetching *f)
{
    struct relay relay = {.near = f->near,
                          .far = f->far,
                          .stop = f->stop,
                          .page_size = (size_t)sysconf(_SC_PAGESIZE),
                          .silence_ms = LAZY_SILENCE_MS,
                          .interval_ms = FAULTS_MS,
                          .each = hold_faults,
                          .context = f};
    enum relay_end end = relay_run(&relay);
    struct err err;

    if (!has_ended(f, end))
        give_up(f, words_of(end));
    if (criu_finish(&f->run, &err) < 0)
        give_up(f, end == RELAY_NEAR_ENDED ? err.text : words_of(end));
    presence_leave_word(f->paths->verdict, "");
    _exit(0);
}

/* At its gate, and then ready for a restore. */
static bool await_ready(int ready)
{
    char byte;

    return read(ready, &byte, 1) == 1 && read(ready, &byte, 1) == 1;
}

/* criu lazy-pages, which passes its gate when the other end of `go` says so. */
static int start_daemon(struct fetching *f, int its_end, int go, struct err *err)
{
    int ready[2], r;

    if (pipe2(ready, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    f->run = (struct criu_run){
        .what = "lazy-pages",
        .directory = f->paths->images,
        .inherited = its_end,
        .gate = CRIU_FIRST_IMAGE,
        .says_ready = ready[1],
        .go = go,
        .arguments = {"--page-server", "--ps-socket", ITS_SOCKET, "--status-fd", "4"},
    };
    r = criu_start(&f->run, err);
    close(ready[1]);
    if (r == 0 && !await_ready(ready[0])) {
        r = criu_finish(&f->run, err);
        r = r < 0 ? r : err_set(err, -EIO, "criu lazy-pages has ended at once");
    }
    close(ready[0]);
    if (r == 0)
        f->pidfd = (int)syscall(SYS_pidfd_open, f->run.pid, 0);
    return r;
}

/* In the process that fetches; what became of the start is told through `told`. */
static void begin_to_fetch(struct fetching *f, int its_end, int go, int told)
{
    struct err failure = {0};

    if (start_daemon(f, its_end, go, &failure) < 0)
        failure.code = failure.code < 0 ? failure.code : -EIO;
    close(its_end);
    close(go);
    (void)!write(told, &failure, sizeof(failure));
    close(told);
    if (failure.code < 0)
        _exit(1);
    fetch(f);
}

static int make_pipes(int ret_pair[2], int ret_go[2], int ret_told[2], struct err *err)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_pair) < 0 ||
        pipe2(ret_go, O_CLOEXEC) < 0 || pipe2(ret_told, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a socket pair: %s", strerror(errno));
    return 0;
}

int lazy_stand_by(const struct mover_guest *guest, const struct mover_paths *paths, int far,
                  struct lazy_fetcher *ret, struct err *err)
{
    cleanup_close int stop = presence_begin(paths->pager, err);
    struct fetching f = {.guest = guest, .paths = paths, .far = far, .stop = stop, .pidfd = -1};
    int pair[2], go[2], told[2];
    pid_t pid;
    int r;

    if (stop < 0)
        return stop;
    for (int i = 0; i < MAX_FAULTS; i++)
        f.faults[i] = -1;
    r = make_pipes(pair, go, told, err);
    if (r < 0)
        return r;
    f.near = pair[0];
    pid = presence_fork((const int[]){pair[0], pair[1], go[0], far, stop, told[1]}, 6);
    if (pid == 0)
        begin_to_fetch(&f, pair[1], go[0], told[1]);
    close(told[1]);
    close(go[0]);
    close(pair[0]);
    close(pair[1]);
    *ret = (struct lazy_fetcher){.go = go[1], .told = told[0]};
    return pid < 0 ? err_set(err, -errno, "cannot fork: %s", strerror(errno)) : 0;
}

int lazy_fetch(struct lazy_fetcher *fetcher, struct err *err)
{
    struct err failure = {0};

    (void)!write(fetcher->go, "\n", 1);
    if (read(fetcher->told, &failure, sizeof(failure)) != (ssize_t)sizeof(failure))
        failure = (struct err){-ECHILD, "the process that fetches the guest's memory died"};
    lazy_cancel(fetcher);
    return failure.code < 0 ? err_set(err, failure.code, "%s", failure.text) : 0;
}

void lazy_cancel(struct lazy_fetcher *fetcher)
{
    char rest;

    if (fetcher->go < 0)
        return;
    close(steal_fd(&fetcher->go));
    while (read(fetcher->told, &rest, 1) == 1) /* until nobody has its other end */
        ;
    close(steal_fd(&fetcher->told));
}

bool lazy_is_awaited(const struct mover_paths *paths)
{
    return access(paths->pager, F_OK) == 0;
}

int lazy_await(const struct mover_paths *paths, struct err *err)
{
    char text[PRESENCE_WORD_SIZE];

    if (!lazy_is_awaited(paths))
        return 0;
    (void)presence_wait(paths->pager, false, -1, NULL);
    if (!presence_read_word(paths->verdict, text))
        return err_set(err, -EREMOTEIO, "the process that fetched its memory died");
    return text[0] == '\0' ? 0 : err_set(err, -EREMOTEIO, "%s", text);
}

int lazy_end(const struct mover_paths *paths, struct err *err)
{
    int r = presence_wait(paths->server, true, LAZY_END_MS + 1000, err);

    return r < 0 ? r : presence_wait(paths->pager, true, LAZY_END_MS + 1000, err);
}

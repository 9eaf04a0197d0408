#include "migrate/standstill_criu.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clean.h"
#include "migrate/freezer_cgroup.h"
#include "migrate/mover_criu.h"
#include "migrate/presence_posix.h"

enum { END_LIMIT_MS = 10000, WAKE_EVERY_MS = 20 };

static int path_of(const struct mover_guest *guest, char ret[SNAPSHOT_PATH_SIZE], struct err *err)
{
    if (snprintf(ret, SNAPSHOT_PATH_SIZE, "%s/dumper", guest->snapshot) >= SNAPSHOT_PATH_SIZE)
        return err_set(err, -ENAMETOOLONG, "the paths of guest %s are too long", guest->name);
    return 0;
}

int standstill_await(const struct mover_guest *guest, struct err *err)
{
    char path[SNAPSHOT_PATH_SIZE];
    int r = path_of(guest, path, err);

    return r < 0 ? r : presence_wait(path, false, END_LIMIT_MS, err);
}

int standstill_prepare(struct standstill *s, const struct mover_guest *guest, struct criu_run *run,
                       struct err *err)
{
    int r = path_of(guest, s->path, err);

    s->watched = -1;
    if (r == 0)
        r = standstill_await(guest, err);
    if (r < 0)
        return r;
    (void)unlink(s->path);
    run->presence = presence_begin(s->path, err);
    return run->presence < 0 ? run->presence : 0;
}

/* ---- who watches */

static bool has_ended(int criu, int limit_ms)
{
    struct pollfd ended = {.fd = criu, .events = POLLIN};

    return poll(&ended, 1, limit_ms) > 0;
}

/* Until then, or until the job says that it is over, or says nothing more. */
static void watch_until(int job, uint64_t until_us)
{
    struct pollfd over = {.fd = job, .events = POLLIN};
    uint64_t now_us;

    while ((now_us = mover_now_us()) < until_us) {
        if (poll(&over, 1, (int)((until_us - now_us + 999) / 1000)) > 0)
            return;
    }
}

/* criu leads a group of its own; its number is its own as long as it has not ended. */
static void watch(int job, pid_t pid, int criu, const char *freezer)
{
    uint64_t us = 0;
    bool begins = recv(job, &us, sizeof(us), 0) == sizeof(us);

    if (begins)
        watch_until(job, us);
    while (!has_ended(criu, 0)) {
        kill(-pid, SIGCONT);
        (void)has_ended(criu, WAKE_EVERY_MS);
    }
    if (begins)
        (void)freezer_thaw(freezer, NULL);
    us = mover_now_us();
    (void)!send(job, &us, sizeof(us), MSG_NOSIGNAL);
    _exit(0);
}

int standstill_watch(struct standstill *s, const struct mover_guest *guest, struct criu_run *run,
                     struct err *err)
{
    cleanup_close int criu = (int)syscall(SYS_pidfd_open, run->pid, 0);
    cleanup_close int presence = run->presence;
    int pair[2];

    run->presence = 0;
    if (criu < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "nobody can watch how long the guest stands still: %s",
                       strerror(errno));
    s->watcher = presence_fork((const int[]){pair[1], criu, presence}, 3);
    if (s->watcher == 0)
        watch(pair[1], run->pid, criu, guest->freezer);
    close(pair[1]);
    if (s->watcher < 0) {
        close(pair[0]);
        return err_set(err, -EAGAIN, "no process to watch how long the guest stands still");
    }
    s->watched = pair[0];
    return 0;
}

/* ---- who is watched */

void standstill_begins(const struct standstill *s, uint64_t until_us)
{
    (void)!send(s->watched, &until_us, sizeof(until_us), MSG_NOSIGNAL);
}

uint64_t standstill_end(struct standstill *s)
{
    uint64_t thawed_us = 0;

    if (s->watched >= 0) {
        shutdown(s->watched, SHUT_WR);
        if (recv(s->watched, &thawed_us, sizeof(thawed_us), 0) != sizeof(thawed_us))
            thawed_us = 0;
        close(steal_fd(&s->watched));
        while (waitpid(s->watcher, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    (void)unlink(s->path);
    return thawed_us;
}

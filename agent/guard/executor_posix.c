#include "agent/guard/executor_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guard/packet_posix.h"
#include "base/log.h"

enum { RESULT_MAX = 512 };

/* The executor's own side. */
struct room {
    const struct executor_config *config;
    int fd;        /* to the guard */
    int signal_fd; /* SIGCHLD */
    struct {
        uint32_t id; /* 0 = free */
        pid_t pid;
    } jobs[EXECUTOR_MAX_JOBS + 1];
    uint8_t packet[GUARD_PACKET_MAX];
};

int32_t executor_status_of_wait(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static void send_result(int fd, const struct job_result *result)
{
    uint8_t bytes[RESULT_MAX];
    struct writer w;

    writer_init(&w, bytes, sizeof(bytes));
    job_result_encode(result, &w);
    if (packet_send(fd, w.data, w.size, NULL, 0) < 0)
        _exit(1); /* the guard is gone */
}

static void close_fds(const struct job *job)
{
    for (int i = 0; i < GUARD_MAX_FDS; i++) {
        if (job->fds[i] >= 0)
            close(job->fds[i]);
    }
}

static void run_and_answer(struct room *room, struct job *job)
{
    struct job_result result = {.id = job->id};

    room->config->run(room->config->context, job, &result);
    send_result(room->fd, &result);
}

/* In the job's process: a group of its own, so that it can be ended with all that it started. */
static void become_job(void)
{
    sigset_t none;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void fork_job(struct room *room, struct job *job)
{
    struct job_result failed = {.id = job->id, .code = -EAGAIN};
    int place = 0;
    pid_t pid;

    while (place < EXECUTOR_MAX_JOBS && room->jobs[place].id != 0)
        place++;
    pid = fork();
    if (pid == 0) {
        close(room->signal_fd);
        become_job();
        run_and_answer(room, job);
        _exit(0);
    }
    if (pid < 0) {
        strcpy(failed.text, "no process for it: try again");
        send_result(room->fd, &failed);
        return;
    }
    room->jobs[place].id = job->id;
    room->jobs[place].pid = pid;
}

/* False: the guard is gone. */
static bool take_job(struct room *room)
{
    struct job job;
    int fds[PACKET_MAX_FDS];
    ssize_t size = packet_receive(room->fd, room->packet, sizeof(room->packet), fds);

    if (size == 0 || (size < 0 && size != -EMSGSIZE))
        return false;
    if (size < 0 || job_decode(room->packet, (size_t)size, &job) < 0) {
        log_error("%s: a job that cannot be read", room->config->name);
        return false;
    }
    memcpy(job.fds, fds, sizeof(fds));
    if (room->config->forks || job.kind == JOB_WATCH)
        fork_job(room, &job);
    else
        run_and_answer(room, &job);
    close_fds(&job);
    job_deinit(&job);
    return true;
}

static void job_ended(struct room *room, int place, int wait_status)
{
    struct job_result result = {.id = room->jobs[place].id, .code = -EIO};

    room->jobs[place].id = 0;
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
        return; /* it has answered itself */
    snprintf(result.text, sizeof(result.text), "its process was ended (status %d)",
             executor_status_of_wait(wait_status));
    send_result(room->fd, &result);
}

/* Jobs are known; any other child is an orphan that fell to us: a guest, or what a job left. */
static void reap(struct room *room)
{
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        struct job_result orphan = {.pid = (uint32_t)pid,
                                    .status = executor_status_of_wait(wait_status)};
        int place = 0;

        while (place <= EXECUTOR_MAX_JOBS &&
               (room->jobs[place].id == 0 || room->jobs[place].pid != pid))
            place++;
        if (place <= EXECUTOR_MAX_JOBS)
            job_ended(room, place, wait_status);
        else if (room->config->forks)
            send_result(room->fd, &orphan);
    }
}

static void end_jobs(const struct room *room)
{
    for (int i = 0; i <= EXECUTOR_MAX_JOBS; i++) {
        if (room->jobs[i].id != 0)
            kill(-room->jobs[i].pid, SIGKILL);
    }
}

static void executor_main(const struct executor_config *config, int fd)
{
    struct room *room = calloc(1, sizeof(*room));
    struct signalfd_siginfo info;
    sigset_t child;

    if (room == NULL)
        _exit(1);
    room->config = config;
    room->fd = fd;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    room->signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    for (;;) {
        struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                               {.fd = room->signal_fd, .events = POLLIN}};

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        while (read(room->signal_fd, &info, sizeof(info)) > 0)
            ;
        reap(room);
        if (fds[0].revents != 0 && !take_job(room))
            break;
    }
    end_jobs(room);
    _exit(0);
}

int executor_start(const struct executor_config *config, struct executor *ret, struct err *err)
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "cannot make a socket pair: %s", strerror(errno));
    packet_make_room(pair[0], GUARD_PACKET_MAX);
    packet_make_room(pair[1], GUARD_PACKET_MAX);
    pid = fork();
    if (pid < 0)
        return err_set(err, -errno, "cannot start the %s executor: %s", config->name,
                       strerror(errno));
    if (pid == 0) {
        close(pair[0]);
        setsid();
        if (config->forks)
            prctl(PR_SET_CHILD_SUBREAPER, 1);
        executor_main(config, pair[1]);
    }
    close(pair[1]);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    *ret = (struct executor){.fd = pair[0], .max_running = config->forks ? EXECUTOR_MAX_JOBS : 1};
    return 0;
}

int executor_submit(struct executor *e, const struct job *job)
{
    struct writer w;
    int rc;

    if (job->kind != JOB_WATCH && e->n_running >= e->max_running)
        return -EAGAIN;
    writer_init_growing(&w, GUARD_PACKET_MAX);
    job_encode(job, &w);
    rc = w.failed ? -EMSGSIZE : packet_send(e->fd, w.data, w.size, job->fds, GUARD_MAX_FDS);
    writer_deinit(&w);
    if (rc == 0 && job->kind == JOB_WATCH)
        e->watch = job->id;
    else if (rc == 0)
        e->n_running++;
    return rc;
}

void executor_job_ended(struct executor *e, uint32_t id)
{
    if (id != e->watch)
        e->n_running--;
}

int executor_take(struct executor *e, struct job_result *ret)
{
    uint8_t bytes[RESULT_MAX];
    int fds[PACKET_MAX_FDS];
    ssize_t size = packet_receive(e->fd, bytes, sizeof(bytes), fds);

    if (size == -EAGAIN)
        return -EAGAIN;
    if (size <= 0 || job_result_decode(bytes, (size_t)size, ret) < 0)
        return -EPIPE;
    return 0;
}

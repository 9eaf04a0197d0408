#include "agent/guard/lease_thread_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agent/guard/clock_posix.h"
#include "agent/guard/packet_posix.h"
#include "agent/guard/proto.h"
#include "agent/guard/watchdog_linux.h"

enum { STACK_SIZE = 512 * 1024, LEASE_PACKET_MAX = 32 * 1024, STOP = -2 };

struct lease_thread {
    struct lease_thread_config config;
    pthread_t thread;
    int epoll_fd, timer_fd, feed_fd;
    int give_read_fd, give_write_fd; /* descriptors of new connections, as ints; STOP */
    int connection_fd;               /* -1 = none */
    struct lease_notes notes;        /* under the roster's lock */
    /* Memory that is there before it is needed. */
    struct roster_entry entries[MAX_NODE_GUESTS];
    struct guard_request request;
    struct guard_reply reply;
    uint8_t packet[LEASE_PACKET_MAX];
};

static void notify(struct lease_thread *t)
{
    uint64_t one = 1;

    if (write(t->config.notify_fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it will be read */
}

static void arm_timer(struct lease_thread *t)
{
    struct itimerspec at = {0};
    uint64_t us;

    pthread_mutex_lock(&t->config.roster->lock);
    us = holder_freeze_at(&t->config.roster->holder);
    pthread_mutex_unlock(&t->config.roster->lock);
    if (us != UINT64_MAX) {
        at.it_value.tv_sec = (time_t)(us / 1000000);
        at.it_value.tv_nsec = (long)(us % 1000000) * 1000 + (us == 0);
    }
    timerfd_settime(t->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

/* After each grant: from here on packets pass until the lease's new end, with or without us. */
static void move_deadline(struct lease_thread *t)
{
    uint64_t end_us;

    pthread_mutex_lock(&t->config.roster->lock);
    end_us = t->config.roster->holder.lease_end_us;
    pthread_mutex_unlock(&t->config.roster->lock);
    deadline_set(t->config.deadline, end_us * 1000);
}

/* The freezer refused: what cannot be stopped must not live on without a lease. */
static void kill_everything(struct lease_thread *t)
{
    roster_copy(t->config.roster, t->entries);
    for (int i = 0; i < MAX_NODE_GUESTS; i++) {
        if (t->entries[i].guest[0] != '\0' && !t->entries[i].stays)
            cgroup_kill(t->config.cgroups, t->entries[i].guest, false);
    }
}

static void expire(struct lease_thread *t)
{
    uint64_t begin = clock_now_us(), frozen, down;
    bool is_over;
    int rc, paused;

    pthread_mutex_lock(&t->config.roster->lock);
    is_over = holder_expire(&t->config.roster->holder, begin);
    pthread_mutex_unlock(&t->config.roster->lock);
    if (!is_over)
        return;
    rc = cgroups_set_frozen(t->config.cgroups, true);
    if (rc < 0)
        kill_everything(t);
    paused = domains_pause(t->config.domains); /* behind it: nothing makes a domain any more */
    frozen = clock_now_us();
    roster_move_ports(t->config.roster);
    down = clock_now_us();
    pthread_mutex_lock(&t->config.roster->lock);
    t->notes.n_lapses++;
    t->notes.freeze_us = (uint32_t)(frozen - begin);
    t->notes.ports_us = (uint32_t)(down - begin);
    t->notes.freeze_rc = rc < 0 ? rc : paused;
    pthread_mutex_unlock(&t->config.roster->lock);
    notify(t);
}

/* Kills every copy that is not the node's own any more; it dies within its frozen group. Marked
 * first: who sees it end must not take that for an end of its own, and a domain that is marked is
 * never let run again; the work thread takes it apart. */
static uint32_t destroy_others(struct lease_thread *t, const struct lease_ack *ack)
{
    uint32_t n = 0;

    roster_copy(t->config.roster, t->entries);
    for (int i = 0; i < MAX_NODE_GUESTS; i++) {
        const struct roster_entry *entry = &t->entries[i];

        if (entry->guest[0] == '\0' || !entry->has_copy ||
            lease_ack_keeps(ack, entry->cluster, entry->guest, entry->epoch))
            continue;
        roster_mark_destroyed(t->config.roster, entry->guest, entry->epoch);
        while (cgroup_kill(t->config.cgroups, entry->guest, entry->stays) >= CGROUP_MAX_PIDS)
            ;
        n++;
    }
    return n;
}

static void lift(struct lease_thread *t, const struct lease_ack *ack)
{
    uint32_t n_destroyed = destroy_others(t, ack);
    bool is_live;

    pthread_mutex_lock(&t->config.roster->lock);
    is_live = holder_lifted(&t->config.roster->holder, clock_now_us());
    pthread_mutex_unlock(&t->config.roster->lock);
    if (is_live) {
        arm_timer(t);
        move_deadline(t);
        roster_move_ports(t->config.roster);
        cgroups_set_frozen(t->config.cgroups, false);
        domains_unpause(t->config.domains, roster_may_run, t->config.roster);
        expire(t); /* the ports took their time: what was thawed too late freezes again */
    }
    pthread_mutex_lock(&t->config.roster->lock);
    t->notes.n_lifts += is_live;
    t->notes.n_destroyed += n_destroyed;
    pthread_mutex_unlock(&t->config.roster->lock);
    notify(t);
}

static void take_ack(struct lease_thread *t, const struct lease_ack *ack)
{
    struct holder *holder = &t->config.roster->holder;
    uint64_t now = clock_now_us(), end;
    enum holder_outcome outcome;

    pthread_mutex_lock(&t->config.roster->lock);
    outcome = holder_ack(holder, ack, now);
    pthread_mutex_unlock(&t->config.roster->lock);
    if (outcome == HOLDER_LIFT) {
        lift(t, ack);
    } else if (outcome == HOLDER_EXTENDED) {
        arm_timer(t);
        move_deadline(t);
    }
    pthread_mutex_lock(&t->config.roster->lock);
    end = holder->lease_end_us;
    t->reply.lapsed = holder->lapsed;
    pthread_mutex_unlock(&t->config.roster->lock);
    t->reply.lease_left_ms = !t->reply.lapsed && end > now ? (uint32_t)((end - now) / 1000) : 0;
}

static void serve(struct lease_thread *t)
{
    guard_reply_init(&t->reply);
    t->reply.serial = t->request.serial;
    t->reply.op = t->request.op;
    switch (t->request.op) {
    case GUARD_STAMP:
        pthread_mutex_lock(&t->config.roster->lock);
        holder_issue(&t->config.roster->holder, clock_now_us(), &t->reply.stamp);
        pthread_mutex_unlock(&t->config.roster->lock);
        break;
    case GUARD_ACK:
        take_ack(t, &t->request.ack);
        break;
    default:
        t->reply.code = -EPERM;
        strcpy(t->reply.text, "the lease connection carries stamps and acks only");
        break;
    }
}

static void drop_connection(struct lease_thread *t)
{
    if (t->connection_fd >= 0)
        close(t->connection_fd);
    t->connection_fd = -1;
}

/* One packet a turn, so that a flood of packets never hides the timer. */
static void read_connection(struct lease_thread *t)
{
    int fds[PACKET_MAX_FDS];
    struct writer w;
    ssize_t size = packet_receive(t->connection_fd, t->packet, sizeof(t->packet), fds);

    for (int i = 0; i < PACKET_MAX_FDS; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (size == -EAGAIN)
        return;
    if (size <= 0 || guard_request_decode(t->packet, (size_t)size, &t->request) < 0) {
        drop_connection(t);
        return;
    }
    serve(t);
    guard_request_deinit(&t->request);
    writer_init(&w, t->packet, sizeof(t->packet));
    guard_reply_encode(&t->reply, &w);
    if (w.failed || packet_send(t->connection_fd, w.data, w.size, NULL, 0) < 0)
        drop_connection(t);
}

static void watch(struct lease_thread *t, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* False: stop. */
static bool take_given(struct lease_thread *t)
{
    int fd;

    if (read(t->give_read_fd, &fd, sizeof(fd)) != sizeof(fd))
        return true;
    if (fd == STOP)
        return false;
    drop_connection(t);
    t->connection_fd = fd;
    watch(t, fd);
    return true;
}

static void drain(int fd)
{
    uint64_t n;

    if (read(fd, &n, sizeof(n)) < 0)
        return;
}

static void *run(void *context)
{
    struct lease_thread *t = context;
    struct epoll_event event;

    for (;;) {
        int n = epoll_wait(t->epoll_fd, &event, 1, -1);

        expire(t); /* before anything else, whatever woke us */
        if (n != 1)
            continue;
        if (event.data.fd == t->timer_fd || event.data.fd == t->feed_fd)
            drain(event.data.fd);
        if (event.data.fd == t->feed_fd)
            watchdog_feed(t->config.watchdog_fd);
        else if (event.data.fd == t->connection_fd)
            read_connection(t);
        else if (event.data.fd == t->give_read_fd && !take_given(t))
            return NULL;
    }
}

static int open_timers(struct lease_thread *t)
{
    struct itimerspec every = {.it_interval.tv_sec = WATCHDOG_FEED_MS / 1000,
                               .it_value.tv_nsec = 1};

    t->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (t->timer_fd < 0)
        return -errno;
    watch(t, t->timer_fd);
    if (t->config.watchdog_fd < 0)
        return 0;
    t->feed_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (t->feed_fd < 0)
        return -errno;
    timerfd_settime(t->feed_fd, 0, &every, NULL);
    watch(t, t->feed_fd);
    return 0;
}

static int open_all(struct lease_thread *t)
{
    int given[2];

    t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (t->epoll_fd < 0 || pipe2(given, O_CLOEXEC) < 0)
        return -errno;
    t->give_read_fd = given[0];
    t->give_write_fd = given[1];
    watch(t, t->give_read_fd);
    return open_timers(t);
}

static int start_thread(struct lease_thread *t, bool *ret_has_priority)
{
    struct sched_param param = {.sched_priority = t->config.priority};
    pthread_attr_t attributes;
    int rc;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    rc = pthread_create(&t->thread, &attributes, run, t);
    pthread_attr_destroy(&attributes);
    if (rc == 0)
        *ret_has_priority = pthread_setschedparam(t->thread, SCHED_FIFO, &param) == 0;
    return -rc;
}

int lease_thread_start(const struct lease_thread_config *config, struct lease_thread **ret,
                       bool *ret_has_priority, struct err *err)
{
    struct lease_thread *t = calloc(1, sizeof(*t));
    int rc;

    if (t == NULL)
        return err_set(err, -ENOMEM, "no memory");
    t->config = *config;
    t->epoll_fd = t->timer_fd = t->feed_fd = t->connection_fd = -1;
    t->give_read_fd = t->give_write_fd = -1;
    rc = open_all(t);
    if (rc == 0)
        rc = start_thread(t, ret_has_priority);
    if (rc < 0) /* the process ends: what is open ends with it */
        return err_set(err, rc, "cannot start the lease thread: %s", strerror(-rc));
    *ret = t;
    return 0;
}

static void give(struct lease_thread *t, int fd)
{
    if (write(t->give_write_fd, &fd, sizeof(fd)) != sizeof(fd) && fd >= 0)
        close(fd);
}

void lease_thread_give_connection(struct lease_thread *t, int fd)
{
    give(t, fd);
}

void lease_thread_take_notes(struct lease_thread *t, struct lease_notes *ret)
{
    pthread_mutex_lock(&t->config.roster->lock);
    *ret = t->notes;
    t->notes = (struct lease_notes){0};
    pthread_mutex_unlock(&t->config.roster->lock);
}

void lease_thread_stop(struct lease_thread *t)
{
    give(t, STOP);
    pthread_join(t->thread, NULL);
    cgroups_set_frozen(t->config.cgroups, true);
    domains_pause(t->config.domains);
    watchdog_close(t->config.watchdog_fd);
}

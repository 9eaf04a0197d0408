/* Channels between processes: pipes, Unix sockets, counters, shared memory. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- pipes with something in them */

enum { IN_PIPE = 20000, PIPE_SIZE = 128 * 1024 };

static int ends[2], named;

static const char *pipes_set_up(void)
{
    NEED(pipe2(ends, O_NONBLOCK) == 0);
    NEED(fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE) == PIPE_SIZE);
    NEED(pattern_write(ends[1], IN_PIPE, 1));
    NEED(mkfifo("/tmp/fifo", 0600) == 0);
    named = open("/tmp/fifo", O_RDWR);
    NEED(named >= 0 && pattern_write(named, IN_PIPE, 2));
    return NULL;
}

static const char *pipes_look(void)
{
    char byte;

    NEED(n_unread(ends[0]) == IN_PIPE && n_unread(named) == IN_PIPE);
    NEED(pattern_read(ends[0], IN_PIPE, 1) && pattern_read(named, IN_PIPE, 2));
    NEED(read(ends[0], &byte, 1) < 0 && errno == EAGAIN);
    NEED(fcntl(ends[0], F_GETPIPE_SZ) == PIPE_SIZE);
    NEED(pattern_write(ends[1], IN_PIPE, 1) && pattern_write(named, IN_PIPE, 2));
    return NULL;
}

/* ---- Unix sockets */

static int pair[2];

static const char *pair_set_up(void)
{
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    NEED(pattern_write(pair[0], IN_PIPE, 3) && pattern_write(pair[1], IN_PIPE, 4));
    return NULL;
}

static const char *pair_look(void)
{
    NEED(pattern_read(pair[1], IN_PIPE, 3) && pattern_read(pair[0], IN_PIPE, 4));
    NEED(pattern_write(pair[0], IN_PIPE, 3) && pattern_write(pair[1], IN_PIPE, 4));
    return NULL;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return address;
}

static int bound, sender;

static const char *datagrams_set_up(void)
{
    struct sockaddr_un address = address_of("/tmp/datagrams");

    bound = socket(AF_UNIX, SOCK_DGRAM, 0);
    sender = socket(AF_UNIX, SOCK_DGRAM, 0);
    NEED(bind(bound, (struct sockaddr *)&address, sizeof(address)) == 0);
    NEED(connect(sender, (struct sockaddr *)&address, sizeof(address)) == 0);
    NEED(send(sender, "first", 5, 0) == 5 && send(sender, "second", 6, 0) == 6);
    return NULL;
}

static const char *datagrams_look(void)
{
    struct sockaddr_un address = address_of("/tmp/datagrams");
    int other = socket(AF_UNIX, SOCK_DGRAM, 0);
    char text[16];

    NEED(recv(bound, text, sizeof(text), MSG_DONTWAIT) == 5 && memcmp(text, "first", 5) == 0);
    NEED(recv(bound, text, sizeof(text), MSG_DONTWAIT) == 6 && memcmp(text, "second", 6) == 0);
    NEED(sendto(other, "third", 5, 0, (struct sockaddr *)&address, sizeof(address)) == 5);
    NEED(recv(bound, text, sizeof(text), MSG_DONTWAIT) == 5 && close(other) == 0);
    NEED(send(sender, "first", 5, 0) == 5 && send(sender, "second", 6, 0) == 6);
    return NULL;
}

static int listener;

static const char *listener_set_up(void)
{
    struct sockaddr_un address = address_of("/tmp/listener");

    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    NEED(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    NEED(listen(listener, 4) == 0);
    return NULL;
}

static const char *listener_look(void)
{
    struct sockaddr_un address = address_of("/tmp/listener");
    int client = socket(AF_UNIX, SOCK_STREAM, 0), accepted = -1;
    char text[8];

    NEED(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
    NEED(await(listener, POLLIN));
    accepted = accept(listener, NULL, NULL);
    NEED(accepted >= 0 && write(client, "hello", 5) == 5);
    NEED(read(accepted, text, sizeof(text)) == 5);
    NEED(close(accepted) == 0 && close(client) == 0);
    return NULL;
}

/* ---- event descriptors */

static int counter, signals, waiter;

static const char *events_set_up(void)
{
    struct epoll_event edge = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x1234567890abcdef};
    struct epoll_event level = {.events = EPOLLIN, .data.u32 = 2};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    NEED(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    counter = eventfd(7, EFD_NONBLOCK);
    signals = signalfd(-1, &set, SFD_NONBLOCK);
    waiter = epoll_create1(EPOLL_CLOEXEC);
    NEED(counter >= 0 && signals >= 0 && waiter >= 0);
    NEED(epoll_ctl(waiter, EPOLL_CTL_ADD, counter, &edge) == 0);
    NEED(epoll_ctl(waiter, EPOLL_CTL_ADD, signals, &level) == 0);
    NEED(raise(SIGUSR1) == 0);
    return NULL;
}

static const char *events_look(void)
{
    struct epoll_event events[4];
    struct signalfd_siginfo info;
    uint64_t value = 0;
    int n = epoll_wait(waiter, events, 4, CHECK_LIMIT_MS);

    NEED(n == 2);
    NEED(events[0].data.u64 == 0x1234567890abcdef || events[1].data.u64 == 0x1234567890abcdef);
    NEED(read(counter, &value, sizeof(value)) == sizeof(value) && value == 7);
    NEED(read(signals, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR1);
    NEED(epoll_wait(waiter, events, 4, 0) == 0);
    value = 7;
    NEED(write(counter, &value, sizeof(value)) == sizeof(value));
    NEED(raise(SIGUSR1) == 0);
    return NULL;
}

/* ---- shared memory, with a child that waits in it */

struct common {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t asked, answered;
    uint8_t pages[16 * 4096];
};

static struct common *common;

static void answer_in_common(void)
{
    pthread_mutex_lock(&common->lock);
    for (;;) {
        while (common->answered == common->asked)
            pthread_cond_wait(&common->changed, &common->lock);
        common->answered = common->asked;
        pattern_fill(common->pages, sizeof(common->pages), common->asked);
        pthread_cond_broadcast(&common->changed);
    }
}

static const char *ask_in_common(void)
{
    struct timespec end;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += CHECK_LIMIT_MS / 1000 / 2;
    pthread_mutex_lock(&common->lock);
    common->asked++;
    pthread_cond_broadcast(&common->changed);
    while (common->answered != common->asked && r == 0)
        r = pthread_cond_timedwait(&common->changed, &common->lock, &end);
    pthread_mutex_unlock(&common->lock);
    NEED(r == 0);
    return NULL;
}

static const char *common_set_up(void)
{
    pthread_mutexattr_t lock;
    pthread_condattr_t changed;

    common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(common != MAP_FAILED);
    pthread_mutexattr_init(&lock);
    pthread_mutexattr_setpshared(&lock, PTHREAD_PROCESS_SHARED);
    pthread_condattr_init(&changed);
    pthread_condattr_setpshared(&changed, PTHREAD_PROCESS_SHARED);
    NEED(pthread_mutex_init(&common->lock, &lock) == 0);
    NEED(pthread_cond_init(&common->changed, &changed) == 0);
    if (fork() == 0)
        answer_in_common();
    return ask_in_common();
}

static const char *common_look(void)
{
    NEED(pattern_is(common->pages, sizeof(common->pages), common->asked));
    NEED_NONE(ask_in_common());
    NEED(pattern_is(common->pages, sizeof(common->pages), common->asked));
    return NULL;
}

/* ---- System V */

enum { SEGMENT_KEY = 0x5e1f, SEGMENT_SIZE = 3 * 4096 };

static int segment, set, queue;
static uint8_t *attached;

static const char *sysv_set_up(void)
{
    struct {
        long type;
        char text[8];
    } message = {5, "waiting"};

    segment = shmget(SEGMENT_KEY, SEGMENT_SIZE, IPC_CREAT | 0600);
    set = semget(IPC_PRIVATE, 2, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    NEED(segment >= 0 && set >= 0 && queue >= 0);
    attached = shmat(segment, NULL, 0);
    NEED(attached != (void *)-1);
    pattern_fill(attached, SEGMENT_SIZE, 6);
    NEED(semctl(set, 1, SETVAL, 4) == 0);
    NEED(msgsnd(queue, &message, sizeof(message.text), 0) == 0);
    return NULL;
}

static const char *sysv_look(void)
{
    struct {
        long type;
        char text[8];
    } message = {0};

    NEED(pattern_is(attached, SEGMENT_SIZE, 6));
    NEED(shmget(SEGMENT_KEY, SEGMENT_SIZE, 0600) == segment);
    NEED(semctl(set, 1, GETVAL) == 4 && semctl(set, 0, GETVAL) == 0);
    NEED(msgrcv(queue, &message, sizeof(message.text), 0, IPC_NOWAIT) == sizeof(message.text));
    NEED(message.type == 5 && strcmp(message.text, "waiting") == 0);
    NEED(msgsnd(queue, &message, sizeof(message.text), 0) == 0);
    return NULL;
}

const struct check channel_checks[] = {
    {"pipes with something in them", pipes_set_up, pipes_look},
    {"a pair of Unix sockets, both unread", pair_set_up, pair_look},
    {"Unix datagrams", datagrams_set_up, datagrams_look},
    {"a Unix listener", listener_set_up, listener_look},
    {"epoll, eventfd, signalfd", events_set_up, events_look},
    {"memory and locks shared with a child", common_set_up, common_look},
    {"System V memory, semaphores, messages", sysv_set_up, sysv_look},
    {0},
};

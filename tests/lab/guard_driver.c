#include "tests/lab/guard_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/guard/clock_posix.h"
#include "agent/guard/packet_posix.h"

const char *driver_program;

static uint8_t packet[GUARD_PACKET_MAX];
static uint8_t key[GUARD_KEY_SIZE]; /* a child that changes its user keeps it */

static void die(const char *what)
{
    printf("Bail out! %s (%s)\n", what, strerror(errno));
    exit(1);
}

uint64_t now_us(void)
{
    return clock_now_us();
}

void sleep_until_us(uint64_t us)
{
    struct timespec at = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};

    while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static void sleep_ms(uint64_t ms)
{
    sleep_until_us(now_us() + ms * 1000);
}

/* ---- connections */

static void send_request(int fd, const struct guard_request *request)
{
    struct writer w;

    writer_init(&w, packet, sizeof(packet));
    guard_request_encode(request, &w);
    if (w.failed || packet_send(fd, w.data, w.size, request->fds, GUARD_MAX_FDS) < 0)
        die("cannot send");
}

static void receive_reply(int fd, struct guard_reply *ret)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    int fds[PACKET_MAX_FDS];
    ssize_t size;

    if (poll(&ready, 1, WAIT_MS) != 1)
        die("no answer");
    size = packet_receive(fd, packet, sizeof(packet), fds);
    if (size <= 0 || guard_reply_decode(packet, (size_t)size, ret) < 0)
        die("no answer that can be read");
    ret->fd = fds[0];
}

int guard_connect_silently(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/skein/guard.sock"};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    packet_make_room(fd, GUARD_PACKET_MAX);
    for (uint64_t end = now_us() + WAIT_MS * 1000; now_us() < end; sleep_ms(2)) {
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            break;
    }
    return fd;
}

int guard_say_hello(int fd, enum guard_connection connection, const uint8_t said[GUARD_KEY_SIZE],
                    struct guard_hello *ret)
{
    struct guard_request request;
    struct guard_reply reply;

    request_of(&request, GUARD_HELLO);
    request.serial = 1;
    request.connection = connection;
    memcpy(request.key, said, GUARD_KEY_SIZE);
    send_request(fd, &request);
    receive_reply(fd, &reply);
    *ret = reply.hello;
    return reply.code;
}

int guard_connect(enum guard_connection connection, struct guard_hello *ret)
{
    int fd = guard_connect_silently();

    if (guard_say_hello(fd, connection, key, ret) < 0)
        die("the guard does not know its own key");
    return fd;
}

/* The guard makes it before it listens. */
static void read_key(void)
{
    int fd;

    close(guard_connect_silently());
    fd = open("/run/skein/guard.key", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, key, sizeof(key)) != sizeof(key))
        die("no key");
    close(fd);
}

void driver_connect(struct driver *d)
{
    if (d->lease > 0)
        close(d->lease);
    if (d->work > 0)
        close(d->work);
    d->lease = guard_connect(GUARD_CONNECTION_LEASE, &d->hello);
    d->work = guard_connect(GUARD_CONNECTION_WORK, &d->hello);
}

void driver_start(struct driver *d)
{
    d->pid = fork();
    if (d->pid == 0) {
        int fd = open("/run/fake/guard.log", O_WRONLY | O_CREAT | O_APPEND, 0644);

        dup2(fd, 2);
        execl(driver_program, "skein-guard", "--cores", "4", "--isolated-cores", "1-3",
              "--isolation", "simulated", "--memory", "1g", "--watchdog", "/run/fake/watchdog",
              (char *)NULL);
        _exit(127);
    }
    d->n_lapsed = d->n_lifted = 0;
    read_key();
    driver_connect(d);
}

void driver_kill(struct driver *d, int signal)
{
    kill(d->pid, signal);
    waitpid(d->pid, NULL, 0);
    unlink("/run/skein/guard.sock"); /* so that the next connect waits for the next guard */
}

int driver_begin(void **state)
{
    struct driver *d = calloc(1, sizeof(*d));
    char root[160];

    d->cluster = 1;
    d->term = 1;
    d->index = 10;
    unlink("/run/skein/boot_nonce");
    put_file("/run/fake/watchdog", "");
    driver_start(d);
    snprintf(root, sizeof(root), "/var/lib/skein/roots/ab%062d", 0);
    mkdir(root, 0755);
    *state = d;
    return 0;
}

int driver_end(void **state)
{
    struct driver *d = *state;

    driver_kill(d, SIGKILL);
    close(d->lease);
    close(d->work);
    free(d);
    return system("rm -f /run/fake/hold.* /run/fake/fail.* /run/fake/*.count /run/fake/port.*") !=
           0;
}

/* ---- requests */

void request_of(struct guard_request *request, enum guard_op op)
{
    guard_request_init(request);
    request->op = op;
}

void run_of(struct guard_request *request, enum guard_op op, const char *guest, uint64_t epoch,
            uint16_t port)
{
    struct guest_spec *spec = &request->run.spec;

    request_of(request, op);
    snprintf(spec->name, sizeof(spec->name), "%s", guest);
    strcpy(spec->image, "web");
    strcpy(spec->slice, "red");
    spec->kind = KIND_CELL;
    spec->n_cores = 1;
    spec->memory_mib = 32;
    spec->priority = 100;
    spec->restart = RESTART_ALWAYS;
    spec->failover = FAILOVER_RESTART;
    spec->n_argv = 1;
    spec->argv = calloc(2, sizeof(char *));
    spec->argv[0] = strdup("count");
    request->run.epoch = epoch;
    request->run.n_cores = 1;
    request->run.cores[0] = 3;
    request->run.vni = 1;
    request->run.ip = 0x0a070002;
    request->run.prefix = 24;
    request->run.port = port;
    request->run.digest[0] = 0xab;
}

uint32_t tell(struct driver *d, struct guard_request *request)
{
    bool is_lease = request->op == GUARD_STAMP || request->op == GUARD_ACK;
    uint32_t serial = ++d->serial;

    request->serial = serial;
    send_request(is_lease ? d->lease : d->work, request);
    guard_request_deinit(request);
    return serial;
}

static void take_event(struct driver *d, const struct guard_reply *reply)
{
    d->n_lapsed += reply->event == GUARD_EVENT_LAPSED;
    d->n_lifted += reply->event == GUARD_EVENT_LIFTED;
}

static int answer_on(struct driver *d, int fd, uint32_t serial, struct guard_reply *ret)
{
    for (;;) {
        receive_reply(fd, ret);
        if (ret->serial == serial)
            return ret->code;
        if (ret->serial == 0)
            take_event(d, ret);
        guard_reply_deinit(ret);
    }
}

int answer_to(struct driver *d, uint32_t serial, struct guard_reply *ret)
{
    return answer_on(d, d->work, serial, ret);
}

int ask(struct driver *d, struct guard_request *request, struct guard_reply *ret)
{
    bool is_lease = request->op == GUARD_STAMP || request->op == GUARD_ACK;
    uint32_t serial = tell(d, request);
    struct guard_reply reply;
    int code = answer_on(d, is_lease ? d->lease : d->work, serial, &reply);

    if (ret != NULL)
        *ret = reply;
    else
        guard_reply_deinit(&reply);
    return code;
}

int ask_copy(struct driver *d, enum guard_op op, const char *guest, uint64_t epoch)
{
    struct guard_request request;

    request_of(&request, op);
    snprintf(request.copy.guest, sizeof(request.copy.guest), "%s", guest);
    request.copy.epoch = epoch;
    request.grace_ms = 1000;
    return ask(d, &request, NULL);
}

static void take_copies(struct lease_ack *ack, const char *copies)
{
    ack->has_copies = copies != NULL;
    while (copies != NULL && *copies != '\0') {
        struct guest_copy *copy = &ack->copies[ack->n_copies++];
        unsigned long long epoch = 0;
        int size = 0;

        if (sscanf(copies, "%32[^:]:%llu%n", copy->guest, &epoch, &size) != 2)
            die("copies");
        copy->epoch = epoch;
        copies += size + (copies[size] == ' ');
    }
}

bool beat(struct driver *d, uint32_t lease_ms, const char *copies)
{
    struct guard_request request;
    struct guard_reply reply;
    uint64_t stamped_us;

    request_of(&request, GUARD_STAMP);
    ask(d, &request, &reply);
    stamped_us = now_us();
    request_of(&request, GUARD_ACK);
    request.ack.stamp = reply.stamp;
    request.ack.cluster[0] = d->cluster;
    request.ack.term = d->term;
    request.ack.index = d->index;
    request.ack.lease_ms = lease_ms;
    take_copies(&request.ack, copies);
    ask(d, &request, &reply);
    if (!reply.lapsed)
        d->lease_end_us = stamped_us + (uint64_t)lease_ms * 1000;
    return !reply.lapsed;
}

int driver_start_guest(struct driver *d, const char *guest, uint64_t epoch, uint16_t port)
{
    struct guard_request request;

    run_of(&request, GUARD_START, guest, epoch, port);
    request.index = d->index;
    return ask(d, &request, NULL);
}

struct guard_report report_of(struct driver *d, const char *guest)
{
    struct guard_report found = {.state = 0};
    struct guard_request request;
    struct guard_reply reply;

    request_of(&request, GUARD_LIST);
    ask(d, &request, &reply);
    for (uint32_t i = 0; i < reply.n_reports; i++) {
        if (strcmp(reply.reports[i].guest, guest) == 0)
            found = reply.reports[i];
    }
    guard_reply_deinit(&reply);
    return found;
}

struct guard_report await_state(struct driver *d, const char *guest, enum guard_guest_state state)
{
    uint64_t end = now_us() + WAIT_MS * 1000;

    for (;;) {
        struct guard_report report = report_of(d, guest);

        if (report.state == state || now_us() > end)
            return report;
        sleep_ms(2);
    }
}

uint32_t tell_move(struct driver *d, enum guard_op op, uint64_t epoch, uint64_t migration, int fd)
{
    struct guard_request request;

    request_of(&request, op);
    strcpy(request.copy.guest, "web");
    request.copy.epoch = epoch;
    request.migration = migration;
    request.index = d->index;
    request.wish.terms = (struct move_terms){MOVE_STOP, MOVE_DOWNTIME_MS, 0, 1};
    request.fds[0] = fd;
    return tell(d, &request);
}

int move(struct driver *d, enum guard_op op, uint64_t epoch, uint64_t migration, int fd)
{
    struct guard_reply reply;
    int code = answer_to(d, tell_move(d, op, epoch, migration, fd), &reply);

    guard_reply_deinit(&reply);
    return code;
}

int show_switch(struct driver *d, uint64_t index)
{
    struct guard_request request;

    request_of(&request, GUARD_FABRIC);
    request.view.index = index;
    return ask(d, &request, NULL);
}

/* ---- the fake world */

uint64_t count_of(const char *guest, uint64_t *ret_us)
{
    unsigned long long count = 0, us = 0;
    char path[128], text[64] = "";
    int fd;

    snprintf(path, sizeof(path), "/run/fake/%s.count", guest);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (read(fd, text, sizeof(text) - 1) > 0)
        sscanf(text, "%llu %llu", &count, &us);
    close(fd);
    if (ret_us != NULL)
        *ret_us = us;
    return count;
}

static bool counts_within(const char *guest, uint64_t ms)
{
    uint64_t before = count_of(guest, NULL), end = now_us() + ms * 1000;

    while (now_us() < end) {
        sleep_ms(2);
        if (count_of(guest, NULL) != before)
            return true;
    }
    return false;
}

bool counts(const char *guest)
{
    return counts_within(guest, WAIT_MS);
}

bool stands_still(const char *guest)
{
    return !counts_within(guest, 50);
}

bool sees(struct driver *d, const uint32_t *n_seen, uint32_t n)
{
    for (uint64_t end = now_us() + WAIT_MS * 1000; *n_seen < n && now_us() < end; sleep_ms(2))
        report_of(d, "");
    return *n_seen == n;
}

static bool port_is_now(uint16_t port, const char *word)
{
    char path[64], text[16] = "";
    int fd;

    snprintf(path, sizeof(path), "/run/fake/port.%u", port);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return word == NULL;
    if (read(fd, text, sizeof(text) - 1) < 0)
        text[0] = '\0';
    close(fd);
    return word != NULL && strcmp(text, word) == 0;
}

bool port_is(uint16_t port, const char *word)
{
    for (uint64_t end = now_us() + WAIT_MS * 1000; now_us() < end; sleep_ms(2)) {
        if (port_is_now(port, word))
            return true;
    }
    return false;
}

void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die(path);
    close(fd);
}

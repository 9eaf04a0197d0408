/* count: the demo's client and stopwatch. Holds one TCP connection to a counter (counter.c), asks
 * for the next number every 5 ms, and logs what it lived through, one event a line, each after its
 * CLOCK_REALTIME in ms:
 *
 *     connected local_port=P count=N        the first answer on a connection
 *     count N                               once a second
 *     gap ms=M count=N connection=same      no answer for M ms, then the same connection went on
 *     lost why=TEXT silent_ms=M             the connection is gone for good
 *     served_again ms=M count=N connection=new local_port=P
 *                                           a new connection was answered, M ms after the last
 * answer of the old one
 *
 * While nothing is answered it tries new connections every 5 ms beside the old one, which it keeps
 * until that is reset or silent for SILENT_LIMIT_MS: so "same" and "new" are facts, and M is not
 * rounded up to TCP's own retry timers. From PATIENCE times 5 ms on it tries less and less often,
 * and waits for longer: a server that is slow would answer nothing but attempts given up since.
 *
 *     count ADDRESS PORT [LOGFILE [TIMES]]
 *
 * TIMES: it is so many times more patient than that, and asks so many times less often. An emulated
 * processor can do with a hundred.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ASK_MS = 5,
    UNANSWERED_MAX = 3, /* so few in flight that TCP counts the stream as thin */
    GAP_MS = 50,        /* shorter ones are not worth a line */
    PROBE_AFTER_MS = 60,
    PROBE_EVERY_MS = 5,
    PATIENCE = 256, /* attempts in as long a silence as there was already */
    N_PROBES = 64, /* so many times the interval a probe has for its answer: a full queue is long */
    SILENT_LIMIT_MS = 10000,
    WINNER_LIMIT_MS = 2 * N_PROBES * PROBE_EVERY_MS,
    TCP_RTO_MIN_US_OPTION = 45, /* newer kernels: retry sooner than after 200 ms */
};

struct connection {
    int fd; /* -1 = none */
    bool established;
    int unanswered;
    uint64_t count; /* newest answer */
    double first_ms, answered_ms; /* its first answer and its newest; 0 = none */
    char partial[32]; /* of a line that has not come whole */
    size_t n_partial;
};

struct client {
    struct sockaddr_in server;
    struct connection main;
    struct connection probes[N_PROBES];
    int winner; /* probe that was answered first since the main one fell silent; -1 = none */
    int next_probe;
    double began_ms, asked_ms, probed_ms, reported_ms;
    double times;
};

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void connection_close(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct connection){.fd = -1};
}

static void connection_open(struct connection *c, const struct sockaddr_in *server)
{
    int on = 1, rto_us = 5000;

    connection_close(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(c->fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &on, sizeof(on));
    setsockopt(c->fd, IPPROTO_TCP, TCP_RTO_MIN_US_OPTION, &rto_us, sizeof(rto_us));
    if (connect(c->fd, (const struct sockaddr *)server, sizeof(*server)) < 0 &&
        errno != EINPROGRESS)
        connection_close(c);
}

static unsigned local_port(const struct connection *c)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof(address);

    getsockname(c->fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

static void connection_ask(struct connection *c)
{
    if (c->established && c->unanswered < UNANSWERED_MAX && write(c->fd, "\n", 1) == 1)
        c->unanswered++;
}

/* Takes the numbers out of what came. */
static void connection_parse(struct connection *c, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != '\n') {
            if (c->n_partial < sizeof(c->partial) - 1)
                c->partial[c->n_partial++] = data[i];
            continue;
        }
        c->partial[c->n_partial] = 0;
        c->n_partial = 0;
        c->count = strtoull(c->partial, NULL, 10);
        c->answered_ms = now_ms();
        if (c->first_ms == 0)
            c->first_ms = c->answered_ms;
        c->unanswered = 0;
    }
}

/* Reacts to what poll saw. 1: answers came; 0: nothing; negative errno: the connection is gone. */
static int connection_turn(struct connection *c, short revents)
{
    char data[256];
    ssize_t n;
    uint64_t before = c->count;
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error)
        return -error;
    if (!c->established && (revents & POLLOUT)) {
        c->established = true;
        connection_ask(c);
    }
    if (!(revents & (POLLIN | POLLHUP)))
        return 0;
    n = read(c->fd, data, sizeof(data));
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    connection_parse(c, data, (size_t)n);
    return c->count != before;
}

static void main_answered(struct client *client, double before_ms)
{
    struct connection *c = &client->main;

    if (before_ms == 0)
        printf("%.3f connected local_port=%u count=%llu\n", c->answered_ms, local_port(c),
               (unsigned long long)c->count);
    else if (c->answered_ms - before_ms >= GAP_MS * client->times)
        printf("%.3f gap ms=%.1f count=%llu connection=same\n", c->answered_ms,
               c->answered_ms - before_ms, (unsigned long long)c->count);
    for (int i = 0; i < N_PROBES; i++)
        connection_close(&client->probes[i]);
    client->winner = -1;
}

/* The main connection is gone: the probe that was answered takes its place, now or when there is
 * one. */
static void main_lost(struct client *client, const char *why)
{
    double silent = client->main.answered_ms ? now_ms() - client->main.answered_ms : 0;

    if (client->main.answered_ms)
        printf("%.3f lost why=\"%s\" silent_ms=%.1f\n", now_ms(), why, silent);
    if (client->main.fd >= 0)
        close(client->main.fd);
    client->main.fd = -1; /* answered_ms stays: the gap is counted from there */
}

static void promote_winner(struct client *client)
{
    double last_ms = client->main.answered_ms;
    struct connection *c = &client->main;

    *c = client->probes[client->winner];
    client->probes[client->winner].fd = -1;
    if (last_ms)
        printf("%.3f served_again ms=%.1f count=%llu connection=new local_port=%u\n",
               c->first_ms, c->first_ms - last_ms, (unsigned long long)c->count, local_port(c));
    else
        printf("%.3f connected local_port=%u count=%llu\n", c->answered_ms, local_port(c),
               (unsigned long long)c->count);
    for (int i = 0; i < N_PROBES; i++)
        connection_close(&client->probes[i]);
    client->winner = -1;
}

static void close_probe(struct client *client, int i)
{
    connection_close(&client->probes[i]);
    if (client->winner == i)
        client->winner = -1;
}

/* When several are under way the first answer counts. */
static void turn_probe(struct client *client, int i, short revents)
{
    int n = connection_turn(&client->probes[i], revents);

    if (n < 0)
        close_probe(client, i);
    else if (n > 0 && client->winner < 0)
        client->winner = i;
}

/* The winner is asked on, for it may have been answered by a copy that is dead since: a probe that
 * falls silent has won nothing. */
static void check_winner(struct client *client, double now)
{
    if (client->winner >= 0 &&
        now - client->probes[client->winner].answered_ms >= WINNER_LIMIT_MS * client->times)
        close_probe(client, client->winner);
}

static void probe_again(struct client *client, double now)
{
    double since_ms = client->main.answered_ms > 0 ? client->main.answered_ms : client->began_ms;
    double every_ms = (now - since_ms) / PATIENCE;
    bool silent = client->main.fd < 0 || now - since_ms >= PROBE_AFTER_MS * client->times;

    if (every_ms < PROBE_EVERY_MS * client->times)
        every_ms = PROBE_EVERY_MS * client->times;
    if (!silent || client->winner >= 0 || now - client->probed_ms < every_ms)
        return;
    client->probed_ms = now;
    connection_open(&client->probes[client->next_probe], &client->server);
    client->next_probe = (client->next_probe + 1) % N_PROBES;
}

static void tick(struct client *client)
{
    double now = now_ms();

    if (now - client->asked_ms >= ASK_MS * client->times) {
        client->asked_ms = now;
        connection_ask(&client->main);
        if (client->winner >= 0)
            connection_ask(&client->probes[client->winner]);
    }
    check_winner(client, now);
    if (client->main.fd >= 0 && client->main.answered_ms &&
        now - client->main.answered_ms > SILENT_LIMIT_MS * client->times)
        main_lost(client, "silent");
    probe_again(client, now);
    if (client->main.fd < 0 && client->winner >= 0)
        promote_winner(client);
    if (now - client->reported_ms >= 1000) {
        client->reported_ms = now;
        printf("%.3f count %llu\n", now, (unsigned long long)client->main.count);
    }
    fflush(stdout);
}

static void turn_main(struct client *client, short revents)
{
    double before_ms = client->main.answered_ms;
    int n = connection_turn(&client->main, revents);

    if (n < 0)
        main_lost(client, strerror(-n));
    else if (n > 0)
        main_answered(client, before_ms);
}

static void run(struct client *client)
{
    struct pollfd fds[1 + N_PROBES];

    for (;;) {
        fds[0] = (struct pollfd){.fd = client->main.fd, .events = POLLIN};
        for (int i = 0; i < N_PROBES; i++)
            fds[1 + i] = (struct pollfd){
                .fd = client->probes[i].fd,
                .events = (short)(POLLIN | (client->probes[i].established ? 0 : POLLOUT))};
        poll(fds, 1 + N_PROBES, (int)client->times);
        for (int i = 0; i < N_PROBES; i++)
            if (fds[1 + i].fd >= 0 && fds[1 + i].revents)
                turn_probe(client, i, fds[1 + i].revents);
        if (fds[0].fd >= 0 && fds[0].revents)
            turn_main(client, fds[0].revents);
        tick(client);
    }
}

int main(int argc, char **argv)
{
    static struct client client = {.main.fd = -1, .winner = -1};

    client.times = argc > 4 ? atoi(argv[4]) : 1;
    if (argc < 3 || argc > 5 || client.times < 1 ||
        inet_pton(AF_INET, argv[1], &client.server.sin_addr) != 1) {
        fprintf(stderr, "usage: count ADDRESS PORT [LOGFILE [TIMES]]\n");
        return 2;
    }
    if (argc >= 4 && !freopen(argv[3], "a", stdout)) {
        fprintf(stderr, "count: cannot write %s: %s\n", argv[3], strerror(errno));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    client.began_ms = now_ms();
    client.server.sin_family = AF_INET;
    client.server.sin_port = htons((uint16_t)atoi(argv[2]));
    for (int i = 0; i < N_PROBES; i++)
        client.probes[i].fd = -1;
    run(&client);
}

/* counter: the demo's server. Listens on a TCP port and answers every line with the next number;
 * the count is its only state and lives in its memory alone, so a count that goes on shows that the
 * process was moved, and one that begins at 1 that it was started anew.
 *
 *     counter PORT [MIB [MIB_PER_S [READ_MIB_PER_S]]]
 *
 * With MIB it also holds so much memory that no packer makes smaller, writes to MIB_PER_S of it,
 * and reads all of it (READ_MIB_PER_S of it: 100 where nothing is said, which is more than an
 * emulated processor can), again and again: each pass is a line, "pass N: P pages, B bad".
 * If it writes, another one follows, "wrote W MiB/s": what this machine let it write meanwhile.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLIENTS = 256, READ_SIZE = 512, ANSWER_SIZE = 24 };

enum { PAGE = 4096, WORDS = PAGE / sizeof(uint64_t), TICK_MS = 10, READ_MIB_PER_S = 100 };

/* Pages that hold what follows from their number and from how often they were written. */
struct memory {
    uint64_t (*pages)[WORDS];
    size_t n, written, read; /* pages; where the writing and the reading are */
    uint64_t round;          /* of writing */
    size_t per_tick;         /* pages written */
    size_t read_per_tick;
    size_t n_bad;            /* of this pass */
    uint64_t pass;
    size_t n_written; /* in this pass, … */
    int64_t began_ms; /* … which began then */
    int64_t next_ms;
};

struct server {
    struct pollfd fds[1 + MAX_CLIENTS]; /* the listener, then clients; fd -1 = free */
    uint64_t count;
};

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, MAX_CLIENTS) < 0) {
        fprintf(stderr, "counter: cannot listen on port %u: %s\n", port, strerror(errno));
        exit(1);
    }
    return fd;
}

/* A client for whom there is no place is turned away. */
static void accept_client(struct server *server)
{
    int fd = accept4(server->fds[0].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for (int i = 1; fd >= 0 && i <= MAX_CLIENTS; i++) {
        if (server->fds[i].fd >= 0)
            continue;
        server->fds[i] = (struct pollfd){.fd = fd, .events = POLLIN};
        return;
    }
    if (fd >= 0)
        close(fd);
}

/* False when the client is gone, or does not read what it asked for. */
static bool serve_client(struct server *server, int fd)
{
    char asked[READ_SIZE];
    char answers[READ_SIZE * ANSWER_SIZE];
    size_t size = 0;
    ssize_t n = read(fd, asked, sizeof(asked));

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    for (ssize_t i = 0; i < n; i++)
        if (asked[i] == '\n')
            size += (size_t)snprintf(answers + size, ANSWER_SIZE, "%llu\n",
                                     (unsigned long long)++server->count);
    return n > 0 && (size == 0 || write(fd, answers, size) == (ssize_t)size);
}

/* splitmix64: the same everywhere, and nothing that could be packed. */
static uint64_t word_of(size_t page, uint64_t version, size_t word)
{
    uint64_t x = (page * WORDS + word + (version << 40)) * 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void write_page(struct memory *m, size_t page)
{
    for (size_t i = 0; i < WORDS; i++)
        m->pages[page][i] = word_of(page, m->round, i);
}

static bool page_is_right(const struct memory *m, size_t page)
{
    uint64_t round = page < m->written ? m->round : m->round - 1;

    for (size_t i = 0; i < WORDS; i++) {
        if (m->pages[page][i] != word_of(page, round, i))
            return false;
    }
    return true;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static size_t pages_per_tick(int mib_per_s)
{
    return ((size_t)mib_per_s << 8) * TICK_MS / 1000;
}

static void memory_init(struct memory *m, int mib, int mib_per_s, int read_mib_per_s)
{
    m->n = (size_t)mib << 8;
    m->per_tick = pages_per_tick(mib_per_s);
    m->read_per_tick = pages_per_tick(read_mib_per_s);
    m->pages = mmap(NULL, m->n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->pages == MAP_FAILED) {
        fprintf(stderr, "counter: no %d MiB: %s\n", mib, strerror(errno));
        exit(1);
    }
    for (size_t i = 0; i < m->n; i++)
        write_page(m, i);
    m->round = 1;
    m->next_ms = m->began_ms = now_ms();
}

static void tell_pass(struct memory *m)
{
    int64_t now = now_ms(), ms = now > m->began_ms ? now - m->began_ms : 1;

    printf("pass %llu: %zu pages, %zu bad\n", (unsigned long long)++m->pass, m->n, m->n_bad);
    if (m->per_tick > 0)
        printf("wrote %.1f MiB/s\n", (double)m->n_written * 1000 / 256 / (double)ms);
    fflush(stdout);
    m->read = m->n_bad = m->n_written = 0;
    m->began_ms = now;
}

static void memory_tick(struct memory *m)
{
    for (size_t i = 0; i < m->per_tick; i++) {
        write_page(m, m->written);
        if (++m->written == m->n) {
            m->written = 0;
            m->round++;
        }
    }
    m->n_written += m->per_tick;
    for (size_t i = 0; i < m->read_per_tick && m->read < m->n; i++, m->read++)
        m->n_bad += !page_is_right(m, m->read);
    m->next_ms = now_ms() + TICK_MS;
    if (m->read == m->n)
        tell_pass(m);
}

static int wait_ms(const struct memory *m)
{
    int64_t left = m->next_ms - now_ms();

    return m->n == 0 ? -1 : left > 0 ? (int)left : 0;
}

static int argument(int argc, char **argv, int at)
{
    return at < argc ? atoi(argv[at]) : 0;
}

int main(int argc, char **argv)
{
    static struct server server;
    struct memory memory = {0};
    int port = argument(argc, argv, 1), mib = argument(argc, argv, 2);
    int mib_per_s = argument(argc, argv, 3);
    int read_mib_per_s = argc > 4 ? argument(argc, argv, 4) : READ_MIB_PER_S;

    if (argc > 5 || read_mib_per_s < 1 || port < 1 || port > 65535 || mib < 0 || mib_per_s < 0 ||
        (mib == 0 && mib_per_s > 0)) {
        fprintf(stderr, "usage: counter PORT [MIB [MIB_PER_S [READ_MIB_PER_S]]]\n");
        return 2;
    }
    if (mib > 0)
        memory_init(&memory, mib, mib_per_s, read_mib_per_s);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i <= MAX_CLIENTS; i++)
        server.fds[i].fd = -1;
    server.fds[0] = (struct pollfd){.fd = listen_on((uint16_t)port), .events = POLLIN};
    printf("counter: listening on port %d\n", port);
    fflush(stdout);
    for (;;) {
        if (poll(server.fds, 1 + MAX_CLIENTS, wait_ms(&memory)) < 0)
            continue;
        if (memory.n > 0 && now_ms() >= memory.next_ms)
            memory_tick(&memory);
        if (server.fds[0].revents)
            accept_client(&server);
        for (int i = 1; i <= MAX_CLIENTS; i++) {
            if (server.fds[i].fd < 0 || !server.fds[i].revents)
                continue;
            if (!serve_client(&server, server.fds[i].fd)) {
                close(server.fds[i].fd);
                server.fds[i].fd = -1;
            }
        }
    }
}

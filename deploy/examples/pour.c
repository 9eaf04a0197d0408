/* pour: one TCP connection at an even rate, each byte of which is known, so that what is lost,
 * doubled or changed on the way is seen, and that a connection was lost.
 *
 *     pour send ADDRESS PORT MBIT_S
 *     pour receive PORT
 *
 * The receiver takes one connection after the other and prints lines, each after its
 * CLOCK_REALTIME in ms; at a wrong byte it ends with 1:
 *
 *     connected
 *     received N        once a second: bytes of this connection, all of them right
 *     wrong at N
 *     lost after N
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 10, MAX_MBIT_S = 1000, BYTES_A_MBIT = 125000, CHUNK = 65536 };

static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)((position / 8 * 0x9e3779b97f4a7c15u) >> (position % 8 * 8));
}

static void fail(const char *what)
{
    fprintf(stderr, "pour: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void say(const char *what, uint64_t position)
{
    printf("%.3f %s %llu\n", now_ms(), what, (unsigned long long)position);
}

static void send_piece(int fd, uint64_t position, size_t size)
{
    uint8_t bytes[CHUNK];

    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(position + i);
    for (size_t sent = 0; sent < size;) {
        ssize_t n = write(fd, bytes + sent, size - sent);

        if (n < 0 && errno != EINTR)
            fail("the connection is lost");
        sent += n > 0 ? (size_t)n : 0;
    }
}

/* What was missed is not made up for. */
static void wait_tick(int64_t *next_ns)
{
    struct timespec t;
    int64_t now_ns;

    clock_gettime(CLOCK_MONOTONIC, &t);
    now_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    *next_ns += TICK_MS * 1000000;
    if (*next_ns < now_ns)
        *next_ns = now_ns;
    t = (struct timespec){.tv_sec = *next_ns / 1000000000, .tv_nsec = *next_ns % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void pour(int fd, size_t per_tick)
{
    uint64_t position = 0;
    int64_t next_ns = 0;

    for (;;) {
        for (size_t left = per_tick, size; left > 0; left -= size, position += size) {
            size = left < CHUNK ? left : CHUNK;
            send_piece(fd, position, size);
        }
        wait_tick(&next_ns);
    }
}

static void receive(int fd)
{
    uint8_t bytes[CHUNK];
    uint64_t position = 0;
    double said_ms = now_ms();
    ssize_t n;

    printf("%.3f connected\n", said_ms);
    while ((n = read(fd, bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR)) {
        for (ssize_t i = 0; i < n; i++, position++) {
            if (bytes[i] != byte_at(position)) {
                say("wrong at", position);
                exit(1);
            }
        }
        if (now_ms() - said_ms >= 1000) {
            said_ms = now_ms();
            say("received", position);
        }
    }
    say("lost after", position);
}

static int make_socket(void)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        fail("cannot make a socket");
    return fd;
}

static void receive_all(const struct sockaddr_in *address)
{
    int listener = make_socket();

    if (bind(listener, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
        listen(listener, 1) < 0)
        fail("cannot listen");
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            continue;
        receive(fd);
        close(fd);
    }
}

static bool read_number(const char *text, int max, int *ret)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || value < 1 || value > max)
        return false;
    *ret = (int)value;
    return true;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    bool sends = argc == 5 && !strcmp(argv[1], "send") &&
                 inet_pton(AF_INET, argv[2], &address.sin_addr) == 1;
    bool receives = argc == 3 && !strcmp(argv[1], "receive");
    int port, mbit_s = 1, fd;

    if (!(sends || receives) || !read_number(argv[sends ? 3 : 2], 65535, &port) ||
        (sends && !read_number(argv[4], MAX_MBIT_S, &mbit_s))) {
        fprintf(stderr, "usage: pour send ADDRESS PORT MBIT_S | receive PORT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)port);
    if (receives)
        receive_all(&address);
    fd = make_socket();
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        fail("cannot connect");
    pour(fd, (size_t)mbit_s * BYTES_A_MBIT * TICK_MS / 1000);
}

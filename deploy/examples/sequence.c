/* sequence: numbered UDP packets at an even rate, and which of them are missing.
 *
 *     sequence send ADDRESS PORT PER_SECOND SECONDS
 *     sequence receive PORT
 *
 * A packet is its number and when it was sent (u64 each, CLOCK_REALTIME in us). The receiver prints
 * a line for each stretch that is missing, and one a second:
 *
 *     gap lost=N ms=M stood_ms=S
 *                            N packets; between the sending of those around them lay M ms, in which
 *                            the receiver itself, which looks every half a millisecond, once did
 *                            not get to run for S
 *     late N                 packet N came behind a later one
 *     received N
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct packet {
    uint64_t number, sent_us;
};

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int usage(void)
{
    fprintf(stderr, "usage: sequence send ADDRESS PORT PER_SECOND SECONDS | receive PORT\n");
    return 2;
}

/* What cannot be sent is missing like any other. */
static int send_all(struct sockaddr_in to, uint64_t per_second, uint64_t seconds)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint64_t began_us = clock_us(CLOCK_MONOTONIC);

    for (uint64_t i = 0; i < per_second * seconds; i++) {
        struct packet packet = {i, clock_us(CLOCK_REALTIME)};
        uint64_t next_us = began_us + (i + 1) * 1000000 / per_second;
        struct timespec next = {(time_t)(next_us / 1000000), (long)(next_us % 1000000) * 1000};

        (void)!sendto(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to));
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    printf("sent %llu\n", (unsigned long long)(per_second * seconds));
    return 0;
}

/* The next packet; ret_stood_us: the longest that it was not looked for. */
static ssize_t receive(int fd, struct packet *ret, uint64_t *looked_us, uint64_t *ret_stood_us)
{
    const struct timespec a_moment = {.tv_nsec = 500 * 1000};
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    int n;

    *ret_stood_us = 0;
    do {
        uint64_t now_us;

        n = ppoll(&readable, 1, &a_moment, NULL);
        now_us = clock_us(CLOCK_REALTIME);
        if (now_us - *looked_us > *ret_stood_us)
            *ret_stood_us = now_us - *looked_us;
        *looked_us = now_us;
    } while (n == 0);
    return recv(fd, ret, sizeof(*ret), 0);
}

static int receive_all(struct sockaddr_in at)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = 4 << 20;
    uint64_t n = 0, told_us = 0, looked_us = clock_us(CLOCK_REALTIME), stood_us;
    struct packet packet, last = {0};

    at.sin_addr.s_addr = htonl(INADDR_ANY);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
        fprintf(stderr, "sequence: cannot listen: %s\n", strerror(errno));
        return 1;
    }
    printf("sequence: ready\n");
    fflush(stdout);
    while (receive(fd, &packet, &looked_us, &stood_us) == (ssize_t)sizeof(packet)) {
        if (n > 0 && packet.number < last.number) {
            printf("late %llu\n", (unsigned long long)packet.number);
            continue;
        }
        if (n > 0 && packet.number > last.number + 1)
            printf("gap lost=%llu ms=%.1f stood_ms=%.1f\n",
                   (unsigned long long)(packet.number - last.number - 1),
                   (double)(packet.sent_us - last.sent_us) / 1000, (double)stood_us / 1000);
        last = packet;
        n++;
        if (looked_us >= told_us + 1000000) {
            told_us = looked_us;
            printf("received %llu\n", (unsigned long long)n);
            fflush(stdout);
        }
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    if (argc == 3 && strcmp(argv[1], "receive") == 0) {
        address.sin_port = htons((uint16_t)atoi(argv[2]));
        return receive_all(address);
    }
    if (argc != 6 || strcmp(argv[1], "send") != 0 || atoi(argv[4]) < 1 || atoi(argv[5]) < 1 ||
        inet_pton(AF_INET, argv[2], &address.sin_addr) != 1)
        return usage();
    address.sin_port = htons((uint16_t)atoi(argv[3]));
    return send_all(address, (uint64_t)atoi(argv[4]), (uint64_t)atoi(argv[5]));
}

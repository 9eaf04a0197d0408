/* udpflood: saturates a lab node's uplink in both directions and counts what arrives.
 *
 *     udpflood SINK_NETNS NODE_ADDRESS SINK_ADDRESS RATE SECONDS
 *
 * Runs in the node's network namespace and opens its second socket in SINK_NETNS (a path), so that
 * one process holds both ends and its four counters agree. Unmarked UDP; what is sent counts once
 * the kernel took it. One line a direction on stdout, "out" being what the node sends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/err.h"
#include "base/units.h"

enum { PAYLOAD_SIZE = 1400, HEADERS_SIZE = 28, TICK_US = 1000, QUIET_MS = 400, BATCH = 64 };

/* One direction: the socket that sends, the one that receives, and what they counted. */
struct direction {
    int from_fd, to_fd;
    uint32_t rate_kbps;
    uint64_t seconds;
    uint64_t sent, refused; /* packets; refused: the node's own queue was full */
    uint64_t received;
    atomic_bool done; /* nothing more will be sent */
};

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* As many messages as one system call takes: what the flood costs the machine is system calls. */
static void batch_init(struct mmsghdr batch[BATCH], struct iovec *iov)
{
    memset(batch, 0, BATCH * sizeof(*batch));
    for (size_t i = 0; iov != NULL && i < BATCH; i++) {
        batch[i].msg_hdr.msg_iov = iov;
        batch[i].msg_hdr.msg_iovlen = 1;
    }
}

/* Sends at the rate by the clock: what a full queue refused is not made up for. */
static void *send_all(void *context)
{
    struct direction *d = context;
    static char payload[PAYLOAD_SIZE];
    struct iovec iov = {payload, sizeof(payload)};
    struct mmsghdr batch[BATCH];
    uint64_t start = now_us(), end = start + d->seconds * 1000000, now;
    uint64_t per_second = (uint64_t)d->rate_kbps * 1000 / 8 / (PAYLOAD_SIZE + HEADERS_SIZE);

    batch_init(batch, &iov);
    while ((now = now_us()) < end) {
        uint64_t wanted = (now - start) * per_second / 1000000;

        while (d->sent + d->refused < wanted) {
            uint64_t n = wanted - d->sent - d->refused;
            int n_sent = sendmmsg(d->from_fd, batch, n < BATCH ? (unsigned)n : BATCH, MSG_DONTWAIT);

            if (n_sent > 0)
                d->sent += (uint64_t)n_sent;
            else
                d->refused++;
        }
        usleep(TICK_US);
    }
    d->done = true;
    return NULL;
}

/* Counts, in ticks, until the other side is done and the line has been quiet for a while. No byte
 * is copied out of the kernel.
 */
static void *receive_all(void *context)
{
    struct direction *d = context;
    struct mmsghdr batch[BATCH];
    uint64_t heard_us = now_us();

    batch_init(batch, NULL);
    while (!d->done || now_us() < heard_us + QUIET_MS * 1000) {
        int n = recvmmsg(d->to_fd, batch, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);

        if (n > 0) {
            d->received += (uint64_t)n;
            heard_us = now_us();
        }
        if (n < BATCH)
            usleep(TICK_US);
    }
    return NULL;
}

static int open_end(const char *address, struct sockaddr_in *ret)
{
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int buffer_size = 16 << 20; /* more than any queue on the way: that queue must fill, not ours */
    socklen_t size = sizeof(*ret);

    *ret = (struct sockaddr_in){.sin_family = AF_INET};
    if (inet_pton(AF_INET, address, &ret->sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)ret, sizeof(*ret)) < 0 ||
        getsockname(fd, (struct sockaddr *)ret, &size) < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_size, sizeof(buffer_size));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_size, sizeof(buffer_size));
    return steal_fd(&fd);
}

static void print_direction(const char *name, const struct direction *d)
{
    uint64_t size = PAYLOAD_SIZE + HEADERS_SIZE;

    printf("%s sent_packets=%llu sent_bytes=%llu received_packets=%llu received_bytes=%llu "
           "received_mbit=%.1f\n",
           name, (unsigned long long)d->sent, (unsigned long long)(d->sent * size),
           (unsigned long long)d->received, (unsigned long long)(d->received * size),
           (double)(d->received * size * 8) / 1e6 / (double)d->seconds);
}

static int flood(int node_fd, int sink_fd, uint32_t rate_kbps, uint64_t seconds)
{
    static struct direction out, in;
    pthread_t threads[4];

    out = (struct direction){node_fd, sink_fd, rate_kbps, seconds, 0, 0, 0, false};
    in = (struct direction){sink_fd, node_fd, rate_kbps, seconds, 0, 0, 0, false};
    if (pthread_create(&threads[0], NULL, receive_all, &out) ||
        pthread_create(&threads[1], NULL, receive_all, &in) ||
        pthread_create(&threads[2], NULL, send_all, &out) ||
        pthread_create(&threads[3], NULL, send_all, &in))
        return -1;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    print_direction("out", &out);
    print_direction("in", &in);
    return 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_in node, sink;
    struct err err;
    uint32_t rate_kbps;
    uint64_t seconds;
    int node_fd, sink_fd, netns;

    if (argc != 6) {
        fprintf(stderr, "usage: udpflood SINK_NETNS NODE_ADDRESS SINK_ADDRESS RATE SECONDS\n");
        return 2;
    }
    if (parse_rate_kbps(argv[4], &rate_kbps, &err) < 0 ||
        parse_number(argv[5], 1, 3600, &seconds, &err) < 0) {
        fprintf(stderr, "udpflood: %s\n", err.text);
        return 2;
    }
    node_fd = open_end(argv[2], &node);
    netns = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (node_fd < 0 || netns < 0 || setns(netns, CLONE_NEWNET) < 0 ||
        (sink_fd = open_end(argv[3], &sink)) < 0 ||
        connect(node_fd, (struct sockaddr *)&sink, sizeof(sink)) < 0 ||
        connect(sink_fd, (struct sockaddr *)&node, sizeof(node)) < 0) {
        fprintf(stderr, "udpflood: cannot open the flood's two ends: %s\n", strerror(errno));
        return 1;
    }
    if (flood(node_fd, sink_fd, rate_kbps, seconds) < 0) {
        fprintf(stderr, "udpflood: cannot start threads\n");
        return 1;
    }
    return 0;
}

#include "migrate/reset_linux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"
#include "migrate/connections.h"

enum { ROUNDS = 2, ROUND_S = 1 };

struct connections {
    size_t n;
    struct connection list[CONNECTIONS_MAX];
};

static int read_table(const char *path, uint32_t ip, struct connections *ret, struct err *err)
{
    FILE *file = fopen(path, "re");
    struct connection c;
    char line[512];

    if (file == NULL)
        return errno == ENOENT ? 0
                               : err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    while (ret->n < CONNECTIONS_MAX && fgets(line, sizeof(line), file) != NULL) {
        if (connection_parse(line, &c) && c.own.ip == ip)
            ret->list[ret->n++] = c;
    }
    fclose(file);
    return 0;
}

static int open_socket(const char *netns, struct err *err)
{
    cleanup_close int space = open(netns, O_RDONLY | O_CLOEXEC);
    int fd;

    if (space < 0 || setns(space, CLONE_NEWNET) < 0)
        return err_set(err, -errno, "cannot enter %s: %s", netns, strerror(errno));
    fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    return fd < 0 ? err_set(err, -errno, "cannot open a raw socket: %s", strerror(errno)) : fd;
}

static void probe(int fd, const struct connection *connection)
{
    uint8_t packet[CONNECTIONS_PROBE_SIZE];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(connection->peer.ip)};
    uint32_t sequence = 0;

    if (getrandom(&sequence, sizeof(sequence), 0) != (ssize_t)sizeof(sequence))
        return;
    connection_probe(connection, sequence, packet);
    (void)sendto(fd, packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to));
}

int reset_peers(const char *netns, uint32_t ip, const char *path, struct err *err)
{
    cleanup_free struct connections *connections = calloc(1, sizeof(*connections));
    cleanup_close int fd = -1;
    int r;

    if (connections == NULL)
        return err_set(err, -ENOMEM, "no memory for the connections of a guest");
    r = read_table(path, ip, connections, err);
    if (r < 0 || connections->n == 0)
        return r;
    fd = open_socket(netns, err);
    if (fd < 0)
        return fd;
    for (int round = 0; round < ROUNDS; round++) {
        if (round > 0)
            nanosleep(&(struct timespec){.tv_sec = ROUND_S}, NULL);
        for (size_t i = 0; i < connections->n; i++)
            probe(fd, &connections->list[i]);
    }
    return 0;
}

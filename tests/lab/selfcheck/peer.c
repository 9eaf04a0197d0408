/* The other side of the network checks, where nothing moves. A connection begins with a line:
 *
 *     hold ID N         sends N bytes, and reads nothing
 *     call ID PORT N    calls back, and holds that connection; "ok"
 *     release ID N      reads N bytes of what is held as ID, and sends N more; "ok"
 *     ping PORT         calls back and hears "pong"; "ok"
 *
 * Datagrams are sent back.
 */
#include "check.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_HELD = 8, SMALL_BUFFER = 4096 };

static int held[MAX_HELD];

static int open_at(int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(CHECK_PEER_PORT)};
    int fd = socket(AF_INET, type, 0), on = 1, size = SMALL_BUFFER;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        (type == SOCK_STREAM && listen(fd, 16) < 0))
        return -1;
    return fd;
}

static int call_back(int asked_by, int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), size = SMALL_BUFFER;
    struct sockaddr_in address;
    socklen_t length = sizeof(address);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (getpeername(asked_by, (struct sockaddr *)&address, &length) < 0)
        return -1;
    address.sin_port = htons((uint16_t)port);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? fd : -1;
}

static bool hold(int id, int fd, int size)
{
    held[id] = fd;
    return fd >= 0 && pattern_write(fd, (size_t)size, (uint32_t)id);
}

static bool release(int id, int size)
{
    return pattern_read(held[id], (size_t)size, (uint32_t)id + 1000) &&
           pattern_write(held[id], (size_t)size, (uint32_t)id);
}

static bool hears_pong(int fd)
{
    char text[8] = "";

    return fd >= 0 && await(fd, POLLIN) && read(fd, text, sizeof(text)) == 4 && close(fd) == 0;
}

static void read_line(int fd, char *ret, size_t size)
{
    size_t n = 0;

    while (n < size - 1 && await(fd, POLLIN) && read(fd, ret + n, 1) == 1 && ret[n] != '\n')
        n++;
    ret[n] = '\0';
}

static void serve(int fd)
{
    char line[64];
    int id = 0, port, size;
    bool is_done = false;

    read_line(fd, line, sizeof(line));
    if (sscanf(line, "hold %d %d", &id, &size) == 2 && id < MAX_HELD) {
        hold(id, fd, size);
        return;
    }
    if (sscanf(line, "call %d %d %d", &id, &port, &size) == 3 && id < MAX_HELD)
        is_done = hold(id, call_back(fd, port), size);
    else if (sscanf(line, "release %d %d", &id, &size) == 2 && id < MAX_HELD)
        is_done = release(id, size);
    else if (sscanf(line, "ping %d", &port) == 1)
        is_done = hears_pong(call_back(fd, port));
    dprintf(fd, is_done ? "ok\n" : "no\n");
    close(fd);
}

static void send_back(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    char data[64];
    ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&address, &length);

    if (n > 0)
        sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&address, length);
}

int peer_main(void)
{
    struct pollfd fds[2] = {{.fd = open_at(SOCK_STREAM), .events = POLLIN},
                            {.fd = open_at(SOCK_DGRAM), .events = POLLIN}};

    signal(SIGPIPE, SIG_IGN);
    if (fds[0].fd < 0 || fds[1].fd < 0) {
        perror("selfcheck: cannot listen");
        return 1;
    }
    printf("selfcheck: peer\n");
    fflush(stdout);
    for (;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents != 0)
            serve(accept(fds[0].fd, NULL, NULL));
        if (fds[1].revents != 0)
            send_back(fds[1].fd);
    }
}

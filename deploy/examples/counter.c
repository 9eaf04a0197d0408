/* counter: the demo's server. Listens on a TCP port and answers every line with the next number;
 * the count is its only state and lives in its memory alone, so a count that goes on shows that the
 * process was moved, and one that begins at 1 that it was started anew.
 *
 *     counter PORT
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
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CLIENTS = 256, READ_SIZE = 512, ANSWER_SIZE = 24 };

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

int main(int argc, char **argv)
{
    static struct server server;
    int port = argc == 2 ? atoi(argv[1]) : 0;

    if (port < 1 || port > 65535) {
        fprintf(stderr, "usage: counter PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i <= MAX_CLIENTS; i++)
        server.fds[i].fd = -1;
    server.fds[0] = (struct pollfd){.fd = listen_on((uint16_t)port), .events = POLLIN};
    printf("counter: listening on port %d\n", port);
    fflush(stdout);
    for (;;) {
        if (poll(server.fds, 1 + MAX_CLIENTS, -1) < 0)
            continue;
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

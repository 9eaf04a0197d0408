/* TCP and UDP, to a peer that stays where it is, and inside of the guest. */
#include "check.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UNREAD = 50000, BUFFER = 200000, CALLED_PORT = 7101, LISTEN_PORT = 7102, INNER_PORT = 7103 };
enum { OUTGOING = 1, INCOMING = 2 };

static struct sockaddr_in address_of(const char *ip, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    inet_pton(AF_INET, ip, &address.sin_addr);
    return address;
}

static int connect_to(const char *ip, uint16_t port)
{
    struct sockaddr_in address = address_of(ip, port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), size = BUFFER;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? fd : -1;
}

static int listen_at(const char *ip, uint16_t port)
{
    struct sockaddr_in address = address_of(ip, port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, size = BUFFER;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0)
        return -1;
    return fd;
}

/* Sends the peer a request; the connection, or -1. */
static int ask_peer(const char *request)
{
    int fd = connect_to(check_peer, CHECK_PEER_PORT);

    return fd >= 0 && write(fd, request, strlen(request)) > 0 ? fd : -1;
}

static const char *hear_peer(int fd)
{
    char text[8] = "";

    NEED(fd >= 0 && await(fd, POLLIN) && read(fd, text, sizeof(text)) > 0);
    NEED(strcmp(text, "ok\n") == 0 && close(fd) == 0);
    return NULL;
}

/* ---- connections, unread on both sides */

static int outgoing, incoming, caller;

/* All that the peer sent is here; what it does not read fills its small buffer, and waits here. */
static const char *fill(int fd, int id)
{
    int waiting = 0;

    NEED(pattern_write(fd, UNREAD, (uint32_t)id + 1000));
    for (int i = 0; i < CHECK_LIMIT_MS && n_unread(fd) < UNREAD; i++)
        usleep(1000);
    NEED(n_unread(fd) == UNREAD);
    NEED(ioctl(fd, SIOCOUTQ, &waiting) == 0 && waiting > 0);
    return NULL;
}

static const char *look_at(int fd, int id)
{
    char request[64];

    NEED(n_unread(fd) == UNREAD && pattern_read(fd, UNREAD, (uint32_t)id));
    snprintf(request, sizeof(request), "release %d %d\n", id, UNREAD);
    NEED_NONE(hear_peer(ask_peer(request)));
    return fill(fd, id);
}

static const char *outgoing_set_up(void)
{
    char request[64];
    int on = 1;

    snprintf(request, sizeof(request), "hold %d %d\n", OUTGOING, UNREAD);
    outgoing = ask_peer(request);
    NEED(outgoing >= 0);
    NEED(setsockopt(outgoing, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
    NEED(setsockopt(outgoing, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) == 0);
    return fill(outgoing, OUTGOING);
}

static const char *outgoing_look(void)
{
    int no_delay = 0, keepalive = 0;
    socklen_t size = sizeof(int);

    NEED(getsockopt(outgoing, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0 && no_delay != 0);
    NEED(getsockopt(outgoing, SOL_SOCKET, SO_KEEPALIVE, &keepalive, &size) == 0 && keepalive != 0);
    return look_at(outgoing, OUTGOING);
}

static const char *incoming_set_up(void)
{
    char request[64];

    caller = listen_at("0.0.0.0", CALLED_PORT);
    NEED(caller >= 0);
    snprintf(request, sizeof(request), "call %d %d %d\n", INCOMING, CALLED_PORT, UNREAD);
    NEED_NONE(hear_peer(ask_peer(request)));
    incoming = accept(caller, NULL, NULL);
    NEED(incoming >= 0 && close(caller) == 0); /* it outlives its listener */
    return fill(incoming, INCOMING);
}

static const char *incoming_look(void)
{
    return look_at(incoming, INCOMING);
}

/* ---- a listener, called after the move */

static int listener;

static const char *listener_set_up(void)
{
    listener = listen_at("0.0.0.0", LISTEN_PORT);
    NEED(listener >= 0);
    return NULL;
}

static const char *listener_look(void)
{
    char request[64];
    int asked, accepted;

    snprintf(request, sizeof(request), "ping %d\n", LISTEN_PORT);
    asked = ask_peer(request);
    NEED(asked >= 0 && await(listener, POLLIN));
    accepted = accept(listener, NULL, NULL);
    NEED(accepted >= 0 && write(accepted, "pong", 4) == 4 && close(accepted) == 0);
    return hear_peer(asked);
}

/* ---- inside: unread, one side closed, and another pair that talks */

static int near_end, far_end;

static const char *inner_set_up(void)
{
    int door = listen_at("127.0.0.1", INNER_PORT);

    near_end = connect_to("127.0.0.1", INNER_PORT);
    far_end = accept(door, NULL, NULL);
    NEED(door >= 0 && near_end >= 0 && far_end >= 0 && close(door) == 0);
    NEED(pattern_write(near_end, UNREAD, 7) && pattern_write(far_end, UNREAD, 8));
    NEED(shutdown(near_end, SHUT_WR) == 0);
    return NULL;
}

static const char *inner_look(void)
{
    char byte;

    NEED(pattern_read(far_end, UNREAD, 7));
    NEED(await(far_end, POLLIN) && read(far_end, &byte, 1) == 0);
    NEED(pattern_read(near_end, UNREAD, 8));
    NEED(write(far_end, "last", 4) == 4 && await(near_end, POLLIN) &&
         read(near_end, &byte, 1) == 1);
    NEED(byte == 'l' && close(near_end) == 0 && close(far_end) == 0);
    return inner_set_up();
}

/* ---- UDP */

static int connected, bound;

static const char *udp_set_up(void)
{
    struct sockaddr_in peer = address_of(check_peer, CHECK_PEER_PORT);
    struct sockaddr_in own = address_of("0.0.0.0", LISTEN_PORT);

    connected = socket(AF_INET, SOCK_DGRAM, 0);
    bound = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(connect(connected, (struct sockaddr *)&peer, sizeof(peer)) == 0);
    NEED(bind(bound, (struct sockaddr *)&own, sizeof(own)) == 0);
    return NULL;
}

/* A datagram may be lost. */
static bool echoes(int fd, const struct sockaddr_in *to)
{
    char text[8];

    for (int i = 0; i < 200; i++) {
        struct pollfd item = {.fd = fd, .events = POLLIN};

        sendto(fd, "echo", 4, 0, (const struct sockaddr *)to, to == NULL ? 0 : sizeof(*to));
        if (poll(&item, 1, 250) == 1)
            return recv(fd, text, sizeof(text), 0) == 4;
    }
    return false;
}

static const char *udp_look(void)
{
    struct sockaddr_in peer = address_of(check_peer, CHECK_PEER_PORT), own;
    socklen_t size = sizeof(own);

    NEED(echoes(connected, NULL));
    NEED(getsockname(bound, (struct sockaddr *)&own, &size) == 0);
    NEED(own.sin_port == htons(LISTEN_PORT) && echoes(bound, &peer));
    return NULL;
}

const struct check network_checks[] = {
    {"a TCP connection out, unread on both sides", outgoing_set_up, outgoing_look},
    {"a TCP connection in, unread on both sides", incoming_set_up, incoming_look},
    {"a TCP listener", listener_set_up, listener_look},
    {"TCP inside, one half closed", inner_set_up, inner_look},
    {"UDP", udp_set_up, udp_look},
    {0},
};

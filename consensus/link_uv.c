#include "consensus/link_uv.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tcp_posix.h"
#include "consensus/keyring.h"
#include "consensus/link_connection_uv.h"

enum { ACCEPTS_A_TURN = 16, BACKLOG = 64 };

/* ---- sockets */

static void socket_tune(const struct link_config *config, int fd)
{
    tcp_set_class(fd, config->tos);
    tcp_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    tcp_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)config->dead_ms);
    /* A silent link is probed too. */
    tcp_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    tcp_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)(config->dead_ms / 1000 + 1));
    tcp_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
    tcp_set(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

/* ---- callers */

static void admit(struct link *link, int fd, const struct sockaddr_in *from)
{
    struct link_peer peer = {.serial = ++link->next_serial,
                             .address = ntohl(from->sin_addr.s_addr)};
    bool is_stranger = !keyring_has_address(link->config.keyring, peer.address);
    struct connection *c;

    if (link->n_connections >= LINK_MAX_CONNECTIONS || link->n_handshakes >= LINK_MAX_HANDSHAKES ||
        (is_stranger && link->n_strangers >= LINK_MAX_STRANGERS)) {
        close(fd);
        return;
    }
    socket_tune(&link->config, fd);
    if (connection_start(link, fd, &peer, false, &c) < 0)
        return;
    c->is_stranger = is_stranger;
    link->n_handshakes++;
    link->n_strangers += is_stranger;
}

static void on_caller(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_in from;
        socklen_t size = sizeof(from);
        int fd = accept4(link->listener.fd, (struct sockaddr *)&from, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        admit(link, fd, &from);
    }
}

int link_listen(struct link *link, struct err *err)
{
    struct sockaddr_in name;
    socklen_t size = sizeof(name);
    const struct link_config *config = &link->config;
    int rc, fd = tcp_listen(config->address, config->port, config->tos, BACKLOG, err);

    if (fd < 0)
        return fd;
    rc = uv_poll_init(link->config.loop, &link->listener.poll, fd);
    if (rc < 0) {
        close(fd);
        return err_set(err, rc, "cannot poll: %s", strerror(-rc));
    }
    link->listener.poll.data = link;
    link->listener.has_poll = true;
    link->listener.fd = fd;
    link->n_handles++;
    getsockname(fd, (struct sockaddr *)&name, &size);
    link->port = ntohs(name.sin_port);
    if (link->config.on_accept != NULL)
        connection_side_poll(&link->listener, UV_READABLE, on_caller);
    return 0;
}

uint16_t link_port(const struct link *link)
{
    return link->port;
}

/* ---- calls */

static int dial(const struct link_config *config, uint32_t address, uint16_t port)
{
    struct sockaddr_in name = tcp_address(address, port);
    cleanup_close int fd = tcp_socket();
    int rc;

    if (fd < 0)
        return fd;
    socket_tune(config, fd);
    tcp_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    rc = tcp_bind(fd, config->address, 0);
    if (rc < 0)
        return rc;
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0 && errno != EINPROGRESS)
        return -errno;
    return steal_fd(&fd);
}

int link_connect(struct link *link, uint64_t node_id, uint32_t address, uint16_t port,
                 link_connect_cb *done, void *data)
{
    struct link_peer peer = {.node_id = node_id, .address = address, .port = port};
    struct keyring_entry entry;
    struct connection *c;
    int fd, rc;

    assert(!link->is_closing);
    if (!keyring_find(link->config.keyring, node_id, &entry))
        return -ENOKEY;
    if (link->n_connections >= LINK_MAX_CONNECTIONS)
        return -ENOBUFS;
    fd = dial(&link->config, address, port);
    if (fd < 0)
        return fd;
    peer.serial = ++link->next_serial;
    rc = connection_start(link, fd, &peer, true, &c);
    if (rc < 0)
        return rc;
    c->done = done;
    c->done_data = data;
    return 0;
}

/* ---- pace */

static const struct connection *open_link_of(const struct link *link, uint64_t serial)
{
    const struct connection *c = link->connections;

    while (c != NULL && (c->peer.serial != serial || c->stage != CONNECTION_OPEN))
        c = c->next;
    return c;
}

void link_set_pace(struct link *link, uint64_t serial, uint32_t bytes_per_s)
{
    const struct connection *c = open_link_of(link, serial);

    if (c != NULL)
        setsockopt(c->tcp.fd, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes_per_s, sizeof(bytes_per_s));
}

void link_set_dead(struct link *link, uint64_t serial, uint32_t dead_ms)
{
    const struct connection *c = open_link_of(link, serial);

    if (c != NULL)
        tcp_set(c->tcp.fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
                (int)(dead_ms != 0 ? dead_ms : link->config.dead_ms));
}

uint64_t link_delivered(const struct link *link, uint64_t serial, uint32_t *ret_waiting)
{
    const struct connection *c = open_link_of(link, serial);
    int waiting = 0;

    if (c == NULL || ioctl(c->tcp.fd, SIOCOUTQ, &waiting) < 0 || waiting < 0)
        waiting = 0;
    if (ret_waiting != NULL)
        *ret_waiting = (uint32_t)waiting;
    return c != NULL && c->n_sent > (uint64_t)waiting ? c->n_sent - (uint64_t)waiting : 0;
}

/* ---- cuts */

/* Ends every connection that `is_condemned`. Ending one frees none at once. */
static void end_each(struct link *link,
                     bool (*is_condemned)(const struct connection *c, uint64_t v), uint64_t value,
                     int status)
{
    struct connection *next;

    for (struct connection *c = link->connections; c != NULL; c = next) {
        next = c->next;
        if (c->stage != CONNECTION_CLOSED && is_condemned(c, value))
            connection_end(c, status);
    }
}

static bool is_with_node(const struct connection *c, uint64_t node_id)
{
    return c->peer.node_id == node_id;
}

static bool is_this(const struct connection *c, uint64_t serial)
{
    return c->peer.serial == serial;
}

static bool is_any(const struct connection *c, uint64_t value)
{
    (void)c;
    (void)value;
    return true;
}

static bool is_revoked(const struct connection *c, uint64_t value)
{
    struct keyring_entry entry;

    (void)value;
    if (c->stage == CONNECTION_AWAIT_HELLO)
        return false; /* nobody yet */
    return !keyring_find(c->link->config.keyring, c->peer.node_id, &entry) ||
           memcmp(entry.link_key, seal_peer_key(c->seal), KEY_SIZE) != 0;
}

void link_end(struct link *link, uint64_t serial)
{
    end_each(link, is_this, serial, -ECANCELED);
}

void link_cut(struct link *link, uint64_t node_id)
{
    end_each(link, is_with_node, node_id, -ECANCELED);
}

static void on_keyring_changed(uv_async_t *async)
{
    end_each(async->data, is_revoked, 0, -EKEYREVOKED);
}

static void keyring_changed(void *data)
{
    struct link *link = data;

    uv_async_send(&link->changed);
}

/* ---- life */

int link_open(const struct link_config *config, struct link **ret, struct err *err)
{
    struct link *link = calloc(1, sizeof(*link));
    int rc;

    if (link == NULL)
        return err_set(err, -ENOMEM, "no memory");
    link->config = *config;
    link->listener.fd = -1;
    if (link->config.connect_ms == 0)
        link->config.connect_ms = LINK_DEFAULT_CONNECT_MS;
    if (link->config.dead_ms == 0)
        link->config.dead_ms = LINK_DEFAULT_DEAD_MS;
    rc = keyring_watch(config->keyring, keyring_changed, link);
    if (rc < 0) {
        free(link);
        return err_set(err, rc, "too many watch the keyring");
    }
    rc = uv_async_init(config->loop, &link->changed, on_keyring_changed);
    if (rc < 0) {
        keyring_unwatch(config->keyring, keyring_changed, link);
        free(link);
        return err_set(err, rc, "cannot make a wake-up: %s", strerror(-rc));
    }
    link->changed.data = link;
    link->n_handles = 1;
    *ret = link;
    return 0;
}

void link_maybe_free(struct link *link)
{
    if (!link->is_closing || link->n_handles > 0 || link->connections != NULL)
        return;
    if (link->closed != NULL)
        link->closed(link->closed_data);
    free(link);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;

    link->n_handles--;
    link_maybe_free(link);
}

void link_close(struct link *link, void (*done)(void *data), void *data)
{
    assert(!link->is_closing);
    link->is_closing = true;
    link->closed = done;
    link->closed_data = data;
    keyring_unwatch(link->config.keyring, keyring_changed, link);
    uv_close((uv_handle_t *)&link->changed, on_handle_closed);
    if (link->listener.has_poll) {
        uv_poll_stop(&link->listener.poll);
        uv_close((uv_handle_t *)&link->listener.poll, on_handle_closed);
        close(link->listener.fd);
    }
    end_each(link, is_any, 0, -ECANCELED);
}

#include "agent/skeind/guard_client_uv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/guard/packet_posix.h"
#include "agent/skeind/guard_pending_uv.h"
#include "base/log.h"

enum {
    RETRY_MIN_MS = 20,   /* doubles after connections that did not live long … */
    RETRY_MAX_MS = 1000, /* … up to here, and begins anew after one that lived so long */
    MAX_PENDING = 4096,
    PACKETS_A_TURN = 16, /* the loop has others to serve */
    LEASE = 0,
    WORK,
    N_CONNECTIONS,
};

struct connection {
    uv_poll_t poll;
    int fd;
    int index;
    bool said_hello;
    struct guard_client *client; /* NULL: given up, closing */
};

struct guard_client {
    uv_loop_t *loop;
    struct guard_client_config config;
    char *socket_path;
    struct connection *connections[N_CONNECTIONS]; /* NULL = none */
    bool is_up;                                    /* both said hello */
    bool is_closing;
    uint32_t last_serial;
    struct pending_list pending; /* on the way */
    struct pending_list failed;  /* their callback is due at the next turn */
    uv_timer_t retry, turn;
    uv_fs_event_t watch; /* of the socket's directory */
    uint32_t retry_ms;
    uint64_t up_since_ms;
    bool is_renewed; /* there is a newer socket than the connections' one, perhaps */
    int n_handles;
    void (*closed)(void *context);
    void *closed_context;
    uint8_t packet[GUARD_PACKET_MAX];
};

/* ---- connections */

static void on_ready(uv_poll_t *poll, int status, int events);

static void connection_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void connection_drop(struct guard_client *client, int index)
{
    struct connection *c = client->connections[index];

    if (c == NULL)
        return;
    client->connections[index] = NULL;
    c->client = NULL;
    uv_close((uv_handle_t *)&c->poll, connection_closed);
    close(c->fd);
}

static int send_packet(struct guard_client *client, struct connection *c,
                       const struct guard_request *request)
{
    struct writer w;

    writer_init(&w, client->packet, sizeof(client->packet));
    guard_request_encode(request, &w);
    return w.failed ? -EMSGSIZE : packet_send(c->fd, w.data, w.size, request->fds, GUARD_MAX_FDS);
}

static int open_socket(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    strcpy(address.sun_path, path); /* fits: guard_client_new looked */
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -ENOTCONN;
    }
    packet_make_room(fd, GUARD_PACKET_MAX);
    *ret_fd = fd;
    return 0;
}

static int connection_open(struct guard_client *client, int index)
{
    struct guard_request hello;
    struct connection *c;
    int fd = -1, rc = open_socket(client->socket_path, &fd);

    if (rc < 0)
        return rc;
    c = calloc(1, sizeof(*c));
    if (c == NULL || uv_poll_init(client->loop, &c->poll, fd) < 0) {
        free(c);
        close(fd);
        return -ENOMEM;
    }
    c->fd = fd;
    c->index = index;
    c->client = client;
    c->poll.data = c;
    client->connections[index] = c;
    uv_poll_start(&c->poll, UV_READABLE, on_ready);
    guard_request_init(&hello);
    hello.serial = UINT32_MAX;
    hello.op = GUARD_HELLO;
    hello.connection = index == LEASE ? GUARD_CONNECTION_LEASE : GUARD_CONNECTION_WORK;
    memcpy(hello.key, client->config.key, GUARD_KEY_SIZE);
    return send_packet(client, c, &hello);
}

static void try_connect(uv_timer_t *timer)
{
    struct guard_client *client = timer->data;
    int rc = connection_open(client, LEASE);

    if (rc == 0)
        rc = connection_open(client, WORK);
    if (rc == 0)
        return;
    connection_drop(client, LEASE);
    connection_drop(client, WORK);
    uv_timer_start(&client->retry, try_connect, RETRY_MIN_MS, 0);
}

/* A new socket is a new guard: it is not waited for. */
static void on_file(uv_fs_event_t *watch, const char *name, int events, int status)
{
    struct guard_client *client = watch->data;

    (void)events;
    if (status < 0 || name == NULL || strcmp(name, basename(client->socket_path)) != 0)
        return;
    client->is_renewed = client->connections[LEASE] != NULL || client->connections[WORK] != NULL;
    if (client->is_renewed)
        return;
    uv_timer_stop(&client->retry);
    try_connect(&client->retry);
}

/* Where a directory cannot be watched there is still the retry. */
static void watch_socket(struct guard_client *client)
{
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int rc;

    snprintf(directory, sizeof(directory), "%.*s",
             (int)(basename(client->socket_path) - client->socket_path), client->socket_path);
    rc = uv_fs_event_start(&client->watch, on_file, directory, 0);
    if (rc < 0)
        log_warn("cannot watch %s for the guard: %s", directory, uv_strerror(rc));
}

/* A guard that cuts us off again and again must not be asked without pause. */
static uint32_t next_retry_ms(struct guard_client *client, bool was_up)
{
    bool is_renewed = client->is_renewed;

    client->is_renewed = false;
    if (is_renewed)
        return 0;
    if (was_up && uv_now(client->loop) - client->up_since_ms >= RETRY_MAX_MS)
        client->retry_ms = RETRY_MIN_MS;
    else if (was_up)
        client->retry_ms =
            2 * client->retry_ms < RETRY_MAX_MS ? 2 * client->retry_ms : RETRY_MAX_MS;
    return client->retry_ms;
}

static void lose(struct guard_client *client)
{
    bool was_up = client->is_up;

    client->is_up = false;
    connection_drop(client, LEASE);
    connection_drop(client, WORK);
    uv_timer_start(&client->retry, try_connect, next_retry_ms(client, was_up), 0);
    pending_finish_all(&client->pending, -ECONNRESET);
    if (was_up && client->config.on_lost != NULL && !client->is_closing)
        client->config.on_lost(client->config.context);
}

static void send_waiting(struct guard_client *client, struct connection *c)
{
    for (struct pending *p = client->pending.first; p != NULL; p = p->next) {
        if (p->is_sent || p->connection != c->index)
            continue;
        if (send_packet(client, c, &p->request) < 0)
            return; /* full again, or lost: then the poll says so */
        p->is_sent = true;
    }
    uv_poll_start(&c->poll, UV_READABLE, on_ready);
}

static void take_hello(struct guard_client *client, struct connection *c,
                       const struct guard_reply *reply)
{
    c->said_hello = true;
    if (client->is_up || client->connections[LEASE] == NULL || client->connections[WORK] == NULL ||
        !client->connections[LEASE]->said_hello || !client->connections[WORK]->said_hello)
        return;
    client->is_up = true;
    client->up_since_ms = uv_now(client->loop);
    if (client->config.on_hello != NULL)
        client->config.on_hello(client->config.context, &reply->hello);
}

static void take_reply(struct guard_client *client, struct connection *c, struct guard_reply *reply)
{
    struct pending *p;

    if (reply->op == GUARD_HELLO && reply->code < 0) {
        log_warn("guard: %s", reply->text); /* it ends the connection by itself */
        client->retry_ms = RETRY_MAX_MS;
    } else if (reply->op == GUARD_HELLO && reply->serial == UINT32_MAX) {
        take_hello(client, c, reply);
    } else if (reply->serial == 0) {
        if (client->is_up && client->config.on_event != NULL)
            client->config.on_event(client->config.context, reply);
    } else {
        p = pending_take(&client->pending, c->index, reply->serial);
        if (p != NULL)
            pending_finish(p, reply);
    }
}

/* False: the connection is gone, or nothing more is there. */
static bool read_packet(struct guard_client *client, struct connection *c)
{
    struct guard_reply reply;
    int fds[PACKET_MAX_FDS];
    ssize_t size = packet_receive(c->fd, client->packet, sizeof(client->packet), fds);

    if (size == -EAGAIN)
        return false;
    if (size <= 0 || guard_reply_decode(client->packet, (size_t)size, &reply) < 0) {
        for (int i = 0; i < PACKET_MAX_FDS; i++) {
            if (fds[i] >= 0)
                close(fds[i]);
        }
        lose(client);
        return false;
    }
    reply.fd = fds[0];
    take_reply(client, c, &reply);
    if (reply.fd >= 0)
        close(reply.fd);
    guard_reply_deinit(&reply);
    return true;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    struct guard_client *client = c->client;

    if (status < 0) {
        lose(client);
        return;
    }
    if (events & UV_WRITABLE)
        send_waiting(client, c);
    /* A callback may close the client, or the connection; `c` itself lives until its close
     * callback, which is never within this one. */
    for (int i = 0; i < PACKETS_A_TURN && c->client != NULL; i++) {
        if (!read_packet(client, c))
            return;
    }
}

/* ---- the client */

static void turn(uv_timer_t *timer)
{
    struct guard_client *client = timer->data;

    pending_finish_all(&client->failed, -ENOTCONN);
}

int guard_client_new(uv_loop_t *loop, const struct guard_client_config *config,
                     struct guard_client **ret, struct err *err)
{
    struct guard_client *client;

    if (strlen(config->socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return err_set(err, -ENAMETOOLONG, "%s is too long for a socket", config->socket_path);
    client = calloc(1, sizeof(*client));
    if (client == NULL || (client->socket_path = strdup(config->socket_path)) == NULL) {
        free(client);
        return err_set(err, -ENOMEM, "no memory");
    }
    client->loop = loop;
    client->config = *config;
    pending_init(&client->pending);
    pending_init(&client->failed);
    uv_timer_init(loop, &client->retry);
    uv_timer_init(loop, &client->turn);
    uv_fs_event_init(loop, &client->watch);
    client->retry.data = client->turn.data = client->watch.data = client;
    client->retry_ms = RETRY_MIN_MS;
    client->n_handles = 3;
    watch_socket(client);
    uv_timer_start(&client->retry, try_connect, 0, 0);
    *ret = client;
    return 0;
}

static void fail_later(struct guard_client *client, struct pending *p, int code)
{
    p->code = code;
    pending_add(&client->failed, p);
    uv_timer_start(&client->turn, turn, 0, 0);
}

static uint32_t next_serial(struct guard_client *client)
{
    client->last_serial = client->last_serial >= UINT32_MAX - 1 ? 1 : client->last_serial + 1;
    return client->last_serial;
}

static void send_or_wait(struct guard_client *client, struct pending *p)
{
    struct connection *c = client->connections[p->connection];
    int rc = send_packet(client, c, &p->request);

    if (rc == -EMSGSIZE) {
        fail_later(client, p, rc);
        return;
    }
    p->is_sent = rc == 0;
    pending_add(&client->pending, p);
    if (rc == -EAGAIN)
        uv_poll_start(&c->poll, UV_READABLE | UV_WRITABLE, on_ready);
}

void guard_client_send(struct guard_client *client, struct guard_request *request,
                       guard_reply_cb cb, void *context)
{
    bool is_lease = request->op == GUARD_STAMP || request->op == GUARD_ACK;
    struct pending *p = calloc(1, sizeof(*p));

    if (p == NULL) /* a callback is promised, and there is nothing to promise it with */
        abort();
    p->request = *request;
    guard_request_init(request);
    if (p->request.serial == 0)
        p->request.serial = next_serial(client);
    p->cb = cb;
    p->context = context;
    p->connection = is_lease ? LEASE : WORK;
    if (client->is_closing)
        fail_later(client, p, -ECANCELED);
    else if (!client->is_up)
        fail_later(client, p, -ENOTCONN);
    else if (client->pending.n >= MAX_PENDING)
        fail_later(client, p, -EBUSY);
    else
        send_or_wait(client, p);
}

static void handle_closed(uv_handle_t *handle)
{
    struct guard_client *client = handle->data;
    void (*closed)(void *context) = client->closed;
    void *context = client->closed_context;

    if (--client->n_handles > 0)
        return;
    free(client->socket_path);
    free(client);
    if (closed != NULL)
        closed(context);
}

void guard_client_close(struct guard_client *client, void (*closed)(void *context), void *context)
{
    client->is_closing = true;
    client->is_up = false;
    client->closed = closed;
    client->closed_context = context;
    connection_drop(client, LEASE);
    connection_drop(client, WORK);
    while (client->pending.first != NULL || client->failed.first != NULL) {
        pending_finish_all(&client->pending, -ECANCELED);
        pending_finish_all(&client->failed, -ECANCELED);
    }
    uv_close((uv_handle_t *)&client->retry, handle_closed);
    uv_close((uv_handle_t *)&client->turn, handle_closed);
    uv_close((uv_handle_t *)&client->watch, handle_closed);
}

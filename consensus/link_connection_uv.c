#include "consensus/link_connection_uv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "consensus/keyring.h"

/* How many reads one turn of the loop may do for one connection and direction. */
enum { READS_A_TURN = 16, PLAIN_BUFFER = 256 * 1024 };

static void connection_step(struct connection *c);

void connection_side_poll(struct connection_side *side, int events, uv_poll_cb cb)
{
    if (!side->has_poll || events == side->events)
        return;
    if (events == 0)
        uv_poll_stop(&side->poll);
    else
        uv_poll_start(&side->poll, events, cb);
    side->events = events;
}

/* ---- life */

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct link *link = c->link;

    if (--c->n_handles > 0)
        return;
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        link->connections = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    link->n_connections--;
    free(c);
    link_maybe_free(link);
}

static void close_side(struct connection_side *side)
{
    if (side->has_poll) {
        uv_poll_stop(&side->poll);
        uv_close((uv_handle_t *)&side->poll, on_handle_closed);
        side->has_poll = false;
    }
    if (side->fd >= 0)
        close(side->fd);
    side->fd = -1;
}

static void leave_handshake(struct connection *c)
{
    if (c->is_initiator)
        return;
    c->link->n_handshakes--;
    c->link->n_strangers -= c->is_stranger;
}

void connection_end(struct connection *c, int status)
{
    enum connection_stage stage = c->stage;
    link_connect_cb *done = c->done;

    if (stage == CONNECTION_CLOSED)
        return;
    c->stage = CONNECTION_CLOSED;
    c->done = NULL;
    if (stage == CONNECTION_OPEN && c->link->config.on_end != NULL)
        c->link->config.on_end(c->link->config.data, &c->peer, status);
    if (stage != CONNECTION_OPEN)
        leave_handshake(c);
    if (done != NULL)
        done(c->done_data, status, &c->peer, -1);
    close_side(&c->tcp);
    close_side(&c->plain);
    seal_free(c->seal);
    c->seal = NULL;
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

/* ---- waiting */

static void on_timeout(uv_timer_t *timer)
{
    connection_end(timer->data, -ETIMEDOUT);
}

static void on_tcp(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    int error = 0;
    socklen_t size = sizeof(error);

    (void)events;
    if (status < 0) {
        c->tcp.events = 0; /* libuv has stopped it */
        getsockopt(c->tcp.fd, SOL_SOCKET, SO_ERROR, &error, &size);
        connection_end(c, error != 0 ? -error : -ECONNRESET);
        return;
    }
    connection_step(c);
}

static void on_plain(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;

    (void)events;
    if (status < 0)
        connection_end(c, -EPIPE);
    else
        connection_step(c);
}

static int side_init(struct connection *c, struct connection_side *side, int fd)
{
    int rc = uv_poll_init(c->link->config.loop, &side->poll, fd);

    if (rc < 0)
        return rc;
    side->poll.data = c;
    side->has_poll = true;
    side->fd = fd;
    c->n_handles++;
    return 0;
}

/* ---- handshake */

static bool is_listed(void *data, const uint8_t key[KEY_SIZE])
{
    struct connection *c = data;
    struct keyring_entry entry;

    if (!keyring_find_key(c->link->config.keyring, key, &entry))
        return false;
    if (entry.id == c->link->config.node_id)
        return false;
    c->peer.node_id = entry.id;
    c->peer.address = entry.address;
    return true;
}

static int make_seal(struct connection *c)
{
    const struct link_config *config = &c->link->config;
    struct seal_config seal = {
        .identity = config->identity,
        .purpose = config->purpose,
        .is_listed = is_listed,
        .data = c,
    };
    struct keyring_entry entry;
    struct writer w;

    memcpy(seal.cluster, config->cluster, NONCE_SIZE);
    writer_init(&w, seal.greeting, sizeof(seal.greeting));
    write_u16(&w, c->link->port);
    if (c->is_initiator) {
        if (!keyring_find(config->keyring, c->peer.node_id, &entry))
            return -ENOKEY;
        seal.peer_key = entry.link_key;
    }
    return seal_new(&seal, &c->seal, NULL);
}

static void read_greeting(struct connection *c)
{
    struct reader r;

    reader_init(&r, seal_peer_greeting(c->seal), SEAL_GREETING_SIZE);
    c->peer.port = read_u16(&r);
}

/* TCP is there: the first words. */
static int say_hello(struct connection *c)
{
    int error = 0, rc;
    socklen_t size = sizeof(error);

    if (getsockopt(c->tcp.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0)
        return error != 0 ? -error : -errno;
    rc = seal_hello(c->seal, c->out);
    if (rc < 0)
        return rc;
    c->out_size = SEAL_HELLO_SIZE;
    c->stage = CONNECTION_AWAIT_ANSWER;
    return 0;
}

/* Hands out the plain end. The callback may end the connection or close the link. */
static int hand_out(struct connection *c)
{
    const int buffer = PLAIN_BUFFER;
    link_connect_cb *done = c->done;
    int pair[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
    rc = side_init(c, &c->plain, pair[0]);
    if (rc < 0) {
        close(pair[0]);
        close(pair[1]);
        return rc;
    }
    uv_timer_stop(&c->timer);
    leave_handshake(c);
    c->stage = CONNECTION_OPEN;
    c->done = NULL;
    if (c->is_initiator)
        done(c->done_data, 0, &c->peer, pair[1]);
    else
        c->link->config.on_accept(c->link->config.data, &c->peer, pair[1]);
    return 0;
}

static int take_hello(struct connection *c)
{
    int rc = seal_answer(c->seal, c->in + c->in_at, c->out);

    if (rc < 0)
        return rc;
    read_greeting(c);
    c->out_size = SEAL_ANSWER_SIZE;
    c->stage = CONNECTION_AWAIT_CONFIRM;
    return SEAL_HELLO_SIZE;
}

static int take_answer(struct connection *c)
{
    int rc = seal_finish(c->seal, c->in + c->in_at);

    if (rc < 0)
        return rc;
    read_greeting(c);
    c->out_at = 0;
    c->out_size = seal_record(c->seal, SEAL_CONFIRM, c->out, 0);
    rc = hand_out(c);
    return rc < 0 ? rc : SEAL_ANSWER_SIZE;
}

static ssize_t take_record(struct connection *c)
{
    struct seal_record record;
    ssize_t used = seal_open(c->seal, c->in + c->in_at, c->in_size - c->in_at, &record);
    int rc = 0;

    if (used <= 0)
        return used;
    switch (record.type) {
    case SEAL_CONFIRM:
        rc = hand_out(c);
        break;
    case SEAL_END:
        c->peer_ended = true;
        shutdown(c->plain.fd, SHUT_WR);
        break;
    case SEAL_DATA:
        c->open_at = (size_t)(record.data - c->in);
        c->open_size = record.size;
        break;
    }
    return rc < 0 ? rc : used;
}

/* Takes the next message out of `in`: the bytes that it used, 0 = it is not whole yet. */
static ssize_t take_message(struct connection *c)
{
    size_t size = c->in_size - c->in_at;

    switch (c->stage) {
    case CONNECTION_AWAIT_HELLO:
        return size < SEAL_HELLO_SIZE ? 0 : take_hello(c);
    case CONNECTION_AWAIT_ANSWER:
        return size < SEAL_ANSWER_SIZE ? 0 : take_answer(c);
    case CONNECTION_AWAIT_CONFIRM:
    case CONNECTION_OPEN:
        return take_record(c);
    case CONNECTION_CONNECTING:
    case CONNECTION_CLOSED:
        break;
    }
    return 0;
}

/* ---- pump */

/* Moves opened data on to the plain end. 1 = all of it is gone, 0 = it takes no more now. */
static int deliver(struct connection *c)
{
    while (c->open_size > 0) {
        ssize_t n = send(c->plain.fd, c->in + c->open_at, c->open_size, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            c->plain.wanted |= UV_WRITABLE;
            return 0;
        }
        if (n < 0)
            return -EPIPE;
        c->open_at += (size_t)n;
        c->open_size -= (size_t)n;
    }
    return 1;
}

/* Reads more from TCP into `in`. 1 = something came, 0 = nothing there now. */
static int receive(struct connection *c)
{
    ssize_t n;

    if (c->in_at > 0) {
        memmove(c->in, c->in + c->in_at, c->in_size - c->in_at);
        c->in_size -= c->in_at;
        c->in_at = 0;
    }
    do {
        n = recv(c->tcp.fd, c->in + c->in_size, sizeof(c->in) - c->in_size, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN)
        return -errno;
    if (n == 0)
        return -ECONNRESET; /* an end without the END record */
    if (n < 0) {
        c->tcp.wanted |= UV_READABLE;
        return 0;
    }
    c->in_size += (size_t)n;
    return 1;
}

static int pump_inward(struct connection *c)
{
    for (int n_reads = 0;;) {
        ssize_t used;
        int rc = deliver(c);

        if (rc <= 0 || c->peer_ended)
            return rc < 0 ? rc : 0;
        used = take_message(c);
        if (used < 0 || c->stage == CONNECTION_CLOSED)
            return (int)used;
        c->in_at += (size_t)used;
        if (used > 0)
            continue;
        if (n_reads++ == READS_A_TURN) {
            c->tcp.wanted |= UV_READABLE;
            return 0;
        }
        rc = receive(c);
        if (rc <= 0)
            return rc;
    }
}

/* Moves sealed bytes on to TCP. 1 = all gone, 0 = it takes no more now. */
static int transmit(struct connection *c)
{
    while (c->out_at < c->out_size) {
        ssize_t n = send(c->tcp.fd, c->out + c->out_at, c->out_size - c->out_at, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            c->tcp.wanted |= UV_WRITABLE;
            return 0;
        }
        if (n < 0)
            return -errno;
        c->out_at += (size_t)n;
        c->n_sent += (size_t)n;
    }
    c->out_at = c->out_size = 0;
    return 1;
}

/* Reads from the plain end and seals it into `out`. 1 = done so, 0 = nothing there now. */
static int collect(struct connection *c)
{
    ssize_t n;

    do {
        n = recv(c->plain.fd, c->out + SEAL_HEADROOM, SEAL_DATA_MAX, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN)
        return -EPIPE;
    if (n < 0) {
        c->plain.wanted |= UV_READABLE;
        return 0;
    }
    c->own_ended = n == 0;
    c->out_size = seal_record(c->seal, n == 0 ? SEAL_END : SEAL_DATA, c->out, (size_t)n);
    return 1;
}

static int pump_outward(struct connection *c)
{
    for (int n_reads = 0;;) {
        int rc = transmit(c);

        if (rc <= 0 || c->own_ended || c->stage != CONNECTION_OPEN)
            return rc < 0 ? rc : 0;
        if (n_reads++ == READS_A_TURN) {
            c->plain.wanted |= UV_READABLE;
            return 0;
        }
        rc = collect(c);
        if (rc <= 0)
            return rc;
    }
}

static bool is_over(const struct connection *c)
{
    return c->own_ended && c->peer_ended && c->open_size == 0 && c->out_at == c->out_size;
}

static void connection_step(struct connection *c)
{
    int rc = 0;

    c->tcp.wanted = c->plain.wanted = 0;
    if (c->stage == CONNECTION_CONNECTING)
        rc = say_hello(c);
    if (rc == 0)
        rc = pump_inward(c);
    if (rc == 0 && c->stage != CONNECTION_CLOSED)
        rc = pump_outward(c);
    if (c->stage == CONNECTION_CLOSED)
        return;
    if (rc < 0 || is_over(c)) {
        connection_end(c, rc);
        return;
    }
    connection_side_poll(&c->tcp, c->tcp.wanted, on_tcp);
    connection_side_poll(&c->plain, c->plain.wanted, on_plain);
}

int connection_start(struct link *link, int fd, const struct link_peer *peer, bool is_initiator,
                     struct connection **ret)
{
    struct connection *c = calloc(1, sizeof(*c));
    int rc = -ENOMEM;

    if (c == NULL)
        goto fail;
    c->link = link;
    c->peer = *peer;
    c->is_initiator = is_initiator;
    c->stage = is_initiator ? CONNECTION_CONNECTING : CONNECTION_AWAIT_HELLO;
    c->tcp.fd = c->plain.fd = -1;
    rc = make_seal(c);
    if (rc < 0)
        goto fail;
    rc = side_init(c, &c->tcp, fd);
    if (rc < 0)
        goto fail;
    uv_timer_init(link->config.loop, &c->timer);
    c->timer.data = c;
    c->n_handles++;
    uv_timer_start(&c->timer, on_timeout, link->config.connect_ms, 0);
    c->next = link->connections;
    if (c->next != NULL)
        c->next->previous = c;
    link->connections = c;
    link->n_connections++;
    connection_side_poll(&c->tcp, is_initiator ? UV_WRITABLE : UV_READABLE, on_tcp);
    *ret = c;
    return 0;

fail:
    if (c != NULL)
        seal_free(c->seal);
    free(c);
    close(fd);
    return rc;
}

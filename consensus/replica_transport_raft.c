/* libraft's network: each of its streams is the plain end of a sealed link. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/log.h"
#include "base/tcp_posix.h"
#include "base/units.h"
#include "consensus/replica_raft.h"

void replica_address_format(uint32_t address, uint16_t port, char ret[REPLICA_ADDRESS_SIZE])
{
    char text[IPV4_TEXT_SIZE];

    snprintf(ret, REPLICA_ADDRESS_SIZE, "%s:%u", ipv4_format(address, text), port);
}

int replica_address_parse(const char *text, uint32_t *ret_address, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    char address[IPV4_TEXT_SIZE];
    uint64_t port;

    if (colon == NULL || (size_t)(colon - text) >= sizeof(address))
        return -EINVAL;
    memcpy(address, text, (size_t)(colon - text));
    address[colon - text] = '\0';
    if (parse_number(colon + 1, 1, UINT16_MAX, &port, NULL) < 0 ||
        ipv4_parse(address, ret_address, NULL) < 0)
        return -EINVAL;
    *ret_port = (uint16_t)port;
    return 0;
}

/* A stream for libraft, which closes it and frees it with raft_free. Takes `fd`. */
static struct uv_stream_s *stream_of(struct replica *r, int fd)
{
    uv_pipe_t *pipe = raft_malloc(sizeof(*pipe));

    if (pipe == NULL) {
        close(fd);
        return NULL;
    }
    uv_pipe_init(&r->loop, pipe, 0);
    if (uv_pipe_open(pipe, fd) < 0) {
        close(fd);
        uv_close((uv_handle_t *)pipe, (uv_close_cb)raft_free);
        return NULL;
    }
    return (struct uv_stream_s *)pipe;
}

static void on_accept(void *data, const struct link_peer *peer, int fd)
{
    struct replica *r = data;
    char address[REPLICA_ADDRESS_SIZE];
    struct uv_stream_s *stream;

    if (r->accepted == NULL || r->is_closing) {
        close(fd);
        return;
    }
    stream = stream_of(r, fd);
    if (stream == NULL)
        return;
    replica_address_format(peer->address, peer->port, address);
    r->accepted(&r->transport, peer->node_id, address, stream);
}

static void on_end(void *data, const struct link_peer *peer, int status)
{
    (void)data;
    if (status < 0)
        log_debug("raft link with node %llu ended: %s", (unsigned long long)peer->node_id,
                  strerror(-status));
}

struct call {
    struct raft_uv_connect *request;
    struct replica *replica;
};

static void on_connected(void *data, int status, const struct link_peer *peer, int fd)
{
    struct call *call = data;
    struct raft_uv_connect *request = call->request;
    struct uv_stream_s *stream = NULL;
    int rc = status == -ECANCELED ? RAFT_CANCELED : RAFT_NOCONNECTION;

    if (status == 0) {
        stream = stream_of(call->replica, fd);
        rc = stream != NULL ? 0 : RAFT_NOMEM;
    } else {
        log_debug("raft link to node %llu: %s", (unsigned long long)peer->node_id,
                  strerror(-status));
    }
    free(call);
    request->cb(request, stream, rc);
}

static int transport_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
    (void)t;
    (void)id;
    (void)address;
    return 0;
}

static int transport_listen(struct raft_uv_transport *t, raft_uv_accept_cb accepted)
{
    ((struct replica *)t->impl)->accepted = accepted;
    return 0;
}

static int transport_connect(struct raft_uv_transport *t, struct raft_uv_connect *request,
                             raft_id id, const char *address, raft_uv_connect_cb done)
{
    struct replica *r = t->impl;
    struct call *call;
    uint32_t ip;
    uint16_t port;

    if (replica_address_parse(address, &ip, &port) < 0)
        return RAFT_INVALID;
    call = calloc(1, sizeof(*call));
    if (call == NULL)
        return RAFT_NOMEM;
    call->request = request;
    call->replica = r;
    request->cb = done;
    if (link_connect(r->link, id, ip, port, on_connected, call) < 0) {
        free(call);
        return RAFT_NOCONNECTION;
    }
    return 0;
}

/* The address by which a server stands in the present configuration; NULL = in none. */
static const char *address_of(const struct replica *r, uint64_t id)
{
    for (unsigned i = 0; i < r->raft.configuration.n; i++)
        if (r->raft.configuration.servers[i].id == id)
            return r->raft.configuration.servers[i].address;
    return NULL;
}

/* libraft 0.22 loads a snapshot while it keeps a pointer into a configuration that may be gone when
 * it then sends it: the address in the message is not to be looked at. */
static int transport_send(struct raft_io *io, struct raft_io_send *request,
                          const struct raft_message *message, raft_io_send_cb done)
{
    struct replica *r = ((struct raft *)io->data)->data;
    struct raft_message safe = *message;
    const char *address = address_of(r, message->server_id);

    if (address != NULL)
        safe.server_address = address;
    else if (message->type == RAFT_INSTALL_SNAPSHOT)
        return RAFT_NOCONNECTION;
    return r->disk.send(io, request, &safe, done);
}

static void on_greeted(struct raft_io_send *request, int status)
{
    (void)status;
    free(request);
}

/* A refused vote of no term: whoever gets it, in whatever state, ignores it. */
static void greet(struct replica *r, const struct raft_server *server)
{
    struct raft_io_send *request = calloc(1, sizeof(*request));
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE_RESULT,
        .server_id = server->id,
        .server_address = server->address,
    };

    if (request != NULL && r->io.send(&r->io, request, &message, on_greeted) != 0)
        free(request);
}

/* Followers have nothing to say to each other until one of them asks for votes. libraft would call
 * the others only then, and behind a full queue that call takes several round trips, or a second
 * when its first packet gets lost. */
void replica_transport_greet(struct replica *r)
{
    const struct raft_configuration *c = &r->raft.configuration;

    if (r->is_closing)
        return;
    for (unsigned i = 0; i < c->n; i++)
        if (c->servers[i].role == RAFT_VOTER && c->servers[i].id != r->config.id)
            greet(r, &c->servers[i]);
}

void replica_transport_wrap(struct replica *r)
{
    r->io.send = transport_send;
}

static void on_link_closed(void *data)
{
    struct replica *r = data;

    r->link = NULL;
    r->transport_closed(&r->transport);
}

static void transport_close(struct raft_uv_transport *t, raft_uv_transport_close_cb done)
{
    struct replica *r = t->impl;

    r->accepted = NULL;
    r->transport_closed = done;
    link_close(r->link, on_link_closed, r);
}

int replica_transport_open(struct replica *r, struct err *err)
{
    struct link_config config = {
        .loop = &r->loop,
        .identity = r->config.identity,
        .keyring = r->config.keyring,
        .purpose = "raft",
        .node_id = r->config.id,
        .address = r->config.address,
        .port = r->config.port,
        .tos = TOS_CONTROL,
        .connect_ms = r->config.connect_ms,
        /* A new connection gets through sooner than the back-off of one that lost packets. */
        .dead_ms = r->config.election_ms * 4 > 1000 ? r->config.election_ms * 4 : 1000,
        .on_accept = on_accept,
        .on_end = on_end,
        .data = r,
    };
    int rc;

    memcpy(config.cluster, r->config.cluster, NONCE_SIZE);
    rc = link_open(&config, &r->link, err);
    if (rc < 0)
        return rc;
    rc = link_listen(r->link, err);
    if (rc < 0) {
        link_close(r->link, NULL, NULL);
        r->link = NULL;
        return rc;
    }
    atomic_store(&r->port, link_port(r->link));
    r->transport = (struct raft_uv_transport){
        .version = 1,
        .impl = r,
        .init = transport_init,
        .listen = transport_listen,
        .connect = transport_connect,
        .close = transport_close,
    };
    return 0;
}

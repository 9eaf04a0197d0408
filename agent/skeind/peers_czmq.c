#include "agent/skeind/peers_czmq.h"

#include <czmq.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/skeind/pump_czmq_uv.h"
#include "base/addr.h"
#include "base/log.h"
#include "base/tcp_posix.h"

enum {
    RECONNECT_MS = 50,
    RECONNECT_MAX_MS = 200,
    HEARTBEAT_MS = 200,
    BACKLOG = 256,
    HEX_KEY_SIZE = 2 * KEY_SIZE + 1,
};

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"

struct peer {
    struct peer_member member;
    zsock_t *control, *request;
};

struct peers {
    struct peers_config config;
    zsock_t *router, *zap;
    size_t n;
    struct peer *list; /* by id */
};

static void key_to_hex(const uint8_t key[KEY_SIZE], char ret[HEX_KEY_SIZE])
{
    for (size_t i = 0; i < KEY_SIZE; i++)
        snprintf(ret + 2 * i, 3, "%02x", key[i]);
}

static const struct peer *find_by_hex(const struct peers *peers, const char *hex)
{
    for (size_t i = 0; i < peers->n; i++) {
        char own[HEX_KEY_SIZE];

        key_to_hex(peers->list[i].member.curve_key, own);
        if (strcmp(own, hex) == 0)
            return &peers->list[i];
    }
    return NULL;
}

/* ---- ZAP (RFC 27): any key is let in, its text becomes the User-Id of its messages */

static void on_zap(void *context, zmsg_t *request)
{
    struct peers *peers = context;
    zframe_t *route = zmsg_pop(request), *empty = zmsg_pop(request), *version = zmsg_pop(request);
    zframe_t *serial = zmsg_pop(request), *credentials = zmsg_last(request);
    zmsg_t *reply = zmsg_new();
    char user[HEX_KEY_SIZE] = "";
    bool is_known = credentials != NULL && zframe_size(credentials) == KEY_SIZE && serial != NULL;

    if (is_known)
        key_to_hex(zframe_data(credentials), user);
    if (reply != NULL && serial != NULL) {
        zmsg_append(reply, &route);
        zmsg_append(reply, &empty);
        zmsg_append(reply, &version);
        zmsg_append(reply, &serial);
        zmsg_addstr(reply, is_known ? "200" : "400");
        zmsg_addstr(reply, is_known ? "OK" : "no CURVE key");
        zmsg_addstr(reply, user);
        zmsg_addmem(reply, "", 0);
        zmsg_send(&reply, peers->zap);
    }
    zmsg_destroy(&reply);
    zframe_destroy(&route);
    zframe_destroy(&empty);
    zframe_destroy(&version);
    zframe_destroy(&serial);
    zmsg_destroy(&request);
}

/* ---- receiving */

static void deliver_join(struct peers *peers, zframe_t *route, const uint8_t *data, size_t size)
{
    struct peer_route way = {.size = (uint8_t)zframe_size(route)};

    if (zframe_size(route) > PEERS_ROUTE_MAX || size > PEERS_JOIN_MAX_SIZE)
        return;
    memcpy(way.bytes, zframe_data(route), way.size);
    peers->config.on_join(peers->config.context, &way, data, size);
}

static void on_message(void *context, zmsg_t *message)
{
    struct peers *peers = context;
    zframe_t *route = zmsg_pop(message), *body = zmsg_pop(message);
    const char *user = body != NULL ? zframe_meta(body, "User-Id") : NULL;

    if (route != NULL && user != NULL && zframe_size(body) > 0) {
        const struct peer *peer = find_by_hex(peers, user);
        const uint8_t *data = zframe_data(body);
        size_t size = zframe_size(body) - 1;

        if (data[0] == PEER_JOIN)
            deliver_join(peers, route, data + 1, size);
        else if (peer != NULL)
            peers->config.on_message(peers->config.context, peer->member.id,
                                     (enum peer_channel)data[0], data + 1, size);
    }
    zframe_destroy(&route);
    zframe_destroy(&body);
    zmsg_destroy(&message);
}

/* ---- life */

static void set_common(zsock_t *socket, const struct peers_config *config, int tos)
{
    zsock_set_linger(socket, 0);
    zsock_set_tos(socket, tos);
    zsock_set_handshake_ivl(socket, config->handshake_ms);
    zsock_set_heartbeat_ivl(socket, HEARTBEAT_MS);
    zsock_set_heartbeat_timeout(socket, config->silence_ms);
    zsock_set_heartbeat_ttl(socket, 2 * config->silence_ms);
    zsock_set_maxmsgsize(socket, MESSAGE_MAX_SIZE + 4096);
    zsock_set_curve_publickey_bin(socket, config->curve_public);
    zsock_set_curve_secretkey_bin(socket, config->curve_secret);
}

/* Listens by a socket of our own, as libzmq does not set the size of segments. It is libzmq's from
 * the bind on. */
static int open_router(struct peers *peers, struct err *err)
{
    const struct peers_config *config = &peers->config;
    char address[IPV4_TEXT_SIZE];
    int fd = tcp_listen(config->address, config->port, TOS_CONTROL, BACKLOG, err);

    if (fd < 0)
        return fd;
    peers->router = zsock_new(ZMQ_ROUTER);
    if (peers->router == NULL) {
        close(fd);
        return err_set(err, -ENOMEM, "out of memory");
    }
    set_common(peers->router, config, TOS_CONTROL);
    zsock_set_curve_server(peers->router, 1);
    zsock_set_zap_domain(peers->router, "skein");
    zsock_set_use_fd(peers->router, fd);
    if (zsock_bind(peers->router, "tcp://%s:%u", ipv4_format(config->address, address),
                   config->port) < 0) {
        close(fd);
        return err_set(err, -errno, "cannot listen on %s:%u: %s", address, config->port,
                       zmq_strerror(errno));
    }
    return 0;
}

int peers_open(const struct peers_config *config, struct peers **ret, struct err *err)
{
    struct peers *peers = calloc(1, sizeof(*peers));
    int rc;

    if (peers == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    peers->config = *config;
    peers->zap = zsock_new(ZMQ_ROUTER);
    if (peers->zap == NULL || zsock_bind(peers->zap, ZAP_ENDPOINT) < 0)
        rc = err_set(err, -errno, "cannot check keys: %s", zmq_strerror(errno));
    else
        rc = open_router(peers, err);
    if (rc == 0)
        rc = pump_add(config->pump, peers->zap, on_zap, peers);
    if (rc == 0)
        rc = pump_add(config->pump, peers->router, on_message, peers);
    if (rc < 0) {
        peers_close(peers);
        return rc;
    }
    *ret = peers;
    return 0;
}

static void peer_deinit(struct peer *peer)
{
    zsock_destroy(&peer->control);
    zsock_destroy(&peer->request);
}

void peers_close(struct peers *peers)
{
    if (peers == NULL)
        return;
    for (size_t i = 0; i < peers->n; i++)
        peer_deinit(&peers->list[i]);
    free(peers->list);
    if (peers->router != NULL)
        pump_remove(peers->config.pump, peers->router);
    if (peers->zap != NULL)
        pump_remove(peers->config.pump, peers->zap);
    if (peers->zap != NULL)
        zsock_unbind(peers->zap, ZAP_ENDPOINT);
    zsock_destroy(&peers->router);
    zsock_destroy(&peers->zap);
    memset(&peers->config, 0, sizeof(peers->config));
    free(peers);
}

/* ---- sending */

static zsock_t *call(const struct peers *peers, const struct peer_member *member, int tos,
                     int queue)
{
    zsock_t *socket = zsock_new(ZMQ_DEALER);
    char address[IPV4_TEXT_SIZE], own[IPV4_TEXT_SIZE];

    if (socket == NULL)
        return NULL;
    set_common(socket, &peers->config, tos);
    zsock_set_curve_serverkey_bin(socket, member->curve_key);
    zsock_set_immediate(socket, 1); /* nothing is queued for whom we do not reach */
    zsock_set_sndhwm(socket, queue);
    zsock_set_rcvhwm(socket, 1);
    zsock_set_sndtimeo(socket, 0);
    zsock_set_connect_timeout(socket, peers->config.connect_ms);
    zsock_set_tcp_maxrt(socket, peers->config.silence_ms);
    zsock_set_reconnect_ivl(socket, RECONNECT_MS);
    zsock_set_reconnect_ivl_max(socket, RECONNECT_MAX_MS);
    if (zsock_connect(socket, "tcp://%s:0;%s:%u", ipv4_format(peers->config.address, own),
                      ipv4_format(member->address, address), peers->config.port) < 0) {
        log_warn("peers: cannot call node %llu: %s", (unsigned long long)member->id,
                 zmq_strerror(errno));
        zsock_destroy(&socket);
    }
    return socket;
}

static struct peer *find(const struct peers *peers, uint64_t id)
{
    for (size_t i = 0; i < peers->n; i++) {
        if (peers->list[i].member.id == id)
            return &peers->list[i];
    }
    return NULL;
}

static bool is_same(const struct peer_member *a, const struct peer_member *b)
{
    return a->id == b->id && a->address == b->address &&
           memcmp(a->curve_key, b->curve_key, KEY_SIZE) == 0;
}

int peers_set_members(struct peers *peers, const struct peer_member *members, size_t n)
{
    struct peer *list = calloc(n > 0 ? n : 1, sizeof(*list));
    size_t count = 0;

    if (list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct peer *old = find(peers, members[i].id);

        if (members[i].id == peers->config.own_id)
            continue;
        list[count].member = members[i];
        if (old != NULL && is_same(&old->member, &members[i])) {
            list[count].control = old->control;
            list[count].request = old->request;
            old->control = old->request = NULL;
        } else {
            list[count].control = call(peers, &members[i], TOS_CONTROL, PEERS_CONTROL_QUEUE);
            list[count].request = call(peers, &members[i], TOS_REQUEST, PEERS_REQUEST_QUEUE);
        }
        count++;
    }
    for (size_t i = 0; i < peers->n; i++)
        peer_deinit(&peers->list[i]);
    free(peers->list);
    peers->list = list;
    peers->n = count;
    return 0;
}

static int send_on(zsock_t *socket, enum peer_channel channel, const void *data, size_t size)
{
    zmq_msg_t message;

    if (socket == NULL)
        return -EAGAIN;
    if (size > MESSAGE_MAX_SIZE)
        return -EMSGSIZE;
    if (zmq_msg_init_size(&message, size + 1) < 0)
        return -ENOMEM;
    *(uint8_t *)zmq_msg_data(&message) = (uint8_t)channel;
    if (size > 0)
        memcpy((uint8_t *)zmq_msg_data(&message) + 1, data, size);
    if (zmq_msg_send(&message, zsock_resolve(socket), ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&message);
        return -EAGAIN;
    }
    return 0;
}

static int send_to(struct peer *peer, enum peer_channel channel, const void *data, size_t size)
{
    return send_on(channel == PEER_CONTROL ? peer->control : peer->request, channel, data, size);
}

int peers_send(struct peers *peers, uint64_t to, enum peer_channel channel, const void *data,
               size_t size)
{
    struct peer *peer = find(peers, to);

    return peer != NULL ? send_to(peer, channel, data, size) : -ENOENT;
}

void peers_send_all(struct peers *peers, enum peer_channel channel, const void *data, size_t size)
{
    for (size_t i = 0; i < peers->n; i++)
        send_to(&peers->list[i], channel, data, size);
}

int peers_answer_join(struct peers *peers, const struct peer_route *route, const void *data,
                      size_t size)
{
    zmsg_t *message = zmsg_new();

    if (message == NULL)
        return -ENOMEM;
    zmsg_addmem(message, route->bytes, route->size);
    zmsg_addmem(message, data, size);
    if (zmsg_send(&message, peers->router) < 0) {
        zmsg_destroy(&message);
        return -EHOSTUNREACH;
    }
    return 0;
}

void peers_sweep(struct peers *peers)
{
    for (size_t i = 0; i < peers->n; i++) {
        if (peers->list[i].control != NULL)
            zsock_events(peers->list[i].control);
        if (peers->list[i].request != NULL)
            zsock_events(peers->list[i].request);
    }
}

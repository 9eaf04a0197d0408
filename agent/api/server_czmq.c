#include "agent/api/server_czmq.h"

#include <czmq.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/skeind/pump_czmq_uv.h"
#include "base/limits.h"

enum { CLIENT_QUEUE = 10000 }; /* messages to one client */

struct api_server {
    struct api_server_config config;
    zsock_t *socket;
};

static void on_message(void *context, zmsg_t *message)
{
    struct api_server *server = context;
    zframe_t *route = zmsg_pop(message), *json = zmsg_pop(message), *data = zmsg_pop(message);
    struct envelope envelope = {.origin.kind = ORIGIN_LOCAL};

    if (route != NULL && json != NULL && zframe_size(route) <= ROUTE_MAX_SIZE) {
        envelope.origin.route_size = (uint8_t)zframe_size(route);
        memcpy(envelope.origin.route, zframe_data(route), zframe_size(route));
        envelope.json = (const char *)zframe_data(json);
        envelope.json_size = zframe_size(json);
        envelope.data = data != NULL ? zframe_data(data) : NULL;
        envelope.size = data != NULL ? zframe_size(data) : 0;
        server->config.on_message(server->config.context, &envelope);
    }
    zframe_destroy(&route);
    zframe_destroy(&json);
    zframe_destroy(&data);
    zmsg_destroy(&message);
}

int api_server_open(const struct api_server_config *config, struct api_server **ret,
                    struct err *err)
{
    struct api_server *server = calloc(1, sizeof(*server));
    int rc;

    if (server == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    server->config = *config;
    server->socket = zsock_new(ZMQ_ROUTER);
    if (server->socket == NULL) {
        free(server);
        return err_set(err, -ENOMEM, "out of memory");
    }
    zsock_set_linger(server->socket, 200);
    zsock_set_router_mandatory(server->socket, 1);
    zsock_set_sndhwm(server->socket, CLIENT_QUEUE);
    zsock_set_sndtimeo(server->socket, 0);
    zsock_set_maxmsgsize(server->socket, MESSAGE_MAX_SIZE);
    if (zsock_bind(server->socket, "ipc://%s", config->path) < 0)
        rc = err_set(err, -errno, "cannot listen at %s: %s", config->path, zmq_strerror(errno));
    else if (chmod(config->path, 0660) < 0)
        rc = err_set(err, -errno, "cannot set the mode of %s: %s", config->path, strerror(errno));
    else
        rc = pump_add(config->pump, server->socket, on_message, server);
    if (rc < 0) {
        zsock_destroy(&server->socket);
        free(server);
        return rc;
    }
    *ret = server;
    return 0;
}

void api_server_close(struct api_server *server)
{
    if (server == NULL)
        return;
    pump_remove(server->config.pump, server->socket);
    zsock_destroy(&server->socket);
    free(server);
}

int api_server_send(struct api_server *server, const struct envelope *message)
{
    zmsg_t *out = zmsg_new();
    int rc = 0;

    if (out == NULL)
        return -ENOMEM;
    zmsg_addmem(out, message->origin.route, message->origin.route_size);
    zmsg_addmem(out, message->json, message->json_size);
    if (message->data != NULL)
        zmsg_addmem(out, message->data, message->size);
    if (zmsg_send(&out, server->socket) < 0)
        rc = errno == EAGAIN ? -EAGAIN : -EHOSTUNREACH;
    zmsg_destroy(&out);
    return rc;
}

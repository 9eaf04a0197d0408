#include "agent/cli/client_czmq_jansson.h"

#include <czmq.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/limits.h"

#define WATCH_ENDPOINT "inproc://skeind-went"

struct client {
    zsock_t *socket;
    zsock_t *watch; /* hears when skeind's end of the socket closes */
    char *path;     /* heap */
    char request[2 * NONCE_SIZE + 1];
};

/* ZeroMQ would wait in silence for a socket that is not there. */
static int check_socket(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(address.sun_path))
        return err_set(err, -ENAMETOOLONG, "the socket's path is too long: %s", path);
    memcpy(address.sun_path, path, strlen(path));
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int code = -errno;

        if (code == -EACCES)
            return err_set(err, code,
                           "%s: permission denied; run as root or as a member of group skein",
                           path);
        return err_set(err, code,
                       "skeind cannot be reached at %s (%s); is it running on this node?", path,
                       strerror(-code));
    }
    return 0;
}

/* ZeroMQ would call again in silence, and what skeind had not answered would stay so. */
static int watch(struct client *client)
{
    if (zmq_socket_monitor(zsock_resolve(client->socket), WATCH_ENDPOINT, ZMQ_EVENT_DISCONNECTED) <
        0)
        return -errno;
    client->watch = zsock_new(ZMQ_PAIR);
    return client->watch != NULL && zsock_connect(client->watch, WATCH_ENDPOINT) == 0 ? 0 : -errno;
}

int client_open(const char *path, struct client **ret, struct err *err)
{
    uint8_t nonce[NONCE_SIZE];
    struct client *client;
    int rc = check_socket(path, err);

    if (rc < 0)
        return rc;
    client = calloc(1, sizeof(*client));
    if (client == NULL || getrandom(nonce, sizeof(nonce), 0) != sizeof(nonce)) {
        free(client);
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < sizeof(nonce); i++)
        snprintf(client->request + 2 * i, 3, "%02x", nonce[i]);
    zsys_handler_set(NULL);
    zsys_set_linger(500);
    client->path = strdup(path);
    client->socket = zsock_new(ZMQ_DEALER);
    if (client->path == NULL || client->socket == NULL || watch(client) < 0 ||
        zsock_connect(client->socket, "ipc://%s", path) < 0) {
        client_close(client);
        return err_set(err, -EIO, "cannot connect to %s: %s", path, zmq_strerror(errno));
    }
    *ret = client;
    return 0;
}

void client_close(struct client *client)
{
    if (client == NULL)
        return;
    zsock_destroy(&client->socket);
    zsock_destroy(&client->watch);
    free(client->path);
    free(client);
}

int client_send(struct client *client, const char *method, json_t *params, const void *data,
                size_t size, struct err *err)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:o}", "id", client->request, "request", client->request,
                  "method", method, "params", params != NULL ? params : json_object());
    cleanup_free char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    zmsg_t *message = zmsg_new();

    json_decref(json);
    if (text == NULL || message == NULL) {
        zmsg_destroy(&message);
        return err_set(err, -ENOMEM, "out of memory");
    }
    zmsg_addstr(message, text);
    if (data != NULL)
        zmsg_addmem(message, data, size);
    if (zmsg_send(&message, client->socket) < 0) {
        zmsg_destroy(&message);
        return err_set(err, -EIO, "cannot send to skeind: %s", zmq_strerror(errno));
    }
    return 0;
}

static int take(zmsg_t *message, struct client_message *ret)
{
    zframe_t *json = zmsg_pop(message), *data = zmsg_pop(message);

    *ret = (struct client_message){0};
    if (json != NULL)
        ret->json = json_loadb((char *)zframe_data(json), zframe_size(json), 0, NULL);
    if (data != NULL && zframe_size(data) > 0) {
        ret->size = zframe_size(data);
        ret->data = malloc(ret->size + 1);
        if (ret->data != NULL)
            memcpy(ret->data, zframe_data(data), ret->size);
    }
    zframe_destroy(&json);
    zframe_destroy(&data);
    if (json_is_object(ret->json))
        return 0;
    client_message_deinit(ret);
    return -EPROTO;
}

bool client_reaches_skeind(const struct client *client)
{
    struct err err;

    return check_socket(client->path, &err) == 0;
}

static bool can_read(const zmq_pollitem_t *item)
{
    return (item->revents & ZMQ_POLLIN) != 0;
}

/* What skeind said before it went comes first. */
static int went(struct client *client, zmq_pollitem_t *answer, struct err *err)
{
    zmsg_t *event;

    if (zmq_poll(answer, 1, 0) > 0)
        return 0;
    event = zmsg_recv(client->watch);
    zmsg_destroy(&event);
    return err_set(err, -ECONNRESET,
                   "skeind ended before it answered; the outcome is unknown, and asking again is "
                   "harmless");
}

int client_receive(struct client *client, int timeout_ms, int wake_fd, struct client_message *ret,
                   struct err *err)
{
    zmq_pollitem_t items[] = {
        {zsock_resolve(client->socket), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(client->watch), 0, ZMQ_POLLIN, 0},
        {NULL, wake_fd, ZMQ_POLLIN, 0},
    };
    zmsg_t *message;
    int rc = zmq_poll(items, wake_fd >= 0 ? 3 : 2, timeout_ms);

    if (rc < 0)
        return err_set(err, -EIO, "cannot wait for skeind: %s", zmq_strerror(errno));
    if (rc == 0)
        return err_set(err, -ETIMEDOUT, "skeind gave no answer within %d ms", timeout_ms);
    if (!can_read(&items[0]) && can_read(&items[1])) {
        rc = went(client, &items[0], err);
        if (rc < 0)
            return rc;
    }
    if (!can_read(&items[0]))
        return -EAGAIN;
    message = zmsg_recv(client->socket);
    rc = message != NULL ? take(message, ret) : -EIO;
    zmsg_destroy(&message);
    return rc < 0 ? err_set(err, rc, "skeind's answer cannot be read") : 0;
}

void client_message_deinit(struct client_message *message)
{
    json_decref(message->json);
    free(message->data);
    *message = (struct client_message){0};
}

/* client_czmq_jansson: one conversation with the local skeind over its socket (docs/api.md). */
#ifndef SKEIN_AGENT_CLI_CLIENT_CZMQ_JANSSON_H
#define SKEIN_AGENT_CLI_CLIENT_CZMQ_JANSSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct client;

/* One message from skeind. */
struct client_message {
    json_t *json;  /* owned */
    uint8_t *data; /* second frame, owned; NULL = none */
    size_t size;
};

/* -ENOENT, -EACCES, -ECONNREFUSED with words when nobody can be reached at `path`. */
int client_open(const char *path, struct client **ret, struct err *err);
void client_close(struct client *client);

/* Sends a request; takes `params` (may be NULL). All messages of a client carry the same id and
 * request id, so that a repeated write is harmless. */
int client_send(struct client *client, const char *method, json_t *params, const void *data,
                size_t size, struct err *err);
/* The next message; -ETIMEDOUT, -EPROTO; -ECONNRESET: skeind ended, and what it had not answered it
 * will not answer (a request that is sent now goes to the next skeind). `wake_fd` (-1 = none):
 * returns -EAGAIN when it can be read before anything comes. */
int client_receive(struct client *client, int timeout_ms, int wake_fd, struct client_message *ret,
                   struct err *err);
/* Whether somebody listens now: after -ECONNRESET. */
bool client_reaches_skeind(const struct client *client);
void client_message_deinit(struct client_message *message);

#endif

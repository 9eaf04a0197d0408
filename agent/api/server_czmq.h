/* server_czmq: the socket at which clients on this node speak to skeind (docs/api.md).
 *
 * A ROUTER on ipc; who may open the socket's file may ask. A message is JSON, and optionally a
 * second frame of bytes.
 */
#ifndef SKEIN_AGENT_API_SERVER_CZMQ_H
#define SKEIN_AGENT_API_SERVER_CZMQ_H

#include "agent/api/envelope.h"
#include "base/err.h"

struct api_server;
struct pump;

struct api_server_config {
    struct pump *pump; /* borrowed */
    const char *path;
    void *context;
    /* The envelope is borrowed for the call. */
    void (*on_message)(void *context, const struct envelope *message);
};

int api_server_open(const struct api_server_config *config, struct api_server **ret,
                    struct err *err);
void api_server_close(struct api_server *server);
/* -EHOSTUNREACH: the client went away. -EAGAIN: it takes nothing any more. */
int api_server_send(struct api_server *server, const struct envelope *message);

#endif

/* guard_client_uv: skeind's two connections to skein-guard, on skeind's main loop (shell).
 *
 * Reconnects by itself (the guard may restart); requests that were under way then end with
 * -ECONNRESET.
 */
#ifndef SKEIN_AGENT_SKEIND_GUARD_CLIENT_UV_H
#define SKEIN_AGENT_SKEIND_GUARD_CLIENT_UV_H

#include <uv.h>

#include "agent/guard/proto.h"

struct guard_client;

/* Called once for every request, on the loop. `reply` is borrowed; reply->fd the callee may take
 * (set -1). */
typedef void (*guard_reply_cb)(void *context, const struct guard_request *request,
                               struct guard_reply *reply);

struct guard_client_config {
    const char *socket_path;
    uint8_t key[GUARD_KEY_SIZE]; /* the board's (guard/key_posix.h) */
    void *context;
    /* Both connections said hello (again): everything known of the guard is to be asked anew. */
    void (*on_hello)(void *context, const struct guard_hello *hello);
    void (*on_lost)(void *context);
    void (*on_event)(void *context, const struct guard_reply *event);
};

int guard_client_new(uv_loop_t *loop, const struct guard_client_config *config,
                     struct guard_client **ret, struct err *err);
/* Takes the request (its heap parts; the descriptors stay the caller's until the callback). Its
 * serial is the caller's own, different from those under way; 0: one is given. Picks the connection
 * by op. Without a connection the callback comes at the next turn of the loop with
 * -ENOTCONN. */
void guard_client_send(struct guard_client *client, struct guard_request *request,
                       guard_reply_cb cb, void *context);
void guard_client_close(struct guard_client *client, void (*closed)(void *context), void *context);

#endif

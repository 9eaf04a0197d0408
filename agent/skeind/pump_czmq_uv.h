/* pump_czmq_uv: takes messages out of ZeroMQ sockets on a libuv loop (shell).
 *
 * ZMQ_FD is edge-triggered and also signals what is no message: sockets are drained before and
 * after each wait of the loop, a bounded number of messages each, and the loop does not sleep while
 * more remains.
 */
#ifndef SKEIN_AGENT_SKEIND_PUMP_CZMQ_UV_H
#define SKEIN_AGENT_SKEIND_PUMP_CZMQ_UV_H

#include <czmq.h>
#include <uv.h>

enum { PUMP_MAX_SOURCES = 8, PUMP_BATCH = 64 };

struct pump;

/* One message; the callee destroys it. */
typedef void pump_cb(void *context, zmsg_t *message);

struct pump *pump_new(uv_loop_t *loop); /* NULL: no memory, or the loop refuses */
/* -ENOBUFS, -errno. The socket is borrowed and must be removed before it is destroyed. */
int pump_add(struct pump *pump, zsock_t *socket, pump_cb *cb, void *context);
void pump_remove(struct pump *pump, zsock_t *socket);
/* All sources are removed already. Its memory goes when the loop has closed its handles. */
void pump_close(struct pump *pump);

#endif

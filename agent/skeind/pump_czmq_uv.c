#include "agent/skeind/pump_czmq_uv.h"

#include <errno.h>
#include <stdlib.h>

struct source {
    uv_poll_t poll;
    struct pump *pump;
    zsock_t *socket; /* NULL while its handle closes */
    pump_cb *cb;
    void *context;
};

struct pump {
    uv_loop_t *loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    unsigned n_handles;
    struct source *sources[PUMP_MAX_SOURCES];
};

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* its being there keeps the loop from sleeping */
}

/* Takes up to a batch; true when there may be more. */
static bool drain_source(struct source *source)
{
    for (int i = 0; i < PUMP_BATCH; i++) {
        zmsg_t *message;

        if (source->socket == NULL || (zsock_events(source->socket) & ZMQ_POLLIN) == 0)
            return false;
        message = zmsg_recv(source->socket);
        if (message == NULL)
            return false;
        source->cb(source->context, message);
    }
    return true;
}

static void drain(struct pump *pump)
{
    bool more = false;

    for (size_t i = 0; i < PUMP_MAX_SOURCES; i++) {
        if (pump->sources[i] != NULL && drain_source(pump->sources[i]))
            more = true;
    }
    if (more)
        uv_idle_start(&pump->idle, on_idle);
    else
        uv_idle_stop(&pump->idle);
}

static void on_prepare(uv_prepare_t *handle)
{
    drain(handle->data);
}

static void on_check(uv_check_t *handle)
{
    drain(handle->data);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    (void)handle; /* it only wakes the loop */
    (void)status;
    (void)events;
}

struct pump *pump_new(uv_loop_t *loop)
{
    struct pump *pump = calloc(1, sizeof(*pump));

    if (pump == NULL)
        return NULL;
    zsys_handler_set(NULL); /* signals are the program's */
    pump->loop = loop;
    uv_prepare_init(loop, &pump->prepare);
    uv_check_init(loop, &pump->check);
    uv_idle_init(loop, &pump->idle);
    pump->n_handles = 3;
    pump->prepare.data = pump->check.data = pump->idle.data = pump;
    uv_prepare_start(&pump->prepare, on_prepare);
    uv_check_start(&pump->check, on_check);
    return pump;
}

int pump_add(struct pump *pump, zsock_t *socket, pump_cb *cb, void *context)
{
    struct source *source;
    size_t at = 0;
    int rc;

    while (at < PUMP_MAX_SOURCES && pump->sources[at] != NULL)
        at++;
    if (at == PUMP_MAX_SOURCES)
        return -ENOBUFS;
    source = calloc(1, sizeof(*source));
    if (source == NULL)
        return -ENOMEM;
    *source = (struct source){.pump = pump, .socket = socket, .cb = cb, .context = context};
    rc = uv_poll_init(pump->loop, &source->poll, (int)zsock_fd(socket));
    if (rc < 0) {
        free(source);
        return rc;
    }
    source->poll.data = source;
    uv_poll_start(&source->poll, UV_READABLE, on_poll);
    pump->sources[at] = source;
    return 0;
}

static void source_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void pump_remove(struct pump *pump, zsock_t *socket)
{
    for (size_t i = 0; i < PUMP_MAX_SOURCES; i++) {
        struct source *source = pump->sources[i];

        if (source == NULL || source->socket != socket)
            continue;
        pump->sources[i] = NULL;
        source->socket = NULL;
        uv_close((uv_handle_t *)&source->poll, source_closed);
    }
}

static void pump_handle_closed(uv_handle_t *handle)
{
    struct pump *pump = handle->data;

    if (--pump->n_handles == 0)
        free(pump);
}

void pump_close(struct pump *pump)
{
    if (pump == NULL)
        return;
    uv_close((uv_handle_t *)&pump->prepare, pump_handle_closed);
    uv_close((uv_handle_t *)&pump->check, pump_handle_closed);
    uv_close((uv_handle_t *)&pump->idle, pump_handle_closed);
}

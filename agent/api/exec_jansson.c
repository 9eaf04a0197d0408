/* exec_jansson: `guest exec` and `guest console` on the node that runs the guest: three pipes
 * between the guard's process and the client. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/api/internal_jansson.h"

enum { EXEC_CHUNK = 32 * 1024, EXEC_LINGER_MS = 1000 };

struct exec_write {
    uv_write_t write;
    struct exec *exec;
    size_t size;
    uint8_t data[];
};

struct exec {
    struct stream *stream; /* NULL: the client is gone */
    uv_pipe_t in, out, err;
    unsigned n_handles; /* not yet closed */
    bool is_done;       /* the guard answered */
    uint64_t done_us;   /* when */
    bool is_over;       /* the client has its answer */
    int fds[3];         /* the guard's ends */
    int code, status;
    char text[ERR_TEXT_SIZE];
    uint8_t buffer[EXEC_CHUNK];
};

static void close_pipe(uv_pipe_t *pipe);

static void finish(struct exec *exec)
{
    struct stream *stream = exec->stream;

    if (!exec->is_done || exec->is_over || !uv_is_closing((uv_handle_t *)&exec->out) ||
        !uv_is_closing((uv_handle_t *)&exec->err))
        return;
    exec->is_over = true;
    close_pipe(&exec->in);
    if (stream == NULL)
        return;
    if (exec->code < 0)
        api_error(stream->api, &stream->asker, "failed", "%s",
                  exec->text[0] != '\0' ? exec->text : strerror(-exec->code));
    else
        api_ok(stream->api, &stream->asker, json_pack("{s:i}", "code", exec->status), NULL);
    exec->stream = NULL;
    stream_remove(stream);
}

static void maybe_free(struct exec *exec)
{
    if (exec->n_handles == 0 && exec->is_done)
        free(exec);
}

static void on_closed(uv_handle_t *handle)
{
    struct exec *exec = handle->data;

    exec->n_handles--;
    maybe_free(exec);
}

static void close_pipe(uv_pipe_t *pipe)
{
    if (!uv_is_closing((uv_handle_t *)pipe))
        uv_close((uv_handle_t *)pipe, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct exec *exec = handle->data;

    (void)suggested;
    *ret = uv_buf_init((char *)exec->buffer, sizeof(exec->buffer));
}

static void on_read(uv_stream_t *pipe, ssize_t n, const uv_buf_t *buffer)
{
    struct exec *exec = pipe->data;
    const char *event = pipe == (uv_stream_t *)&exec->err ? "stderr" : "stdout";

    if (n < 0) {
        close_pipe((uv_pipe_t *)pipe);
        finish(exec);
        return;
    }
    if (n == 0 || exec->stream == NULL)
        return;
    stream_send(exec->stream, event, buffer->base, (size_t)n);
    if (exec->stream != NULL && !stream_has_room(exec->stream)) {
        uv_read_stop((uv_stream_t *)&exec->out);
        uv_read_stop((uv_stream_t *)&exec->err);
    }
}

static void start_reading(struct exec *exec)
{
    if (!uv_is_closing((uv_handle_t *)&exec->out))
        uv_read_start((uv_stream_t *)&exec->out, on_alloc, on_read);
    if (!uv_is_closing((uv_handle_t *)&exec->err))
        uv_read_start((uv_stream_t *)&exec->err, on_alloc, on_read);
}

void exec_resume(struct stream *stream)
{
    if (stream->exec != NULL && stream_has_room(stream))
        start_reading(stream->exec);
}

/* What the command left running may hold its pipes for ever: nobody waits for that. */
void exec_sweep(struct stream *stream)
{
    struct exec *exec = stream->exec;

    if (exec == NULL || !exec->is_done || now_us() - exec->done_us < EXEC_LINGER_MS * 1000ull)
        return;
    close_pipe(&exec->out);
    close_pipe(&exec->err);
    finish(exec);
}

/* What it runs gets end-of-file and broken pipes. */
void exec_gone(struct stream *stream)
{
    struct exec *exec = stream->exec;

    stream_remove(stream);
    if (exec == NULL)
        return;
    exec->stream = NULL;
    close_pipe(&exec->in);
    close_pipe(&exec->out);
    close_pipe(&exec->err);
    finish(exec);
}

static void on_exec_done(void *context, const struct guard_request *request,
                         struct guard_reply *reply)
{
    struct exec *exec = context;

    (void)request;
    for (int i = 0; i < 3; i++)
        close(exec->fds[i]);
    exec->is_done = true;
    exec->done_us = now_us();
    exec->code = reply->code;
    exec->status = reply->status;
    memcpy(exec->text, reply->text, sizeof(exec->text));
    finish(exec);
    maybe_free(exec);
}

static void open_end(struct exec *exec, uv_loop_t *loop, uv_pipe_t *pipe, int fd)
{
    uv_pipe_init(loop, pipe, 0);
    pipe->data = exec;
    exec->n_handles++;
    uv_pipe_open(pipe, fd);
}

/* The pairs: ours and the guard's. -errno. */
static int open_pipes(struct exec *exec, uv_loop_t *loop)
{
    int pairs[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};

    for (int i = 0; i < 3; i++) {
        if (pipe2(pairs[i], O_CLOEXEC) == 0)
            continue;
        for (int k = 0; k < i; k++) {
            close(pairs[k][0]);
            close(pairs[k][1]);
        }
        return -errno;
    }
    open_end(exec, loop, &exec->in, pairs[0][1]);
    open_end(exec, loop, &exec->out, pairs[1][0]);
    open_end(exec, loop, &exec->err, pairs[2][0]);
    exec->fds[0] = pairs[0][0];
    exec->fds[1] = pairs[1][1];
    exec->fds[2] = pairs[2][1];
    return 0;
}

/* argv of the request, on the heap. False: not as it should be. */
static bool read_argv(const json_t *list, struct guard_request *request)
{
    size_t n = json_array_size(list);

    if (n == 0 || n > MAX_ARGUMENTS)
        return false;
    request->argv = calloc(n, sizeof(*request->argv));
    if (request->argv == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (text == NULL || strlen(text) >= ARGUMENT_SIZE)
            return false;
        request->argv[i] = strdup(text);
        if (request->argv[i] == NULL)
            return false;
        request->n_argv++;
    }
    return true;
}

/* Takes the request: three pipes between the guard's process for it and the client. */
static void run_joined(struct api *api, struct call *call, struct guard_request *request)
{
    struct exec *exec = calloc(1, sizeof(*exec));
    struct stream *stream = exec != NULL ? stream_add(api, call, STREAM_EXEC) : NULL;

    if (stream == NULL || open_pipes(exec, api->s->loop) < 0) {
        if (stream != NULL) {
            api_error(api, &call->asker, "failed", "no pipes can be had");
            stream_remove(stream);
        }
        guard_request_deinit(request);
        free(exec);
        return;
    }
    stream->exec = exec;
    exec->stream = stream;
    memcpy(request->fds, exec->fds, sizeof(exec->fds));
    start_reading(exec);
    api_event(api, &call->asker, "started", NULL, 0);
    skeind_guard_send(api->s, request, on_exec_done, exec);
}

static void fill_copy(const struct api *api, const struct call *call, struct guard_request *ret)
{
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const struct guest *guest = state_guest(core_state(api->s->core), name);

    memcpy(ret->copy.guest, guest->spec.name, NAME_SIZE);
    ret->copy.epoch = guest->placement.epoch;
}

void api_guest_exec(struct api *api, struct call *call)
{
    struct guard_request request;

    guard_request_init(&request);
    request.op = GUARD_EXEC;
    fill_copy(api, call, &request);
    if (!read_argv(json_object_get(call->params, "argv"), &request)) {
        api_error(api, &call->asker, "invalid", "'argv' must be 1 to %d texts", MAX_ARGUMENTS);
        guard_request_deinit(&request);
        return;
    }
    run_joined(api, call, &request);
}

void api_guest_console(struct api *api, struct call *call)
{
    struct guard_request request;

    guard_request_init(&request);
    request.op = GUARD_CONSOLE;
    fill_copy(api, call, &request);
    run_joined(api, call, &request);
}

/* ---- the client's input */

/* Tells the client that so much of its input was taken: it sends no more than a window ahead. */
static void on_written(uv_write_t *write, int status)
{
    struct exec_write *w = write->data;
    struct stream *stream = w->exec->stream;

    (void)status;
    if (stream != NULL)
        api_send(stream->api, &stream->asker,
                 json_pack("{s:s, s:I}", "event", "taken", "bytes", (json_int_t)w->size), NULL, 0,
                 false);
    free(w);
}

void api_exec_stdin(struct api *api, struct call *call)
{
    struct stream *stream = stream_find(api, &call->asker);
    struct exec_write *w;
    uv_buf_t buffer;

    if (stream == NULL || stream->exec == NULL || call->size == 0 ||
        uv_is_closing((uv_handle_t *)&stream->exec->in))
        return;
    stream->heard_us = now_us();
    w = malloc(sizeof(*w) + call->size);
    if (w == NULL)
        return;
    memcpy(w->data, call->data, call->size);
    w->exec = stream->exec;
    w->size = call->size;
    w->write.data = w;
    buffer = uv_buf_init((char *)w->data, (unsigned)call->size);
    if (uv_write(&w->write, (uv_stream_t *)&stream->exec->in, &buffer, 1, on_written) < 0)
        free(w);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    (void)status;
    if (!uv_is_closing((uv_handle_t *)shutdown->handle))
        uv_close((uv_handle_t *)shutdown->handle, on_closed);
    free(shutdown);
}

void api_exec_eof(struct api *api, struct call *call)
{
    struct stream *stream = stream_find(api, &call->asker);
    uv_shutdown_t *shutdown;

    if (stream == NULL || stream->exec == NULL || uv_is_closing((uv_handle_t *)&stream->exec->in))
        return;
    shutdown = malloc(sizeof(*shutdown));
    if (shutdown == NULL || uv_shutdown(shutdown, (uv_stream_t *)&stream->exec->in, on_shut) < 0) {
        free(shutdown);
        close_pipe(&stream->exec->in);
    }
}

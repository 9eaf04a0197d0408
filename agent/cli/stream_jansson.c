/* stream_jansson: the commands whose answer is a stream: `events`, `guest logs`, `guest exec`,
 * `guest console`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "agent/cli/params_jansson.h"
#include "agent/cli/run_jansson.h"
#include "base/clean.h"

enum {
    STDIN_CHUNK = 16 * 1024,
    STDIN_WINDOW = 256 * 1024,
    ALIVE_MS = 2000,
    DETACH = 0x1d /* Ctrl-] */
};

struct stream {
    /* Where data goes; NULL: to stdout and stderr. */
    int (*sink)(void *context, const void *data, size_t size);
    void *context;
    bool is_exec;
    bool is_console;
    bool is_left; /* the user wants away */
    bool stdin_open;
    bool heard;    /* anything at all */
    size_t ahead;  /* bytes of input sent, not yet taken */
    size_t unsaid; /* bytes taken, not yet told to skeind */
    json_t *columns; /* of records as CSV; owned */
};

static int write_whole(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Prints one message of the stream. */
static int print_message(struct run *run, struct stream *stream,
                         const struct client_message *message)
{
    const char *event = json_string_value(json_object_get(message->json, "event"));
    const json_t *record = json_object_get(message->json, "record");
    json_int_t taken = json_integer_value(json_object_get(message->json, "bytes"));
    int rc = 0;

    if (event == NULL)
        return 0;
    if (message->data != NULL) {
        rc = stream->sink != NULL
                 ? stream->sink(stream->context, message->data, message->size)
                 : write_whole(strcmp(event, "stderr") == 0 ? STDERR_FILENO : STDOUT_FILENO,
                               message->data, message->size);
        stream->unsaid += message->size;
    } else if (record != NULL) {
        cleanup_free char *line = show_record(run->format, record, &stream->columns);

        fputs(line != NULL ? line : "", stdout);
        fflush(stdout);
    } else if (strcmp(event, "taken") == 0) {
        stream->ahead -= taken > 0 && (size_t)taken <= stream->ahead ? (size_t)taken : 0;
    } else if (strcmp(event, "progress") == 0) {
        const char *text = json_string_value(json_object_get(message->json, "text"));

        fprintf(stderr, "%s\n", text != NULL ? text : "");
    }
    return rc;
}

/* Tells skeind that we are still there and what we have taken. */
static int say_alive(struct run *run, struct stream *stream, struct err *err)
{
    json_t *params = json_pack("{s:I}", "bytes", (json_int_t)stream->unsaid);

    stream->unsaid = 0;
    return client_send(run->client, "stream.taken", params, NULL, 0, err);
}

static int pass_stdin(struct run *run, struct stream *stream, struct err *err)
{
    uint8_t chunk[STDIN_CHUNK];
    ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));

    if (n > 0 && stream->is_console && memchr(chunk, DETACH, (size_t)n) != NULL)
        stream->is_left = true;
    if (stream->is_left)
        return 0;

    stream->ahead += n > 0 ? (size_t)n : 0;
    if (n > 0)
        return client_send(run->client, "exec.stdin", NULL, chunk, (size_t)n, err);
    stream->stdin_open = false;
    return client_send(run->client, "exec.eof", NULL, NULL, 0, err);
}

/* Once it runs, and while it keeps up. */
static bool reads_stdin(const struct stream *stream)
{
    return stream->stdin_open && stream->heard && stream->ahead < STDIN_WINDOW;
}

/* The end of the stream as an exit code. */
static int stream_end(struct run *run, const struct stream *stream, const json_t *answer)
{
    int code;

    if (json_is_true(json_object_get(answer, "ok"))) {
        const json_t *result = json_object_get(answer, "result");

        return stream->is_exec ? (int)json_integer_value(json_object_get(result, "code")) : 0;
    }
    code = run_refusal(run, answer);
    return stream->is_exec ? EXIT_EXEC_FAILED : code;
}

static int stream_run(struct run *run, struct stream *stream)
{
    struct client_message message;
    struct err err = {0};
    int rc =
        client_send(run->client, run->args->command->method, params_of(run->args), NULL, 0, &err);

    while (rc == 0) {
        int limit = stream->heard || run->timeout_ms > ALIVE_MS ? ALIVE_MS : run->timeout_ms;

        rc = client_receive(run->client, limit, reads_stdin(stream) ? STDIN_FILENO : -1, &message,
                            &err);
        if (rc == -EAGAIN) {
            rc = pass_stdin(run, stream, &err);
            if (stream->is_left)
                return 0;
            continue;
        }
        if (rc == -ETIMEDOUT && !stream->heard && (run->timeout_ms -= limit) <= 0)
            break;
        if (rc == -ETIMEDOUT) {
            rc = say_alive(run, stream, &err);
            continue;
        }
        if (rc < 0)
            break;
        stream->heard = true;
        if (json_object_get(message.json, "ok") != NULL) {
            rc = stream_end(run, stream, message.json);
            client_message_deinit(&message);
            return rc;
        }
        if (print_message(run, stream, &message) < 0)
            err_set(&err, rc = -EPIPE, "cannot write the output");
        client_message_deinit(&message);
        if (rc == 0 && stream->unsaid > 0)
            rc = say_alive(run, stream, &err);
    }
    rc = run_error(run, rc, &err);
    return stream->is_exec ? EXIT_EXEC_FAILED : rc;
}

int run_stream(struct run *run)
{
    struct stream stream = {0};
    int rc = stream_run(run, &stream);

    json_decref(stream.columns);
    return rc;
}

int run_stream_into(struct run *run, int (*sink)(void *context, const void *data, size_t size),
                    void *context)
{
    struct stream stream = {.sink = sink, .context = context};

    return stream_run(run, &stream);
}

int run_exec(struct run *run)
{
    struct stream stream = {.is_exec = true, .stdin_open = true};

    return stream_run(run, &stream);
}

/* What is typed goes to the guest as it is; a pipe stays a pipe. */
int run_console(struct run *run)
{
    struct stream stream = {.is_console = true, .stdin_open = true};
    bool is_terminal = isatty(STDIN_FILENO) != 0;
    struct termios before, raw;
    int rc;

    if (is_terminal && tcgetattr(STDIN_FILENO, &before) == 0) {
        fprintf(stderr, "Ctrl-] leaves the console\n");
        raw = before;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    rc = stream_run(run, &stream);
    if (is_terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return rc;
}

/* stream_jansson: answers that come in pieces: events and logs (exec: api/exec_jansson.c).
 *
 * A client says what it has taken, and that it is still there; a stream sends no more than a window
 * ahead of that, and ends when its client is silent for long.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/api/internal_jansson.h"
#include "base/log.h"

enum { LOG_CHUNK = 32 * 1024 };

struct stream *stream_add(struct api *api, const struct call *call, enum stream_kind kind)
{
    struct stream *stream = api->n_streams < API_MAX_STREAMS ? calloc(1, sizeof(*stream)) : NULL;

    if (stream == NULL) {
        api_error(api, &call->asker, "not_now", "too many streams are open on this node");
        return NULL;
    }
    stream->api = api;
    stream->kind = kind;
    stream->asker = call->asker;
    stream->heard_us = now_us();
    stream->fd = -1;
    stream->next = api->streams;
    api->streams = stream;
    api->n_streams++;
    return stream;
}

void stream_remove(struct stream *stream)
{
    struct stream **at = &stream->api->streams;

    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    stream->api->n_streams--;
    if (stream->fd >= 0)
        close(stream->fd);
    free(stream);
}

struct stream *stream_find(struct api *api, const struct asker *asker)
{
    for (struct stream *s = api->streams; s != NULL; s = s->next) {
        if (asker_is_equal(&s->asker, asker))
            return s;
    }
    return NULL;
}

void stream_send(struct stream *stream, const char *event, const void *data, size_t size)
{
    stream->unacked += size;
    api_event(stream->api, &stream->asker, event, data, size);
}

bool stream_has_room(const struct stream *stream)
{
    return stream->unacked < API_WINDOW;
}

/* ---- events */

static void send_record(struct api *api, const struct asker *asker, const struct record *record)
{
    struct show show = api_show(api);

    api_send(api, asker,
             json_pack("{s:s, s:o}", "event", "record", "record",
                       show_record(&show, &record->record, record->time_ms)),
             NULL, 0, false);
}

void api_events(struct api *api, struct call *call)
{
    size_t first = api->record_at + API_RECORDS_KEPT - api->n_records;

    for (size_t i = 0; i < api->n_records; i++)
        send_record(api, &call->asker, &api->records[(first + i) % API_RECORDS_KEPT]);
    if (json_is_true(json_object_get(call->params, "follow")))
        stream_add(api, call, STREAM_EVENTS);
    else
        api_ok(api, &call->asker, NULL, NULL);
}

void api_record(struct api *api, const struct core_record *record)
{
    struct record *kept = &api->records[api->record_at];

    if (record->index != 0 && skeind_is_past(api->s, record->index))
        return; /* told before the restart */
    kept->time_ms = wall_ms();
    kept->record = *record;
    api->record_at = (api->record_at + 1) % API_RECORDS_KEPT;
    if (api->n_records < API_RECORDS_KEPT)
        api->n_records++;
    for (struct stream *s = api->streams; s != NULL; s = s->next) {
        if (s->kind == STREAM_EVENTS && !s->is_gone)
            send_record(api, &s->asker, kept);
    }
    log_info("event: %s%s%s%s%s %s", record->what, record->guest[0] != '\0' ? " " : "",
             record->guest, record->node != 0 ? " on " : "",
             record->node != 0 && state_node(core_state(api->s->core), record->node) != NULL
                 ? state_node(core_state(api->s->core), record->node)->name
                 : "",
             record->text);
}

/* ---- files: logs, images */

void stream_pump(struct stream *stream)
{
    uint8_t chunk[LOG_CHUNK];

    while (stream_has_room(stream)) {
        ssize_t n = read(stream->fd, chunk, sizeof(chunk));

        if (n > 0) {
            stream_send(stream, "stdout", chunk, (size_t)n);
            continue;
        }
        if (n < 0)
            api_error(stream->api, &stream->asker, "failed", "it cannot be read: %s",
                      strerror(errno));
        else if (stream->follow)
            return;
        else
            api_ok(stream->api, &stream->asker, NULL, NULL);
        stream_remove(stream);
        return;
    }
}

struct log_wish {
    struct api *api;
    struct asker asker;
};

static void log_opened(void *context, const struct guard_request *request,
                       struct guard_reply *reply)
{
    struct log_wish *wish = context;
    struct stream *stream = stream_find(wish->api, &wish->asker);

    (void)request;
    if (stream != NULL && (reply->code < 0 || reply->fd < 0)) {
        api_error(wish->api, &wish->asker, "failed", "the log cannot be had: %s",
                  reply->text[0] != '\0' ? reply->text : strerror(-reply->code));
        stream_remove(stream);
    } else if (stream != NULL) {
        stream->fd = reply->fd;
        reply->fd = -1;
        stream_pump(stream);
    }
    free(wish);
}

void api_guest_logs(struct api *api, struct call *call)
{
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const struct guest *guest = state_guest(core_state(api->s->core), name);
    struct log_wish *wish = malloc(sizeof(*wish));
    struct guard_request request;
    struct stream *stream;

    if (wish == NULL)
        return;
    stream = stream_add(api, call, STREAM_FILE);
    if (stream == NULL) {
        free(wish);
        return;
    }
    stream->follow = json_is_true(json_object_get(call->params, "follow"));
    *wish = (struct log_wish){api, call->asker};
    guard_request_init(&request);
    request.op = GUARD_LOGS;
    memcpy(request.copy.guest, guest->spec.name, NAME_SIZE);
    request.copy.epoch = guest->placement.epoch;
    skeind_guard_send(api->s, &request, log_opened, wish);
}

/* ---- the client's words */

void api_stream_taken(struct api *api, struct call *call)
{
    struct stream *stream = stream_find(api, &call->asker);
    json_int_t bytes = json_integer_value(json_object_get(call->params, "bytes"));

    if (stream == NULL) {
        api_error(api, &call->asker, "failed", "there is no such stream (any more)");
        return;
    }
    stream->heard_us = now_us();
    stream->unacked -= bytes > 0 && (uint64_t)bytes <= stream->unacked ? (size_t)bytes : 0;
    if (stream->kind == STREAM_FILE && stream->fd >= 0)
        stream_pump(stream);
    else if (stream->kind == STREAM_EXEC)
        exec_resume(stream);
}

void api_sweep_streams(struct api *api)
{
    uint64_t now = now_us();
    struct stream *next;

    for (struct stream *s = api->streams; s != NULL; s = next) {
        next = s->next;
        if (now > s->heard_us && now - s->heard_us > API_STREAM_SILENCE_MS * 1000ull)
            s->is_gone = true;
        if (s->is_gone && s->kind == STREAM_EXEC)
            exec_gone(s);
        else if (s->is_gone)
            stream_remove(s);
        else if (s->kind == STREAM_EXEC)
            exec_sweep(s);
        else if (s->kind == STREAM_FILE && s->fd >= 0)
            stream_pump(s);
    }
}

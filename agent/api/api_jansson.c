#include "agent/api/api_jansson.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/fields_jansson.h"
#include "agent/api/internal_jansson.h"
#include "agent/api/server_czmq.h"
#include "base/clean.h"
#include "base/log.h"

static const struct method methods[] = {
    {"cluster.init", HERE, true, false, api_cluster_init},
    {"cluster.join", HERE, true, false, api_cluster_join},
    {"status", READ_LEADER, true, false, api_status},
    {"top", READ_LEADER, true, false, api_top},
    {"events", HERE, false, false, api_events},
    {"cluster.maintenance", ON_LEADER, false, false, api_write},
    {"cluster.preemption", ON_LEADER, false, false, api_write},
    {"token.create", ON_LEADER, false, false, api_token_create},
    {"node.join", ON_LEADER, false, true, api_node_join},
    {"node.list", READ_LEADER, false, false, api_node_list},
    {"node.show", READ_LEADER, false, false, api_node_show},
    {"node.cordon", ON_LEADER, false, false, api_write},
    {"node.uncordon", ON_LEADER, false, false, api_write},
    {"node.drain", ON_LEADER, false, false, api_node_drain},
    {"node.remove", ON_LEADER, false, false, api_node_remove},
    {"node.known", HERE, false, true, api_node_known},
    {"node.room", HERE, false, true, api_node_room},
    {"node.undrain", ON_LEADER, false, false, api_write},
    {"slice.create", ON_LEADER, false, false, api_write},
    {"slice.list", READ_LEADER, false, false, api_slice_list},
    {"slice.rm", ON_LEADER, false, false, api_write},
    {"image.begin", HERE, false, false, api_image_begin},
    {"image.chunk", HERE, false, false, api_image_chunk},
    {"image.commit", HERE, false, false, api_image_commit},
    {"image.add", ON_LEADER, false, true, api_write},
    {"image.list", READ_LEADER, false, false, api_image_list},
    {"image.show", READ_LEADER, false, false, api_image_show},
    {"image.export", HERE, false, false, api_image_export},
    {"image.gc", ON_LEADER, false, false, api_write},
    {"image.rm", ON_LEADER, false, false, api_write},
    {"guest.plan", ON_LEADER, false, false, api_guest_plan},
    {"guest.run", ON_LEADER, false, false, api_write},
    {"guest.list", READ_LEADER, false, false, api_guest_list},
    {"guest.show", READ_LEADER, false, false, api_guest_show},
    {"guest.stop", ON_LEADER, false, false, api_write},
    {"guest.start", ON_LEADER, false, false, api_write},
    {"guest.set", ON_LEADER, false, false, api_write},
    {"guest.rm", ON_LEADER, false, false, api_write},
    {"guest.check", ON_GUEST, false, false, api_guest_check},
    {"guest.stats", ON_GUEST, false, false, api_guest_stats},
    {"guest.migrate", ON_LEADER, false, false, api_write},
    {"migration.list", READ_LEADER, false, false, api_migration_list},
    {"migration.show", READ_LEADER, false, false, api_migration_show},
    {"migration.cancel", ON_LEADER, false, false, api_write},
    {"guest.exec", ON_GUEST, false, false, api_guest_exec},
    {"guest.console", ON_GUEST, false, false, api_guest_console},
    {"guest.logs", ON_HOME, false, false, api_guest_logs},
    {"exec.stdin", FOLLOWS, false, false, api_exec_stdin},
    {"exec.eof", FOLLOWS, false, false, api_exec_eof},
    {"stream.taken", FOLLOWS, false, false, api_stream_taken},
};

/* ---- out */

bool asker_is_equal(const struct asker *a, const struct asker *b)
{
    return origin_is_equal(&a->origin, &b->origin) && strcmp(a->id, b->id) == 0;
}

int api_send_to_peer(struct api *api, uint64_t node, enum peer_channel channel,
                     const struct envelope *envelope)
{
    struct writer w;
    cleanup_free uint8_t *bytes = NULL;
    size_t size;

    writer_init_growing(&w, MESSAGE_MAX_SIZE);
    envelope_encode(envelope, &w);
    bytes = writer_steal(&w, &size);
    if (bytes == NULL)
        return -EMSGSIZE;
    return api->s->peers != NULL ? peers_send(api->s->peers, node, channel, bytes, size) : -ENOENT;
}

static void stream_lost(struct api *api, const struct asker *asker)
{
    struct stream *stream = stream_find(api, asker);

    if (stream != NULL)
        stream->is_gone = true;
}

void api_deliver(struct api *api, const struct asker *asker, const struct envelope *envelope)
{
    struct peer_route route = {.size = envelope->origin.route_size};

    if (asker->origin.node != 0) {
        if (envelope->is_last)
            relay_keep(api, asker, envelope->json, envelope->json_size);
        if (api_send_to_peer(api, asker->origin.node, PEER_ANSWER, envelope) < 0)
            stream_lost(api, asker);
    } else if (asker->origin.kind == ORIGIN_JOIN) {
        memcpy(route.bytes, envelope->origin.route, route.size);
        if (api->s->peers != NULL)
            peers_answer_join(api->s->peers, &route, envelope->json, envelope->json_size);
    } else if (api_server_send(api->s->server, envelope) == -EHOSTUNREACH) {
        stream_lost(api, asker);
    }
}

void api_send(struct api *api, const struct asker *asker, json_t *json, const void *data,
              size_t size, bool is_last)
{
    cleanup_free char *text = NULL;
    struct envelope envelope = {
        .origin = asker->origin, .is_last = is_last, .data = data, .size = size};

    json_object_set_new(json, "id", json_string(asker->id));
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL)
        return;
    envelope.json = text;
    envelope.json_size = strlen(text);
    api_deliver(api, asker, &envelope);
}

void api_ok(struct api *api, const struct asker *asker, json_t *result, const char *warning)
{
    json_t *json =
        json_pack("{s:b, s:o}", "ok", 1, "result", result != NULL ? result : json_null());

    json_object_set_new(json, "warning", warning != NULL ? json_string(warning) : json_null());
    api_send(api, asker, json, NULL, 0, true);
}

void api_error(struct api *api, const struct asker *asker, const char *kind, const char *format,
               ...)
{
    char text[1200];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    api_send(api, asker,
             json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "kind", kind, "text", text), NULL,
             0, true);
}

void api_event(struct api *api, const struct asker *asker, const char *event, const void *data,
               size_t size)
{
    api_send(api, asker, json_pack("{s:s}", "event", event), data, size, false);
}

void api_progress(struct api *api, uint64_t ticket, const struct answer *answer)
{
    for (const struct ticket *t = api->tickets; t != NULL; t = t->next) {
        json_t *event;

        if (t->number != ticket)
            continue;
        event = json_pack("{s:s, s:s}", "event", "progress", "text", answer->text);
        json_object_set_new(
            event, "migration",
            show_progress(answer->id, answer->step, &answer->progress, answer->rate_kbps));
        api_send(api, &t->asker, event, NULL, 0, false);
    }
}

struct show api_show(const struct api *api)
{
    return (struct show){api->s->core, now_us(), api->s->members.own_id};
}

/* ---- in */

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    }
    return NULL;
}

static void on_leader(struct api *api, struct call *call, const struct method *method)
{
    uint64_t leader = skeind_leader(api->s), own = api->s->members.own_id;

    if (leader != 0 && leader != own) {
        relay_to(api, call, leader, method);
        return;
    }
    if (!core_is_leader(api->s->core)) {
        if (method->where == ON_LEADER) {
            api_error(api, &call->asker, "not_now",
                      "there is no leader: no majority of the voters can be reached; nothing was "
                      "changed");
            return;
        }
        call->warning = "there is no leader; this is what the asked node knows";
    }
    method->handle(api, call);
}

static void on_guest(struct api *api, struct call *call, const struct method *method)
{
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const struct guest *guest = name != NULL ? state_guest(core_state(api->s->core), name) : NULL;
    uint64_t node = guest != NULL ? guest->placement.node : 0;

    if (guest != NULL && node == 0 && method->where == ON_HOME)
        node = guest->home;
    if (guest == NULL)
        api_error(api, &call->asker, "refused", "there is no guest '%.40s'; skein guest list",
                  name != NULL ? name : "");
    else if (node == 0)
        api_error(api, &call->asker, "refused", "guest %s is on no node now (%s)", name,
                  core_guest_state_word(api->s->core, name));
    else if (node == api->s->members.own_id)
        method->handle(api, call);
    else
        relay_to(api, call, node, method);
}

static void dispatch(struct api *api, struct call *call)
{
    const struct method *method = find_method(call->method);
    bool is_join = call->asker.origin.kind == ORIGIN_JOIN;

    if (method == NULL || (method->is_inner && !is_join && call->asker.origin.node == 0) ||
        (is_join && strcmp(call->method, "node.join") != 0 &&
         strcmp(call->method, "node.known") != 0)) {
        api_error(api, &call->asker, "invalid", "there is no method '%.40s'", call->method);
        return;
    }
    if (!api->s->is_member && !method->without_cluster) {
        api_error(api, &call->asker, "refused",
                  "not initialised: run skein init or skein join TOKEN first");
        return;
    }
    if (!api->s->is_member) {
        method->handle(api, call);
        return;
    }
    switch (method->where) {
    case HERE:
        method->handle(api, call);
        break;
    case ON_LEADER:
    case READ_LEADER:
        on_leader(api, call, method);
        break;
    case ON_GUEST:
    case ON_HOME:
        on_guest(api, call, method);
        break;
    case FOLLOWS:
        relay_follow(api, call, method);
        break;
    }
}

/* The request in a message; `json` is parsed from it. False when it is none. */
static bool call_of(const struct envelope *message, json_t *json, struct call *ret)
{
    const char *id = json_string_value(json_object_get(json, "id"));
    const char *request = json_string_value(json_object_get(json, "request"));

    *ret = (struct call){
        .asker.origin = message->origin,
        .method = json_string_value(json_object_get(json, "method")),
        .json = json,
        .params = json_object_get(json, "params"),
        .data = message->data,
        .size = message->size,
    };
    if (id != NULL && strlen(id) < API_ID_SIZE)
        memcpy(ret->asker.id, id, strlen(id));
    if (message->origin.node != 0)
        ret->asker.relay = (uint64_t)json_integer_value(json_object_get(json, "relay"));
    ret->has_request = hex_decode(request, ret->request, NONCE_SIZE) == 0;
    return id != NULL && strlen(id) < API_ID_SIZE && ret->method != NULL;
}

void api_receive(struct api *api, const struct envelope *message)
{
    json_t *json = json_loadb(message->json, message->json_size, JSON_REJECT_DUPLICATES, NULL);
    struct call call;

    if (!call_of(message, json, &call))
        api_error(api, &call.asker, "invalid", "a request is {\"id\", \"method\", \"params\"}");
    else if (message->origin.node == 0 || !relay_is_repeated(api, &call.asker))
        dispatch(api, &call);
    json_decref(json);
}

void api_answer_here(struct api *api, const struct envelope *message, const char *warning)
{
    json_t *json = json_loadb(message->json, message->json_size, JSON_REJECT_DUPLICATES, NULL);
    struct call call;

    if (call_of(message, json, &call)) {
        call.warning = warning;
        find_method(call.method)->handle(api, &call);
    }
    json_decref(json);
}

void api_peer_message(struct api *api, uint64_t from, bool is_answer, const uint8_t *data,
                      size_t size)
{
    struct envelope envelope;

    if (envelope_decode(data, size, &envelope) < 0) {
        log_warn("api: node %llu sent what cannot be read", (unsigned long long)from);
        return;
    }
    if (is_answer && envelope.origin.kind == ORIGIN_NODE)
        question_answer(api, from, &envelope);
    else if (is_answer)
        relay_answer(api, from, &envelope);
    if (is_answer)
        return;
    envelope.origin.node = from;
    api_receive(api, &envelope);
}

void api_pass_on(struct api *api, const struct call *call, const char *method, json_t *params)
{
    char request[2 * NONCE_SIZE + 1];
    struct call inner = *call;

    inner.method = method;
    inner.params = params;
    inner.data = NULL;
    inner.size = 0;
    inner.json =
        json_pack("{s:s, s:s, s:s, s:o}", "id", call->asker.id, "method", method, "request",
                  hex_encode(call->request, NONCE_SIZE, request), "params", params);
    if (inner.json == NULL)
        api_error(api, &call->asker, "failed", "out of memory");
    else if (api->s->is_member)
        on_leader(api, &inner, find_method(method));
    json_decref(inner.json);
}

/* ---- life */

struct api *api_new(struct skeind *s)
{
    struct api *api = calloc(1, sizeof(*api));

    if (api != NULL)
        api->s = s;
    return api;
}

void api_free(struct api *api)
{
    if (api == NULL)
        return;
    relays_free(api);
    while (api->tickets != NULL) {
        struct ticket *ticket = api->tickets;

        api->tickets = ticket->next;
        free(ticket);
    }
    free(api);
}

/* Whoever asked would wait for ever. */
void api_end(struct api *api)
{
    static const char text[] = "skeind ends on the asked node; the outcome is unknown, and asking "
                               "again is harmless";

    questions_end(api);
    relays_end(api, text);
    tickets_end(api, text);
}

void api_sweep(struct api *api)
{
    if (api->s->core != NULL)
        relays_sweep(api);
    questions_sweep(api);
    api_sweep_streams(api);
    api_sweep_cluster(api);
    api_sweep_uploads(api);
}

#include "agent/api_jansson.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api_internal_jansson.h"
#include "agent/api_server_czmq.h"
#include "agent/command_jansson.h"
#include "base/clean.h"
#include "base/log.h"

enum where {
    HERE = 1,    /* any node by itself */
    ON_LEADER,   /* the leader only */
    READ_LEADER, /* the leader knows best; without one, what this node knows */
    ON_GUEST,    /* the node that runs the guest */
    FOLLOWS,     /* goes where the stream's first message went */
};

struct method {
    const char *name;
    enum where where;
    bool without_cluster; /* also before init and join */
    bool is_inner;        /* not for clients: between nodes only */
    api_method *handle;
};

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
    {"image.rm", ON_LEADER, false, false, api_write},
    {"guest.plan", ON_LEADER, false, false, api_guest_plan},
    {"guest.run", ON_LEADER, false, false, api_write},
    {"guest.list", READ_LEADER, false, false, api_guest_list},
    {"guest.show", READ_LEADER, false, false, api_guest_show},
    {"guest.stop", ON_LEADER, false, false, api_write},
    {"guest.start", ON_LEADER, false, false, api_write},
    {"guest.rm", ON_LEADER, false, false, api_write},
    {"guest.check", ON_GUEST, false, false, api_guest_check},
    {"guest.migrate", ON_LEADER, false, false, api_write},
    {"migration.list", READ_LEADER, false, false, api_migration_list},
    {"migration.show", READ_LEADER, false, false, api_migration_show},
    {"migration.cancel", ON_LEADER, false, false, api_write},
    {"guest.exec", ON_GUEST, false, false, api_guest_exec},
    {"guest.console", ON_GUEST, false, false, api_guest_console},
    {"guest.logs", ON_GUEST, false, false, api_guest_logs},
    {"exec.stdin", FOLLOWS, false, false, api_exec_stdin},
    {"exec.eof", FOLLOWS, false, false, api_exec_eof},
    {"stream.taken", FOLLOWS, false, false, api_stream_taken},
};

/* ---- out */

bool asker_is_equal(const struct asker *a, const struct asker *b)
{
    return origin_is_equal(&a->origin, &b->origin) && strcmp(a->id, b->id) == 0;
}

static int send_to_peer(struct api *api, uint64_t node, enum peer_channel channel,
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

static void deliver(struct api *api, const struct asker *asker, const struct envelope *envelope)
{
    struct peer_route route = {.size = envelope->origin.route_size};

    if (asker->origin.node != 0) {
        if (send_to_peer(api, asker->origin.node, PEER_ANSWER, envelope) < 0)
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
    deliver(api, asker, &envelope);
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

void api_progress(struct api *api, uint64_t ticket, const char *text)
{
    for (const struct ticket *t = api->tickets; t != NULL; t = t->next) {
        if (t->number == ticket)
            api_send(api, &t->asker, json_pack("{s:s, s:s}", "event", "progress", "text", text),
                     NULL, 0, false);
    }
}

struct show api_show(const struct api *api)
{
    return (struct show){api->s->core, now_us(), api->s->members.own_id};
}

/* ---- relays */

static void relay_remove(struct api *api, struct relay **at)
{
    struct relay *relay = *at;

    *at = relay->next;
    api->n_relays--;
    free(relay);
}

static struct relay *relay_find(struct api *api, const struct asker *asker)
{
    for (struct relay *r = api->relays; r != NULL; r = r->next) {
        if (asker_is_equal(&r->asker, asker))
            return r;
    }
    return NULL;
}

static void relay_add(struct api *api, const struct call *call, uint64_t node, bool to_leader)
{
    struct relay *relay = relay_find(api, &call->asker);

    if (relay == NULL) {
        relay = api->n_relays < API_MAX_RELAYS ? calloc(1, sizeof(*relay)) : NULL;
        if (relay == NULL)
            return;
        relay->next = api->relays;
        api->relays = relay;
        api->n_relays++;
    }
    relay->asker = call->asker;
    relay->node = node;
    relay->to_leader = to_leader;
    relay->deadline_us = now_us() + API_RELAY_LIMIT_MS * 1000ull;
}

static int forward(struct api *api, const struct call *call, uint64_t node)
{
    cleanup_free char *text = json_dumps(call->json, JSON_COMPACT);
    struct envelope envelope = {
        .origin = call->asker.origin, .data = call->data, .size = call->size};

    if (text == NULL)
        return -ENOMEM;
    envelope.json = text;
    envelope.json_size = strlen(text);
    return send_to_peer(api, node, PEER_REQUEST, &envelope);
}

static void relay_to(struct api *api, const struct call *call, uint64_t node, bool to_leader)
{
    if (call->asker.origin.node != 0) {
        api_error(api, &call->asker, "not_now", "the leader has changed meanwhile; try again");
        return;
    }
    if (forward(api, call, node) < 0) {
        api_error(api, &call->asker, "not_now", "%s cannot be reached now; nothing was changed",
                  to_leader ? "the leader" : "the guest's node");
        return;
    }
    relay_add(api, call, node, to_leader);
}

static void sweep_relays(struct api *api)
{
    uint64_t leader = skeind_leader(api->s), now = now_us();
    struct relay **at = &api->relays;

    while (*at != NULL) {
        struct relay *r = *at;
        const struct node *node = state_node(core_state(api->s->core), r->node);
        struct asker asker = r->asker;

        if (r->to_leader && leader != r->node) {
            relay_remove(api, at);
            api_error(api, &asker, "leader_changed",
                      "the leader was lost while it worked on this; the outcome is unknown, and "
                      "asking again is harmless");
        } else if (!r->to_leader && (node == NULL || node->state == NODE_LOST)) {
            relay_remove(api, at);
            api_error(api, &asker, "failed", "the node that worked on this was lost");
        } else if (now > r->deadline_us) {
            relay_remove(api, at);
            api_error(api, &asker, "failed", "no answer came in time");
        } else {
            at = &r->next;
        }
    }
}

static void peer_answer(struct api *api, uint64_t from, const struct envelope *envelope)
{
    json_t *json = json_loadb(envelope->json, envelope->json_size, 0, NULL);
    const char *id = json_string_value(json_object_get(json, "id"));
    struct asker asker = {.origin = envelope->origin};

    if (id != NULL && strlen(id) < API_ID_SIZE) {
        struct relay **at = &api->relays;

        memcpy(asker.id, id, strlen(id));
        while (*at != NULL && (!asker_is_equal(&(*at)->asker, &asker) || (*at)->node != from))
            at = &(*at)->next;
        if (*at != NULL) {
            if (envelope->is_last)
                relay_remove(api, at);
            deliver(api, &asker, envelope);
        }
    }
    json_decref(json);
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
        relay_to(api, call, leader, true);
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

    if (guest == NULL)
        api_error(api, &call->asker, "refused", "there is no guest '%.40s'; skein guest list",
                  name != NULL ? name : "");
    else if (guest->placement.node == 0)
        api_error(api, &call->asker, "refused", "guest %s is on no node now (%s)", name,
                  core_guest_state_word(api->s->core, name));
    else if (guest->placement.node == api->s->members.own_id)
        method->handle(api, call);
    else
        relay_to(api, call, guest->placement.node, false);
}

/* To where the stream is. */
static void follow(struct api *api, struct call *call, const struct method *method)
{
    struct relay **at = &api->relays;

    while (*at != NULL && !asker_is_equal(&(*at)->asker, &call->asker))
        at = &(*at)->next;
    if (*at == NULL) {
        method->handle(api, call);
    } else if (forward(api, call, (*at)->node) < 0) {
        relay_remove(api, at);
        api_error(api, &call->asker, "failed", "the guest's node cannot be reached any more");
    }
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
        on_guest(api, call, method);
        break;
    case FOLLOWS:
        follow(api, call, method);
        break;
    }
}

void api_receive(struct api *api, const struct envelope *message)
{
    json_t *json = json_loadb(message->json, message->json_size, JSON_REJECT_DUPLICATES, NULL);
    const char *id = json_string_value(json_object_get(json, "id"));
    const char *method = json_string_value(json_object_get(json, "method"));
    const char *request = json_string_value(json_object_get(json, "request"));
    struct call call = {
        .asker.origin = message->origin,
        .method = method,
        .json = json,
        .params = json_object_get(json, "params"),
        .data = message->data,
        .size = message->size,
    };

    if (id != NULL && strlen(id) < API_ID_SIZE)
        memcpy(call.asker.id, id, strlen(id));
    call.has_request = hex_decode(request, call.request, NONCE_SIZE) == 0;
    if (id == NULL || strlen(id) >= API_ID_SIZE || method == NULL)
        api_error(api, &call.asker, "invalid", "a request is {\"id\", \"method\", \"params\"}");
    else
        dispatch(api, &call);
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
    if (is_answer) {
        peer_answer(api, from, &envelope);
        return;
    }
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
    while (api->relays != NULL)
        relay_remove(api, &api->relays);
    while (api->tickets != NULL) {
        struct ticket *ticket = api->tickets;

        api->tickets = ticket->next;
        free(ticket);
    }
    free(api);
}

void api_sweep(struct api *api)
{
    if (api->s->core != NULL)
        sweep_relays(api);
    api_sweep_streams(api);
    api_sweep_cluster(api);
    api_sweep_uploads(api);
}

/* cluster_jansson_sodium: ways into a cluster: init, tokens, join (both sides). */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/command_jansson.h"
#include "agent/api/fields_jansson.h"
#include "agent/api/internal_jansson.h"
#include "agent/skeind/join_czmq.h"
#include "base/clean.h"
#include "base/log.h"
#include "consensus/file_posix.h"

enum {
    INIT_LIMIT_MS = 20000,
    JOIN_LIMIT_MS = 8000,
    DEFAULT_EXPIRY_S = 3600,
    FACTS_MAX = 16 * 1024
};

/* ---- settings that init and join say: kept in join.conf */

struct settings {
    struct config config;
    char text[8192];
    size_t used;
};

static int set_one(struct settings *settings, const char *key, const char *value, struct err *err)
{
    int n, rc = strchr(value, '\n') != NULL || strchr(value, '#') != NULL
                    ? err_set(err, -EINVAL, "%s: '%.40s' cannot be kept", key, value)
                    : config_set(&settings->config, key, value, err);

    if (rc < 0)
        return rc;
    n = snprintf(settings->text + settings->used, sizeof(settings->text) - settings->used,
                 "%s = %s\n", key, value);
    if (n < 0 || (size_t)n >= sizeof(settings->text) - settings->used)
        return err_set(err, -EINVAL, "too many settings");
    settings->used += (size_t)n;
    return 0;
}

/* Numbers of the API are in base units, config's texts carry their unit. */
static int set_value(struct settings *settings, const char *key, json_t *value, struct err *err)
{
    const char *unit = strcmp(key, "memory") == 0     ? "m"
                       : strcmp(key, "backhaul") == 0 ? "kbit"
                                                      : "";
    char text[256];
    const char *name;
    json_t *label;

    if (json_is_object(value)) {
        json_object_foreach(value, name, label)
        {
            snprintf(text, sizeof(text), "%s=%s", name,
                     json_is_string(label) ? json_string_value(label) : "");
            if (set_one(settings, "label", text, err) < 0)
                return err->code;
        }
        return 0;
    }
    if (json_is_integer(value))
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT "%s", json_integer_value(value), unit);
    else if (json_is_boolean(value))
        snprintf(text, sizeof(text), "%s", json_is_true(value) ? "yes" : "no");
    else
        snprintf(text, sizeof(text), "%s", json_is_string(value) ? json_string_value(value) : "");
    return set_one(settings, key, text, err);
}

static int read_settings(const struct api *api, json_t *params, struct settings *ret,
                         struct err *err)
{
    static const char *const known[] = {"name",   "address",  "label",   "cores",  "isolated_cores",
                                        "memory", "backhaul", "witness", "profile"};

    ret->config = api->s->config;
    ret->used = 0;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        json_t *value = json_object_get(params, known[i]);

        if (value != NULL && !json_is_null(value) && set_value(ret, known[i], value, err) < 0)
            return err->code;
    }
    return config_check(&ret->config, err);
}

/* For the next start. */
static int keep_settings(const struct api *api, const struct settings *settings, struct err *err)
{
    return file_replace(api->s->config.data_dir, "join.conf", settings->text, settings->used, 0600,
                        err);
}

/* True when the call was answered with a refusal. */
static bool is_refused(struct api *api, const struct call *call)
{
    char cluster[2 * NONCE_SIZE + 1];

    if (api->is_joining || api->is_initiating)
        api_error(api, &call->asker, "not_now", "an init or join is under way on this node");
    else if (api->s->is_member)
        api_error(api, &call->asker, "refused",
                  "this node is already node %llu of cluster %s; nothing was changed",
                  (unsigned long long)api->s->members.own_id,
                  hex_encode(api->s->members.cluster, NONCE_SIZE, cluster));
    else
        return false;
    return true;
}

static void answer_member(struct api *api, const struct asker *asker)
{
    const struct member *own = members_find(&api->s->members, api->s->members.own_id);
    char cluster[2 * NONCE_SIZE + 1];

    api_ok(api, asker,
           json_pack("{s:s, s:I, s:s}", "name", own->name, "id", (json_int_t)own->id, "cluster",
                     hex_encode(api->s->members.cluster, NONCE_SIZE, cluster)),
           NULL);
}

/* ---- init */

void api_cluster_init(struct api *api, struct call *call)
{
    struct config before = api->s->config;
    struct settings settings;
    struct err err = {0};

    if (is_refused(api, call))
        return;
    if (read_settings(api, call->params, &settings, &err) < 0) {
        api_error(api, &call->asker, "invalid", "%s", err.text);
        return;
    }
    api->s->config = settings.config;
    if (skeind_cluster_init(api->s, &err) < 0) {
        api->s->config = before;
        api_error(api, &call->asker, err.code == -EINVAL ? "invalid" : "failed", "%s", err.text);
        return;
    }
    if (keep_settings(api, &settings, &err) < 0)
        log_warn("init: what was said is not kept for the next start: %s", err.text);
    api->is_initiating = true;
    api->initiator = call->asker;
    api->init_deadline_us = now_us() + INIT_LIMIT_MS * 1000ull;
}

void api_sweep_cluster(struct api *api)
{
    if (!api->is_initiating)
        return;
    if (core_is_leader(api->s->core) &&
        state_node(core_state(api->s->core), api->s->members.own_id) != NULL) {
        api->is_initiating = false;
        answer_member(api, &api->initiator);
    } else if (now_us() > api->init_deadline_us) {
        api->is_initiating = false;
        api_error(api, &api->initiator, "failed",
                  "the cluster did not begin within %d s; see skeind's log", INIT_LIMIT_MS / 1000);
    }
}

/* ---- tokens */

void api_token_create(struct api *api, struct call *call)
{
    const struct node *own = state_node(core_state(api->s->core), api->s->members.own_id);
    const json_t *expires = json_object_get(call->params, "expires_s");
    struct command *command = calloc(1, sizeof(*command));
    struct join_token token = {.n_endpoints = 1};
    struct ticket fields = {0};
    struct err err = {0};

    if (command == NULL || own == NULL || join_token_make_secret(&token) < 0) {
        free(command);
        api_error(api, &call->asker, "failed", "no token can be made on this node now");
        return;
    }
    token.endpoints[0] = (struct join_endpoint){own->facts.address, PORT_API};
    memcpy(token.cluster, core_state(api->s->core)->cluster, NONCE_SIZE);
    memcpy(token.curve_key, own->facts.curve_key, KEY_SIZE);
    memcpy(token.link_key, own->facts.link_key, KEY_SIZE);
    token.expires_s =
        wall_ms() / 1000 + (json_is_integer(expires) && json_integer_value(expires) > 0
                                ? (uint64_t)json_integer_value(expires)
                                : DEFAULT_EXPIRY_S);
    /* A repeated request makes another secret, so it must not count as the same. */
    random_bytes(command->request, NONCE_SIZE);
    command->type = COMMAND_TOKEN_CREATE;
    command->token_create.token.expires_s = token.expires_s;
    command->token_create.token.uses_left = 1;
    token_hash(token.secret, command->token_create.token.hash);
    fields.expires_s = token.expires_s;
    if (join_token_encode(&token, fields.token, &err) < 0) {
        free(command);
        api_error(api, &call->asker, "failed", "%s", err.text);
    } else {
        api_submit(api, call, command, &fields);
    }
    sodium_memzero(&token, sizeof(token));
    sodium_memzero(&fields, sizeof(fields));
}

/* ---- join, the cluster's side */

static int join_command(struct api *api, const json_t *params, struct command *ret, struct err *err)
{
    const char *hex = json_string_value(json_object_get(params, "facts"));
    uint8_t cluster[NONCE_SIZE], secret[JOIN_TOKEN_SECRET_SIZE];
    cleanup_free uint8_t *facts = NULL;
    size_t size = hex != NULL ? strlen(hex) / 2 : 0;
    struct reader r;

    if (hex_decode(json_string_value(json_object_get(params, "cluster")), cluster, NONCE_SIZE) <
            0 ||
        hex_decode(json_string_value(json_object_get(params, "secret")), secret, sizeof(secret)) <
            0)
        return err_set(err, -EINVAL, "the token is mangled");
    if (memcmp(cluster, core_state(api->s->core)->cluster, NONCE_SIZE) != 0)
        return err_set(err, -EINVAL, "the token is for another cluster");
    if (name_of_json(params, "name", ret->node_join.name, err) < 0)
        return err->code;
    facts = size > 0 && size <= FACTS_MAX ? malloc(size) : NULL;
    if (facts == NULL || hex_decode(hex, facts, size) < 0)
        return err_set(err, -EINVAL, "the board's facts cannot be read");
    reader_init(&r, facts, size);
    if (node_facts_decode(&r, &ret->node_join.facts) < 0 || !reader_done(&r))
        return err_set(err, -EINVAL, "the board's facts cannot be read");
    ret->type = COMMAND_NODE_JOIN;
    token_hash(secret, ret->node_join.token_hash);
    return timers_of_json(json_object_get(params, "timers"), &ret->node_join.timers, err);
}

void api_node_join(struct api *api, struct call *call)
{
    struct command *command = calloc(1, sizeof(*command));
    struct ticket fields = {0};
    struct err err = {0};

    if (command == NULL || join_command(api, call->params, command, &err) < 0) {
        if (command != NULL)
            node_facts_deinit(&command->node_join.facts);
        free(command);
        api_error(api, &call->asker, "refused", "%s", err.text);
        return;
    }
    if (call->has_request)
        memcpy(command->request, call->request, NONCE_SIZE);
    memcpy(fields.name, command->node_join.name, NAME_SIZE);
    api_submit(api, call, command, &fields);
}

/* ---- join, the board's side */

struct join {
    uv_work_t work;
    struct api *api;
    struct asker asker;
    struct join_token token;
    struct join_call call;
    struct settings settings; /* kept once the cluster has agreed */
    struct config before;     /* if it does not */
    char *request, *answer;   /* heap */
    struct err err;
};

static void join_free(struct join *join)
{
    free(join->request);
    free(join->answer);
    sodium_memzero(join, sizeof(*join));
    free(join);
}

static void join_work(uv_work_t *work)
{
    struct join *join = work->data;

    for (uint8_t i = 0; i < join->token.n_endpoints && join->answer == NULL; i++) {
        join->call.address = join->token.endpoints[i].address;
        join->call.port = join->token.endpoints[i].port;
        join_ask(&join->call, &join->answer, &join->err);
    }
}

static int read_member(const json_t *json, struct member *ret)
{
    const char *address = json_string_value(json_object_get(json, "address"));

    ret->id = (uint64_t)json_integer_value(json_object_get(json, "id"));
    if (ret->id == 0 || address == NULL || ipv4_parse(address, &ret->address, NULL) < 0 ||
        name_of_json(json, "name", ret->name, NULL) < 0 ||
        hex_decode(json_string_value(json_object_get(json, "link_key")), ret->link_key, KEY_SIZE) <
            0 ||
        hex_decode(json_string_value(json_object_get(json, "curve_key")), ret->curve_key,
                   KEY_SIZE) < 0)
        return -EBADMSG;
    return 0;
}

static int read_members(const json_t *result, struct members *ret)
{
    const json_t *list = json_object_get(result, "members");
    size_t n = json_array_size(list);

    ret->own_id = (uint64_t)json_integer_value(json_object_get(result, "id"));
    if (n == 0 || n > MAX_NODES ||
        hex_decode(json_string_value(json_object_get(result, "cluster")), ret->cluster,
                   NONCE_SIZE) < 0)
        return -EBADMSG;
    if (timers_of_json(json_object_get(result, "timers"), &ret->timers, NULL) < 0 ||
        timers_check(&ret->timers, NULL) < 0)
        return -EBADMSG;
    ret->list = calloc(n, sizeof(*ret->list));
    if (ret->list == NULL)
        return -ENOMEM;
    ret->n = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        if (read_member(json_array_get(list, i), &ret->list[i]) < 0)
            return -EBADMSG;
    }
    return members_find(ret, ret->own_id) != NULL ? 0 : -EBADMSG;
}

static void joined(struct api *api, struct join *join, const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");
    const char *kind = json_string_value(json_object_get(error, "kind"));
    const char *text = json_string_value(json_object_get(error, "text"));
    struct members members = {0};
    struct err err = {0};

    if (!json_is_true(json_object_get(answer, "ok"))) {
        api_error(api, &join->asker, kind != NULL ? kind : "failed", "%s",
                  text != NULL ? text : "the cluster's answer cannot be read");
        return;
    }
    if (read_members(json_object_get(answer, "result"), &members) < 0)
        api_error(api, &join->asker, "failed", "the cluster's answer cannot be read");
    else if (keep_settings(api, &join->settings, &err) < 0 ||
             skeind_cluster_join(api->s, &members, &err) < 0)
        api_error(api, &join->asker, "failed", "%s", err.text);
    else
        answer_member(api, &join->asker);
    members_deinit(&members);
}

static void join_done(uv_work_t *work, int status)
{
    struct join *join = work->data;
    struct api *api = join->api;
    json_t *answer = join->answer != NULL ? json_loads(join->answer, 0, NULL) : NULL;

    (void)status;
    api->is_joining = false;
    if (join->answer == NULL)
        api_error(api, &join->asker, "failed", "%s", join->err.text);
    else
        joined(api, join, answer);
    if (!api->s->is_member)
        api->s->config = join->before;
    json_decref(answer);
    join_free(join);
}

/* The same board with the same token is the same request: a repeated join is answered as the first.
 */
static void request_of(const struct join *join, const uint8_t link_key[KEY_SIZE],
                       uint8_t ret[NONCE_SIZE])
{
    crypto_generichash_state hash;

    crypto_generichash_init(&hash, NULL, 0, NONCE_SIZE);
    crypto_generichash_update(&hash, (const uint8_t *)"skein join", 10);
    crypto_generichash_update(&hash, join->token.secret, sizeof(join->token.secret));
    crypto_generichash_update(&hash, link_key, KEY_SIZE);
    crypto_generichash_final(&hash, ret, NONCE_SIZE);
}

/* What is asked of the cluster, as JSON on the heap. */
static char *join_request(const struct join *join, const char *name, const struct node_facts *facts)
{
    struct timers wanted = config_timers_wanted(&join->settings.config);
    char request[2 * NONCE_SIZE + 1], cluster[2 * NONCE_SIZE + 1];
    char secret[2 * JOIN_TOKEN_SECRET_SIZE + 1], hex[2 * FACTS_MAX + 1];
    uint8_t bytes[FACTS_MAX], nonce[NONCE_SIZE];
    struct writer w;
    json_t *json;
    char *text;

    writer_init(&w, bytes, sizeof(bytes));
    node_facts_encode(facts, &w);
    if (w.failed)
        return NULL;
    request_of(join, facts->link_key, nonce);
    hex_encode(nonce, NONCE_SIZE, request);
    json = json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:o}}", "id", request, "request",
                     request, "method", "node.join", "params", "cluster",
                     hex_encode(join->token.cluster, NONCE_SIZE, cluster), "secret",
                     hex_encode(join->token.secret, sizeof(join->token.secret), secret), "name",
                     name, "facts", hex_encode(bytes, w.size, hex), "timers", show_timers(&wanted));
    text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

static int prepare(struct api *api, struct join *join, const json_t *params, struct err *err)
{
    const char *text = json_string_value(json_object_get(params, "token")), *name;
    struct node_facts facts = {0};
    int rc = join_token_decode(text != NULL ? text : "", &join->token, err);

    if (rc == 0)
        rc = identity_load_or_create(api->s->config.data_dir, &api->s->identity, err);
    if (rc == 0)
        rc = skeind_facts(api->s, &facts, err);
    name = facts_name(&api->s->config, &api->s->machine);
    if (rc == 0 && name[0] == '\0')
        rc = err_set(err, -EINVAL, "this node has no name: set 'name' in %s or say --name",
                     CONFIG_DEFAULT_FILE);
    if (rc == 0) {
        join->request = join_request(join, name, &facts);
        if (join->request == NULL)
            rc = err_set(err, -ENOMEM, "out of memory");
    }
    node_facts_deinit(&facts);
    join->call.request = join->request;
    join->call.timeout_ms = JOIN_LIMIT_MS;
    memcpy(join->call.server_key, join->token.curve_key, KEY_SIZE);
    memcpy(join->call.curve_public, api->s->identity.curve_public, KEY_SIZE);
    memcpy(join->call.curve_secret, api->s->identity.curve_secret, KEY_SIZE);
    return rc;
}

/* Everything before the question; false: answered. */
static bool begin_join(struct api *api, struct join *join, struct call *call)
{
    struct err err = {0};

    if (read_settings(api, call->params, &join->settings, &err) < 0) {
        api_error(api, &call->asker, "invalid", "%s", err.text);
        return false;
    }
    api->s->config = join->settings.config;
    if (prepare(api, join, call->params, &err) < 0) {
        api_error(api, &call->asker, "refused", "%s", err.text);
        return false;
    }
    if (uv_queue_work(api->s->loop, &join->work, join_work, join_done) < 0) {
        api_error(api, &call->asker, "failed", "no worker can be started");
        return false;
    }
    return true;
}

void api_cluster_join(struct api *api, struct call *call)
{
    struct join *join;

    if (is_refused(api, call))
        return;
    join = calloc(1, sizeof(*join));
    if (join == NULL) {
        api_error(api, &call->asker, "failed", "out of memory");
        return;
    }
    join->api = api;
    join->asker = call->asker;
    join->work.data = join;
    join->before = api->s->config;
    api->is_joining = begin_join(api, join, call);
    if (!api->is_joining) {
        api->s->config = join->before;
        join_free(join);
    }
}

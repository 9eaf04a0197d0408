/* read_jansson: questions. */
#include <stdlib.h>

#include <string.h>

#include "agent/api/command_jansson.h"
#include "agent/api/fields_jansson.h"
#include "agent/api/internal_jansson.h"

void api_status(struct api *api, struct call *call)
{
    struct show show;

    if (!api->s->is_member) {
        json_t *reason = api->s->reason[0] != '\0' ? json_string(api->s->reason) : json_null();

        api_ok(api, &call->asker, json_pack("{s:b, s:o}", "initialised", 0, "reason", reason),
               NULL);
        return;
    }
    show = api_show(api);
    api_ok(api, &call->asker, show_status(&show), call->warning);
}

/* The same with the guests and the time: all that `skein top` shows, of one moment. */
void api_top(struct api *api, struct call *call)
{
    struct show show;
    json_t *top;

    if (!api->s->is_member) {
        api_status(api, call);
        return;
    }
    show = api_show(api);
    top = show_status(&show);
    json_object_set_new(top, "guests", show_guests(&show));
    json_object_set_new(top, "time_ms", json_integer((json_int_t)wall_ms()));
    api_ok(api, &call->asker, top, call->warning);
}

void api_node_list(struct api *api, struct call *call)
{
    struct show show = api_show(api);

    api_ok(api, &call->asker, show_nodes(&show), call->warning);
}

void api_node_show(struct api *api, struct call *call)
{
    struct show show = api_show(api);
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const struct node *node =
        name != NULL ? state_node_by_name(core_state(api->s->core), name) : NULL;

    if (node == NULL)
        api_error(api, &call->asker, "refused", "there is no node '%.40s'; skein node list",
                  name != NULL ? name : "");
    else
        api_ok(api, &call->asker, show_node(&show, node, true), call->warning);
}

void api_slice_list(struct api *api, struct call *call)
{
    struct show show = api_show(api);

    api_ok(api, &call->asker, show_slices(&show), call->warning);
}

void api_image_list(struct api *api, struct call *call)
{
    struct show show = api_show(api);

    api_ok(api, &call->asker, show_images(&show), call->warning);
}

void api_guest_list(struct api *api, struct call *call)
{
    struct show show = api_show(api);

    api_ok(api, &call->asker, show_guests(&show), call->warning);
}

void api_guest_show(struct api *api, struct call *call)
{
    struct show show = api_show(api);
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const struct guest *guest = name != NULL ? state_guest(core_state(api->s->core), name) : NULL;

    if (guest == NULL)
        api_error(api, &call->asker, "refused", "there is no guest '%.40s'; skein guest list",
                  name != NULL ? name : "");
    else
        api_ok(api, &call->asker, show_guest(&show, guest), call->warning);
}

static json_t *plan_of(const struct show *show, const struct place_request *request,
                       const struct place_result *result)
{
    const struct state *state = core_state(show->core);
    struct preempt_plan preempt = {0};

    if (result->placement.node == 0 && state_may_preempt(state, request->spec))
        preempt_plan(state, request, &preempt);
    return show_plan(show, result, &preempt);
}

void api_guest_plan(struct api *api, struct call *call)
{
    struct show show = api_show(api);
    struct place_request request = {0};
    struct place_result result = {0};
    struct node_telemetry *telemetry;
    struct guest_spec spec;
    struct err err = {0};

    if (guest_spec_of_json(call->params, &spec, &err) < 0) {
        api_error(api, &call->asker, "invalid", "%s", err.text);
        return;
    }
    telemetry = core_telemetry(api->s->core, show.now, &request.n_telemetry);
    request.spec = &spec;
    request.telemetry = telemetry;
    if (place_guest(core_state(api->s->core), &request, &result, &err) < 0)
        api_error(api, &call->asker, "refused", "%s", err.text);
    else
        api_ok(api, &call->asker, plan_of(&show, &request, &result), call->warning);
    place_result_deinit(&result);
    guest_spec_deinit(&spec);
    free(telemetry);
}

void api_node_drain(struct api *api, struct call *call)
{
    struct show show = api_show(api);
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const struct node *node =
        name != NULL ? state_node_by_name(core_state(api->s->core), name) : NULL;

    if (node == NULL)
        api_error(api, &call->asker, "refused", "there is no node '%.40s'; skein node list",
                  name != NULL ? name : "");
    else if (json_is_true(json_object_get(call->params, "dry_run")))
        api_ok(api, &call->asker, show_drain(&show, node), call->warning);
    else
        api_write(api, call);
}

void api_node_remove(struct api *api, struct call *call)
{
    struct show show = api_show(api);
    const char *name = json_string_value(json_object_get(call->params, "name"));
    char text[REASON_SIZE];

    if (!json_is_true(json_object_get(call->params, "dry_run")))
        api_write(api, call);
    else if (core_removal_is_refused(api->s->core, name != NULL ? name : "", text, sizeof(text)))
        api_error(api, &call->asker, "refused", "%s", text);
    else
        api_ok(api, &call->asker,
               show_drain(&show, state_node_by_name(core_state(api->s->core), name)),
               call->warning);
}

/* Ids are never given again, and the id says from where on the log knows it. */
void api_node_known(struct api *api, struct call *call)
{
    const struct state *state = core_state(api->s->core);
    json_int_t id = json_integer_value(json_object_get(call->params, "id"));
    const char *hex = json_string_value(json_object_get(call->params, "cluster"));
    uint8_t cluster[NONCE_SIZE];

    if (hex_decode(hex, cluster, NONCE_SIZE) < 0 || state->n_nodes == 0 || id <= 0 ||
        memcmp(cluster, state->cluster, NONCE_SIZE) != 0 || (uint64_t)id > state->index)
        api_error(api, &call->asker, "not_now", "nothing can be said of node %lld here",
                  (long long)id);
    else
        api_ok(api, &call->asker,
               json_pack("{s:b}", "known", state_node(state, (uint64_t)id) != NULL), NULL);
}

void api_migration_list(struct api *api, struct call *call)
{
    struct show show = api_show(api);

    api_ok(api, &call->asker, show_migrations(&show), call->warning);
}

void api_migration_show(struct api *api, struct call *call)
{
    struct show show = api_show(api);
    json_int_t id = json_integer_value(json_object_get(call->params, "id"));
    const struct migration *m = state_migration(core_state(api->s->core), (uint64_t)id);

    if (m == NULL)
        api_error(api, &call->asker, "refused",
                  "there is no migration %lld in flight; skein migration list", (long long)id);
    else
        api_ok(api, &call->asker, show_migration(&show, m), call->warning);
}

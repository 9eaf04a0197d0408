/* check_jansson: guest.check, what speaks for and against moving a guest; nothing is changed.
 *
 * Answered by the guest's own node: its guard looks at the guest (migrate/look.h), the scheduler
 * says where it could go by what this node knows of the cluster, and that target is asked whether
 * it has room for what the guest brings; where none was named, the next best is asked if it has
 * not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/api/command_jansson.h"
#include "agent/api/internal_jansson.h"
#include "base/clean.h"
#include "migrate/look.h"
#include "scheduler/place.h"

struct check {
    struct api *api;
    struct asker asker;
    char guest[NAME_SIZE], to[NAME_SIZE];
    struct move_terms terms;
    int pipe[2];
    struct look look;
    char target[NAME_SIZE]; /* that was asked, */
    struct node_room room;  /* and what it said */
    size_t n_full;
    uint64_t *full;     /* heap: nodes that have no room, … */
    struct err no_room; /* … and the last one's words */
};

static void check_free(struct check *check)
{
    for (int i = 0; i < 2; i++) {
        if (check->pipe[i] >= 0)
            close(check->pipe[i]);
    }
    free(check->full);
    free(check);
}

/* ---- where to */

static bool is_full(const struct check *check, uint64_t node)
{
    for (size_t i = 0; i < check->n_full; i++) {
        if (check->full[i] == node)
            return true;
    }
    return false;
}

/* Every node that is up, as if its uplink were idle: only the leader knows better. */
static struct node_telemetry *telemetry_of(const struct check *check, const struct state *state)
{
    struct node_telemetry *rows = calloc(state->n_nodes + 1, sizeof(*rows));

    for (size_t i = 0; rows != NULL && i < state->n_nodes; i++)
        rows[i] = (struct node_telemetry){.node = state->nodes[i].id,
                                          .present = state->nodes[i].state == NODE_UP,
                                          .is_full = is_full(check, state->nodes[i].id)};
    return rows;
}

static int place(const struct check *check, const struct guest *guest, struct place_result *ret,
                 struct err *err)
{
    const struct state *state = core_state(check->api->s->core);
    struct guest_spec spec = guest->spec; /* borrows the heap parts */
    cleanup_free struct node_telemetry *rows = telemetry_of(check, state);
    struct place_request request = {.spec = &spec,
                                    .is_move = true,
                                    .not_on = guest->placement.node,
                                    .n_telemetry = state->n_nodes,
                                    .telemetry = rows};

    if (rows == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    if (check->to[0] != '\0')
        memcpy(spec.on, check->to, NAME_SIZE);
    return place_guest(state, &request, ret, err);
}

static void look_at_places(const struct check *check, const struct guest *guest, struct look *look,
                           json_t *answer)
{
    struct show show = api_show(check->api);
    struct place_result result = {0};
    struct err err = {0};
    int r = 0;

    if (guest->spec.on[0] != '\0' && check->to[0] != '\0' && strcmp(guest->spec.on, check->to) != 0)
        r = err_set(&err, -ENOENT, "it is bound to node %s", guest->spec.on);
    if (r == 0)
        r = place(check, guest, &result, &err);
    if (r < 0)
        look_add(look, "place", true, "%s", err.text);
    else if (result.placement.node == 0 && check->n_full > 0)
        look_add(look, "room", true, "no other node has room for it: %s", check->no_room.text);
    else if (result.placement.node == 0)
        look_add(look, "place", true, "no other node can take it (see targets)");
    json_object_update(answer, show_plan(&show, &result, NULL));
    json_object_del(answer, "cores");
    place_result_deinit(&result);
}

/* ---- the verdict */

static json_t *reasons_of(const struct look *look)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < look->n_reasons; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "code", look->reasons[i].code,
                                              "severity",
                                              look->reasons[i].is_obstacle ? "obstacle" : "note",
                                              "text", look->reasons[i].text));
    return list;
}

/* What its guard will be told, when it is moved to where the scheduler would have it. */
static void make_wish(const struct check *check, const struct guest *guest, const char *to,
                      struct mode_wish *ret)
{
    const struct state *state = core_state(check->api->s->core);
    const struct node *target = to != NULL ? state_node_by_name(state, to) : NULL;

    *ret = (struct mode_wish){.terms = check->terms};
    if (target != NULL)
        core_move_wish(check->api->s->core, guest, guest->placement.node, target->id, &check->terms,
                       ret);
    if (target != NULL && strcmp(target->name, check->target) == 0)
        ret->room = check->room;
    if (guest->spec.kind == KIND_VM && ret->terms.mode == MOVE_AUTO)
        ret->terms.mode = MOVE_PRE; /* it knows no other way */
}

/* -ENOSPC: the target that was asked has no room for it as it would go there. */
static int pick_mode(struct look *look, const struct mode_wish *wish, struct mode_verdict *ret,
                     struct err *err)
{
    struct room_need need;

    mode_pick(wish, look, ret);
    if (ret->mode == 0)
        return 0;
    room_need_of(look, ret->mode, &need);
    return room_check(&wish->room, &need, wish->target, err);
}

/* The same as a verdict. */
static void judge(struct look *look, const struct mode_wish *wish, struct mode_verdict *ret)
{
    struct err err;

    if (pick_mode(look, wish, ret, &err) < 0) {
        look_add(look, "room", true, "%s", err.text);
        ret->mode = 0;
    } else if (ret->mode != 0 && !wish->room.is_known) {
        look_add(look, "room-unknown", false, "%s does not say how much room it has", wish->target);
    }
}

static json_t *ms_or_null(bool is_known, uint32_t ms)
{
    return is_known ? json_integer(ms) : json_null();
}

static const char *long_name(enum move_mode mode)
{
    return mode == MOVE_POST ? "post-copy" : mode == MOVE_PRE ? "pre-copy" : "stop-and-copy";
}

static json_t *verdict(struct check *check, const struct guest *guest)
{
    struct look *look = &check->look;
    const struct node *from = state_node(core_state(check->api->s->core), guest->placement.node);
    json_t *answer = json_object();
    struct mode_verdict mode = {0};
    struct mode_wish wish;
    char why[REASON_SIZE];
    bool can;

    if (!place_may_leave(core_state(check->api->s->core), &guest->spec, guest->placement.node, why))
        look_add(look, "driver", true, "%s", why);
    if (guest->spec.kind != KIND_VM && check->terms.connections > 1)
        look_add(look, "connections", true, "it is no vm: it moves by one connection");
    if (guest->migration != 0)
        look_add(look, "migrating", true, "it is being migrated already");
    if (guest->desired != DESIRED_RUNNING)
        look_add(look, "stopping", true, "it is being stopped");
    look_at_places(check, guest, look, answer);
    make_wish(check, guest, json_string_value(json_object_get(answer, "chosen")), &wish);
    if (look_obstacle(look) == NULL)
        judge(look, &wish, &mode);
    can = mode.mode != 0;
    json_object_set_new(answer, "guest", json_string(guest->spec.name));
    json_object_set_new(answer, "from", from != NULL ? json_string(from->name) : json_null());
    json_object_set_new(answer, "verdict", json_string(can ? "possible" : "impossible"));
    json_object_set_new(answer, "mode", can ? json_string(long_name(mode.mode)) : json_null());
    json_object_set_new(answer, "blackout_ms", ms_or_null(can, mode.blackout_ms));
    json_object_set_new(answer, "total_ms", ms_or_null(can, mode.total_ms));
    json_object_set_new(answer, "processes", json_integer(look->n_processes));
    json_object_set_new(answer, "memory_bytes", json_integer((json_int_t)look->memory_bytes));
    json_object_set_new(answer, "files_bytes", json_integer((json_int_t)look->files_bytes));
    json_object_set_new(answer, "files_ahead_bytes", json_integer((json_int_t)mode.ahead_bytes));
    json_object_set_new(answer, "room",
                        wish.room.is_known ? room_to_json(&wish.room) : json_null());
    json_object_set_new(answer, "dirty_bytes_per_s",
                        json_integer((json_int_t)look->dirty_bytes_per_s));
    json_object_set_new(answer, "link_kbps",
                        wish.link_kbps != 0 ? json_integer(wish.link_kbps) : json_null());
    json_object_set_new(answer, "downtime_ms", json_integer((json_int_t)check->terms.downtime_ms));
    json_object_set_new(answer, "can_pre_copy", json_boolean(look->can_track_dirty));
    json_object_set_new(answer, "can_post_copy", json_boolean(look->can_lazy));
    json_object_set_new(answer, "reasons", reasons_of(look));
    return answer;
}

/* ---- in and out */

static void answer(struct check *check, const struct guest *guest)
{
    api_ok(check->api, &check->asker, verdict(check, guest), NULL);
    check_free(check);
}

static const struct guest *guest_here(struct check *check)
{
    const struct guest *guest = state_guest(core_state(check->api->s->core), check->guest);

    if (guest != NULL && guest->placement.node == check->api->s->members.own_id)
        return guest;
    api_error(check->api, &check->asker, "not_now", "guest %s has just gone elsewhere",
              check->guest);
    check_free(check);
    return NULL;
}

static void asked_room(void *context, const json_t *json);

/* The node that it would go to is asked; without one, all that can be said is said now. */
static void ask_room(struct check *check, const struct guest *guest)
{
    const struct state *state = core_state(check->api->s->core);
    struct place_result result = {0};
    const struct node *target = NULL;
    struct err err;

    if (look_obstacle(&check->look) == NULL && place(check, guest, &result, &err) == 0)
        target = state_node(state, result.placement.node);
    place_result_deinit(&result);
    check->room = (struct node_room){0};
    memcpy(check->target, target != NULL ? target->name : "", target != NULL ? NAME_SIZE : 1);
    if (target == NULL ||
        question_ask(check->api, target->id, "node.room", json_object(), asked_room, check) < 0)
        answer(check, guest);
}

/* Whether another one is to be asked. */
static bool note_full(struct check *check, const struct guest *guest)
{
    const struct node *target = state_node_by_name(core_state(check->api->s->core), check->target);
    struct look look = check->look;
    struct mode_verdict mode;
    struct mode_wish wish;
    uint64_t *full;

    make_wish(check, guest, check->target, &wish);
    if (target == NULL || pick_mode(&look, &wish, &mode, &check->no_room) == 0)
        return false;
    full = realloc(check->full, (check->n_full + 1) * sizeof(*full));
    if (full == NULL)
        return false;
    check->full = full;
    check->full[check->n_full++] = target->id;
    look_add(&check->look, "room", false, "%s", check->no_room.text);
    return true;
}

static void asked_room(void *context, const json_t *json)
{
    struct check *check = context;
    const struct guest *guest = guest_here(check);

    if (guest == NULL)
        return;
    room_of_answer(json, &check->room);
    if (check->to[0] == '\0' && note_full(check, guest))
        ask_room(check, guest);
    else
        answer(check, guest);
}

static void looked(void *context, const struct guard_request *request, struct guard_reply *reply)
{
    struct check *check = context;
    const struct guest *guest = guest_here(check);
    uint8_t bytes[LOOK_MAX_BYTES];
    ssize_t n = 0;

    (void)request;
    if (guest == NULL)
        return;
    if (reply->code == 0)
        n = read(check->pipe[0], bytes, sizeof(bytes));
    if (reply->code == -ENOENT || reply->code == -ESRCH) {
        look_add(&check->look, "not-running", true, "it does not run now (%.100s)", reply->text);
        answer(check, guest);
    } else if (reply->code < 0 || n < 0 || look_decode(bytes, (size_t)n, &check->look) < 0) {
        api_error(check->api, &check->asker, "failed", "guest %s cannot be looked at: %s",
                  check->guest, reply->text[0] != '\0' ? reply->text : strerror(-reply->code));
        check_free(check);
    } else {
        ask_room(check, guest);
    }
}

static struct check *check_new(struct api *api, const struct call *call)
{
    struct check *check = calloc(1, sizeof(*check));

    if (check == NULL)
        return NULL;
    check->api = api;
    check->asker = call->asker;
    if (pipe2(check->pipe, O_CLOEXEC | O_NONBLOCK) == 0)
        return check;
    free(check);
    return NULL;
}

void api_guest_check(struct api *api, struct call *call)
{
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const char *to = json_string_value(json_object_get(call->params, "to"));
    const struct guest *guest = state_guest(core_state(api->s->core), name);
    struct guard_request request;
    struct move_terms terms;
    struct check *check;
    struct err err = {0};

    if (move_terms_of_json(call->params, &terms, &err) < 0) {
        api_error(api, &call->asker, "invalid", "%s", err.text);
        return;
    }
    if (to != NULL &&
        (strlen(to) >= NAME_SIZE || state_node_by_name(core_state(api->s->core), to) == NULL)) {
        api_error(api, &call->asker, "refused", "there is no node '%.40s'; skein node list", to);
        return;
    }
    check = check_new(api, call);
    if (check == NULL) {
        api_error(api, &call->asker, "failed", "out of memory or descriptors");
        return;
    }
    memcpy(check->guest, guest->spec.name, NAME_SIZE);
    memcpy(check->to, to != NULL ? to : "", to != NULL ? strlen(to) + 1 : 1);
    check->terms = terms;
    guard_request_init(&request);
    request.op = GUARD_LOOK;
    memcpy(request.copy.guest, guest->spec.name, NAME_SIZE);
    request.copy.epoch = guest->placement.epoch;
    request.fds[0] = check->pipe[1];
    skeind_guard_send(api->s, &request, looked, check);
}

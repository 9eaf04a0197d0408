/* write_jansson: wishes that core fulfils; each waits under a ticket for core's answer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/command_jansson.h"
#include "agent/api/fields_jansson.h"
#include "agent/api/internal_jansson.h"

static struct ticket **ticket_find(struct api *api, const struct asker *asker)
{
    struct ticket **at = &api->tickets;

    while (*at != NULL && !asker_is_equal(&(*at)->asker, asker))
        at = &(*at)->next;
    return at;
}

bool ticket_is_open(struct api *api, const struct asker *asker)
{
    return *ticket_find(api, asker) != NULL;
}

void api_submit(struct api *api, const struct call *call, struct command *command,
                const struct ticket *fields)
{
    struct core_event event = {.type = CORE_REQUEST, .command = command};
    struct ticket *ticket = api->n_tickets < API_MAX_TICKETS ? malloc(sizeof(*ticket)) : NULL;

    if (ticket == NULL) {
        command_deinit(command);
        free(command);
        api_error(api, &call->asker, "not_now", "too many requests wait already; try again");
        return;
    }
    *ticket = *fields;
    ticket->number = ++api->last_ticket;
    ticket->asker = call->asker;
    snprintf(ticket->method, sizeof(ticket->method), "%s", call->method);
    ticket->next = api->tickets;
    api->tickets = ticket;
    api->n_tickets++;
    command->time_s = wall_ms() / 1000;
    event.ticket = ticket->number;
    skeind_event(api->s, &event); /* may answer at once: the ticket is gone then */
    free(command);
}

/* The id of the node that a migration is to go to; false: answered. */
static bool resolve_target(struct api *api, struct call *call)
{
    const char *to = json_string_value(json_object_get(call->params, "to"));
    const struct node *node;

    if (to == NULL)
        return true;
    node = state_node_by_name(core_state(api->s->core), to);
    if (node == NULL) {
        api_error(api, &call->asker, "refused", "there is no node '%.40s'; skein node list", to);
        return false;
    }
    json_object_set_new(call->params, "to_id", json_integer((json_int_t)node->id));
    return true;
}

void api_write(struct api *api, struct call *call)
{
    const char *name = json_string_value(json_object_get(call->params, "name"));
    struct command *command = calloc(1, sizeof(*command));
    struct ticket fields = {0};
    struct err err = {0};

    if (command == NULL) {
        api_error(api, &call->asker, "failed", "out of memory");
        return;
    }
    if (strcmp(call->method, "guest.migrate") == 0 && !resolve_target(api, call)) {
        free(command);
        return;
    }
    if (command_of_json(call->method, call->params, command, &err) < 0) {
        command_deinit(command);
        free(command);
        api_error(api, &call->asker, "invalid", "%s", err.text);
        return;
    }
    if (call->has_request)
        memcpy(command->request, call->request, NONCE_SIZE);
    snprintf(fields.name, sizeof(fields.name), "%s", name != NULL ? name : "");
    api_submit(api, call, command, &fields);
}

/* ---- answers */

static json_t *members_json(const struct state *state)
{
    json_t *list = json_array();

    for (size_t i = 0; i < state->n_nodes; i++) {
        const struct node *node = &state->nodes[i];
        char address[IPV4_TEXT_SIZE], link[2 * KEY_SIZE + 1], curve[2 * KEY_SIZE + 1];

        json_array_append_new(
            list, json_pack("{s:I, s:s, s:s, s:s, s:s}", "id", (json_int_t)node->id, "name",
                            node->name, "address", ipv4_format(node->facts.address, address),
                            "link_key", hex_encode(node->facts.link_key, KEY_SIZE, link),
                            "curve_key", hex_encode(node->facts.curve_key, KEY_SIZE, curve)));
    }
    return list;
}

static json_t *result_of(struct api *api, const struct ticket *ticket, const struct answer *answer)
{
    struct show show = api_show(api);
    const struct state *state = core_state(api->s->core);
    const struct guest *guest = state_guest(state, ticket->name);
    const struct slice *slice = state_slice(state, ticket->name);
    char cluster[2 * NONCE_SIZE + 1];

    if (strcmp(ticket->method, "guest.migrate") == 0)
        return show_migrated(&show, ticket->name, answer);
    if ((strcmp(ticket->method, "guest.run") == 0 || strcmp(ticket->method, "guest.start") == 0 ||
         strcmp(ticket->method, "guest.set") == 0) &&
        guest != NULL)
        return show_guest(&show, guest);
    if (strcmp(ticket->method, "slice.create") == 0 && slice != NULL)
        return json_pack("{s:s, s:i}", "name", slice->name, "vni", slice->vni);
    if (strcmp(ticket->method, "token.create") == 0)
        return json_pack("{s:s, s:I}", "token", ticket->token, "expires_s",
                         (json_int_t)ticket->expires_s);
    if (strcmp(ticket->method, "node.join") == 0)
        return json_pack("{s:I, s:s, s:s, s:o, s:o}", "id", (json_int_t)answer->id, "name",
                         ticket->name, "cluster", hex_encode(state->cluster, NONCE_SIZE, cluster),
                         "timers", show_timers(&state->timers), "members", members_json(state));
    if (strcmp(ticket->method, "image.gc") == 0)
        return json_pack("{s:I}", "released", (json_int_t)answer->id);
    if (strcmp(ticket->method, "cluster.maintenance") == 0)
        return json_pack("{s:b}", "maintenance", state->maintenance);
    if (strcmp(ticket->method, "cluster.preemption") == 0)
        return json_pack("{s:b}", "preemption", state->preemption);
    if (strcmp(ticket->method, "migration.cancel") == 0)
        return json_pack("{s:I, s:b}", "id", (json_int_t)answer->id, "cancelled", 1);
    return json_pack("{s:s}", "name", ticket->name);
}

static const char *kind_name(enum answer_kind kind)
{
    switch (kind) {
    case ANSWER_REFUSED:
        return "refused";
    case ANSWER_INVALID:
        return "invalid";
    case ANSWER_NO_PLACE:
        return "no_place";
    case ANSWER_NOT_NOW:
        return "not_now";
    case ANSWER_NOT_LEADER:
    case ANSWER_LEADER_LOST:
        return "leader_changed";
    default:
        return "failed";
    }
}

static struct ticket *ticket_take(struct api *api, struct ticket **at)
{
    struct ticket *ticket = *at;

    *at = ticket->next;
    api->n_tickets--;
    return ticket;
}

void tickets_end(struct api *api, const char *text)
{
    while (api->tickets != NULL) {
        struct ticket *ticket = ticket_take(api, &api->tickets);

        api_error(api, &ticket->asker, "leader_changed", "%s", text);
        free(ticket);
    }
}

void api_respond(struct api *api, uint64_t number, const struct answer *answer)
{
    struct ticket **at = &api->tickets, *ticket;

    while (*at != NULL && (*at)->number != number)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    ticket = ticket_take(api, at);
    if (answer->kind == ANSWER_DONE)
        api_ok(api, &ticket->asker, result_of(api, ticket, answer), NULL);
    else
        api_error(api, &ticket->asker, kind_name(answer->kind), "%s",
                  answer->text[0] != '\0' ? answer->text : "this node does not lead; try again");
    free(ticket);
}

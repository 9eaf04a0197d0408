/* relay_jansson: requests that another node works on: passed on, asked again when nothing comes
 * back, and answered here at last. What to do when: agent/api/relay.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/internal_jansson.h"
#include "agent/api/relay.h"
#include "base/clean.h"

struct relay {
    struct relay *next;
    struct asker asker;
    const struct method *method;
    uint64_t node; /* that works on it */
    char *text;    /* heap: the request, to be asked again; NULL = it is not to be */
    uint64_t began_us, sent_us;
};

static void relay_remove(struct api *api, struct relay **at)
{
    struct relay *relay = *at;

    *at = relay->next;
    api->n_relays--;
    free(relay->text);
    free(relay);
}

void relays_free(struct api *api)
{
    while (api->relays != NULL)
        relay_remove(api, &api->relays);
    for (size_t i = 0; i < API_ANSWERS_KEPT; i++)
        free(api->kept[i].text);
}

static struct relay **relay_find(struct api *api, const struct asker *asker)
{
    struct relay **at = &api->relays;

    while (*at != NULL && !asker_is_equal(&(*at)->asker, asker))
        at = &(*at)->next;
    return at;
}

bool relay_is_open(struct api *api, const struct asker *asker)
{
    return *relay_find(api, asker) != NULL;
}

static bool is_to_leader(const struct relay *relay)
{
    return relay->method->where == ON_LEADER || relay->method->where == READ_LEADER;
}

/* Takes `text`. */
static void relay_add(struct api *api, const struct call *call, uint64_t node,
                      const struct method *method, char *text)
{
    struct relay **at = relay_find(api, &call->asker), *relay;

    if (*at != NULL)
        relay_remove(api, at);
    relay = api->n_relays < API_MAX_RELAYS ? calloc(1, sizeof(*relay)) : NULL;
    if (relay == NULL) {
        free(text);
        return;
    }
    *relay = (struct relay){.next = api->relays,
                            .asker = call->asker,
                            .method = method,
                            .node = node,
                            .text = text,
                            .began_us = now_us(),
                            .sent_us = now_us()};
    api->relays = relay;
    api->n_relays++;
}

static int forward(struct api *api, const struct call *call, uint64_t node, const char *text)
{
    struct envelope envelope = {.origin = call->asker.origin,
                                .json = text,
                                .json_size = strlen(text),
                                .data = call->data,
                                .size = call->size};

    return api_send_to_peer(api, node, PEER_REQUEST, &envelope);
}

void relay_to(struct api *api, const struct call *call, uint64_t node, const struct method *method)
{
    bool to_leader = method->where == ON_LEADER || method->where == READ_LEADER;
    uint64_t number = now_us(); /* unlike any other for this asker */
    cleanup_free char *text = NULL;

    if (call->asker.origin.node != 0) {
        api_error(api, &call->asker, "not_now", "the leader has changed meanwhile; try again");
        return;
    }
    json_object_set_new(call->json, "relay", json_integer((json_int_t)number));
    text = json_dumps(call->json, JSON_COMPACT);
    if (text == NULL || forward(api, call, node, text) < 0) {
        api_error(api, &call->asker, "not_now", "%s cannot be reached now; nothing was changed",
                  to_leader ? "the leader" : "the guest's node");
        return;
    }
    relay_add(api, call, node, method, to_leader && call->data == NULL ? steal(&text) : NULL);
}

void relay_follow(struct api *api, struct call *call, const struct method *method)
{
    struct relay **at = relay_find(api, &call->asker);
    cleanup_free char *text = json_dumps(call->json, JSON_COMPACT);

    if (*at == NULL) {
        method->handle(api, call);
    } else if (text == NULL || forward(api, call, (*at)->node, text) < 0) {
        relay_remove(api, at);
        api_error(api, &call->asker, "failed", "the guest's node cannot be reached any more");
    }
}

void relay_answer(struct api *api, uint64_t from, const struct envelope *envelope)
{
    json_t *json = json_loadb(envelope->json, envelope->json_size, 0, NULL);
    const char *id = json_string_value(json_object_get(json, "id"));
    struct asker asker = {.origin = envelope->origin};
    struct relay **at;

    if (id != NULL && strlen(id) < API_ID_SIZE) {
        memcpy(asker.id, id, strlen(id));
        at = relay_find(api, &asker);
        if (*at != NULL && (*at)->node == from) {
            if (envelope->is_last)
                relay_remove(api, at);
            api_deliver(api, &asker, envelope);
        }
    }
    json_decref(json);
}

/* ---- the other side */

void relay_keep(struct api *api, const struct asker *asker, const char *text, size_t size)
{
    struct kept_answer *kept = &api->kept[api->kept_at];
    bool is_kept = asker->relay != 0 && size <= API_ANSWER_KEPT_SIZE;
    char *copy = is_kept ? strndup(text, size) : NULL;

    if (copy == NULL)
        return;
    free(kept->text);
    *kept = (struct kept_answer){*asker, copy};
    api->kept_at = (api->kept_at + 1) % API_ANSWERS_KEPT;
}

bool relay_is_repeated(struct api *api, const struct asker *asker)
{
    for (size_t i = 0; i < API_ANSWERS_KEPT && asker->relay != 0; i++) {
        const struct kept_answer *kept = &api->kept[i];
        struct envelope envelope = {.origin = asker->origin, .is_last = true, .json = kept->text};

        if (kept->text == NULL || kept->asker.relay != asker->relay ||
            kept->asker.origin.node != asker->origin.node || !asker_is_equal(&kept->asker, asker))
            continue;
        envelope.json_size = strlen(kept->text);
        api_send_to_peer(api, asker->origin.node, PEER_ANSWER, &envelope);
        return true;
    }
    return asker->relay != 0 && ticket_is_open(api, asker);
}

/* ---- when nothing comes back */

static enum relay_verdict look(const struct api *api, const struct relay *relay)
{
    const struct node *node = state_node(core_state(api->s->core), relay->node);
    struct relay_facts facts = {
        .to_leader = is_to_leader(relay),
        .is_read = relay->method->where == READ_LEADER,
        .node = relay->node,
        .leader = skeind_leader(api->s),
        .node_is_lost = node == NULL || node->state == NODE_LOST,
        .began_us = relay->began_us,
        .may_repeat = relay->text != NULL,
        .sent_us = relay->sent_us,
        .heard_us = core_answered_us(api->s->core),
    };

    return relay_look(&facts, now_us());
}

static void repeat(struct api *api, struct relay *relay)
{
    struct envelope envelope = {
        .origin = relay->asker.origin, .json = relay->text, .json_size = strlen(relay->text)};

    relay->sent_us = now_us();
    api_send_to_peer(api, relay->node, PEER_REQUEST, &envelope); /* or at the next turn */
}

/* The request comes back to this node as if it had just come in. */
static void take_back(struct api *api, struct relay **at, enum relay_verdict verdict)
{
    struct asker asker = (*at)->asker;
    cleanup_free char *text = (*at)->text;
    struct envelope envelope = {.origin = asker.origin, .json = text};

    (*at)->text = NULL;
    relay_remove(api, at);
    envelope.json_size = text != NULL ? strlen(text) : 0;
    if (verdict == RELAY_ASK_ANEW)
        api_receive(api, &envelope);
    else
        api_answer_here(api, &envelope,
                        "the leader does not answer; this is what the asked node knows");
}

static void give_up(struct api *api, struct relay **at, const char *kind, const char *text)
{
    struct asker asker = (*at)->asker;

    relay_remove(api, at);
    api_error(api, &asker, kind, "%s", text);
}

/* True when the relay is over. */
static bool sweep_relay(struct api *api, struct relay **at)
{
    enum relay_verdict verdict = look(api, *at);

    switch (verdict) {
    case RELAY_WAIT:
        return false;
    case RELAY_REPEAT:
        repeat(api, *at);
        return false;
    case RELAY_ANSWER_HERE:
    case RELAY_ASK_ANEW:
        take_back(api, at, verdict);
        break;
    case RELAY_LEADER_CHANGED:
        give_up(api, at, "leader_changed",
                "the leader was lost while it worked on this; the outcome is unknown, and "
                "asking again is harmless");
        break;
    case RELAY_LEADER_SILENT:
        give_up(api, at, "not_now",
                "the leader does not answer; the outcome is unknown, and asking again is harmless");
        break;
    case RELAY_NODE_LOST:
        give_up(api, at, "failed", "the node that worked on this was lost");
        break;
    case RELAY_TIMED_OUT:
        give_up(api, at, "failed", "no answer came in time");
        break;
    }
    return true;
}

void relays_sweep(struct api *api)
{
    struct relay **at = &api->relays;

    while (*at != NULL) {
        if (!sweep_relay(api, at)) /* else the next one stands there by now */
            at = &(*at)->next;
    }
}

void relays_end(struct api *api, const char *text)
{
    while (api->relays != NULL)
        give_up(api, &api->relays, "leader_changed", text);
}

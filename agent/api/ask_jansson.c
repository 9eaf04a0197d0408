/* ask_jansson: questions of this node's own to another, in the course of a client's request: sent
 * again when nothing comes back, and given up soon. The answerer sees them as any request that is
 * passed on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/internal_jansson.h"
#include "agent/api/relay.h"

struct question {
    struct question *next;
    char id[API_ID_SIZE];
    uint64_t node;
    char *text; /* heap: as it is sent */
    uint64_t began_us, sent_us;
    question_answered *answered;
    void *context;
};

static int send_question(struct api *api, struct question *q)
{
    const struct envelope envelope = {
        .origin.kind = ORIGIN_NODE, .json = q->text, .json_size = strlen(q->text)};

    q->sent_us = now_us();
    return api_send_to_peer(api, q->node, PEER_REQUEST, &envelope);
}

static void settle(struct question **at, const json_t *answer)
{
    struct question *q = *at;
    question_answered *answered = q->answered;
    void *context = q->context;

    *at = q->next;
    free(q->text);
    free(q);
    answered(context, answer);
}

int question_ask(struct api *api, uint64_t node, const char *method, json_t *params,
                 question_answered *answered, void *context)
{
    struct question *q = calloc(1, sizeof(*q));
    json_t *json;

    if (q == NULL) {
        json_decref(params);
        return -1;
    }
    snprintf(q->id, sizeof(q->id), "node-%llu", (unsigned long long)++api->last_question);
    json = json_pack("{s:s, s:s, s:o}", "id", q->id, "method", method, "params", params);
    q->text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    q->node = node;
    q->began_us = now_us();
    q->answered = answered;
    q->context = context;
    if (q->text == NULL || send_question(api, q) < 0) {
        free(q->text);
        free(q);
        return -1;
    }
    q->next = api->questions;
    api->questions = q;
    return 0;
}

void question_answer(struct api *api, uint64_t from, const struct envelope *envelope)
{
    json_t *json = json_loadb(envelope->json, envelope->json_size, 0, NULL);
    const char *id = json_string_value(json_object_get(json, "id"));
    struct question **at = &api->questions;

    while (id != NULL && *at != NULL && ((*at)->node != from || strcmp((*at)->id, id) != 0))
        at = &(*at)->next;
    if (id != NULL && *at != NULL)
        settle(at, json);
    json_decref(json);
}

void questions_sweep(struct api *api)
{
    struct question **at = &api->questions;
    uint64_t now = now_us();

    while (*at != NULL) {
        struct question *q = *at;

        if (now >= q->began_us + (uint64_t)API_ASK_MS * 1000) {
            settle(at, NULL); /* which may ask anew, in front */
            at = &api->questions;
            continue;
        }
        if (now >= q->sent_us + (uint64_t)RELAY_REPEAT_MS * 1000)
            (void)send_question(api, q); /* or at the next turn */
        at = &q->next;
    }
}

void questions_end(struct api *api)
{
    while (api->questions != NULL)
        settle(&api->questions, NULL);
}

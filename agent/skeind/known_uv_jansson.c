/* known_uv_jansson: whether this node is still a member, asked of the others when nobody
 * answers its beats: a node that was removed while it was away hears nothing more, since its key is
 * nobody's.
 *
 * The question goes through the door for boards that want to join; the answer counts because the
 * CURVE handshake proves who gives it, and because an id that was removed is never given again.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/skeind/join_czmq.h"
#include "agent/api/fields_jansson.h"
#include "agent/skeind/skeind_uv.h"

/* Two are asked at once: one of them may be dead. */
enum { SILENCE_MS = 1000, LIMIT_MS = 2000, MAX_QUESTIONS = 2 };

struct question {
    uv_work_t work;
    struct skeind *s;
    struct join_call call;
    char text[256];
    char *answer; /* heap */
    struct err err;
};

static void ask(uv_work_t *work)
{
    struct question *q = work->data;

    join_ask(&q->call, &q->answer, &q->err);
}

static bool says_removed(const char *answer)
{
    json_t *json = answer != NULL ? json_loads(answer, 0, NULL) : NULL;
    bool is_removed = json_is_true(json_object_get(json, "ok")) &&
                      json_is_false(json_object_get(json_object_get(json, "result"), "known"));

    json_decref(json);
    return is_removed;
}

static void answered(uv_work_t *work, int status)
{
    struct question *q = work->data;
    struct skeind *s = q->s;
    bool is_removed = status == 0 && says_removed(q->answer);

    s->n_questions--;
    if (q->answer != NULL)
        s->known_us = now_us();
    free(q->answer);
    free(q);
    if (is_removed && s->is_member)
        skeind_cluster_leave(s, "this node was removed from the cluster", SKEIND_EXIT_REMOVED);
}

static const struct member *next_member(struct skeind *s)
{
    for (uint32_t i = 0; i < s->members.n; i++) {
        const struct member *m = &s->members.list[s->known_turn++ % s->members.n];

        if (m->id != s->members.own_id)
            return m;
    }
    return NULL;
}

static bool is_silent(const struct skeind *s, uint64_t now)
{
    uint64_t heard_us = core_answered_us(s->core);

    if (heard_us < s->member_us)
        heard_us = s->member_us;
    if (heard_us < s->known_us)
        heard_us = s->known_us;
    return !core_has_authority(s->core, now) && now > heard_us + SILENCE_MS * 1000ull;
}

static void ask_next(struct skeind *s)
{
    char hex[2 * NONCE_SIZE + 1];
    const struct member *member = next_member(s);
    struct question *q = member != NULL ? calloc(1, sizeof(*q)) : NULL;

    if (q == NULL)
        return;
    snprintf(q->text, sizeof(q->text),
             "{\"id\":\"k\",\"method\":\"node.known\",\"params\":{\"cluster\":\"%s\",\"id\":%llu}}",
             hex_encode(s->members.cluster, NONCE_SIZE, hex),
             (unsigned long long)s->members.own_id);
    q->s = s;
    q->work.data = q;
    q->call = (struct join_call){
        .address = member->address, .port = PORT_API, .request = q->text, .timeout_ms = LIMIT_MS};
    memcpy(q->call.server_key, member->curve_key, KEY_SIZE);
    memcpy(q->call.curve_public, s->identity.curve_public, KEY_SIZE);
    memcpy(q->call.curve_secret, s->identity.curve_secret, KEY_SIZE);
    if (uv_queue_work(s->loop, &q->work, ask, answered) == 0)
        s->n_questions++;
    else
        free(q);
}

void skeind_sweep_known(struct skeind *s)
{
    while (s->is_member && s->n_questions < MAX_QUESTIONS && is_silent(s, now_us())) {
        unsigned n_before = s->n_questions;

        ask_next(s);
        if (s->n_questions == n_before)
            return;
    }
}

#include "agent/skeind/skeind_uv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "agent/api/api_jansson.h"
#include "agent/streams/stream_uv.h"
#include "base/log.h"

enum { SWEEP_MS = 200 };

uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void random_bytes(void *ret, size_t size)
{
    if (getrandom(ret, size, 0) != (ssize_t)size)
        abort(); /* cannot happen for so few bytes once the kernel's pool is ready */
}

/* ---- actions */

static void send_message(struct skeind *s, const struct core_action *action)
{
    if (action->to == s->members.own_id) {
        struct core_event event = {.type = CORE_PEER_MESSAGE,
                                   .from = action->to,
                                   .data = action->data,
                                   .size = action->size};

        skeind_event(s, &event);
        return;
    }
    peers_send(s->peers, action->to, PEER_CONTROL, action->data, action->size);
}

struct fetch {
    struct skeind *s;
    uint64_t holder;
    uint8_t digest[DIGEST_SIZE];
};

static void fetched(void *context, int status)
{
    struct fetch *fetch = context;
    struct core_event event = {.type = status == 0 ? CORE_IMAGE_HELD : CORE_IMAGE_FAILED,
                               .code = status};

    memcpy(event.digest, fetch->digest, DIGEST_SIZE);
    if (status < 0)
        log_warn("image: fetching from node %llu failed: %s", (unsigned long long)fetch->holder,
                 strerror(-status));
    skeind_event(fetch->s, &event);
    free(fetch);
}

/* Any holder but this node, another one at each try; 0 = none. */
static uint64_t pick_holder(struct skeind *s, const uint8_t digest[DIGEST_SIZE])
{
    const struct state *state = core_state(s->core);

    for (size_t i = 0; i < state->n_images; i++) {
        const struct image *image = &state->images[i];
        uint32_t n = 0;
        uint64_t holders[MAX_NODES];

        if (memcmp(image->digest, digest, DIGEST_SIZE) != 0)
            continue;
        for (uint32_t h = 0; h < image->n_holders && n < MAX_NODES; h++) {
            const struct node *node = state_node(state, image->holders[h]);

            if (node != NULL && node->id != s->members.own_id && node->state == NODE_UP)
                holders[n++] = node->id;
        }
        return n > 0 ? holders[s->fetch_turn++ % n] : 0;
    }
    return 0;
}

static void fetch_image(struct skeind *s, const struct core_action *action)
{
    struct fetch *fetch = malloc(sizeof(*fetch));
    int rc = -ENOMEM;

    if (fetch != NULL) {
        *fetch = (struct fetch){.s = s, .holder = pick_holder(s, action->digest)};
        memcpy(fetch->digest, action->digest, DIGEST_SIZE);
        rc = fetch->holder == 0
                 ? -ENOENT
                 : streams_fetch_image(s->streams, fetch->holder, fetch->digest, fetched, fetch);
    }
    if (rc < 0) {
        struct core_event event = {.type = CORE_IMAGE_FAILED, .code = rc};

        memcpy(event.digest, action->digest, DIGEST_SIZE);
        free(fetch);
        skeind_event(s, &event);
    }
}

static void drop_image(struct skeind *s, const struct core_action *action)
{
    struct err err = {0};

    if (image_store_drop(s->store, action->digest, &err) < 0)
        log_warn("image: %s", err.text);
}

static void carry_out(struct skeind *s, struct core_action *action)
{
    switch (action->type) {
    case CORE_SEND:
        send_message(s, action);
        break;
    case CORE_PROPOSE:
        skeind_propose(s, action);
        break;
    case CORE_WANT_STAMP:
        skeind_want_stamp(s);
        break;
    case CORE_ACK_GUARD:
        skeind_ack_guard(s, action->ack);
        break;
    case CORE_ASK_GUARD:
        skeind_ask_guard(s, action);
        break;
    case CORE_MEMBERSHIP:
        skeind_membership(s, action);
        break;
    case CORE_RESPOND:
        api_respond(s->api, action->ticket, action->answer);
        break;
    case CORE_PROGRESS:
        api_progress(s->api, action->ticket, action->answer);
        break;
    case CORE_FETCH_IMAGE:
        fetch_image(s, action);
        break;
    case CORE_DROP_IMAGE:
        drop_image(s, action);
        break;
    case CORE_MEMBERS:
        skeind_cluster_members(s);
        break;
    case CORE_EVENT:
        api_record(s->api, action->record);
        break;
    case CORE_STOP:
        skeind_cluster_leave(s, action->answer->text, SKEIND_EXIT_REMOVED);
        break;
    case CORE_PACE:
        streams_set_pace(s->streams, action->to, action->rate_kbps);
        break;
    case CORE_KEEP_CHECKPOINTS:
        skeind_keep_checkpoints(s);
        break;
    case CORE_END_STREAM:
        skeind_end_transfer(s, action->migration);
        streams_end_migration(s->streams, action->migration);
        break;
    case CORE_SET_STREAM:
        streams_set_terms(s->streams, action->migration,
                          &(struct stream_terms){action->patience_ms, action->manner});
        break;
    }
}

/* ---- events */

static void defer(struct skeind *s, const struct core_event *event)
{
    struct deferred *deferred = calloc(1, sizeof(*deferred) + event->size);

    if (deferred == NULL)
        abort();
    deferred->event = *event;
    if (event->size > 0) {
        memcpy(deferred->data, event->data, event->size);
        deferred->event.data = deferred->data;
    }
    if (event->reply != NULL) {
        deferred->reply = *event->reply;
        deferred->reply.n_reports = 0;
        deferred->reply.reports = NULL;
        deferred->event.reply = &deferred->reply;
    }
    *s->last = deferred;
    s->last = &deferred->next;
}

static void step(struct skeind *s, struct core_event *event)
{
    struct core_actions actions;

    event->wall_s = wall_ms() / 1000;
    core_step(s->core, event, now_us(), &s->actions);
    actions = s->actions; /* an action must not see the list move */
    s->actions = (struct core_actions){0};
    for (size_t i = 0; i < actions.n && s->exit_code == 0; i++) /* nothing after the end */
        carry_out(s, &actions.list[i]);
    core_actions_clear(&actions);
    s->actions = actions;
}

static void on_deadline(uv_timer_t *timer)
{
    struct core_event event = {.type = CORE_TICK};

    skeind_event(timer->data, &event);
}

static void set_deadline(struct skeind *s)
{
    uint64_t at = core_next_deadline(s->core), now = now_us();

    if (at == UINT64_MAX)
        uv_timer_stop(&s->deadline);
    else
        uv_timer_start(&s->deadline, on_deadline, at > now ? (at - now + 999) / 1000 : 0, 0);
}

void skeind_event(struct skeind *s, const struct core_event *event)
{
    struct core_event own = *event;

    if (s->core == NULL)
        return;
    if (s->is_stepping) {
        defer(s, event);
        return;
    }
    s->is_stepping = true;
    step(s, &own);
    while (s->first != NULL) {
        struct deferred *next = s->first;

        s->first = next->next;
        if (s->first == NULL)
            s->last = &s->first;
        step(s, &next->event);
        free(next);
    }
    s->is_stepping = false;
    uv_update_time(s->loop);
    set_deadline(s);
}

static void on_sweep(uv_timer_t *timer)
{
    struct skeind *s = timer->data;

    if (s->peers != NULL)
        peers_sweep(s->peers);
    if (s->core != NULL)
        skeind_sweep_members(s);
    if (s->core != NULL)
        skeind_sweep_links(s);
    if (s->core != NULL)
        skeind_sweep_known(s);
    if (s->core != NULL)
        skeind_sweep_sendings(s);
    skeind_sweep_transfers(s);
    api_sweep(s->api);
}

int skeind_timers_start(struct skeind *s)
{
    s->last = &s->first;
    s->deadline.data = s->sweep.data = s;
    uv_timer_init(s->loop, &s->deadline);
    uv_timer_init(s->loop, &s->sweep);
    return uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

void skeind_stop(struct skeind *s, int exit_code)
{
    s->exit_code = exit_code;
    uv_stop(s->loop);
}

uint64_t skeind_leader(const struct skeind *s)
{
    uint64_t leader = s->core != NULL ? core_leader(s->core) : 0;

    return leader != 0 ? leader : s->raft_leader;
}

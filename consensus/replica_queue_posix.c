#include "consensus/replica_queue_posix.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

struct event_node {
    struct event_node *next;
    struct replica_event event;
};

void replica_event_deinit(struct replica_event *event)
{
    if (event->type == REPLICA_COMMITTED || event->type == REPLICA_RESTORED)
        free(event->entry.bytes);
    if (event->type == REPLICA_MEMBERS)
        free(event->members.members);
    event->type = 0;
}

static bool is_entry(const struct replica_event *event)
{
    return event->type == REPLICA_COMMITTED || event->type == REPLICA_RESTORED;
}

static size_t size_of(const struct replica_event *event)
{
    return is_entry(event) ? event->entry.size : 0;
}

void event_queue_init(struct event_queue *q)
{
    *q = (struct event_queue){0};
    pthread_mutex_init(&q->lock, NULL);
}

static void append(struct event_queue *q, struct event_node *node)
{
    node->next = NULL;
    if (q->last != NULL)
        q->last->next = node;
    else
        q->first = node;
    q->last = node;
    q->n++;
    q->bytes += size_of(&node->event);
}

static struct event_node *detach_first(struct event_queue *q)
{
    struct event_node *node = q->first;

    q->first = node->next;
    if (q->first == NULL)
        q->last = NULL;
    q->n--;
    q->bytes -= size_of(&node->event);
    return node;
}

void event_queue_deinit(struct event_queue *q)
{
    while (q->first != NULL) {
        struct event_node *node = detach_first(q);

        replica_event_deinit(&node->event);
        free(node);
    }
    pthread_mutex_destroy(&q->lock);
}

static void drop_entries(struct event_queue *q)
{
    size_t n = q->n;

    for (size_t i = 0; i < n; i++) {
        struct event_node *node = detach_first(q);

        if (is_entry(&node->event)) {
            replica_event_deinit(&node->event);
            free(node);
        } else {
            append(q, node);
        }
    }
}

static struct event_node *node_of(struct replica_event *event)
{
    struct event_node *node = malloc(sizeof(*node));

    if (node == NULL)
        abort(); /* an event cannot be lost */
    node->event = *event;
    event->type = 0;
    return node;
}

bool event_queue_push(struct event_queue *q, struct replica_event *event)
{
    bool was_empty;

    pthread_mutex_lock(&q->lock);
    was_empty = q->n == 0;
    if (event->type == REPLICA_COMMITTED && !q->is_lagging &&
        (q->n >= REPLICA_MAX_EVENTS || q->bytes + size_of(event) > REPLICA_MAX_EVENT_BYTES)) {
        drop_entries(q);
        q->is_lagging = true;
    }
    if (q->is_lagging && is_entry(event))
        replica_event_deinit(event);
    else
        append(q, node_of(event));
    /* A queue that lags is never left quite empty without a word to the owner. */
    was_empty = was_empty && q->n > 0;
    pthread_mutex_unlock(&q->lock);
    return was_empty;
}

bool event_queue_catch_up(struct event_queue *q, struct replica_event *event)
{
    bool was_empty;

    pthread_mutex_lock(&q->lock);
    was_empty = q->n == 0;
    q->is_lagging = q->is_resync_asked = false;
    append(q, node_of(event));
    pthread_mutex_unlock(&q->lock);
    return was_empty;
}

bool event_queue_pop(struct event_queue *q, struct replica_event *ret, bool *ret_resync)
{
    struct event_node *node = NULL;

    pthread_mutex_lock(&q->lock);
    if (q->first != NULL)
        node = detach_first(q);
    *ret_resync = q->is_lagging && q->n == 0 && !q->is_resync_asked;
    q->is_resync_asked |= *ret_resync;
    pthread_mutex_unlock(&q->lock);
    if (node == NULL)
        return false;
    *ret = node->event;
    free(node);
    return true;
}

/* ---- requests */

void request_queue_init(struct request_queue *q)
{
    *q = (struct request_queue){0};
    pthread_mutex_init(&q->lock, NULL);
}

void request_queue_deinit(struct request_queue *q)
{
    struct request *request;

    while ((request = request_queue_pop(q, SIZE_MAX)) != NULL)
        free(request);
    pthread_mutex_destroy(&q->lock);
}

int request_queue_push(struct request_queue *q, struct request *request)
{
    int rc = -ENOBUFS;

    pthread_mutex_lock(&q->lock);
    /* A resync is asked for by the queues themselves and is never refused. */
    if (q->n < REPLICA_MAX_PROPOSALS || request->type == REQUEST_RESYNC) {
        request->next = NULL;
        if (q->last != NULL)
            q->last->next = request;
        else
            q->first = request;
        q->last = request;
        q->n++;
        rc = 0;
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

struct request *request_queue_pop(struct request_queue *q, size_t room)
{
    struct request *request;

    pthread_mutex_lock(&q->lock);
    request = q->first;
    if (request != NULL && request->type == REQUEST_PROPOSE && request->size > room)
        request = NULL;
    if (request != NULL) {
        q->first = request->next;
        if (q->first == NULL)
            q->last = NULL;
        q->n--;
    }
    pthread_mutex_unlock(&q->lock);
    return request;
}

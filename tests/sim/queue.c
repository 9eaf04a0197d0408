#include "tests/sim/queue.h"

#include <stdlib.h>

void event_dispose(struct event *event)
{
    if (event->dispose != NULL && event->data != NULL)
        event->dispose(event->data);
    event->data = NULL;
}

void queue_deinit(struct queue *q)
{
    for (size_t i = 0; i < q->n; i++)
        event_dispose(&q->heap[i]);
    free(q->heap);
    *q = (struct queue){0};
}

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void queue_push(struct queue *q, const struct event *event)
{
    struct event new = *event;
    size_t at = q->n++;

    if (q->n > q->capacity) {
        q->capacity = q->capacity == 0 ? 256 : q->capacity * 2;
        q->heap = realloc(q->heap, q->capacity * sizeof(*q->heap));
        if (q->heap == NULL)
            abort();
    }
    new.seq = ++q->last_seq;
    while (at > 0 && is_before(&new, &q->heap[(at - 1) / 2])) {
        q->heap[at] = q->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    q->heap[at] = new;
}

bool queue_pop(struct queue *q, struct event *ret)
{
    struct event last;
    size_t at = 0;

    if (q->n == 0)
        return false;
    *ret = q->heap[0];
    last = q->heap[--q->n];
    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= q->n)
            break;
        if (child + 1 < q->n && is_before(&q->heap[child + 1], &q->heap[child]))
            child++;
        if (!is_before(&q->heap[child], &last))
            break;
        q->heap[at] = q->heap[child];
        at = child;
    }
    if (q->n > 0)
        q->heap[at] = last;
    return true;
}

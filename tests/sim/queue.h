/* queue: what will happen, in the order of virtual time; equal times keep the order of asking. */
#ifndef SKEIN_TESTS_SIM_QUEUE_H
#define SKEIN_TESTS_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who an event is for. An actor may be down (the event is lost) or stalled (it waits). */
enum actor_kind { ACTOR_NONE = 0, ACTOR_CORE, ACTOR_RAFT, ACTOR_GUARD, N_ACTORS };

struct event {
    uint64_t at; /* µs, the simulation's own clock */
    uint64_t seq;
    uint32_t run; /* of the actor that it is for; 0 = whichever lives then */
    uint8_t kind; /* enum event_kind, sim.h */
    uint8_t actor;
    uint8_t node, from; /* positions, not ids */
    uint64_t a, b;
    void *data; /* owned by the event when dispose is set */
    void (*dispose)(void *data);
};

struct queue {
    struct event *heap;
    size_t n, capacity;
    uint64_t last_seq;
};

void queue_deinit(struct queue *q); /* disposes of what is left */
void queue_push(struct queue *q, const struct event *event);
/* False: it is empty. */
bool queue_pop(struct queue *q, struct event *ret);
void event_dispose(struct event *event);

#endif

/* preempt: who gives way to a guest that fits nowhere (pure, deterministic).
 *
 * The smallest set of strictly less important guests of one node with which gone it fits there;
 * among equally small ones that with the least important guests, the younger of equals. Guests that
 * stay, move, or are leaving already are never in it. What is leaving already counts as gone: when
 * that alone makes room, there is only to be waited.
 *
 * Small sets are found by trying all of them; past PREEMPT_MAX_TRIES tries a set is found by
 * sparing from all less important ones as many as possible, the most important first.
 */
#ifndef SKEIN_SCHEDULER_PREEMPT_H
#define SKEIN_SCHEDULER_PREEMPT_H

#include "scheduler/place.h"

enum { PREEMPT_MAX_TRIES = 2000 }; /* a plan, all nodes together */

struct preempt_plan {
    uint64_t node;                            /* 0 = nobody could make room anywhere */
    uint32_t n_victims;                       /* 0 with a node: wait for those that are leaving */
    const struct guest *victims[MAX_VICTIMS]; /* of `state`; the most important first */
};

/* For a guest without a place that fits nowhere; whether it may preempt is the caller's to know. */
void preempt_plan(const struct state *state, const struct place_request *request,
                  struct preempt_plan *ret);

/* The guest that the node is being cleared for, when that is no less important than `spec`, another
 * one, and fits there once those that are leaving have left; NULL = the node is kept for nobody. */
const struct guest *preempt_holder(const struct state *state, const struct node *node,
                                   const struct guest_spec *spec);

/* By priority, then by age. */
bool guest_goes_first(const struct guest *a, const struct guest *b);

#endif

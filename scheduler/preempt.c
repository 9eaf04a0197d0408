#include "scheduler/preempt.h"

#include <stdlib.h>
#include <string.h>

#include "consensus/capacity.h"

/* The state with some guests of one node gone. Only the guests that use room there, or could, are
 * in it; their spec's heap parts are borrowed. */
struct shadow {
    struct state state;
    const struct node *node;
    size_t n_victims;         /* that may be taken away … */
    struct guest **victims;   /* … in `state`, the least important first */
    struct placement *places; /* theirs, to put them back */
};

bool guest_goes_first(const struct guest *a, const struct guest *b)
{
    return a->spec.priority != b->spec.priority ? a->spec.priority > b->spec.priority
                                                : a->created < b->created;
}

static int compare_victims(const void *a, const void *b)
{
    return guest_goes_first(*(struct guest *const *)a, *(struct guest *const *)b) ? 1 : -1;
}

static void *must_alloc(size_t n, size_t size)
{
    void *ret = calloc(n + 1, size);

    if (ret == NULL)
        abort();
    return ret;
}

/* Guests that are leaving the node are gone; those less important than `spec` (NULL: none) are
 * victims. */
static void shadow_init(struct shadow *shadow, const struct state *state, const struct node *node,
                        const struct guest_spec *spec)
{
    struct state *copy = &shadow->state;

    *shadow = (struct shadow){.state = *state, .node = node};
    copy->guests = must_alloc(state->n_guests, sizeof(*copy->guests));
    copy->n_guests = 0;
    shadow->victims = must_alloc(state->n_guests, sizeof(struct guest *));
    for (size_t i = 0; i < state->n_guests; i++) {
        const struct guest *guest = &state->guests[i];
        struct guest *mine = &copy->guests[copy->n_guests];

        if (guest->placement.node != node->id && guest->migration == 0)
            continue;
        *mine = *guest;
        copy->n_guests++;
        if (guest->placement.node != node->id)
            continue;
        if (guest_is_leaving(guest))
            mine->placement = (struct placement){0};
        else if (spec != NULL && guest->spec.priority < spec->priority && guest_may_give_way(guest))
            shadow->victims[shadow->n_victims++] = mine;
    }
    qsort(shadow->victims, shadow->n_victims, sizeof(struct guest *), compare_victims);
    shadow->places = must_alloc(shadow->n_victims, sizeof(*shadow->places));
    for (size_t i = 0; i < shadow->n_victims; i++)
        shadow->places[i] = shadow->victims[i]->placement;
}

static void shadow_deinit(struct shadow *shadow)
{
    free(shadow->state.guests);
    free(shadow->victims);
    free(shadow->places);
}

static bool has_room(const struct shadow *shadow, const struct guest_spec *spec)
{
    struct placement placement;
    char reason[REASON_SIZE];

    return place_on_node(&shadow->state, spec, false, shadow->node, &placement, reason) == 0;
}

static void take_away(struct shadow *shadow, size_t i)
{
    shadow->victims[i]->placement = (struct placement){0};
}

static void put_back(struct shadow *shadow, size_t i)
{
    shadow->victims[i]->placement = shadow->places[i];
}

const struct guest *preempt_holder(const struct state *state, const struct node *node,
                                   const struct guest_spec *spec)
{
    for (size_t i = 0; i < state->n_guests; i++) {
        const struct guest *guest = &state->guests[i];
        struct shadow shadow;
        bool fits;

        if (guest->clears != node->id || guest->spec.priority < spec->priority ||
            strcmp(guest->spec.name, spec->name) == 0)
            continue;
        shadow_init(&shadow, state, node, NULL);
        fits = has_room(&shadow, &guest->spec);
        shadow_deinit(&shadow);
        if (fits)
            return guest;
    }
    return NULL;
}

/* ---- sets of victims: ascending positions among the shadow's */

struct set {
    size_t n;
    size_t at[MAX_VICTIMS];
};

/* The next set of its size, ordered by its greatest position, then by the next smaller one, …: so
 * the first that makes room has the least important guests. False when it was the last. */
static bool next_set(struct set *set, size_t n_all)
{
    for (size_t i = 0; i < set->n; i++) {
        size_t limit = i + 1 < set->n ? set->at[i + 1] : n_all;

        if (set->at[i] + 1 < limit) {
            set->at[i]++;
            for (size_t k = 0; k < i; k++)
                set->at[k] = k;
            return true;
        }
    }
    return false;
}

static bool makes_room(struct shadow *shadow, const struct guest_spec *spec, const struct set *set)
{
    bool ret;

    for (size_t i = 0; i < set->n; i++)
        take_away(shadow, set->at[i]);
    ret = has_room(shadow, spec);
    for (size_t i = 0; i < set->n; i++)
        put_back(shadow, set->at[i]);
    return ret;
}

enum found { FOUND_NONE, FOUND_SET, FOUND_NO_MORE_TRIES };

/* The best of the sets of up to `max` guests. */
static enum found smallest_set(struct shadow *shadow, const struct guest_spec *spec, size_t max,
                               uint32_t *tries, struct set *ret)
{
    for (ret->n = 0; ret->n <= max && ret->n <= shadow->n_victims; ret->n++) {
        for (size_t i = 0; i < ret->n; i++)
            ret->at[i] = i;
        do {
            if (*tries == 0)
                return FOUND_NO_MORE_TRIES;
            --*tries;
            if (makes_room(shadow, spec, ret))
                return FOUND_SET;
        } while (next_set(ret, shadow->n_victims));
    }
    return FOUND_NONE;
}

/* All are taken away; the most important that need not go come back first. */
static enum found spared_set(struct shadow *shadow, const struct guest_spec *spec, size_t max,
                             struct set *ret)
{
    bool *goes = must_alloc(shadow->n_victims, sizeof(*goes));
    size_t n = 0;

    for (size_t i = 0; i < shadow->n_victims; i++)
        take_away(shadow, i);
    for (size_t i = shadow->n_victims; i-- > 0;) {
        put_back(shadow, i);
        goes[i] = !has_room(shadow, spec);
        if (goes[i])
            take_away(shadow, i);
        n += goes[i];
    }
    ret->n = 0;
    for (size_t i = 0; n <= max && i < shadow->n_victims; i++) {
        if (goes[i])
            ret->at[ret->n++] = i;
    }
    for (size_t i = 0; i < shadow->n_victims; i++)
        put_back(shadow, i);
    free(goes);
    return n <= max ? FOUND_SET : FOUND_NONE;
}

static bool can_make_room(struct shadow *shadow, const struct guest_spec *spec)
{
    bool ret;

    for (size_t i = 0; i < shadow->n_victims; i++)
        take_away(shadow, i);
    ret = has_room(shadow, spec);
    for (size_t i = 0; i < shadow->n_victims; i++)
        put_back(shadow, i);
    return ret;
}

/* Fewer, or as many and less important ones. */
static bool is_better(const struct preempt_plan *a, const struct preempt_plan *b)
{
    if (b->node == 0 || a->n_victims != b->n_victims)
        return b->node == 0 || a->n_victims < b->n_victims;
    for (uint32_t i = 0; i < a->n_victims; i++) {
        if (a->victims[i] != b->victims[i])
            return guest_goes_first(b->victims[i], a->victims[i]);
    }
    return false;
}

static void plan_node(const struct state *state, const struct node *node,
                      const struct guest_spec *spec, uint32_t *tries, struct preempt_plan *best)
{
    size_t max = best->node != 0 ? best->n_victims : MAX_VICTIMS;
    struct preempt_plan plan = {.node = node->id};
    struct shadow shadow;
    enum found found = FOUND_NONE;
    struct set set;

    shadow_init(&shadow, state, node, spec);
    if (can_make_room(&shadow, spec))
        found = smallest_set(&shadow, spec, max, tries, &set);
    if (found == FOUND_NO_MORE_TRIES)
        found = spared_set(&shadow, spec, max, &set);
    if (found == FOUND_SET) {
        for (size_t i = set.n; i-- > 0;)
            plan.victims[plan.n_victims++] =
                state_guest(state, shadow.victims[set.at[i]]->spec.name);
        if (is_better(&plan, best))
            *best = plan;
    }
    shadow_deinit(&shadow);
}

static bool is_present(const struct place_request *request, uint64_t node)
{
    for (size_t i = 0; i < request->n_telemetry; i++) {
        if (request->telemetry[i].node == node)
            return request->telemetry[i].present;
    }
    return false;
}

void preempt_plan(const struct state *state, const struct place_request *request,
                  struct preempt_plan *ret)
{
    uint32_t tries = PREEMPT_MAX_TRIES;
    char reason[REASON_SIZE];

    *ret = (struct preempt_plan){0};
    for (size_t i = 0; i < state->n_nodes; i++) {
        const struct node *node = &state->nodes[i];

        if (node->id == request->not_on || !is_present(request, node->id) ||
            capacity_node_takes(node, request->spec, reason) < 0 ||
            state_volumes_elsewhere(state, request->spec->name, node->id) != NULL ||
            preempt_holder(state, node, request->spec) != NULL)
            continue;
        plan_node(state, node, request->spec, &tries, ret);
    }
}

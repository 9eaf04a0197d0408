/* state_query: look-ups in the state; see state.h. */
#include <string.h>

#include "consensus/state_apply.h"

/* The first position whose key is not below the wanted one. Keys are compared by `compare`, which
 * gets the element and the wanted key. */
static size_t lower_bound(const void *array, size_t n, size_t size, const void *key,
                          int (*compare)(const void *element, const void *key))
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare((const char *)array + middle * size, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int compare_ids(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_node(const void *element, const void *key)
{
    return compare_ids(((const struct node *)element)->id, *(const uint64_t *)key);
}

static int compare_migration(const void *element, const void *key)
{
    return compare_ids(((const struct migration *)element)->id, *(const uint64_t *)key);
}

static int compare_slice(const void *element, const void *key)
{
    return strcmp(((const struct slice *)element)->name, key);
}

static int compare_image(const void *element, const void *key)
{
    return strcmp(((const struct image *)element)->name, key);
}

static int compare_guest(const void *element, const void *key)
{
    return strcmp(((const struct guest *)element)->spec.name, key);
}

static int compare_token(const void *element, const void *key)
{
    return memcmp(((const struct token *)element)->hash, key, DIGEST_SIZE);
}

static int compare_holder(const void *element, const void *key)
{
    return compare_ids(*(const uint64_t *)element, *(const uint64_t *)key);
}

size_t state_guest_position(const struct state *state, const char *name)
{
    return lower_bound(state->guests, state->n_guests, sizeof(struct guest), name, compare_guest);
}

size_t state_slice_position(const struct state *state, const char *name)
{
    return lower_bound(state->slices, state->n_slices, sizeof(struct slice), name, compare_slice);
}

size_t state_image_position(const struct state *state, const char *name)
{
    return lower_bound(state->images, state->n_images, sizeof(struct image), name, compare_image);
}

size_t state_token_position(const struct state *state, const uint8_t hash[DIGEST_SIZE])
{
    return lower_bound(state->tokens, state->n_tokens, sizeof(struct token), hash, compare_token);
}

const struct node *state_node(const struct state *state, uint64_t id)
{
    size_t at = lower_bound(state->nodes, state->n_nodes, sizeof(struct node), &id, compare_node);

    return at < state->n_nodes && state->nodes[at].id == id ? &state->nodes[at] : NULL;
}

const struct node *state_node_by_name(const struct state *state, const char *name)
{
    for (size_t i = 0; i < state->n_nodes; i++) {
        if (strcmp(state->nodes[i].name, name) == 0)
            return &state->nodes[i];
    }
    return NULL;
}

uint32_t state_shortest_ceiling_ms(const struct state *state, uint64_t except)
{
    uint32_t shortest_ms = UINT32_MAX;

    for (size_t i = 0; i < state->n_nodes; i++) {
        const struct node *node = &state->nodes[i];

        if (node->id != except && node->state == NODE_UP && node->ceiling_ms < shortest_ms)
            shortest_ms = node->ceiling_ms;
    }
    return shortest_ms;
}

const struct node *state_node_by_curve_key(const struct state *state, const uint8_t key[KEY_SIZE])
{
    for (size_t i = 0; i < state->n_nodes; i++) {
        if (memcmp(state->nodes[i].facts.curve_key, key, KEY_SIZE) == 0)
            return &state->nodes[i];
    }
    return NULL;
}

const struct slice *state_slice(const struct state *state, const char *name)
{
    size_t at = state_slice_position(state, name);

    return at < state->n_slices && strcmp(state->slices[at].name, name) == 0 ? &state->slices[at]
                                                                             : NULL;
}

const struct image *state_image(const struct state *state, const char *name)
{
    size_t at = state_image_position(state, name);

    return at < state->n_images && strcmp(state->images[at].name, name) == 0 ? &state->images[at]
                                                                             : NULL;
}

const struct guest *state_guest(const struct state *state, const char *name)
{
    size_t at = state_guest_position(state, name);

    return at < state->n_guests && strcmp(state->guests[at].spec.name, name) == 0
               ? &state->guests[at]
               : NULL;
}

const struct migration *state_migration(const struct state *state, uint64_t id)
{
    size_t at = lower_bound(state->migrations, state->n_migrations, sizeof(struct migration), &id,
                            compare_migration);

    return at < state->n_migrations && state->migrations[at].id == id ? &state->migrations[at]
                                                                      : NULL;
}

struct node *node_of(struct state *state, uint64_t id)
{
    return (struct node *)state_node(state, id);
}

struct guest *guest_of(struct state *state, const char *name)
{
    return (struct guest *)state_guest(state, name);
}

bool image_is_disk(const struct image *image)
{
    return image->format == IMAGE_QCOW2 || image->format == IMAGE_RAW;
}

bool image_is_held(const struct image *image, uint64_t node)
{
    size_t at = lower_bound(image->holders, image->n_holders, sizeof(*image->holders), &node,
                            compare_holder);

    return at < image->n_holders && image->holders[at] == node;
}

bool state_may_preempt(const struct state *state, const struct guest_spec *spec)
{
    return spec->preempt == PREEMPT_ON ||
           (spec->preempt == PREEMPT_BY_CLUSTER && state->preemption);
}

bool guest_is_leaving(const struct guest *guest)
{
    return guest->placement.node != 0 && (guest->desired == DESIRED_STOPPED ||
                                          guest->preempted_by[0] != '\0' || guest->must_leave);
}

const struct checkpoint *state_checkpoint_at(const struct guest *guest, uint64_t node, size_t nth)
{
    for (size_t i = 0; i < MAX_CHECKPOINTS; i++) {
        const struct checkpoint *checkpoint = &guest->checkpoints[i];

        if (checkpoint->index != 0 && checkpoint->node == node && nth-- == 0)
            return checkpoint;
    }
    return NULL;
}

const struct node *state_volumes_elsewhere(const struct state *state, const char *name,
                                           uint64_t node)
{
    const struct guest *guest = state_guest(state, name);
    const struct node *home;

    if (guest == NULL || guest->spec.n_volumes == 0 || guest->placement.node != 0 ||
        guest->home == node || state_checkpoint_at(guest, node, 0) != NULL)
        return NULL;
    home = state_node(state, guest->home);
    return home != NULL && home->state == NODE_UP ? home : NULL;
}

bool guest_may_give_way(const struct guest *guest)
{
    return guest->placement.node != 0 && guest->migration == 0 &&
           guest->spec.failover != FAILOVER_STAY && !guest_is_leaving(guest);
}

bool guest_may_start_elsewhere(const struct guest *guest)
{
    return guest_may_give_way(guest) && guest->spec.n_volumes == 0;
}

size_t state_n_voters(const struct state *state)
{
    size_t n = 0;

    for (size_t i = 0; i < state->n_nodes; i++)
        n += state->nodes[i].role == ROLE_VOTER;
    return n;
}

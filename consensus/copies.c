#include "consensus/copies.h"

#include <string.h>

#include "consensus/capacity.h"

bool image_is_used_on(const struct state *state, const struct image *image, uint64_t node)
{
    for (size_t i = 0; i < state->n_guests; i++) {
        const struct guest *guest = &state->guests[i];
        const struct migration *m =
            guest->migration != 0 ? state_migration(state, guest->migration) : NULL;

        if (strcmp(guest->spec.image, image->name) == 0 &&
            (guest->placement.node == node || (m != NULL && (m->from == node || m->to == node))))
            return true;
    }
    return false;
}

/* Counts on its copy: one on a node that is lost or is being emptied is no copy to rely on. */
static bool is_reliable(const struct node *node)
{
    return node != NULL && node->state == NODE_UP && !node->draining && !node->facts.witness;
}

/* Reliable holders; those with a lower id than `before` only. */
static uint32_t n_holders(const struct state *state, const struct image *image, uint64_t before)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < image->n_holders && image->holders[i] < before; i++)
        n += is_reliable(state_node(state, image->holders[i]));
    return n;
}

bool image_has_its_copies(const struct state *state, const struct image *image)
{
    return image->copies != 0 && n_holders(state, image, UINT64_MAX) >= image->copies;
}

bool image_is_surplus(const struct state *state, const struct image *image, uint64_t node)
{
    bool counts = is_reliable(state_node(state, node));

    return image->copies != 0 && image_is_held(image, node) &&
           n_holders(state, image, counts ? node : UINT64_MAX) >= image->copies &&
           !image_is_used_on(state, image, node);
}

static uint64_t room_mib(const struct state *state, const struct node *node)
{
    uint64_t used = capacity_memory_used_mib(state, node->id, NULL);

    return used < node->facts.memory_mib ? node->facts.memory_mib - used : 0;
}

/* How many nodes without the image come before this one when further copies are made. */
static uint32_t n_roomier(const struct state *state, const struct image *image,
                          const struct node *node)
{
    uint64_t own = room_mib(state, node);
    uint32_t n = 0;

    for (size_t i = 0; i < state->n_nodes; i++) {
        const struct node *other = &state->nodes[i];
        uint64_t room;

        if (other == node || !is_reliable(other) || image_is_held(image, other->id))
            continue;
        room = room_mib(state, other);
        n += room > own || (room == own && other->id < node->id);
    }
    return n;
}

bool image_is_wanted(const struct state *state, const struct image *image, const struct node *node)
{
    uint32_t n;

    if (node->facts.witness)
        return false;
    if (image->copies == 0)
        return true;
    if (image_is_held(image, node->id))
        return !image_is_surplus(state, image, node->id);
    if (image_is_used_on(state, image, node->id))
        return true;
    n = n_holders(state, image, UINT64_MAX);
    return is_reliable(node) && n < image->copies &&
           n_roomier(state, image, node) < image->copies - n;
}

bool image_may_serve(const struct image *image, uint64_t node)
{
    return image->copies != 0 || image_is_held(image, node);
}

uint64_t images_held_bytes(const struct state *state, uint64_t node)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < state->n_images; i++) {
        if (image_is_held(&state->images[i], node))
            bytes += state->images[i].size;
    }
    return bytes;
}

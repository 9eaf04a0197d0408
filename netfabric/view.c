/* view: cuts a node's view of the fabric out of the state (pure).
 *
 * Neighbours: view_codec.c carries it to the guard, flows.c writes it as rules.
 */
#include "netfabric/flows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint16_t fabric_port_of(const struct state *state, const struct guest *guest)
{
    (void)state;
    return (uint16_t)(FABRIC_FIRST_PORT + guest->slot);
}

void port_name(uint16_t port, char ret[PORT_NAME_SIZE])
{
    snprintf(ret, PORT_NAME_SIZE, "g%u", port);
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t vtep_of(const struct state *state, uint64_t node)
{
    const struct node *n = node == 0 ? NULL : state_node(state, node);

    return n == NULL ? 0 : n->facts.vtep;
}

/* Of a migration's other end: a lost node sends nothing of the guest that counts. */
static uint32_t live_vtep_of(const struct state *state, uint64_t node)
{
    const struct node *n = node == 0 ? NULL : state_node(state, node);

    return n == NULL || n->state == NODE_LOST ? 0 : n->facts.vtep;
}

static void fill_peers(const struct state *state, struct fabric_view *view)
{
    uint32_t n = 0;

    for (size_t i = 0; i < state->n_nodes; i++)
        if (state->nodes[i].facts.vtep != 0 && state->nodes[i].facts.vtep != view->vtep)
            view->peers[n++] = state->nodes[i].facts.vtep;
    qsort(view->peers, n, sizeof(view->peers[0]), compare_u32);
    for (uint32_t i = 0; i < n; i++)
        if (view->n_peers == 0 || view->peers[view->n_peers - 1] != view->peers[i])
            view->peers[view->n_peers++] = view->peers[i];
}

/* False for a guest that is on no network. */
static bool endpoint_of(const struct state *state, const struct guest *guest, uint64_t node,
                        struct endpoint *ret)
{
    const struct slice *slice = guest->ip == 0 ? NULL : state_slice(state, guest->spec.slice);
    const struct migration *m =
        guest->migration == 0 ? NULL : state_migration(state, guest->migration);
    uint64_t other = 0;

    if (slice == NULL)
        return false;
    if (m != NULL)
        other = guest->placement.node == m->from ? m->to : m->from;
    *ret = (struct endpoint){
        .vni = slice->vni,
        .ip = guest->ip,
        .rate_kbps = slice->rate_kbps,
        .vtep = vtep_of(state, guest->placement.node),
        .other_vtep = live_vtep_of(state, other),
        .is_owner = guest->placement.node == node,
        .has_left = m != NULL && m->phase != MIGRATION_RESERVED && other == node,
    };
    memcpy(ret->guest, guest->spec.name, NAME_SIZE);
    if (ret->is_owner || other == node)
        ret->port = fabric_port_of(state, guest);
    return true;
}

static int compare_endpoint_vnis(const void *a, const void *b)
{
    return compare_u32(&((const struct endpoint *)a)->vni, &((const struct endpoint *)b)->vni);
}

/* Keeps the endpoints of the slices that have a port here, in order. */
static int keep_carried_slices(struct fabric_view *view)
{
    struct endpoint *ported = calloc(view->n_endpoints + 1, sizeof(*ported));
    uint32_t n_ported = 0, n = 0;

    if (ported == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < view->n_endpoints; i++)
        if (view->endpoints[i].port != 0)
            ported[n_ported++] = view->endpoints[i];
    qsort(ported, n_ported, sizeof(*ported), compare_endpoint_vnis);
    for (uint32_t i = 0; i < view->n_endpoints; i++)
        if (bsearch(&view->endpoints[i], ported, n_ported, sizeof(*ported),
                    compare_endpoint_vnis) != NULL)
            view->endpoints[n++] = view->endpoints[i];
    view->n_endpoints = n;
    free(ported);
    return 0;
}

int fabric_view_of(const struct state *state, uint64_t node, struct fabric_view *ret)
{
    const struct node *self = state_node(state, node);
    struct fabric_view view = {.index = state->index};

    if (self == NULL)
        return -ENOENT;
    view.vtep = self->facts.vtep;
    view.peers = calloc(state->n_nodes + 1, sizeof(view.peers[0]));
    view.endpoints = calloc(state->n_guests + 1, sizeof(view.endpoints[0]));
    if (view.peers == NULL || view.endpoints == NULL) {
        fabric_view_deinit(&view);
        return -ENOMEM;
    }
    fill_peers(state, &view);
    for (size_t i = 0; i < state->n_guests; i++)
        if (endpoint_of(state, &state->guests[i], node, &view.endpoints[view.n_endpoints]))
            view.n_endpoints++;
    if (keep_carried_slices(&view) < 0) {
        fabric_view_deinit(&view);
        return -ENOMEM;
    }
    *ret = view;
    return 0;
}

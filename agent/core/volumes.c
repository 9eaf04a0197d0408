/* volumes: which guests' volumes stay on this node: of those that were placed here last, or move
 * from or to here. The guard removes the others, also what is left of guests that are gone; see
 * core/internal.h.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

static bool are_here(const struct core *core, const struct guest *guest)
{
    return guest->spec.n_volumes > 0 &&
           (guest->home == core->config.id || core_move_here(core, guest->spec.name) != NULL);
}

static void collect(const struct core *core, struct guard_request *request)
{
    for (size_t i = 0; i < core->state.n_guests; i++) {
        const struct guest *guest = &core->state.guests[i];

        if (!are_here(core, guest))
            continue;
        request->keeps = realloc(request->keeps, (request->n_keeps + 1) * sizeof(*request->keeps));
        if (request->keeps == NULL)
            abort();
        memset(request->keeps[request->n_keeps], 0, VOLUMES_NAME_SIZE);
        guest_volumes_name(request->keeps[request->n_keeps++], guest->spec.name, guest->created);
    }
}

static bool is_told(const struct node_part *node, const struct guard_request *request)
{
    return node->keeps_told && node->n_keeps == request->n_keeps &&
           (node->n_keeps == 0 ||
            memcmp(node->keeps, request->keeps, node->n_keeps * sizeof(*node->keeps)) == 0);
}

/* What was told is kept, so that it is told once. */
static void tell(struct core *core, const struct guard_request *wanted)
{
    struct node_part *node = &core->node;
    struct guard_request *request = core_ask(core, GUARD_KEEP_VOLUMES, NULL, 0, 0);
    size_t size = wanted->n_keeps * sizeof(*wanted->keeps);

    node->keeps_serial = request->serial;
    node->keeps_told = true;
    request->index = core->state.index;
    free(node->keeps);
    node->keeps = wanted->keeps;
    node->n_keeps = request->n_keeps = wanted->n_keeps;
    if (size == 0)
        return;
    request->keeps = malloc(size);
    if (request->keeps == NULL)
        abort();
    memcpy(request->keeps, wanted->keeps, size);
}

void core_volumes_run(struct core *core)
{
    struct node_part *node = &core->node;
    struct guard_request wanted = {0};

    if (!node->is_connected || node->lapsed || node->keeps_serial != 0 ||
        !core_node_is_current(core) || state_node(&core->state, core->config.id) == NULL)
        return;
    if (core->now < node->keeps_retry_us) {
        core_wake_at(&node->wake_us, node->keeps_retry_us);
        return;
    }
    collect(core, &wanted);
    if (is_told(node, &wanted) || wanted.n_keeps > GUARD_MAX_KEEPS)
        free(wanted.keeps);
    else
        tell(core, &wanted);
}

void core_volumes_kept(struct core *core, const struct guard_reply *reply)
{
    struct node_part *node = &core->node;

    node->keeps_serial = 0;
    node->dirty = true;
    if (reply->code == 0)
        return;
    node->keeps_told = false;
    node->keeps_retry_us = core->now + (uint64_t)CORE_RETRY_MS * 1000;
    core_wake_at(&node->wake_us, node->keeps_retry_us);
}

#include "consensus/state.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/state_apply.h"

enum { FIRST_VNI = 100 };

void state_init(struct state *state)
{
    *state = (struct state){.next_vni = FIRST_VNI};
}

void state_deinit(struct state *state)
{
    for (size_t i = 0; i < state->n_nodes; i++)
        node_facts_deinit(&state->nodes[i].facts);
    for (size_t i = 0; i < state->n_images; i++)
        image_deinit(&state->images[i]);
    for (size_t i = 0; i < state->n_guests; i++)
        guest_spec_deinit(&state->guests[i].spec);
    free(state->nodes);
    free(state->slices);
    free(state->images);
    free(state->guests);
    free(state->migrations);
    free(state->tokens);
    free(state->requests);
    state_init(state);
}

void refuse(struct entry *e, int code, const char *format, ...)
{
    va_list args;

    e->outcome->code = code;
    va_start(args, format);
    vsnprintf(e->outcome->reason, sizeof(e->outcome->reason), format, args);
    va_end(args);
}

void memory_must(int code)
{
    if (code == -ENOMEM) /* a replica that skips an entry diverges: better none */
        abort();
}

void *array_insert(void *array_pointer, size_t *n, size_t size, size_t at)
{
    char *array, *old;

    memcpy(&old, array_pointer, sizeof(old));
    array = realloc(old, (*n + 1) * size);
    memory_must(array == NULL ? -ENOMEM : 0);
    memmove(array + (at + 1) * size, array + at * size, (*n - at) * size);
    memset(array + at * size, 0, size);
    memcpy(array_pointer, &array, sizeof(array));
    *n += 1;
    return array + at * size;
}

void array_remove(void *array, size_t *n, size_t size, size_t at)
{
    char *bytes = array;

    memmove(bytes + at * size, bytes + (at + 1) * size, (*n - at - 1) * size);
    *n -= 1;
}

typedef void handler_fn(struct entry *e);

static handler_fn *const handlers[COMMAND_TYPE_END] = {
    [COMMAND_CLUSTER_INIT] = apply_cluster_init,
    [COMMAND_TERM_STARTED] = apply_term_started,
    [COMMAND_TOKEN_CREATE] = apply_token_create,
    [COMMAND_NODE_JOIN] = apply_node_join,
    [COMMAND_NODE_FACTS] = apply_node_facts,
    [COMMAND_NODE_SET_ROLE] = apply_node_set_role,
    [COMMAND_NODE_CORDON] = apply_node_flag,
    [COMMAND_NODE_DRAIN] = apply_node_flag,
    [COMMAND_NODE_CEILING] = apply_node_ceiling,
    [COMMAND_NODE_LOST] = apply_node_lost,
    [COMMAND_NODE_REBOOTED] = apply_node_rebooted,
    [COMMAND_NODE_RETURNED] = apply_node_returned,
    [COMMAND_NODE_REMOVE] = apply_node_remove,
    [COMMAND_SLICE_CREATE] = apply_slice_create,
    [COMMAND_SLICE_REMOVE] = apply_slice_remove,
    [COMMAND_IMAGE_ADD] = apply_image_add,
    [COMMAND_IMAGE_HELD] = apply_image_held,
    [COMMAND_IMAGE_REMOVE] = apply_image_remove,
    [COMMAND_GUEST_CREATE] = apply_guest_create,
    [COMMAND_GUEST_PLACE] = apply_guest_place,
    [COMMAND_GUEST_STOP] = apply_guest_stop,
    [COMMAND_GUEST_STOPPED] = apply_guest_stopped,
    [COMMAND_GUEST_START] = apply_guest_place,
    [COMMAND_GUEST_REMOVE] = apply_guest_remove,
    [COMMAND_MIGRATION_RESERVE] = apply_migration_reserve,
    [COMMAND_MIGRATION_COMMIT] = apply_migration_commit,
    [COMMAND_MIGRATION_ABORT] = apply_migration_abort,
    [COMMAND_GUEST_LEAVE] = apply_guest_leave,
    [COMMAND_MIGRATION_RETURN] = apply_migration_return,
    [COMMAND_MIGRATION_DONE] = apply_migration_done,
    [COMMAND_CLUSTER_SET] = apply_cluster_set,
    [COMMAND_IMAGE_RELEASE] = apply_image_release,
    [COMMAND_GUEST_EVICT] = apply_guest_evict,
    [COMMAND_GUEST_PROTECT] = apply_guest_protect,
    [COMMAND_GUEST_BUDDY] = apply_guest_buddy,
    [COMMAND_GUEST_CHECKPOINT] = apply_guest_checkpoint,
};

static const uint8_t no_nonce[NONCE_SIZE];

static const struct request_outcome *known_request(const struct state *state,
                                                   const uint8_t request[NONCE_SIZE])
{
    if (memcmp(request, no_nonce, NONCE_SIZE) == 0)
        return NULL;
    for (size_t i = 0; i < state->n_requests; i++) {
        if (memcmp(state->requests[i].request, request, NONCE_SIZE) == 0)
            return &state->requests[i];
    }
    return NULL;
}

static void remember_request(struct state *state, const uint8_t request[NONCE_SIZE],
                             const struct outcome *outcome)
{
    struct request_outcome *kept;

    if (memcmp(request, no_nonce, NONCE_SIZE) == 0)
        return;
    if (state->n_requests == STATE_REQUESTS_KEPT)
        array_remove(state->requests, &state->n_requests, sizeof(*kept), 0);
    kept = array_insert(&state->requests, &state->n_requests, sizeof(*kept), state->n_requests);
    memcpy(kept->request, request, NONCE_SIZE);
    kept->outcome = *outcome;
}

static bool needs_cluster(const struct command *command)
{
    switch (command->type) {
    case COMMAND_CLUSTER_INIT:
        return false;
    case COMMAND_TERM_STARTED: /* the first node's own, which may come before its cluster-init */
        return command->term_started.node != 1;
    default:
        return true;
    }
}

void state_apply(struct state *state, uint64_t index, uint64_t term, const struct command *command,
                 struct outcome *ret)
{
    struct entry e = {state, index, term, command, ret};
    const struct request_outcome *known = known_request(state, command->request);
    unsigned type = (unsigned)command->type;

    state_skip(state, index, term);
    if (known != NULL) {
        *ret = known->outcome;
        return;
    }
    memset(ret, 0, sizeof(*ret));
    ret->index = index;
    if (type >= COMMAND_TYPE_END || handlers[type] == NULL)
        refuse(&e, -EINVAL, "a command of unknown type %u", type);
    else if (memcmp(state->cluster, no_nonce, NONCE_SIZE) == 0 && needs_cluster(command))
        refuse(&e, -EINVAL, "there is no cluster yet; begin with 'skein init'");
    else
        handlers[type](&e);
    remember_request(state, command->request, ret);
}

void state_skip(struct state *state, uint64_t index, uint64_t term)
{
    assert(index > state->index);
    assert(term >= state->term);
    state->index = index;
    state->term = term;
}

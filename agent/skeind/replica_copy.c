#include "agent/skeind/replica_copy.h"

#include <errno.h>
#include <stdlib.h>

#include "consensus/state.h"

struct replica_copy {
    struct state state;
};

struct replica_copy *replica_copy_new(void)
{
    struct replica_copy *copy = calloc(1, sizeof(*copy));

    if (copy != NULL)
        state_init(&copy->state);
    return copy;
}

void replica_copy_free(struct replica_copy *copy)
{
    if (copy == NULL)
        return;
    state_deinit(&copy->state);
    free(copy);
}

void replica_copy_apply(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    struct replica_copy *copy = data;
    struct command command;
    struct outcome outcome;

    if (size == 0 || command_decode(bytes, size, &command, NULL) < 0) {
        state_skip(&copy->state, index, term);
        return;
    }
    state_apply(&copy->state, index, term, &command, &outcome);
    command_deinit(&command);
}

void *replica_copy_snapshot(void *data, size_t *ret_size)
{
    struct replica_copy *copy = data;
    struct writer w;
    void *bytes;

    writer_init_growing(&w, SNAPSHOT_MAX_SIZE);
    state_snapshot(&copy->state, &w);
    bytes = writer_steal(&w, ret_size);
    if (bytes == NULL)
        abort(); /* a replica without snapshots would fill its disk in silence */
    return bytes;
}

int replica_copy_restore(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    struct replica_copy *copy = data;
    struct state restored;
    int rc = state_restore(&restored, bytes, size, NULL);

    (void)index;
    (void)term;
    if (rc < 0)
        return rc;
    state_deinit(&copy->state);
    copy->state = restored;
    return 0;
}

uint32_t replica_copy_election_limit_ms(void *data, uint64_t leader)
{
    const struct replica_copy *copy = data;

    return timers_election_limit_ms(&copy->state.timers,
                                    state_shortest_ceiling_ms(&copy->state, leader));
}

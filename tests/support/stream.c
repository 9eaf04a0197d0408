/* stream: which command comes next; see stream.h. */
#include "tests/support/stream.h"

#include "tests/support/command_random.h"

void stream_init(struct stream *stream, uint64_t seed)
{
    *stream = (struct stream){.prng.state = seed, .term = 1, .time_s = 1000};
}

/* How often each type comes; guests and what happens to them most of all. */
static const uint8_t weights[COMMAND_TYPE_END] = {
    [COMMAND_CLUSTER_INIT] = 1,       [COMMAND_TERM_STARTED] = 4,
    [COMMAND_TOKEN_CREATE] = 6,       [COMMAND_NODE_JOIN] = 8,
    [COMMAND_NODE_FACTS] = 4,         [COMMAND_NODE_SET_ROLE] = 4,
    [COMMAND_NODE_CORDON] = 4,        [COMMAND_NODE_DRAIN] = 4,
    [COMMAND_NODE_CEILING] = 2,       [COMMAND_NODE_LOST] = 4,
    [COMMAND_NODE_REBOOTED] = 4,      [COMMAND_NODE_RETURNED] = 10,
    [COMMAND_NODE_REMOVE] = 1,        [COMMAND_SLICE_CREATE] = 4,
    [COMMAND_SLICE_REMOVE] = 4,       [COMMAND_IMAGE_ADD] = 4,
    [COMMAND_IMAGE_HELD] = 20,        [COMMAND_IMAGE_REMOVE] = 1,
    [COMMAND_GUEST_CREATE] = 40,      [COMMAND_GUEST_PLACE] = 20,
    [COMMAND_GUEST_STOP] = 5,         [COMMAND_GUEST_STOPPED] = 6,
    [COMMAND_GUEST_LEAVE] = 3,        [COMMAND_GUEST_START] = 10,
    [COMMAND_GUEST_REMOVE] = 4,       [COMMAND_GUEST_PROTECT] = 3,
    [COMMAND_GUEST_BUDDY] = 12,       [COMMAND_GUEST_CHECKPOINT] = 20,
    [COMMAND_MIGRATION_RESERVE] = 30, [COMMAND_MIGRATION_COMMIT] = 10,
    [COMMAND_MIGRATION_ABORT] = 5,    [COMMAND_MIGRATION_DONE] = 10,
    [COMMAND_CLUSTER_SET] = 2,        [COMMAND_GUEST_EVICT] = 16,
    [COMMAND_IMAGE_RELEASE] = 3,      [COMMAND_MIGRATION_RETURN] = 3,
};

static enum command_type pick_type(struct stream *stream)
{
    uint32_t sum = 0, at;
    int type = 0;

    for (int i = 1; i < COMMAND_TYPE_END; i++)
        sum += weights[i];
    at = prng_below(&stream->prng, sum);
    do
        at -= weights[++type];
    while (at < sum); /* until it wraps */
    return (enum command_type)type;
}

/* The type itself, or what has to come first in a state that lacks what it works on. */
static enum command_type what_it_needs(struct stream *stream, const struct state *s,
                                       enum command_type type)
{
    if (s->n_nodes == 0)
        return COMMAND_CLUSTER_INIT;
    if (type == COMMAND_CLUSTER_SET)
        return type;
    if (s->n_nodes < 4 && prng_one_in(&stream->prng, 3))
        return s->n_tokens == 0 ? COMMAND_TOKEN_CREATE : COMMAND_NODE_JOIN;
    if (s->leader_term != stream->term && prng_one_in(&stream->prng, 3))
        return COMMAND_TERM_STARTED;
    if (s->n_migrations == 0 && type >= COMMAND_MIGRATION_COMMIT && type != COMMAND_GUEST_EVICT &&
        type != COMMAND_IMAGE_RELEASE)
        type = COMMAND_MIGRATION_RESERVE;
    if (s->n_guests == 0 && type >= COMMAND_GUEST_CREATE && type != COMMAND_IMAGE_RELEASE)
        type = COMMAND_GUEST_CREATE;
    if (s->n_images == 0 && type >= COMMAND_IMAGE_HELD)
        type = COMMAND_IMAGE_ADD;
    return type;
}

void stream_next(struct stream *stream, const struct state *state, struct command *ret)
{
    enum command_type type = pick_type(stream);

    stream->time_s += prng_below(&stream->prng, 5);
    if (!prng_one_in(&stream->prng, 10))
        type = what_it_needs(stream, state, type);
    if (type == COMMAND_SLICE_CREATE || prng_one_in(&stream->prng, 30)) {
        command_random(&stream->prng, type, ret);
        if (type == COMMAND_SLICE_CREATE)
            ret->slice_create.slice.name[0] = 's';
        if (type == COMMAND_NODE_JOIN || type == COMMAND_NODE_FACTS) { /* keep it plausible */
            command_deinit(ret);
            *ret = (struct command){.type = COMMAND_TERM_STARTED};
        }
    } else {
        *ret = (struct command){.type = type};
        stream_fill(stream, state, ret);
    }
    ret->time_s = stream->time_s;
    prng_bytes(&stream->prng, ret->request, NONCE_SIZE);
}

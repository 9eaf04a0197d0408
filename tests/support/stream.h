/* stream: random commands that mostly make sense in the state they are made for.
 *
 * Some are stale, some take what is taken, some are plain nonsense: a state machine must refuse
 * those and stay whole. One seed makes one stream.
 */
#ifndef SKEIN_TESTS_SUPPORT_STREAM_H
#define SKEIN_TESTS_SUPPORT_STREAM_H

#include "consensus/state.h"
#include "tests/support/prng.h"

struct stream {
    struct prng prng; /* the seed */
    uint64_t term;    /* of the entry that the newest command is in */
    uint64_t time_s;
    unsigned n_joins;
};

/* ---- stream.c: which command comes next */
void stream_init(struct stream *stream, uint64_t seed);
/* The next command, for the next entry in stream->term. End it with command_deinit. */
void stream_next(struct stream *stream, const struct state *state, struct command *ret);

/* ---- stream_fill.c: what it says */
/* Fills in a command of which nothing but the type is set. */
void stream_fill(struct stream *stream, const struct state *s, struct command *c);

#endif

/* fuzz_consensus: mutated commands and snapshots against command_decode and state_restore.
 *
 *     fuzz_consensus [ITERATIONS [SEED]]
 *
 * The corpus is made from the seed: random commands, and snapshots of states that random streams
 * of commands made. What a decoder takes must be what its encoder writes, byte for byte, and a
 * state that was taken must stay whole under further commands. Sanitizers see the rest. A failure
 * prints the iteration; the same arguments show it again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/command_random.h"
#include "tests/support/stream.h"

enum { N_COMMANDS = 3 * COMMAND_TYPE_END, N_SNAPSHOTS = 24, N_CORPUS = N_COMMANDS + N_SNAPSHOTS };
enum { STEPS_A_SNAPSHOT = 20, N_FOLLOWING = 8, MAX_MUTATIONS = 8 };

struct bytes {
    uint8_t *data;
    size_t size;
};

struct fuzz {
    struct prng prng;
    struct bytes corpus[N_CORPUS];
    unsigned long iteration;
    unsigned long n_commands_taken, n_snapshots_taken, n_refused;
};

static void check(const struct fuzz *f, bool held, const char *what)
{
    if (held)
        return;
    printf("not ok 1 - iteration %lu: %s\n", f->iteration, what);
    exit(1);
}

static struct bytes stolen(const struct fuzz *f, struct writer *w)
{
    struct bytes b = {.data = writer_steal(w, &b.size)};

    check(f, b.data != NULL, "encoder failed");
    return b;
}

static struct bytes command_bytes(const struct fuzz *f, const struct command *command)
{
    struct writer w;

    writer_init_growing(&w, COMMAND_MAX_SIZE);
    command_encode(command, &w);
    return stolen(f, &w);
}

static struct bytes snapshot_bytes(const struct fuzz *f, const struct state *state)
{
    struct writer w;

    writer_init_growing(&w, SNAPSHOT_MAX_SIZE);
    state_snapshot(state, &w);
    return stolen(f, &w);
}

static void apply_random(struct stream *stream, struct state *state, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct command command;
        struct outcome outcome;

        stream_next(stream, state, &command);
        state_apply(state, state->index + 1, stream->term, &command, &outcome);
        command_deinit(&command);
    }
}

static void make_corpus(struct fuzz *f)
{
    struct stream stream;
    struct state state;

    for (int i = 0; i < N_COMMANDS; i++) {
        struct command command;

        command_random(&f->prng, (enum command_type)(1 + i % (COMMAND_TYPE_END - 1)), &command);
        f->corpus[i] = command_bytes(f, &command);
        command_deinit(&command);
    }
    stream_init(&stream, prng_next(&f->prng));
    state_init(&state);
    for (int i = N_COMMANDS; i < N_CORPUS; i++) {
        apply_random(&stream, &state, STEPS_A_SNAPSHOT);
        f->corpus[i] = snapshot_bytes(f, &state);
    }
    state_deinit(&state);
}

/* Moves the tail of the bytes by `by` at `at`; new bytes are random. */
static void move_tail(struct fuzz *f, struct bytes *b, size_t at, long by)
{
    if (by < 0 && at + (size_t)-by <= b->size) {
        memmove(b->data + at, b->data + at + (size_t)-by, b->size - at - (size_t)-by);
        b->size -= (size_t)-by;
    } else if (by > 0) {
        memmove(b->data + at + by, b->data + at, b->size - at);
        prng_bytes(&f->prng, b->data + at, (size_t)by);
        b->size += (size_t)by;
    }
}

static void mutate_once(struct fuzz *f, struct bytes *b)
{
    static const uint8_t edges[] = {0, 1, 2, 3, 127, 128, 254, 255};
    size_t at = b->size > 0 ? prng_below(&f->prng, (uint32_t)b->size) : 0;

    if (b->size == 0)
        return;
    switch (prng_below(&f->prng, 6)) {
    case 0:
        b->data[at] ^= (uint8_t)(1u << prng_below(&f->prng, 8));
        break;
    case 1:
        b->data[at] = edges[prng_below(&f->prng, sizeof(edges))];
        break;
    case 2:
        b->data[at] = (uint8_t)(b->data[at] + 1 - 2 * prng_below(&f->prng, 2));
        break;
    case 3:
        b->size = at;
        break;
    case 4:
        move_tail(f, b, at, 1 + prng_below(&f->prng, 8));
        break;
    default:
        move_tail(f, b, at, -1 - (long)prng_below(&f->prng, 8));
        break;
    }
}

/* A copy in a block of exactly its size, so that a read past the end is seen. */
static struct bytes mutated(struct fuzz *f, const struct bytes *from)
{
    struct bytes b = {.data = malloc(from->size + 8 * MAX_MUTATIONS), .size = from->size};
    uint8_t *exact;
    uint32_t n = prng_below(&f->prng, MAX_MUTATIONS);

    check(f, b.data != NULL, "no memory");
    memcpy(b.data, from->data, from->size);
    for (uint32_t i = 0; i < n; i++)
        mutate_once(f, &b);
    exact = malloc(b.size > 0 ? b.size : 1);
    check(f, exact != NULL, "no memory");
    memcpy(exact, b.data, b.size);
    free(b.data);
    b.data = exact;
    return b;
}

static void check_same(const struct fuzz *f, const struct bytes *in, struct bytes out,
                       const char *what)
{
    check(f, in->size == out.size && memcmp(in->data, out.data, in->size) == 0, what);
    free(out.data);
}

static void try_command(struct fuzz *f, const struct bytes *b)
{
    struct command command;
    struct err err;
    int code = command_decode(b->data, b->size, &command, &err);

    check(f, code == 0 || code == -EBADMSG, "command_decode: strange code");
    if (code == 0) {
        check_same(f, b, command_bytes(f, &command), "a command is read that is not written so");
        f->n_commands_taken++;
    } else {
        f->n_refused++;
    }
    command_deinit(&command);
}

static void try_snapshot(struct fuzz *f, const struct bytes *b)
{
    struct stream stream;
    struct state state;
    struct err err;
    int code = state_restore(&state, b->data, b->size, &err);

    check(f, code == 0 || code == -EBADMSG, "state_restore: strange code");
    check(f, code == 0 || (state.n_nodes == 0 && state.index == 0), "a refusal leaves something");
    if (code < 0) {
        f->n_refused++;
        return;
    }
    f->n_snapshots_taken++;
    check_same(f, b, snapshot_bytes(f, &state), "a snapshot is read that is not written so");
    stream_init(&stream, prng_next(&f->prng));
    stream.term = state.term;
    if (state.index < UINT64_MAX / 2 && state.term < UINT64_MAX / 2)
        apply_random(&stream, &state, N_FOLLOWING);
    check(f, state_check(&state, &err) == 0, "a state that was taken breaks");
    state_deinit(&state);
}

int main(int argc, char **argv)
{
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    struct fuzz f = {.prng.state = seed};

    printf("1..1\n# %lu iterations, seed %llu\n", n, (unsigned long long)seed);
    make_corpus(&f);
    for (f.iteration = 0; f.iteration < n; f.iteration++) {
        struct bytes b = mutated(&f, &f.corpus[prng_below(&f.prng, N_CORPUS)]);

        try_command(&f, &b);
        try_snapshot(&f, &b);
        free(b.data);
    }
    printf("# taken: %lu commands, %lu snapshots; refused: %lu\n", f.n_commands_taken,
           f.n_snapshots_taken, f.n_refused);
    check(&f, n < 1000 || (f.n_commands_taken > 0 && f.n_snapshots_taken > 0), "nothing is taken");
    printf("ok 1 - decoders of consensus\n");
    for (int i = 0; i < N_CORPUS; i++)
        free(f.corpus[i].data);
    return 0;
}

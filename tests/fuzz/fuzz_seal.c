/* fuzz_seal: mutated handshakes, record streams and join tokens.
 *
 *     fuzz_seal [ITERATIONS [SEED]]
 *
 * A mutated handshake is refused. Of a mutated record stream comes out what was put in, up to the
 * mutation, and then nothing. A mutated token is refused. Sanitizers see the rest. The seed chooses
 * the mutations; keys are new each time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/identity_sodium.h"
#include "consensus/seal_sodium.h"
#include "consensus/token_sodium.h"

enum { N_RECORDS = 4, STREAM_MAX = 4096 };

struct fuzz {
    unsigned seed;
    unsigned long iteration, n_whole, n_torn;
    struct identity caller, callee;
    struct seal *initiator, *responder;
    uint8_t stream[STREAM_MAX];
    size_t size;
    uint8_t sent[STREAM_MAX]; /* plaintext */
    size_t n_sent;
};

static void check(const struct fuzz *f, bool held, const char *what)
{
    if (held)
        return;
    printf("not ok 1 - iteration %lu: %s\n", f->iteration, what);
    exit(1);
}

static size_t pick(struct fuzz *f, size_t below)
{
    return (size_t)rand_r(&f->seed) % below;
}

/* Flips, cuts, doubles or overwrites; false when nothing was changed after all. */
static bool mutate(struct fuzz *f, uint8_t *bytes, size_t *size, size_t capacity)
{
    uint8_t before[STREAM_MAX];
    size_t size_before = *size, at = pick(f, *size), n = 1 + pick(f, *size - at);

    memcpy(before, bytes, *size);
    switch (pick(f, 4)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << pick(f, 8));
        break;
    case 1: /* cut a piece out */
        memmove(bytes + at, bytes + at + n, *size - at - n);
        *size -= n;
        break;
    case 2: /* say a piece twice */
        if (*size + n <= capacity) {
            memmove(bytes + at + n, bytes + at, *size - at);
            *size += n;
        }
        break;
    default:
        for (size_t i = at; i < at + n; i++)
            bytes[i] = (uint8_t)rand_r(&f->seed);
    }
    return *size != size_before || memcmp(before, bytes, *size) != 0;
}

static bool is_caller(void *data, const uint8_t key[KEY_SIZE])
{
    const struct fuzz *f = data;

    return memcmp(key, f->caller.link_public, KEY_SIZE) == 0;
}

static void make_pair(struct fuzz *f)
{
    struct seal_config calling = {
        .identity = &f->caller, .purpose = "raft", .peer_key = f->callee.link_public};
    struct seal_config called = {
        .identity = &f->callee, .purpose = "raft", .is_listed = is_caller, .data = f};

    check(f, seal_new(&calling, &f->initiator, NULL) == 0, "no initiator");
    check(f, seal_new(&called, &f->responder, NULL) == 0, "no responder");
}

static void free_pair(struct fuzz *f)
{
    seal_free(f->initiator);
    seal_free(f->responder);
}

static void fuzz_handshake(struct fuzz *f)
{
    uint8_t bytes[SEAL_HELLO_SIZE * 2], answer[SEAL_ANSWER_SIZE * 2];
    size_t size = SEAL_HELLO_SIZE;
    bool of_answer = pick(f, 2) == 0, changed;

    memset(bytes, 0, sizeof(bytes));
    memset(answer, 0, sizeof(answer));
    make_pair(f);
    check(f, seal_hello(f->initiator, bytes) == 0, "no hello");
    if (of_answer) {
        check(f, seal_answer(f->responder, bytes, answer) == 0, "no answer");
        memcpy(bytes, answer, SEAL_ANSWER_SIZE);
        size = SEAL_ANSWER_SIZE;
        changed = mutate(f, bytes, &size, SEAL_ANSWER_SIZE);
        changed = changed && memcmp(bytes, answer, SEAL_ANSWER_SIZE) != 0;
        check(f, (seal_finish(f->initiator, bytes) == 0) == !changed, "a mutated answer passed");
    } else {
        uint8_t hello[SEAL_HELLO_SIZE];

        memcpy(hello, bytes, SEAL_HELLO_SIZE);
        mutate(f, bytes, &size, SEAL_HELLO_SIZE);
        changed = memcmp(bytes, hello, SEAL_HELLO_SIZE) != 0;
        check(f, (seal_answer(f->responder, bytes, answer) == 0) == !changed,
              "a mutated hello passed");
    }
    free_pair(f);
}

static void put_record(struct fuzz *f, enum seal_type type, size_t n)
{
    uint8_t *at = f->stream + f->size;

    for (size_t i = 0; i < n; i++)
        at[SEAL_HEADROOM + i] = f->sent[f->n_sent++] = (uint8_t)rand_r(&f->seed);
    f->size += seal_record(f->initiator, type, at, n);
}

static void fuzz_records(struct fuzz *f)
{
    uint8_t hello[SEAL_HELLO_SIZE], answer[SEAL_ANSWER_SIZE];
    struct seal_record record;
    size_t at = 0, n_got = 0;
    bool changed, ended = false;
    ssize_t n;

    f->size = f->n_sent = 0;
    make_pair(f);
    seal_hello(f->initiator, hello);
    seal_answer(f->responder, hello, answer);
    seal_finish(f->initiator, answer);
    put_record(f, SEAL_CONFIRM, 0);
    for (int i = 0; i < N_RECORDS; i++)
        put_record(f, SEAL_DATA, 1 + pick(f, 100));
    put_record(f, SEAL_END, 0);
    changed = mutate(f, f->stream, &f->size, sizeof(f->stream));
    while ((n = seal_open(f->responder, f->stream + at, f->size - at, &record)) > 0) {
        if (record.type == SEAL_DATA) {
            check(f, n_got + record.size <= f->n_sent, "more came out than went in");
            check(f, memcmp(record.data, f->sent + n_got, record.size) == 0,
                  "other bytes came out");
            n_got += record.size;
        }
        ended |= record.type == SEAL_END;
        at += (size_t)n;
    }
    check(f, !ended || n_got == f->n_sent, "an end before all was out");
    check(f, changed || ended, "an honest stream was refused");
    f->n_whole += ended;
    f->n_torn += !ended;
    free_pair(f);
}

static void fuzz_token(struct fuzz *f)
{
    struct join_token token = {.n_endpoints = (uint8_t)(1 + pick(f, JOIN_TOKEN_MAX_ENDPOINTS))},
                      back;
    char text[JOIN_TOKEN_TEXT_SIZE], original[JOIN_TOKEN_TEXT_SIZE];
    size_t size;

    join_token_make_secret(&token);
    check(f, join_token_encode(&token, text, NULL) == 0, "no token");
    memcpy(original, text, sizeof(original));
    size = strlen(text);
    mutate(f, (uint8_t *)text, &size, sizeof(text) - 1);
    text[size] = '\0';
    if (join_token_decode(text, &back, NULL) == 0)
        check(f, memcmp(back.secret, token.secret, JOIN_TOKEN_SECRET_SIZE) == 0,
              "a mutated token passed");
}

int main(int argc, char **argv)
{
    unsigned long iterations = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;
    struct fuzz f = {.seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1};

    if (identity_generate(&f.caller) < 0 || identity_generate(&f.callee) < 0)
        return 1;
    printf("# seed %u\n", f.seed);
    for (; f.iteration < iterations; f.iteration++) {
        fuzz_token(&f);
        if (f.iteration % 4 == 0)
            fuzz_handshake(&f);
        if (f.iteration % 4 == 2)
            fuzz_records(&f);
    }
    printf("ok 1 - %lu iterations: %lu streams whole, %lu torn\n1..1\n", iterations, f.n_whole,
           f.n_torn);
    return 0;
}

/* fuzz_message: mutated peer messages against their decoder, and against a core that leads and one
 * that follows.
 *
 *     fuzz_message [ITERATIONS [SEED]]
 *
 * The corpus is made from the seed. What the decoder takes must be what the encoder writes, byte
 * for byte; a core must live through it. A failure prints the iteration; the same arguments show it
 * again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/core.h"
#include "tests/support/message_random.h"
#include "tests/support/world.h"

enum { N_CORPUS = 256, MAX_MUTATIONS = 6, MAX_SIZE = 8192 };

struct bytes {
    uint8_t data[MAX_SIZE];
    size_t size;
};

static struct bytes corpus[N_CORPUS];
static unsigned long n_taken, n_refused;

static void make_corpus(struct prng *p)
{
    for (int i = 0; i < N_CORPUS; i++) {
        struct message message;
        struct writer w;

        message_random(p, MESSAGE_BEAT + i % (MESSAGE_TYPE_END - MESSAGE_BEAT), &message);
        writer_init(&w, corpus[i].data, sizeof(corpus[i].data));
        message_encode(&message, &w);
        corpus[i].size = w.failed ? 0 : w.size;
        message_deinit(&message);
    }
}

static void mutate(struct prng *p, struct bytes *b)
{
    uint32_t n = prng_below(p, MAX_MUTATIONS + 1);

    for (uint32_t i = 0; i < n && b->size > 0; i++) {
        uint32_t at = prng_below(p, (uint32_t)b->size);

        switch (prng_below(p, 4)) {
        case 0:
            b->data[at] ^= (uint8_t)(1u << prng_below(p, 8));
            break;
        case 1:
            b->data[at] = (uint8_t)prng_next(p);
            break;
        case 2:
            b->size = at;
            break;
        default:
            memmove(&b->data[at], &b->data[at + 1], b->size - at - 1);
            b->size--;
        }
    }
}

static bool is_what_is_written(const struct bytes *b, const struct message *message)
{
    static uint8_t again[MAX_SIZE];
    struct writer w;

    writer_init(&w, again, sizeof(again));
    message_encode(message, &w);
    return !w.failed && w.size == b->size && memcmp(again, b->data, b->size) == 0;
}

static void feed(struct world *w, unsigned to, unsigned from, const struct bytes *b)
{
    struct core_event event = {
        .type = CORE_PEER_MESSAGE, .from = w->nodes[from].id, .data = b->data, .size = b->size};
    struct core_actions actions = {0};

    core_step(w->nodes[to].core, &event, w->now, &actions);
    core_actions_deinit(&actions);
}

int main(int argc, char **argv)
{
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    struct prng p = {argc > 2 ? strtoull(argv[2], NULL, 10) : 1};
    struct world w;

    make_corpus(&p);
    world_init(&w, 3);
    world_run(&w, 500);
    for (unsigned long i = 0; i < n; i++) {
        struct bytes b = corpus[prng_below(&p, N_CORPUS)];
        struct message message;

        mutate(&p, &b);
        if (message_decode(b.data, b.size, &message, NULL) == 0) {
            n_taken++;
            if (!is_what_is_written(&b, &message)) {
                printf("not ok 1 - iteration %lu: read back as something else\n1..1\n", i);
                return 1;
            }
            message_deinit(&message);
        } else {
            n_refused++;
        }
        feed(&w, 1 + prng_below(&p, 2), 3, &b);
    }
    world_deinit(&w);
    printf("%sok 1 - %lu iterations, %lu messages taken, %lu refused\n1..1\n",
           n_taken > 0 && n_refused > 0 ? "" : "not ", n, n_taken, n_refused);
    return 0;
}

/* fuzz_protect: mutated lines of the kernel's tables of connections, and mutated receipts of
 * buddies, and mutated heads of increments and notes of their chains.
 *
 *     fuzz_protect [ITERATIONS [SEED]]
 *
 * What is taken all the same is whole and within its bounds; the sanitizers see the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/streams/receipt.h"
#include "migrate/connections.h"
#include "migrate/increment.h"
#include "migrate/stream.h"
#include "tests/support/prng.h"

static const char *const lines[] = {
    "   1: 0200070A:1F90 0300070A:D431 01 00000000:00000000 02:000AF0D4 00000000     0",
    "  12: 0000000000000000FFFF00000200070A:0050 0000000000000000FFFF00000300070A:8000 08 0:0",
    "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0",
};

static void mutate(struct prng *p, uint8_t *bytes, size_t *size)
{
    uint32_t n = 1 + prng_below(p, 3);

    for (uint32_t i = 0; i<n && * size> 0; i++) {
        if (prng_one_in(p, 4))
            *size = prng_below(p, (uint32_t)*size + 1);
        else
            bytes[prng_below(p, (uint32_t)*size)] = (uint8_t)prng_next(p);
    }
}

/* In memory of its exact size, so that a look behind its end is seen. */
static bool parse(struct prng *p)
{
    const char *line = lines[prng_below(p, 3)];
    size_t size = strlen(line);
    struct connection c;
    uint8_t packet[CONNECTIONS_PROBE_SIZE];
    bool is_taken;
    char *text;

    text = malloc(size + 1);
    memcpy(text, line, size + 1);
    mutate(p, (uint8_t *)text, &size);
    text = realloc(text, size + 1);
    text[size] = '\0';
    is_taken = connection_parse(text, &c);
    if (is_taken)
        connection_probe(&c, 1, packet);
    free(text);
    return is_taken;
}

static bool decode(struct prng *p)
{
    struct receipt receipt = {.is_kept = prng_one_in(p, 2), .size = prng_next(p), .text = "why"};
    uint8_t bytes[RECEIPT_MAX_SIZE], *exact;
    struct writer w;
    size_t size;
    bool is_taken;

    writer_init(&w, bytes, sizeof(bytes));
    receipt_encode(&receipt, &w);
    size = w.size;
    mutate(p, bytes, &size);
    exact = malloc(size + 1);
    memcpy(exact, bytes, size);
    exact = realloc(exact, size > 0 ? size : 1);
    is_taken = receipt_decode(exact, size, &receipt) == 0;
    free(exact);
    if (is_taken && memchr(receipt.text, '\0', sizeof(receipt.text)) == NULL) {
        printf("not ok 1 - a receipt's text has no end\n");
        exit(1);
    }
    return is_taken;
}

/* The head of an increment, as its buddy looks at it. */
static bool find_since(struct prng *p)
{
    static const struct stream_record guest = {STREAM_GUEST, 3},
                                      since = {STREAM_SINCE, DIGEST_SIZE};
    uint8_t head[STREAM_HEAD_SIZE] = {0}, digest[DIGEST_SIZE], *exact;
    size_t size = STREAM_MAGIC_SIZE;
    bool is_taken;

    memcpy(head, stream_magic, size);
    stream_record_encode(&guest, head + size);
    size += STREAM_HEADER_SIZE + guest.size;
    stream_record_encode(&since, head + size);
    size += STREAM_HEADER_SIZE + since.size;
    mutate(p, head, &size);
    exact = malloc(size > 0 ? size : 1);
    memcpy(exact, head, size);
    is_taken = stream_head_since(exact, size, digest);
    free(exact);
    return is_taken;
}

static bool decode_chain(struct prng *p)
{
    struct increment_chain chain = {.taken_us = prng_next(p), .n = prng_below(p, INCREMENT_MAX)};
    uint8_t bytes[INCREMENT_CHAIN_SIZE];
    struct writer w;
    size_t size;

    writer_init(&w, bytes, sizeof(bytes));
    increment_chain_encode(&chain, &w);
    size = w.size;
    mutate(p, bytes, &size);
    if (increment_chain_decode(bytes, size, &chain) < 0)
        return false;
    if (chain.taken_us == 0 || chain.n > INCREMENT_MAX) {
        printf("not ok 1 - a chain that cannot be\n");
        exit(1);
    }
    return true;
}

int main(int argc, char *argv[])
{
    static bool (*const each[])(struct prng *) = {parse, decode, find_since, decode_chain};
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000, n_taken = 0;
    struct prng p = {.state = argc > 2 ? strtoul(argv[2], NULL, 10) : 1};

    printf("1..1\n");
    for (unsigned long i = 0; i < n; i++)
        n_taken += each[i % 4](&p);
    printf("ok 1 - %lu iterations, seed %s, %lu taken\n", n, argc > 2 ? argv[2] : "1", n_taken);
    return 0;
}

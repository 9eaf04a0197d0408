/* fuzz_protect: mutated lines of the kernel's tables of connections, and mutated receipts of
 * buddies.
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

int main(int argc, char *argv[])
{
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000, n_taken = 0;
    struct prng p = {.state = argc > 2 ? strtoul(argv[2], NULL, 10) : 1};

    printf("1..1\n");
    for (unsigned long i = 0; i < n; i++)
        n_taken += i % 2 == 0 ? parse(&p) : decode(&p);
    printf("ok 1 - %lu iterations, seed %s, %lu taken\n", n, argc > 2 ? argv[2] : "1", n_taken);
    return 0;
}

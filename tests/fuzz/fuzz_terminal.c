/* fuzz_terminal: mutated words of a terminal against what reads them (migrate/terminal.h).
 *
 *     fuzz_terminal [ITERATIONS [SEED]]
 *
 * What is taken is what was given, has two numbers, and nothing else. A failure prints the
 * iteration; the same arguments show it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/terminal.h"
#include "tests/support/prng.h"

enum { MAX_MUTATIONS = 3 };

static struct prng prng;
static unsigned long iteration, n_taken;

static void fail(const char *what)
{
    printf("not ok 1 - iteration %lu: %s\n", iteration, what);
    exit(1);
}

static uint64_t some_number(void)
{
    uint64_t high = prng_below(&prng, UINT32_MAX), low = prng_below(&prng, UINT32_MAX);

    return (high << 32 | low) >> prng_below(&prng, 64);
}

static size_t mutate(char *words, size_t size)
{
    for (uint32_t n = prng_below(&prng, MAX_MUTATIONS); n > 0 && size > 0; n--) {
        size_t at = prng_below(&prng, (uint32_t)size);

        if (prng_one_in(&prng, 4))
            size = at;
        else
            words[at] ^= (char)(1u << prng_below(&prng, 8));
    }
    return size;
}

/* Written anew from its numbers it may only lack zeroes before them. */
static void check_taken(const char *content, size_t size, const char *words)
{
    unsigned long long rdev, dev;
    char end;

    if (strlen(words) != size || memcmp(words, content, size) != 0)
        fail("what was taken is not what was given");
    if (strspn(words, "tty[]:0123456789abcdef") != size ||
        sscanf(words, "tty[%llx:%llx%c", &rdev, &dev, &end) != 3 || end != ']')
        fail("what was taken is no terminal");
}

/* In memory of exactly its size, so that a sanitizer sees an access past it. */
static void try_one(void)
{
    char whole[TERMINAL_WORDS_SIZE], words[TERMINAL_WORDS_SIZE], *exact;
    size_t size;

    terminal_write(some_number(), some_number(), whole);
    size = mutate(whole, strlen(whole));
    exact = malloc(size > 0 ? size : 1);
    memcpy(exact, whole, size);
    if (terminal_read(exact, size, words) == 0) {
        check_taken(exact, size, words);
        n_taken++;
    }
    free(exact);
}

int main(int argc, char *argv[])
{
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;

    prng.state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (iteration = 0; iteration < n; iteration++)
        try_one();
    printf("1..1\nok 1 - %lu words: %lu taken\n", n, n_taken);
    return 0;
}

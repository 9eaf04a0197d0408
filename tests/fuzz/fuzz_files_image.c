/* fuzz_files_image: mutated images of open files against what mends their timers.
 *
 *     fuzz_files_image [ITERATIONS [SEED]]
 *
 * The corpus is made from the seed. What is refused must be untouched; what is taken may differ
 * only in bytes that were 0 and are 1, as many as it says. A failure prints the iteration; the same
 * arguments show it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "migrate/files_image.h"
#include "tests/support/prng.h"

enum { N_CORPUS = 64, MAX_SIZE = 1024, MAX_ENTRIES = 8, MAX_MUTATIONS = 4 };

struct bytes {
    uint8_t data[MAX_SIZE];
    size_t size;
};

static struct prng prng;
static struct bytes corpus[N_CORPUS];
static unsigned long iteration, n_taken, n_mended;

static void fail(const char *what)
{
    printf("not ok 1 - iteration %lu: %s\n", iteration, what);
    exit(1);
}

static void write_varint(struct writer *w, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        write_u8(w, (uint8_t)(value | 0x80));
    write_u8(w, (uint8_t)value);
}

static void write_number(struct writer *w, unsigned field, uint64_t value)
{
    write_varint(w, field << 3);
    write_varint(w, value);
}

static void write_nested(struct writer *w, unsigned field, const struct writer *nested)
{
    write_varint(w, field << 3 | 2);
    write_varint(w, nested->size);
    write_bytes(w, nested->data, nested->size);
}

static uint64_t some_or_none(uint64_t limit)
{
    return prng_one_in(&prng, 2) ? 0 : prng_below(&prng, (uint32_t)limit);
}

static void write_timer(struct writer *w)
{
    uint8_t buffer[128];
    struct writer owner;

    writer_init(&owner, buffer, sizeof(buffer));
    write_number(&owner, 1, prng_below(&prng, 1000));
    write_number(w, 1, prng_below(&prng, 1000));
    write_nested(w, 3, &owner);
    write_number(w, 5, some_or_none(3));
    write_number(w, 7, some_or_none(100));
    write_number(w, 8, some_or_none(1000000000));
    write_number(w, 9, some_or_none(2));
    write_number(w, 10, some_or_none(1000000000));
}

static void write_entry(struct writer *w)
{
    bool is_timer = prng_one_in(&prng, 2);
    uint8_t inner[256], outer[300];
    struct writer file, entry;

    writer_init(&file, inner, sizeof(inner));
    writer_init(&entry, outer, sizeof(outer));
    write_timer(&file);
    write_number(&entry, 1, is_timer ? 17 : 1);
    write_number(&entry, 2, prng_below(&prng, 1000));
    write_nested(&entry, is_timer ? 12 : 3, &file);
    write_u32(w, (uint32_t)entry.size);
    write_bytes(w, entry.data, entry.size);
}

static void make_corpus(void)
{
    for (int i = 0; i < N_CORPUS; i++) {
        struct writer w;

        writer_init(&w, corpus[i].data, MAX_SIZE);
        write_u32(&w, 0x54564319);
        write_u32(&w, 0x56303138);
        for (uint32_t n = prng_below(&prng, MAX_ENTRIES); n > 0; n--)
            write_entry(&w);
        corpus[i].size = w.size;
        if (w.failed)
            fail("the corpus does not fit");
    }
}

static void mutate(struct bytes *b)
{
    for (uint32_t n = prng_below(&prng, MAX_MUTATIONS); n > 0 && b->size > 0; n--) {
        size_t at = prng_below(&prng, (uint32_t)b->size);

        if (prng_one_in(&prng, 4))
            b->size = at;
        else
            b->data[at] ^= (uint8_t)(1u << prng_below(&prng, 8));
    }
}

static int count_changes(const uint8_t *before, const uint8_t *after, size_t size)
{
    int n = 0;

    for (size_t i = 0; i < size; i++) {
        if (before[i] != after[i] && (before[i] != 0 || after[i] != 1))
            fail("a byte was changed that is no timer's value");
        n += before[i] != after[i];
    }
    return n;
}

/* In memory of exactly the image's size, so that a sanitizer sees an access past it. */
static void try_one(void)
{
    struct bytes b = corpus[prng_below(&prng, N_CORPUS)];
    uint8_t *exact;
    int r, n;

    mutate(&b);
    exact = malloc(b.size > 0 ? b.size : 1);
    memcpy(exact, b.data, b.size);
    r = files_image_mend(exact, b.size);
    n = count_changes(b.data, exact, b.size);
    if (n != (r < 0 ? 0 : r))
        fail("it does not say what it changed");
    if (r > 0 && files_image_mend(exact, b.size) != 0)
        fail("what was mended is not right");
    n_taken += r >= 0;
    n_mended += (unsigned long)n;
    free(exact);
}

int main(int argc, char *argv[])
{
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;

    prng.state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    make_corpus();
    for (iteration = 0; iteration < n; iteration++)
        try_one();
    printf("1..1\nok 1 - %lu images: %lu taken, %lu timers mended\n", n, n_taken, n_mended);
    return 0;
}

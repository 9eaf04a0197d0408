/* fuzz_read_ahead: a lazy-pages that asks at random, and wrong bytes from both sides, against what
 * asks for its pages ahead.
 *
 *     fuzz_read_ahead [ITERATIONS [SEED]]
 *
 * Without wrong bytes every page is given as it was left, none is asked for that is not there, and
 * what is sent in vain has its limit. With some it may refuse, pass on or wait, and touches nothing
 * that is not its own. A failure prints the iteration; the same arguments show it again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/pagers.h"

enum { STEPS = 300, IN_VAIN = 512 };

static struct prng prng;
static struct pagers pagers;
static unsigned long iteration, n_refused;

static void fail(const char *what)
{
    printf("not ok 1 - iteration %lu: %s\n", iteration, what);
    exit(1);
}

static void make_ranges(void)
{
    uint64_t address = 0x10000;

    for (uint32_t n = 1 + prng_below(&prng, PAGERS_RANGES); n > 0; n--) {
        uint32_t pages = 1 + prng_below(&prng, prng_one_in(&prng, 2) ? 4 : 200);

        address += (uint64_t)(prng_one_in(&prng, 2) ? 0 : prng_below(&prng, 3)) * PAGERS_PAGE;
        pagers_add(&pagers, 1 + prng_below(&prng, 2), address, pages);
        address += (uint64_t)pages * PAGERS_PAGE;
    }
}

static bool is_asked(size_t range, uint32_t page)
{
    const struct pagers_range *r = &pagers.ranges[range];
    uint64_t address = r->address + (uint64_t)page * PAGERS_PAGE;

    for (size_t i = 0; i < pagers.n_asked; i++) {
        const struct page_message *m = &pagers.asked[i];

        if (m->process == r->process && address >= m->address &&
            address - m->address < (uint64_t)m->n * PAGERS_PAGE)
            return true;
    }
    return false;
}

/* A fault on a page that is not there and not asked for. */
static void touch(void)
{
    size_t range = prng_below(&prng, (uint32_t)pagers.n_ranges);
    uint32_t page = prng_below(&prng, pagers.ranges[range].n);

    if (!pagers.ranges[range].is_given[page] && !is_asked(range, page))
        pagers_ask(&pagers, range, page, 1);
}

static bool may_ask(void)
{
    return pagers.n_asked < PAGERS_ASKED && read_ahead_wants(pagers.ra, READ_AHEAD_NEAR);
}

static void ask_and_step(void)
{
    if (may_ask() && prng_one_in(&prng, 3))
        touch();
    if (pagers.n_asked == 0 && may_ask())
        pagers_ask_next(&pagers, 1 + prng_below(&prng, 100));
    for (uint32_t n = prng_below(&prng, 4); n > 0; n--)
        pagers_step(&pagers);
}

static void check_run(void)
{
    while (pagers.wrong == NULL) {
        pagers_settle(&pagers);
        if (!pagers_ask_next(&pagers, 64))
            break;
    }
    if (pagers.wrong != NULL)
        fail(pagers.wrong);
    if (pagers.result < 0)
        fail("a right answer was refused");
    if (pagers.n_asked != 0)
        fail("a question was not answered");
    if (pagers.n_sent > 3 * pagers.n_given + IN_VAIN)
        fail("too much was sent in vain");
}

/* A bit near the front of what is on its way: most likely of a head. */
static void flip(struct pagers_bytes *b)
{
    size_t size = b->have - b->at < 64 ? b->have - b->at : 64;

    if (size > 0)
        b->data[b->at + prng_below(&prng, (uint32_t)size)] ^= (uint8_t)(1u << prng_below(&prng, 8));
}

static void say_nonsense(void)
{
    uint8_t bytes[40];
    uint32_t size = 1 + prng_below(&prng, sizeof(bytes));

    prng_bytes(&prng, bytes, size);
    if (read_ahead_wants(pagers.ra, READ_AHEAD_NEAR) && pagers.result == 0)
        pagers.result = read_ahead_take(pagers.ra, READ_AHEAD_NEAR, bytes, size, pagers.now_us);
}

static void damage(void)
{
    flip(prng_one_in(&prng, 2) ? &pagers.to_lazy : &pagers.got);
    if (prng_one_in(&prng, 8))
        say_nonsense();
}

static void try_one(void)
{
    bool is_damaged = prng_one_in(&prng, 2);

    pagers_begin(&pagers, prng_one_in(&prng, 2) ? PAGE_FORM_NARROW : PAGE_FORM_WIDE,
                 prng_next(&prng));
    pagers.page_us = prng_below(&prng, 1000);
    make_ranges();
    for (int i = 0; i < STEPS && pagers.result == 0 && pagers.wrong == NULL; i++) {
        ask_and_step();
        if (is_damaged)
            damage();
    }
    if (!is_damaged)
        check_run();
    n_refused += pagers.result < 0;
    pagers_end(&pagers);
}

int main(int argc, char *argv[])
{
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;

    prng.state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (iteration = 0; iteration < n; iteration++)
        try_one();
    printf("1..1\nok 1 - %lu guests: %lu times far was refused\n", n, n_refused);
    return 0;
}

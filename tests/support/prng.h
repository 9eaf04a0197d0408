/* prng: the tests' own random numbers: one seed, one sequence, on every machine (splitmix64). */
#ifndef SKEIN_TESTS_SUPPORT_PRNG_H
#define SKEIN_TESTS_SUPPORT_PRNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prng {
    uint64_t state; /* the seed */
};

static inline uint64_t prng_next(struct prng *p)
{
    uint64_t z = p->state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0…n-1; n > 0. */
static inline uint32_t prng_below(struct prng *p, uint32_t n)
{
    return (uint32_t)(prng_next(p) >> 32) % n;
}

/* True once in n. */
static inline bool prng_one_in(struct prng *p, uint32_t n)
{
    return prng_below(p, n) == 0;
}

static inline void prng_bytes(struct prng *p, uint8_t *ret, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ret[i] = (uint8_t)(prng_next(p) >> 56);
}

#endif

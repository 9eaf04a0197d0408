/* clock: CLOCK_BOOTTIME in µs, the one clock of the guard. */
#ifndef SKEIN_AGENT_GUARD_CLOCK_POSIX_H
#define SKEIN_AGENT_GUARD_CLOCK_POSIX_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

#endif

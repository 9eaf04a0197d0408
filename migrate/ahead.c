#include "migrate/ahead.h"

uint64_t ahead_ms(const struct ahead_size *size, uint64_t kbps)
{
    return size->bytes * 8 / kbps + size->n * AHEAD_ENTRY_US / 1000;
}

bool ahead_is_worth(const struct ahead_size *size, uint64_t kbps)
{
    return ahead_ms(size, kbps) >= AHEAD_WORTH_MS;
}

void ahead_pass_over(struct ahead_passes *passes, const struct ahead_size *size, uint64_t us)
{
    if (passes->n++ > 0)
        passes->again_us += us;
    passes->last = *size;
}

bool ahead_goes_on(const struct ahead_passes *passes, const struct ahead_size *left, uint64_t kbps)
{
    uint64_t left_ms = ahead_ms(left, kbps);

    if (left_ms <= AHEAD_REST_MS || passes->n >= AHEAD_MAX_PASSES ||
        passes->again_us >= AHEAD_AGAIN_MS * 1000ull)
        return false;
    return passes->n < AHEAD_MIN_PASSES ||
           left_ms * 100 < ahead_ms(&passes->last, kbps) * AHEAD_CONVERGE_PERCENT;
}

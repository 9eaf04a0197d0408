#include "agent/streams/pace.h"

#define MINUTE_US ((uint64_t)60 * 1000000)

enum {
    GAIN_PERMILLE = 100,  /* of what was delivered, a step: at no delay, and at twice the target */
    PROBE_PERMILLE = 300, /* likewise, while probing */
    STEEP_PERMILLE = 400, /* more than GAIN, for delay above one and a half times the target */
    CUT_PERMILLE = 500,   /* at most, a step */
    FLOOR_DIVISOR = 100,  /* of the capacity */
    START_DIVISOR = 16,
    ADD_DIVISOR =
        1024,      /* of the capacity, a step, for all alike: so streams come to equal shares */
    ADD_KBPS = 64, /* where it is not known */
};

static uint32_t more_of(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t floor_of(const struct pace_limits *limits)
{
    uint32_t floor = more_of(limits->capacity_kbps / FLOOR_DIVISOR, PACE_FLOOR_KBPS);

    return more_of(floor, limits->n_awaited * PACE_AWAITED_KBPS);
}

static uint32_t ceiling_of(const struct pace_limits *limits)
{
    uint32_t capacity = limits->capacity_kbps != 0 ? limits->capacity_kbps : PACE_MAX_KBPS;

    return capacity > floor_of(limits) ? capacity : floor_of(limits);
}

static uint32_t clamp(uint64_t kbps, const struct pace_limits *limits)
{
    if (kbps < floor_of(limits))
        return floor_of(limits);
    return kbps > ceiling_of(limits) ? ceiling_of(limits) : (uint32_t)kbps;
}

/* ---- delay */

/* Minutes that passed without a round trip have no least one. */
static void turn_to(struct pace *pace, uint64_t minute)
{
    if (minute - pace->minute > PACE_MINUTES)
        pace->minute = minute - PACE_MINUTES;
    while (pace->minute < minute)
        pace->base_us[++pace->minute % PACE_MINUTES] = 0;
}

void pace_heard(struct pace *pace, uint32_t round_trip_us, uint64_t now)
{
    uint32_t us = round_trip_us != 0 ? round_trip_us : 1;
    uint32_t *base;

    turn_to(pace, now / MINUTE_US);
    base = &pace->base_us[pace->minute % PACE_MINUTES];
    if (*base == 0 || us < *base)
        *base = us;
    pace->recent[pace->next].us = us;
    pace->recent[pace->next].at_us = now;
    pace->next = (pace->next + 1) % PACE_RECENT;
}

static uint32_t least_base(const struct pace *pace)
{
    uint32_t least = 0;

    for (int i = 0; i < PACE_MINUTES; i++) {
        if (pace->base_us[i] != 0 && (least == 0 || pace->base_us[i] < least))
            least = pace->base_us[i];
    }
    return least;
}

static uint32_t least_recent(const struct pace *pace, uint64_t now)
{
    uint32_t least = 0;

    for (int i = 0; i < PACE_RECENT; i++) {
        if (pace->recent[i].us != 0 &&
            now - pace->recent[i].at_us <= (uint64_t)PACE_RECENT_MS * 1000 &&
            (least == 0 || pace->recent[i].us < least))
            least = pace->recent[i].us;
    }
    return least;
}

uint32_t pace_delay_us(const struct pace *pace, uint64_t now)
{
    uint32_t base = least_base(pace), recent = least_recent(pace, now);

    return recent > base ? recent - base : 0;
}

static uint32_t delay_with_silence(const struct pace *pace, uint64_t silent_us, uint64_t now)
{
    uint64_t delay_us = pace_delay_us(pace, now);

    if (silent_us > (uint64_t)PACE_OVERDUE_MS * 1000 && silent_us > delay_us)
        delay_us = silent_us;
    return delay_us < UINT32_MAX ? (uint32_t)delay_us : UINT32_MAX;
}

/* ---- rate */

void pace_begin(struct pace *pace, const struct pace_limits *limits)
{
    uint32_t start = limits->capacity_kbps != 0 ? limits->capacity_kbps / START_DIVISOR
                                                : (uint32_t)PACE_START_KBPS;

    pace->rate_kbps = clamp(start, limits);
    pace->is_probing = true;
    pace->is_held = false;
}

/* By how much less than was delivered, for a delay above the target. */
static uint64_t cut_permille(uint64_t excess_us, uint64_t target_us)
{
    uint64_t permille = excess_us * GAIN_PERMILLE / target_us;

    if (excess_us > target_us / 2)
        permille += (excess_us - target_us / 2) * STEEP_PERMILLE / target_us;
    return permille < CUT_PERMILLE ? permille : CUT_PERMILLE;
}

static uint64_t cut(const struct pace *pace, const struct pace_limits *limits, uint64_t delivered)
{
    uint64_t from = delivered < pace->rate_kbps ? delivered : pace->rate_kbps;

    return from * (1000 - cut_permille(pace->delay_us - limits->target_us, limits->target_us)) /
           1000;
}

static uint64_t grow(const struct pace *pace, const struct pace_limits *limits, uint64_t delivered)
{
    uint64_t room_us = limits->target_us - pace->delay_us;
    uint64_t gain = pace->is_probing ? PROBE_PERMILLE : GAIN_PERMILLE;
    uint64_t grown = delivered * (1000 + gain * room_us / limits->target_us) / 1000;

    return grown > pace->rate_kbps ? grown : pace->rate_kbps;
}

void pace_step(struct pace *pace, const struct pace_limits *limits, uint32_t delivered_kbps,
               uint64_t silent_us, uint64_t now)
{
    uint64_t add =
        limits->capacity_kbps != 0 ? limits->capacity_kbps / ADD_DIVISOR : (uint64_t)ADD_KBPS;

    pace->delay_us = delay_with_silence(pace, silent_us, now);
    pace->is_held = pace->delay_us > limits->target_us;
    if (pace->delay_us > limits->target_us / 2)
        pace->is_probing = false;
    if (pace->is_held)
        pace->rate_kbps = clamp(cut(pace, limits, delivered_kbps) + add, limits);
    else if (delivered_kbps + add >= pace->rate_kbps / 2)
        pace->rate_kbps = clamp(grow(pace, limits, delivered_kbps) + add, limits);
}

void pace_end(struct pace *pace)
{
    pace->rate_kbps = 0;
    pace->is_held = false;
}

/* ---- shares */

uint32_t pace_share_kbps(uint32_t rate_kbps, const struct pace_flow *flow, enum pace_manner manner)
{
    uint32_t n_others = flow->n_streams - flow->n_awaited;
    uint32_t even = flow->n_streams > 0 ? rate_kbps / flow->n_streams : rate_kbps;

    if (manner == PACE_AWAITED)
        return more_of(even, PACE_AWAITED_KBPS);
    if (even < PACE_AWAITED_KBPS && n_others > 0) {
        uint32_t first = flow->n_awaited * PACE_AWAITED_KBPS;

        even = rate_kbps > first ? (rate_kbps - first) / n_others : 0;
    }
    return more_of(even, PACE_FLOOR_KBPS);
}

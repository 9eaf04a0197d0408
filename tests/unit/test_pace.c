/* pace: streams on a simulated link with one plain queue (packets of 1500 bytes, steps of a
 * millisecond): alone, beside a TCP that fills the queue, beside another paced stream, with answers
 * that processes delay, and on a route that becomes longer. */
#include "tests/unit/test.h"

#include <string.h>

#include "agent/streams/pace.h"
#include "tests/support/prng.h"

enum {
    MTU = 1500,
    CAPACITY_KBPS = 100000,
    QUEUE_MS = 50,
    BASE_US = 2000,
    TARGET_US = 25000,
    MAX_FLOWS = 3,
    MAX_PACKETS = CAPACITY_KBPS / 8 * QUEUE_MS / MTU,
    MAX_PINGS = 64,
};

struct flow {
    bool is_on;
    struct pace pace;
    struct pace_limits limits;
    uint64_t tokens;    /* bytes */
    uint64_t delivered; /* bytes, in all */
    uint64_t at_step;   /* … when it was last steered */
    uint64_t asked_us;  /* of the oldest question without an answer; 0 = none */
    struct {
        uint64_t sent_us, back_us; /* back_us 0 = none is on its way */
    } pings[MAX_PINGS];
};

/* One that grows until a packet is dropped, as TCP's Reno does. */
struct tcp {
    bool is_on;
    double window, flight; /* packets */
    uint64_t cut_us;
    unsigned acks[BASE_US / 1000 + 1];
    uint64_t delivered;
};

struct bench {
    uint64_t now;
    uint8_t queue[MAX_PACKETS]; /* whose; MAX_FLOWS: the TCP's */
    unsigned first, n;
    uint64_t credit;   /* bytes that the link may send */
    uint32_t extra_us; /* that the route is longer now */
    uint32_t noise_permille, noise_us;
    struct prng prng;
    struct flow flows[MAX_FLOWS];
    struct tcp tcp;
    uint64_t delay_sum_us, n_delays;
    uint32_t delay_max_us;
};

static void begin(struct bench *b)
{
    memset(b, 0, sizeof(*b));
    b->now = 1000000;
    b->prng.state = 7;
}

static uint32_t queue_us(const struct bench *b)
{
    return (uint32_t)((uint64_t)b->n * MTU * 8 * 1000 / CAPACITY_KBPS);
}

static bool enqueue(struct bench *b, unsigned whose)
{
    if (b->n == MAX_PACKETS)
        return false;
    b->queue[(b->first + b->n++) % MAX_PACKETS] = (uint8_t)whose;
    return true;
}

static void depart(struct bench *b)
{
    b->credit += CAPACITY_KBPS / 8;
    while (b->n > 0 && b->credit >= MTU) {
        unsigned whose = b->queue[b->first];

        b->first = (b->first + 1) % MAX_PACKETS;
        b->n--;
        b->credit -= MTU;
        if (whose < MAX_FLOWS) {
            b->flows[whose].delivered += MTU;
        } else {
            b->tcp.delivered += MTU;
            b->tcp.acks[(b->now / 1000 + BASE_US / 1000) % (BASE_US / 1000 + 1)]++;
        }
    }
    if (b->n == 0)
        b->credit = 0;
}

static void run_tcp(struct bench *b)
{
    struct tcp *tcp = &b->tcp;
    unsigned *acks = &tcp->acks[b->now / 1000 % (BASE_US / 1000 + 1)];

    tcp->flight -= *acks;
    for (; *acks > 0; (*acks)--)
        tcp->window += 1 / tcp->window;
    while (tcp->is_on && tcp->flight < tcp->window) {
        if (enqueue(b, MAX_FLOWS)) {
            tcp->flight++;
            continue;
        }
        if (b->now > tcp->cut_us + QUEUE_MS * 1000) {
            tcp->window = tcp->window / 2 > 2 ? tcp->window / 2 : 2;
            tcp->cut_us = b->now;
        }
        return;
    }
}

static void ping(struct bench *b, struct flow *f)
{
    uint32_t us = BASE_US + b->extra_us + queue_us(b);

    if (f->asked_us == 0)
        f->asked_us = b->now;
    if (b->n == MAX_PACKETS) /* dropped */
        return;
    if (prng_below(&b->prng, 1000) < b->noise_permille)
        us += prng_below(&b->prng, b->noise_us);
    for (int i = 0; i < MAX_PINGS; i++) {
        if (f->pings[i].back_us != 0)
            continue;
        f->pings[i].sent_us = b->now;
        f->pings[i].back_us = b->now + us;
        return;
    }
}

static void hear(struct bench *b, struct flow *f)
{
    for (int i = 0; i < MAX_PINGS; i++) {
        if (f->pings[i].back_us == 0 || f->pings[i].back_us > b->now)
            continue;
        pace_heard(&f->pace, (uint32_t)(f->pings[i].back_us - f->pings[i].sent_us), b->now);
        f->pings[i].back_us = 0;
        f->asked_us = 0;
    }
}

static void steer(struct bench *b, struct flow *f)
{
    uint64_t bytes = f->delivered - f->at_step;

    f->at_step = f->delivered;
    pace_step(&f->pace, &f->limits, (uint32_t)(bytes * 8 / PACE_STEP_MS),
              f->asked_us != 0 ? b->now - f->asked_us : 0, b->now);
}

static void run_flow(struct bench *b, unsigned i)
{
    struct flow *f = &b->flows[i];

    hear(b, f);
    if (b->now / 1000 % PACE_STEP_MS == 3 * i) { /* those of two nodes are not at the same moment */
        if (f->is_on)
            steer(b, f);
        ping(b, f);
    }
    if (!f->is_on)
        return;
    f->tokens += f->pace.rate_kbps / 8;
    for (; f->tokens >= MTU; f->tokens -= MTU)
        enqueue(b, i);
}

/* Rates over the time, and the queue. */
static void run(struct bench *b, uint32_t ms)
{
    b->delay_sum_us = b->n_delays = b->delay_max_us = 0;
    for (int i = 0; i < MAX_FLOWS; i++)
        b->flows[i].delivered = b->flows[i].at_step = 0;
    b->tcp.delivered = 0;
    for (uint32_t i = 0; i < ms; i++, b->now += 1000) {
        run_tcp(b);
        for (unsigned f = 0; f < MAX_FLOWS; f++)
            run_flow(b, f);
        depart(b);
        b->delay_sum_us += queue_us(b);
        b->n_delays++;
        if (queue_us(b) > b->delay_max_us)
            b->delay_max_us = queue_us(b);
    }
}

static unsigned percent(uint64_t bytes, const struct bench *b)
{
    return (unsigned)(bytes * 8 * 100 / b->n_delays / CAPACITY_KBPS);
}

static uint32_t mean_us(const struct bench *b)
{
    return (uint32_t)(b->delay_sum_us / b->n_delays);
}

static void switch_on(struct bench *b, unsigned i, uint32_t capacity_kbps)
{
    struct flow *f = &b->flows[i];

    f->limits = (struct pace_limits){.target_us = TARGET_US, .capacity_kbps = capacity_kbps};
    f->is_on = true;
    pace_begin(&f->pace, &f->limits);
}

static void tcp_on(struct bench *b)
{
    b->tcp = (struct tcp){.is_on = true, .window = 10};
}

/* ---- */

static void alone_it_takes_the_link_and_keeps_the_queue_short(void **state)
{
    /* Not told, right, and ten times too much: what streams are told to begin and grow with. */
    static const struct {
        uint32_t kbps, mean_us, max_us;
    } told[] = {
        {0, TARGET_US + 2000, TARGET_US + 10000},
        {CAPACITY_KBPS, 2000, 2000},
        {10 * CAPACITY_KBPS, TARGET_US + 5000, QUEUE_MS * 1000},
    };
    struct bench b;

    (void)state;
    for (int i = 0; i < 3; i++) {
        begin(&b);
        run(&b, 1000);
        switch_on(&b, 0, told[i].kbps);
        run(&b, 2000);
        print_message("# told %u: first 2 s %u %%, mean %u us, max %u us\n", told[i].kbps,
                      percent(b.flows[0].delivered, &b), mean_us(&b), b.delay_max_us);
        assert_in_range(percent(b.flows[0].delivered, &b), 80, 100);
        run(&b, 10000);
        print_message("# then 10 s %u %%, mean %u us, max %u us\n",
                      percent(b.flows[0].delivered, &b), mean_us(&b), b.delay_max_us);
        assert_in_range(percent(b.flows[0].delivered, &b), 90, 100);
        assert_in_range(mean_us(&b), 0, told[i].mean_us);
        assert_in_range(b.delay_max_us, 0, told[i].max_us);
    }
}

static void it_yields_to_one_that_fills_the_queue_and_comes_back(void **state)
{
    struct bench b;

    (void)state;
    begin(&b);
    run(&b, 1000);
    switch_on(&b, 0, 0);
    run(&b, 5000);
    tcp_on(&b);
    /* Reno grows by a packet a round trip: the moment that counts is when the queue is full. */
    while (queue_us(&b) < QUEUE_MS * 1000 - 2000)
        run(&b, 1);
    run(&b, 1000);
    run(&b, 5000);
    print_message("# beside TCP: %u %%, TCP %u %%\n", percent(b.flows[0].delivered, &b),
                  percent(b.tcp.delivered, &b));
    assert_in_range(percent(b.flows[0].delivered, &b), 0, 12);
    assert_in_range(percent(b.tcp.delivered, &b), 80, 100);
    assert_true(b.flows[0].delivered > 0);
    b.tcp.is_on = false;
    run(&b, 3000);
    run(&b, 3000);
    print_message("# and after it: %u %%\n", percent(b.flows[0].delivered, &b));
    assert_in_range(percent(b.flows[0].delivered, &b), 85, 100);
}

static void two_of_them_share(void **state)
{
    struct bench b;

    (void)state;
    begin(&b);
    run(&b, 1000);
    switch_on(&b, 0, 0);
    run(&b, 3000);
    switch_on(&b, 1, 0);
    run(&b, 5000);
    run(&b, 20000);
    print_message("# two: %u %% and %u %%, mean %u us, max %u us\n",
                  percent(b.flows[0].delivered, &b), percent(b.flows[1].delivered, &b), mean_us(&b),
                  b.delay_max_us);
    assert_in_range(percent(b.flows[0].delivered + b.flows[1].delivered, &b), 85, 100);
    assert_in_range(percent(b.flows[1].delivered, &b), 10, 90);
    assert_in_range(mean_us(&b), 0, TARGET_US + 8000);
}

static void answers_that_processes_delay_are_no_queue(void **state)
{
    struct bench b;

    (void)state;
    begin(&b);
    b.noise_permille = 400;
    b.noise_us = 80000;
    run(&b, 2000);
    switch_on(&b, 0, CAPACITY_KBPS * 96 / 100);
    run(&b, 2000);
    run(&b, 10000);
    print_message("# noise: %u %%\n", percent(b.flows[0].delivered, &b));
    assert_in_range(percent(b.flows[0].delivered, &b), 75, 100);
}

static void nobody_answers_and_it_falls_to_the_floor(void **state)
{
    struct pace_limits limits = {.target_us = TARGET_US, .capacity_kbps = 10000};
    struct pace pace = {0};
    uint64_t now = 5000000;

    (void)state;
    pace_heard(&pace, BASE_US, now);
    pace_begin(&pace, &limits);
    for (int i = 0; i < 40; i++)
        pace_step(&pace, &limits, pace.rate_kbps, (uint64_t)i * PACE_STEP_MS * 1000, now);
    assert_true(pace.is_held);
    assert_int_equal(pace.rate_kbps, PACE_FLOOR_KBPS);
    /* A full link's hundredth, where that is more. */
    limits.capacity_kbps = 1000000;
    pace_step(&pace, &limits, 0, 1000000, now);
    assert_int_equal(pace.rate_kbps, 10000);
    pace_end(&pace);
    assert_int_equal(pace.rate_kbps, 0);
}

static void who_is_waited_for_has_a_higher_floor(void **state)
{
    struct pace_limits limits = {.target_us = TARGET_US, .capacity_kbps = 10000, .n_awaited = 1};
    struct pace pace = {0};
    uint64_t now = 5000000;

    (void)state;
    pace_begin(&pace, &limits);
    for (int i = 0; i < 40; i++)
        pace_step(&pace, &limits, pace.rate_kbps, 1000000, now);
    assert_true(pace.is_held);
    assert_int_equal(pace.rate_kbps, PACE_AWAITED_KBPS);
    limits.n_awaited = 2;
    pace_step(&pace, &limits, 0, 1000000, now);
    assert_int_equal(pace.rate_kbps, 2 * PACE_AWAITED_KBPS);
    /* Nobody waits any more. */
    limits.n_awaited = 0;
    for (int i = 0; i < 40; i++)
        pace_step(&pace, &limits, pace.rate_kbps, 1000000, now);
    assert_int_equal(pace.rate_kbps, PACE_FLOOR_KBPS);
}

static void streams_share_and_who_is_waited_for_comes_first(void **state)
{
    static const struct {
        uint32_t rate_kbps, n, n_awaited, patient_kbps, awaited_kbps;
    } rows[] = {
        {40000, 1, 0, 40000, 0},
        {40000, 4, 0, 10000, 0},
        {100, 4, 0, PACE_FLOOR_KBPS, 0},
        {0, 0, 0, PACE_FLOOR_KBPS, 0},
        {40000, 4, 1, 10000, 10000},
        {10000, 4, 1, 2000, PACE_AWAITED_KBPS},
        {10000, 4, 2, 1000, PACE_AWAITED_KBPS},
        {PACE_AWAITED_KBPS, 2, 1, PACE_FLOOR_KBPS, PACE_AWAITED_KBPS},
        {100, 2, 2, 0, PACE_AWAITED_KBPS},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pace_flow flow = {.n_streams = rows[i].n, .n_awaited = rows[i].n_awaited};

        if (rows[i].patient_kbps != 0)
            assert_int_equal(pace_share_kbps(rows[i].rate_kbps, &flow, PACE_PATIENT),
                             rows[i].patient_kbps);
        if (rows[i].awaited_kbps != 0)
            assert_int_equal(pace_share_kbps(rows[i].rate_kbps, &flow, PACE_AWAITED),
                             rows[i].awaited_kbps);
    }
}

static void a_longer_route_is_learnt(void **state)
{
    struct bench b;
    uint64_t seconds = 0;

    (void)state;
    begin(&b);
    run(&b, 5000);
    switch_on(&b, 0, CAPACITY_KBPS * 96 / 100);
    run(&b, 5000);
    assert_false(b.flows[0].pace.is_held);
    b.extra_us = 40000;
    run(&b, 2000);
    assert_true(b.flows[0].pace.is_held);
    while (b.flows[0].pace.is_held && seconds++ < (PACE_MINUTES + 1) * 60)
        run(&b, 1000);
    print_message("# learnt after %u s\n", (unsigned)seconds);
    assert_in_range(seconds, (PACE_MINUTES - 1) * 60, (PACE_MINUTES + 1) * 60);
    run(&b, 5000);
    assert_in_range(b.flows[0].pace.rate_kbps, CAPACITY_KBPS * 9 / 10, CAPACITY_KBPS);
    /* A shorter one at once. */
    b.extra_us = 0;
    run(&b, 1000);
    b.extra_us = 40000;
    run(&b, 1000);
    assert_true(b.flows[0].pace.is_held);
}

static void one_that_has_little_to_send_does_not_save_up(void **state)
{
    struct pace_limits limits = {.target_us = TARGET_US};
    struct pace pace = {0};

    (void)state;
    pace_heard(&pace, BASE_US, 1000000);
    pace_begin(&pace, &limits);
    for (int i = 0; i < 100; i++)
        pace_step(&pace, &limits, 1000, 0, 1000000);
    assert_int_equal(pace.rate_kbps, PACE_START_KBPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_it_takes_the_link_and_keeps_the_queue_short),
        cmocka_unit_test(it_yields_to_one_that_fills_the_queue_and_comes_back),
        cmocka_unit_test(two_of_them_share),
        cmocka_unit_test(answers_that_processes_delay_are_no_queue),
        cmocka_unit_test(nobody_answers_and_it_falls_to_the_floor),
        cmocka_unit_test(who_is_waited_for_has_a_higher_floor),
        cmocka_unit_test(streams_share_and_who_is_waited_for_comes_first),
        cmocka_unit_test(a_longer_route_is_learnt),
        cmocka_unit_test(one_that_has_little_to_send_does_not_save_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

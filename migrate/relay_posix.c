#include "migrate/relay_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"

enum { BUFFER = 64 * 1024 };

/* One way. */
struct half {
    int from, to;
    size_t at, have;   /* what is to be written */
    uint64_t *n_bytes; /* that went through */
    uint8_t buffer[BUFFER];
};

struct running {
    struct relay *relay;
    struct half out, in;
    uint64_t write_us; /* towards far, not before */
    uint64_t asked_us; /* when near first spoke after far; 0: far owes nothing */
    uint64_t each_us;  /* when each() is due */
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* False: the other side is gone. */
static bool fill(struct half *h)
{
    ssize_t n = read(h->from, h->buffer, sizeof(h->buffer));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    h->at = 0;
    h->have = (size_t)n;
    return true;
}

static bool drain(struct half *h)
{
    ssize_t n = write(h->to, h->buffer + h->at, h->have - h->at);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    h->at += (size_t)n;
    *h->n_bytes += (uint64_t)n;
    if (h->at == h->have)
        h->at = h->have = 0;
    return true;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int wait_ms(const struct running *r, uint64_t now)
{
    const struct relay *relay = r->relay;
    uint64_t until = UINT64_MAX;

    if (r->out.have > 0 && r->write_us > now)
        until = earlier(until, r->write_us);
    if (r->asked_us != 0 && relay->silence_ms != 0)
        until = earlier(until, r->asked_us + relay->silence_ms * 1000ull);
    if (relay->interval_ms != 0)
        until = earlier(until, r->each_us);
    if (until == UINT64_MAX)
        return -1;
    return until <= now ? 0 : (int)((until - now + 999) / 1000);
}

/* 0 = go on. */
static int from_near(struct running *r, uint64_t now)
{
    if (!fill(&r->out))
        return RELAY_NEAR_ENDED;
    if (r->out.have > 0 && r->asked_us == 0)
        r->asked_us = now;
    return 0;
}

static int to_far(struct running *r, uint64_t now)
{
    uint64_t before = *r->out.n_bytes;

    if (!drain(&r->out))
        return RELAY_FAR_ENDED;
    if (r->relay->rate_kbps != 0)
        r->write_us = now + (*r->out.n_bytes - before) * 8000 / r->relay->rate_kbps;
    return 0;
}

static int from_far(struct running *r)
{
    if (!fill(&r->in))
        return RELAY_FAR_ENDED;
    if (r->in.have > 0)
        r->asked_us = 0;
    return 0;
}

static short wants(bool reads, bool writes)
{
    return (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
}

static int step(struct running *r)
{
    uint64_t now = now_us();
    bool may_write = r->out.have > 0 && r->write_us <= now;
    struct pollfd fds[] = {
        {.fd = r->relay->near, .events = wants(r->out.have == 0, r->in.have > 0)},
        {.fd = r->relay->far, .events = wants(r->in.have == 0, may_write)},
        {.fd = r->relay->stop, .events = POLLIN},
    };
    short gone = POLLHUP | POLLERR;
    int end = 0;

    if (poll(fds, 3, wait_ms(r, now)) < 0 && errno != EINTR)
        return RELAY_STOPPED;
    now = now_us();
    if ((fds[2].revents & POLLIN) != 0)
        return RELAY_STOPPED;
    if (r->out.have == 0 && (fds[0].revents & (POLLIN | gone)) != 0)
        end = from_near(r, now);
    if (end == 0 && (fds[0].revents & POLLOUT) != 0 && !drain(&r->in))
        end = RELAY_NEAR_ENDED;
    if (end == 0 && may_write && (fds[1].revents & (POLLOUT | gone)) != 0)
        end = to_far(r, now);
    if (end == 0 && r->in.have == 0 && (fds[1].revents & (POLLIN | gone)) != 0)
        end = from_far(r);
    if (end == 0 && r->asked_us != 0 && r->relay->silence_ms != 0 &&
        now >= r->asked_us + r->relay->silence_ms * 1000ull)
        end = RELAY_SILENT;
    if (r->relay->interval_ms != 0 && now >= r->each_us) {
        r->relay->each(r->relay->context);
        r->each_us = now + r->relay->interval_ms * 1000ull;
    }
    return end;
}

static void make_non_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

enum relay_end relay_run(struct relay *relay)
{
    cleanup_free struct running *r = calloc(1, sizeof(*r)); /* too large for a small stack */
    int end = r == NULL ? RELAY_STOPPED : 0;

    if (r != NULL)
        *r = (struct running){.relay = relay,
                              .out = {relay->near, relay->far, .n_bytes = &relay->n_out},
                              .in = {relay->far, relay->near, .n_bytes = &relay->n_in}};
    make_non_blocking(relay->near);
    make_non_blocking(relay->far);
    while (end == 0)
        end = step(r);
    return (enum relay_end)end;
}

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
#include "migrate/read_ahead.h"

struct running {
    struct relay *relay;
    struct read_ahead *pages;
    uint64_t write_us; /* towards far, not before */
    uint64_t asked_us; /* since when far owes something; 0: nothing */
    uint64_t each_us;  /* when each() is due */
    uint8_t buffer[READ_AHEAD_TAKEN];
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool has_for(const struct running *r, enum read_ahead_side to)
{
    size_t size;

    return read_ahead_peek(r->pages, to, &size) != NULL;
}

/* Reads what comes from there. 0 = go on, or why not. */
static int fill(struct running *r, enum read_ahead_side from, uint64_t now)
{
    struct relay *relay = r->relay;
    bool is_near = from == READ_AHEAD_NEAR;
    ssize_t n = read(is_near ? relay->near : relay->far, r->buffer, sizeof(r->buffer));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return is_near ? RELAY_NEAR_ENDED : RELAY_FAR_ENDED;
    if (!is_near)
        relay->n_in += (uint64_t)n;
    if (read_ahead_take(r->pages, from, r->buffer, (size_t)n, now) < 0)
        return RELAY_GARBLED;
    if (!is_near)
        r->asked_us = read_ahead_is_owed(r->pages) ? now : 0;
    return 0;
}

/* Writes what is to go there, as far as that takes it. */
static int drain(struct running *r, enum read_ahead_side to, uint64_t now)
{
    struct relay *relay = r->relay;
    bool is_near = to == READ_AHEAD_NEAR;
    size_t size;
    const uint8_t *data = read_ahead_peek(r->pages, to, &size);
    ssize_t n = write(is_near ? relay->near : relay->far, data, size);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0)
        return is_near ? RELAY_NEAR_ENDED : RELAY_FAR_ENDED;
    if (!is_near)
        relay->n_out += (uint64_t)n;
    if (!is_near && relay->rate_kbps != 0)
        r->write_us = now + (uint64_t)n * 8000 / relay->rate_kbps;
    return read_ahead_sent(r->pages, to, (size_t)n, now) < 0 ? RELAY_GARBLED : 0;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int wait_ms(const struct running *r, uint64_t now)
{
    const struct relay *relay = r->relay;
    uint64_t until = UINT64_MAX;

    if (r->write_us > now && has_for(r, READ_AHEAD_FAR))
        until = earlier(until, r->write_us);
    if (r->asked_us != 0 && relay->silence_ms != 0)
        until = earlier(until, r->asked_us + relay->silence_ms * 1000ull);
    if (relay->interval_ms != 0)
        until = earlier(until, r->each_us);
    if (until == UINT64_MAX)
        return -1;
    return until <= now ? 0 : (int)((until - now + 999) / 1000);
}

/* One that is not waited for is left out: poll() would tell of its end again and again. */
static struct pollfd side(int fd, bool reads, bool writes)
{
    return (struct pollfd){.fd = reads || writes ? fd : -1,
                           .events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0))};
}

static bool is_silent(const struct running *r, uint64_t now)
{
    return r->asked_us != 0 && r->relay->silence_ms != 0 &&
           now >= r->asked_us + r->relay->silence_ms * 1000ull;
}

static bool is_ready(const struct pollfd *side, short event)
{
    return (side->events & event) != 0 && (side->revents & (event | POLLHUP | POLLERR)) != 0;
}

static int serve(struct running *r, const struct pollfd *near, const struct pollfd *far,
                 uint64_t now)
{
    int end = 0;

    if (is_ready(near, POLLOUT))
        end = drain(r, READ_AHEAD_NEAR, now);
    if (end == 0 && is_ready(near, POLLIN))
        end = fill(r, READ_AHEAD_NEAR, now);
    if (end == 0 && is_ready(far, POLLOUT))
        end = drain(r, READ_AHEAD_FAR, now);
    if (end == 0 && is_ready(far, POLLIN))
        end = fill(r, READ_AHEAD_FAR, now);
    if (end == 0 && r->asked_us == 0 && has_for(r, READ_AHEAD_FAR))
        r->asked_us = now;
    return end;
}

static int step(struct running *r)
{
    uint64_t now = now_us();
    struct pollfd fds[] = {
        side(r->relay->near, read_ahead_wants(r->pages, READ_AHEAD_NEAR),
             has_for(r, READ_AHEAD_NEAR)),
        side(r->relay->far, read_ahead_wants(r->pages, READ_AHEAD_FAR),
             r->write_us <= now && has_for(r, READ_AHEAD_FAR)),
        {.fd = r->relay->stop, .events = POLLIN},
    };
    int end;

    if (poll(fds, 3, wait_ms(r, now)) < 0 && errno != EINTR)
        return RELAY_STOPPED;
    now = now_us();
    if ((fds[2].revents & POLLIN) != 0)
        return RELAY_STOPPED;
    end = serve(r, &fds[0], &fds[1], now);
    if (end == 0 && is_silent(r, now))
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
    struct read_ahead *pages = read_ahead_new(relay->page_size);
    int end = r == NULL || pages == NULL ? RELAY_STOPPED : 0;

    if (end == 0) {
        r->relay = relay;
        r->pages = pages;
    }
    make_non_blocking(relay->near);
    make_non_blocking(relay->far);
    while (end == 0)
        end = step(r);
    read_ahead_free(pages);
    return (enum relay_end)end;
}

#include "consensus/watchdog_posix.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { LOOKS_A_LIMIT = 20 };

struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool is_stopping;
    uint32_t limit_ms, tick_ms;
    void (*expired)(const char *what, uint64_t age_ms);
    struct watch *first;
};

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Waits for a tick or the stop, with the lock. */
static void wait_tick(struct watchdog *w, uint64_t now)
{
    uint64_t until = now + w->tick_ms;
    struct timespec t = {.tv_sec = (time_t)(until / 1000),
                         .tv_nsec = (long)(until % 1000) * 1000000};

    pthread_cond_timedwait(&w->stopped, &w->lock, &t);
}

static void *watchdog_main(void *data)
{
    struct watchdog *w = data;
    uint64_t last = now_ms();

    pthread_mutex_lock(&w->lock);
    while (!w->is_stopping) {
        uint64_t now, elapsed;

        wait_tick(w, last);
        now = now_ms();
        elapsed = now - last < 2 * w->tick_ms ? now - last : 2 * w->tick_ms;
        last = now;
        for (struct watch *o = w->first; o != NULL; o = o->next) {
            o->age_ms += elapsed;
            if (o->age_ms > w->limit_ms)
                w->expired(o->what, o->age_ms);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct watchdog *watchdog_new(uint32_t limit_ms, void (*expired)(const char *what, uint64_t age_ms))
{
    struct watchdog *w = calloc(1, sizeof(*w));
    pthread_condattr_t attributes;

    if (w == NULL)
        return NULL;
    w->limit_ms = limit_ms;
    w->tick_ms = limit_ms / LOOKS_A_LIMIT + 1;
    w->expired = expired;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->stopped, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&w->thread, NULL, watchdog_main, w) != 0) {
        free(w);
        return NULL;
    }
    return w;
}

void watchdog_free(struct watchdog *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_cond_signal(&w->stopped);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->stopped);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void watchdog_begin(struct watchdog *w, struct watch *o, const char *what)
{
    pthread_mutex_lock(&w->lock);
    if (o->what == NULL) {
        *o = (struct watch){.what = what, .next = w->first};
        if (w->first != NULL)
            w->first->previous = o;
        w->first = o;
    }
    pthread_mutex_unlock(&w->lock);
}

void watchdog_end(struct watchdog *w, struct watch *o)
{
    pthread_mutex_lock(&w->lock);
    if (o->what != NULL) {
        if (o->previous != NULL)
            o->previous->next = o->next;
        else
            w->first = o->next;
        if (o->next != NULL)
            o->next->previous = o->previous;
        o->what = NULL;
    }
    pthread_mutex_unlock(&w->lock);
}

#include "migrate/page_runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void run_free(struct page_run *run)
{
    free(run->is_given);
    free(run->pages);
    free(run);
}

uint64_t page_runs_end(const struct page_runs *runs, const struct page_message *of)
{
    return of->address + of->n * (uint64_t)runs->page_size;
}

bool page_run_is_whole(const struct page_run *run)
{
    return run->is_known && run->have == run->size;
}

/* One that came shorter than it was asked for is the end of its range. */
bool page_run_wants_more(const struct page_run *run)
{
    return run->is_consumed && !run->is_extended && run->is_known && run->of.n == run->n_asked;
}

/* ---- asking and receiving */

struct page_run *page_runs_add(struct page_runs *runs, const struct page_message *of,
                               uint32_t n_demanded, uint64_t now_us)
{
    struct page_run *run = calloc(1, sizeof(*run));

    if (run == NULL)
        return NULL;
    *run = (struct page_run){.of = *of,
                             .n_asked = of->n,
                             .n_demanded = n_demanded,
                             .n_left = of->n,
                             .asked_us = now_us,
                             .size = of->n * runs->page_size};
    run->pages = malloc(run->size);
    run->is_given = calloc(of->n, 1);
    if (run->pages == NULL || run->is_given == NULL) {
        run_free(run);
        return NULL;
    }
    if (runs->last != NULL)
        runs->last->next = run;
    else
        runs->first = run;
    runs->last = run;
    runs->n_bytes += run->size;
    if (runs->receiving == NULL)
        runs->receiving = run;
    return run;
}

int page_runs_take_head(struct page_runs *runs, const struct page_message *answer)
{
    struct page_run *run = runs->receiving;

    if (!answer->is_answer || answer->process != run->of.process ||
        answer->address != run->of.address || answer->n > run->n_asked)
        return -EPROTO;
    run->of.n = answer->n;
    run->n_left -= run->n_asked - answer->n;
    runs->n_bytes -= run->size - answer->n * runs->page_size;
    run->size = answer->n * runs->page_size;
    run->is_known = true;
    return 0;
}

size_t page_runs_take(struct page_runs *runs, const uint8_t *data, size_t size)
{
    struct page_run *run = runs->receiving;
    size_t n = run->size - run->have < size ? run->size - run->have : size;

    memcpy(run->pages + run->have, data, n);
    run->have += n;
    if (page_run_is_whole(run))
        runs->receiving = run->next;
    return n;
}

size_t page_runs_n_awaited(const struct page_runs *runs)
{
    size_t n = 0;

    for (const struct page_run *run = runs->receiving; run != NULL; run = run->next)
        n += (run->size - run->have) / runs->page_size;
    return n;
}

/* ---- looking up and forgetting */

struct page_run *page_runs_find(const struct page_runs *runs, const struct page_message *of,
                                bool *ret_may_come)
{
    *ret_may_come = false;
    for (struct page_run *run = runs->first; run != NULL; run = run->next) {
        if (run->of.process != of->process || of->address < run->of.address ||
            of->address >= page_runs_end(runs, &run->of))
            continue;
        if (run->is_known)
            return run;
        *ret_may_come = true;
    }
    return NULL;
}

static bool is_needless(const struct page_run *run)
{
    return run->n_left == 0 && !page_run_wants_more(run);
}

/* Those that may go, as long as there is more than `limit`. */
static void drop(struct page_runs *runs, size_t limit, bool only_needless)
{
    struct page_run **at = &runs->first, *kept = NULL;

    while (*at != NULL) {
        struct page_run *run = *at;

        if (runs->n_bytes > limit && page_run_is_whole(run) && run->n_readers == 0 &&
            (!only_needless || is_needless(run))) {
            *at = run->next;
            runs->n_bytes -= run->size;
            run_free(run);
        } else {
            kept = run;
            at = &run->next;
        }
    }
    runs->last = kept;
}

void page_runs_tidy(struct page_runs *runs)
{
    drop(runs, 0, true);
}

bool page_runs_make_room(struct page_runs *runs, size_t size, size_t limit)
{
    if (size > limit)
        return false;
    if (runs->n_bytes > limit - size)
        drop(runs, limit - size, false);
    return runs->n_bytes <= limit - size;
}

void page_runs_clear(struct page_runs *runs)
{
    struct page_run *next;

    for (struct page_run *run = runs->first; run != NULL; run = next) {
        next = run->next;
        run_free(run);
    }
    *runs = (struct page_runs){.page_size = runs->page_size};
}

/* page_runs: pages that were asked of a page server, in the order of asking, and what came (pure).
 * See read_ahead.h.
 */
#ifndef SKEIN_MIGRATE_PAGE_RUNS_H
#define SKEIN_MIGRATE_PAGE_RUNS_H

#include "migrate/page_wire.h"

struct page_run {
    struct page_run *next;  /* asked for after this one */
    struct page_message of; /* what was asked for; from its head on, what comes */
    uint32_t n_asked;
    uint32_t n_demanded; /* at its front: not asked for ahead */
    uint32_t n_readers;  /* answers that are made out of it now */
    uint32_t n_left;     /* pages that were not given to anybody */
    bool is_known;       /* its answer's head was there */
    bool was_met;        /* by a demand */
    bool is_consumed;    /* somebody went on into it */
    bool is_extended;    /* what follows was asked for */
    uint64_t asked_us;
    size_t have, size; /* bytes of `pages` that are there, and that will be */
    uint8_t *is_given; /* of each page */
    uint8_t *pages;
};

/* Zeroes and a page_size begin one. */
struct page_runs {
    size_t page_size;
    struct page_run *first, *last;
    struct page_run *receiving; /* the first that is not whole; NULL: none */
    size_t n_bytes;             /* of all */
};

uint64_t page_runs_end(const struct page_runs *runs, const struct page_message *of);
bool page_run_is_whole(const struct page_run *run);
/* What follows is worth asking for. */
bool page_run_wants_more(const struct page_run *run);

/* Was asked for, its first pages because they are wanted. NULL: no memory. */
struct page_run *page_runs_add(struct page_runs *runs, const struct page_message *of,
                               uint32_t n_demanded, uint64_t now_us);
/* The head of the answer to `receiving`. -EPROTO: it is not. */
int page_runs_take_head(struct page_runs *runs, const struct page_message *answer);
/* Bytes that follow it; the number used. */
size_t page_runs_take(struct page_runs *runs, const uint8_t *data, size_t size);
size_t page_runs_n_awaited(const struct page_runs *runs); /* pages */

/* One whose head was there and that has this page. NULL: none; *ret_may_come: it was asked for. */
struct page_run *page_runs_find(const struct page_runs *runs, const struct page_message *of,
                                bool *ret_may_come);
/* Drops those that nobody needs. */
void page_runs_tidy(struct page_runs *runs);
/* Room for `size` bytes more within `limit`: the oldest go, which are most likely what was sent in
 * vain. False: there is none. */
bool page_runs_make_room(struct page_runs *runs, size_t size, size_t limit);
void page_runs_clear(struct page_runs *runs);

#endif

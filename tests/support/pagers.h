/* pagers: a criu lazy-pages and a page server, as far as they speak to each other, with a
 * read_ahead between them that gets its bytes in pieces. The server dies of a question for a page
 * that it does not have, as criu's does; every page that lazy-pages is given is looked at.
 */
#ifndef SKEIN_TESTS_SUPPORT_PAGERS_H
#define SKEIN_TESTS_SUPPORT_PAGERS_H

#include "migrate/page_wire.h"
#include "migrate/read_ahead.h"
#include "tests/support/prng.h"

enum { PAGERS_RANGES = 16, PAGERS_PAGES = 4096, PAGERS_ASKED = 128, PAGERS_PAGE = 4096 };

struct pagers_bytes {
    uint8_t *data;
    size_t at, have, capacity;
};

struct pagers_range {
    uint64_t process, address;
    uint32_t n;
    bool is_given[PAGERS_PAGES];
};

struct pagers {
    struct prng prng;
    enum page_form form;
    struct read_ahead *ra;
    uint64_t now_us;
    uint32_t page_us; /* that a page takes on its way from the server */
    struct pagers_range ranges[PAGERS_RANGES];
    size_t n_ranges;
    struct page_message asked[PAGERS_ASKED]; /* by lazy-pages, the oldest first */
    size_t n_asked;
    struct pagers_bytes to_server, to_lazy, got; /* got: by lazy-pages, not yet a whole answer */
    uint32_t n_questions, n_sent, n_given;       /* questions that the server got, pages */
    int result;                                  /* the first error of the read_ahead */
    const char *wrong;                           /* NULL: nothing yet */
};

void pagers_begin(struct pagers *p, enum page_form form, uint64_t seed);
void pagers_end(struct pagers *p);
void pagers_add(struct pagers *p, uint64_t process, uint64_t address, uint32_t n);

/* lazy-pages asks. `page` was not given; n pages at most, of the same range. */
void pagers_ask(struct pagers *p, size_t range, uint32_t page, uint32_t n);
/* As it does when nothing is asked for: the first pages that it was not given. False: none. */
bool pagers_ask_next(struct pagers *p, uint32_t n);
/* Some bytes move, in one place. False: none could anywhere. */
bool pagers_step(struct pagers *p);
void pagers_settle(struct pagers *p); /* until none can */

#endif

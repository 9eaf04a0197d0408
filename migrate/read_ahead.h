/* read_ahead: memory that follows a guest is asked for before it is wanted (pure).
 *
 * `near` is criu lazy-pages, which waits for each answer before it asks for what comes next, `far`
 * the page server at the other end of a long way. What near asks for is asked of far with some
 * pages behind it; those wait here until near wants them. A consumer that goes on from where it
 * was has the pages behind that asked for as well, while the ones before are still on their way:
 * as far answers with what there is, up to the end of a range, and dies of a question for a page
 * that it does not have, such a question begins with the last page that is known to be there. What
 * near wants and is not here is asked for at once, behind no more than two windows that are on
 * their way; a window is what came within READ_AHEAD_TARGET_US lately.
 *
 * near takes its answers in the order of its questions, and asks for some pages by itself after
 * each one that somebody waited for: at criu's measure, 64 KiB, whoever walks through memory that
 * is not there would get a seventeenth of the way. So such an answer is cut to what comes within
 * READ_AHEAD_TARGET_US, and READ_AHEAD_TOUCHED_US behind a page that was waited for; the rest is
 * asked for again.
 *
 * No page can be wrong: at the source nothing of the guest runs any more.
 *
 * Bounds: READ_AHEAD_MEMORY bytes of pages, and beyond them READ_AHEAD_DEMAND for each of
 * READ_AHEAD_DEMANDS questions: 20 MiB. What was asked for ahead may not be wanted, for near has it
 * already: so it uses up trust, which pages that are wanted renew, and no more is sent in vain.
 *
 * What is not understood is passed on as it is: from the beginning, when near's first words or
 * far's first answer are not; from there on, when near says something else later (its good-bye).
 */
#ifndef SKEIN_MIGRATE_READ_AHEAD_H
#define SKEIN_MIGRATE_READ_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    READ_AHEAD_MEMORY = 16 * 1024 * 1024,
    READ_AHEAD_DEMAND = 64 * 1024,   /* criu's own measure after a fault */
    READ_AHEAD_DEMANDS = 64,         /* questions of near's without an answer; the next ones wait */
    READ_AHEAD_WINDOW = 1024 * 1024, /* at most */
    READ_AHEAD_TARGET_US = 4000,
    READ_AHEAD_TOUCHED_US = 2000,
    READ_AHEAD_TAKEN = 64 * 1024, /* bytes at once, read_ahead_take() */
};

enum read_ahead_side { READ_AHEAD_NEAR, READ_AHEAD_FAR };

struct read_ahead;

/* page_size 0: everything is passed on as it is. NULL: no memory. */
struct read_ahead *read_ahead_new(size_t page_size);
void read_ahead_free(struct read_ahead *ra);

/* Does it want more from there? It then takes up to READ_AHEAD_TAKEN bytes. */
bool read_ahead_wants(const struct read_ahead *ra, enum read_ahead_side from);
/* 0, or -EPROTO: far is not to be understood any more, -ENOMEM. Everything ends there. */
int read_ahead_take(struct read_ahead *ra, enum read_ahead_side from, const uint8_t *data,
                    size_t size, uint64_t now_us);

/* What is to be sent there next, borrowed until the next call; NULL and 0: nothing. */
const uint8_t *read_ahead_peek(const struct read_ahead *ra, enum read_ahead_side to,
                               size_t *ret_size);
/* So much of it was sent. As read_ahead_take. */
int read_ahead_sent(struct read_ahead *ra, enum read_ahead_side to, size_t size, uint64_t now_us);

/* Is far to answer something? False where that is not known. */
bool read_ahead_is_owed(const struct read_ahead *ra);

#endif

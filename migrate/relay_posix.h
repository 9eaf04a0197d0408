/* relay: carries bytes between two stream sockets, both ways, until one of them has enough.
 *
 * `near` is a program on this node, `far` the stream to the other node. Neither is closed here:
 * what the program may do once it hears of an end is the caller's to decide. Pages that near asks
 * for one after the other are asked of far ahead, where it is told their size.
 */
#ifndef SKEIN_MIGRATE_RELAY_POSIX_H
#define SKEIN_MIGRATE_RELAY_POSIX_H

#include <stddef.h>
#include <stdint.h>

enum relay_end {
    RELAY_NEAR_ENDED = 1, /* and all that it said has left */
    RELAY_FAR_ENDED,
    RELAY_STOPPED,
    RELAY_SILENT,  /* far owed an answer for too long */
    RELAY_GARBLED, /* far said what is no answer, or there is no memory to hold it */
};

struct relay {
    int near, far;        /* borrowed; made non-blocking */
    int stop;             /* readable: enough; -1: none */
    size_t page_size;     /* near is criu lazy-pages, and far a page server (read_ahead.h); 0: no */
    uint32_t rate_kbps;   /* towards far; 0: no limit */
    uint32_t silence_ms;  /* near spoke, and far has said nothing for so long; 0: it may */
    uint32_t interval_ms; /* each() is called about so often while it runs; 0: never */
    void (*each)(void *context);
    void *context;
    uint64_t n_out, n_in; /* bytes to far, and from far */
};

enum relay_end relay_run(struct relay *relay);

#endif

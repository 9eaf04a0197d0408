/* move: how a running guest may be moved to another node (pure values). */
#ifndef SKEIN_BASE_MOVE_H
#define SKEIN_BASE_MOVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    MOVE_DOWNTIME_MS = 300, /* it may stand still so long, unless said otherwise */
    MOVE_DOWNTIME_MAX_MS = 600 * 1000,
    MOVE_CONNECTIONS_MAX = 8,
};

enum move_mode {
    MOVE_AUTO = 1, /* picked from what is measured */
    MOVE_STOP,     /* stop-and-copy: it stands still while all of its state crosses */
    MOVE_PRE, /* pre-copy: what it writes meanwhile is sent again, the rest while it stands still */
    MOVE_POST, /* post-copy: it goes on at the target, its memory follows */
};

/* How a guest is to move. */
struct move_terms {
    enum move_mode mode;     /* other than AUTO: this one or none */
    uint32_t downtime_ms;    /* it may stand still so long; 1 … MOVE_DOWNTIME_MAX_MS */
    uint32_t bandwidth_kbps; /* the stream takes no more; 0 = what the link gives */
    uint32_t connections; /* that a machine's memory crosses by; 1 … MOVE_CONNECTIONS_MAX, and by
                             any mode but PRE 1 */
};

/* How far the source is with giving a guest out, before packing. */
struct move_progress {
    uint32_t round;       /* of pre-copy, from 1; 0 = there is only one */
    bool is_files;        /* it runs, and its files are copied: the bytes are theirs */
    uint64_t done_bytes;  /* may exceed the total, which was measured before */
    uint64_t total_bytes; /* 0 = nothing has begun */
    uint32_t blackout_ms; /* that it is expected to stand still for; 0 = not known */
};

#define MOVE_TERMS_DEFAULT ((struct move_terms){MOVE_AUTO, MOVE_DOWNTIME_MS, 0, 1})

const char *move_mode_name(enum move_mode v); /* "auto", "stop", "pre", "post" */
/* -EINVAL */
int move_mode_parse(const char *text, enum move_mode *ret);
/* Can a move in this mode have so many connections? QEMU refuses several (multifd) where post-copy
 * may follow ("Postcopy is not yet compatible with multifd", 10.0). */
bool move_connections_fit(enum move_mode mode, uint32_t connections);

void move_terms_encode(const struct move_terms *terms, struct writer *w);
/* Terms that are out of bounds fail the reader. */
void move_terms_decode(struct reader *r, struct move_terms *ret);
void move_progress_encode(const struct move_progress *progress, struct writer *w);
void move_progress_decode(struct reader *r, struct move_progress *ret);
/* How long the rest takes at that rate; 0: nothing is left, or the rate is not known (0). */
uint64_t move_left_ms(const struct move_progress *progress, uint32_t rate_kbps);

#endif

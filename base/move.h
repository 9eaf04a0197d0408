/* move: how a running guest may be moved to another node (pure values). */
#ifndef SKEIN_BASE_MOVE_H
#define SKEIN_BASE_MOVE_H

#include <stdint.h>

enum {
    MOVE_DOWNTIME_MS = 300, /* it may stand still so long, unless said otherwise */
    MOVE_DOWNTIME_MAX_MS = 600 * 1000,
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
};

#define MOVE_TERMS_DEFAULT ((struct move_terms){MOVE_AUTO, MOVE_DOWNTIME_MS, 0})

const char *move_mode_name(enum move_mode v); /* "auto", "stop", "pre", "post" */
/* -EINVAL */
int move_mode_parse(const char *text, enum move_mode *ret);

#endif

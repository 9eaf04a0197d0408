/* mode: in which way a guest is to be moved, from what is known of it and of its way (pure). */
#ifndef SKEIN_MIGRATE_MODE_H
#define SKEIN_MIGRATE_MODE_H

#include "base/bytes.h"
#include "base/limits.h"
#include "base/move.h"
#include "migrate/look.h"
#include "migrate/room.h"

enum {
    MODE_BASE_MS = 60,  /* of any move: freeze, dump, commit, restore of a small guest */
    MODE_POST_MS = 40,  /* more than that, until a guest runs whose memory follows */
    MODE_LIVE_MS = 150, /* of one that was copied while it ran: from its last page until it answers
                           (docs/benchmarks.md) */
    MODE_POST_GAIN = 2, /* so many times shorter it has to be, for what it risks */
    MODE_COPY_KBPS =
        500000, /* from memory to memory, until a move has shown it: docs/benchmarks.md */
    MODE_MEASURED_MIB = 16,     /* a move of less says little about it */
    MODE_MAX_ROUNDS = 10,       /* of pre-copy */
    MODE_CONVERGE_PERCENT = 80, /* of the rate: what is written faster is not caught up with */
    MODE_ROUNDS_MS = 40000,     /* all rounds of a cell together, so that the rest has its time */
    MODE_ROUNDS_FACTOR = 2,   /* they hold no more than so many times the guest's memory: the target
                                 keeps all of them */
    MODE_ROUNDS_MIN_MIB = 64, /* but so much in any case */
};

/* What the source is told of a move, beside what it sees itself. */
struct mode_wish {
    struct move_terms terms;
    uint32_t link_kbps;     /* that is free on the way; 0 = not known */
    uint32_t copy_kbps;     /* from memory to memory, as mode_measure had it; 0 = not known */
    bool target_can_lazy;   /* as of struct look */
    bool allows_post;       /* the guest may be lost with either node while its memory follows */
    char target[NAME_SIZE]; /* its name, for words */
    struct node_room room;  /* there, when it was prepared */
};

struct mode_verdict {
    enum move_mode mode;  /* 0: the mode that was asked for cannot be */
    uint32_t blackout_ms; /* expected */
    uint32_t total_ms;    /* expected, until all of it is there */
    uint32_t rounds;      /* of pre-copy, before it stands still */
    uint64_t ahead_bytes; /* of files, likewise */
};

/* Picks; every reason becomes one of `look` (notes, or the obstacle of a mode that cannot be). */
void mode_pick(const struct mode_wish *wish, struct look *look, struct mode_verdict *ret);

/* The rate from memory to memory, link and packing included, by a stop-and-copy of `bytes` of
 * memory in `us`, and by those before it (`kbps`; 0: there was none). */
uint32_t mode_measure(uint32_t kbps, uint64_t bytes, uint64_t us);

/* Of a guest that is copied while it runs: AUTO becomes PRE, and goes on by POST should it not
 * converge; where PRE is insisted on it does not. */
void mode_begin_live(struct mode_wish *wish);
/* Rounds of pre-copy after which such a guest goes on by POST; 0 = it does not. */
uint32_t mode_post_after(const struct mode_wish *wish);
/* Of its downtime, what the copy of such a guest's last pages may take: at least 1. */
uint32_t mode_last_round_ms(const struct mode_wish *wish);

/* Rounds of pre-copy of a cell that are over; starts as zeroes. */
struct mode_rounds {
    uint32_t n;
    uint64_t bytes;      /* of the last one */
    uint64_t left_bytes; /* written since that began: what the next would carry */
    uint64_t all_bytes, all_us;
    uint64_t kbps; /* the best of them: a short round is not about the link */
};

enum mode_next {
    MODE_AGAIN = 1, /* another round */
    MODE_HALT,      /* it stands still, and what is left crosses */
    MODE_FOLLOW,    /* it stands still, and what is left follows */
};

/* What a guest will stand still for that is moved as was asked for, before anything was copied: of
 * STOP and POST. 0: it is not known. */
uint32_t mode_expected_ms(const struct mode_wish *wish, uint64_t memory_bytes);
/* The same after rounds, and `next`. */
uint32_t mode_rounds_expected_ms(const struct mode_rounds *rounds, enum mode_next next);

/* One more is over: `bytes` crossed in `us`, `left_bytes` were written meanwhile. */
void mode_round_over(struct mode_rounds *rounds, uint64_t bytes, uint64_t us, uint64_t left_bytes);
/* Goes on while it converges, until what is left takes no more than last_round_ms; what does not
 * converge follows if it may (post_after, as mode_post_after gives it: not 0). Of a guest of
 * memory_bytes. */
enum mode_next mode_next(const struct mode_rounds *rounds, uint64_t memory_bytes,
                         uint32_t last_round_ms, uint32_t post_after);

/* The rate at which it is expected to cross; never 0. */
uint32_t mode_link_kbps(const struct mode_wish *wish);

void mode_wish_encode(const struct mode_wish *wish, struct writer *w);
void mode_wish_decode(struct reader *r, struct mode_wish *ret);

#endif

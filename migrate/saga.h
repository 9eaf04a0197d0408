/* saga: the steps of moving a running guest, as decisions (pure; the law is DESIGN: moving a
 * guest).
 *
 * Three parties decide, each by what it sees at this moment, so that any of them may restart in the
 * middle: the target and the source by the replicated phase and the copy that their guard reports;
 * the leader by the phase and both reports. The leader alone keeps a step, for its limits of time.
 *
 *   step       source's copy   target's copy    who acts
 *   PREPARING  running         none → prepared  target: PREPARE, RECEIVE
 *   COPYING    running → …     prepared → …     leader tells the source to capture
 *   VERIFIED   handed over     received         leader proposes the commit
 *   COMMITTED  handed over     received → …     target: ACTIVATE
 *   RETURNING  handed over     none             leader proposes return; then source: RESUME
 *   FETCHING   handed over     running          only when its memory follows: target: AWAIT
 *   RUNNING    handed over     running          leader proposes done; then source: DISCARD
 *   ABORTING   any             any              leader proposes abort; then RESUME and DISCARD
 *
 * A target that owns the guest and cannot restore it throws away what it received, and does nothing
 * by itself: once its guard reports no copy, none can come to life there, and the source's frozen
 * copy may go on under its old epoch. Where there is none either, the migration is done, and the
 * target starts its guest anew, as after any loss.
 */
#ifndef SKEIN_MIGRATE_SAGA_H
#define SKEIN_MIGRATE_SAGA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"

enum { /* limits, ms */
       SAGA_PREPARE_LIMIT_MS = 30000,
       SAGA_COPY_LIMIT_MS = 60000,
       SAGA_LIVE_COPY_LIMIT_MS = 3600000, /* of a guest that runs meanwhile */
       SAGA_ORDER_AGAIN_MS = 100,         /* an order to capture may be lost */
       SAGA_PATIENCE_MS = 1000,           /* see saga_patience_ms() */
       SAGA_PATIENCE_MAX_MS = 3000,
       SAGA_LAST_WORD_MS = 1000, /* a stream broke: so long its target may say why by itself */
};

/* Post-copy: with the commit ("handover") the memory is in two places. The source's copy never runs
 * again; it gives its memory out until the target says that all of it arrived. Should that not come
 * about (a node lost, a stream that ends), the target's copy is killed, and what its restart policy
 * says is done with a guest that has failed; a target that is lost is a loss like any other.
 *
 * The migration as the cluster has agreed on it. */
enum saga_phase {
    SAGA_PHASE_OVER = 0,  /* done, aborted, or its guest was lost */
    SAGA_PHASE_RESERVED,  /* the source owns the guest */
    SAGA_PHASE_COMMITTED, /* the target owns it */
    SAGA_PHASE_HANDOVER,  /* the target owns it, its memory follows */
};

/* What a node says of its copy of the guest, as far as it belongs to this migration. */
enum saga_copy {
    SAGA_COPY_UNHEARD = 0, /* the leader has no report of this node yet */
    SAGA_COPY_NONE,
    SAGA_COPY_RUNNING, /* as the owner's copy does; also while it is frozen by a lease */
    SAGA_COPY_BUSY,    /* on its way to the next one */
    SAGA_COPY_PREPARED,
    SAGA_COPY_RECEIVED,
    SAGA_COPY_HANDED_OVER,
    SAGA_COPY_ENDED, /* the guest ended by itself */
};

/* ---- source and target */

struct saga_local {
    enum saga_phase phase;
    bool is_owner; /* over: the state still places this copy here */
    enum saga_copy copy;
    bool ordered;      /* source: the leader told it to capture */
    bool failed;       /* its part failed before */
    bool image_ready;  /* target */
    bool switch_ready; /* target: its own switch knows of the commit before the guest is thawed */
    bool lease_live;   /* target */
    bool memory_here;  /* target: all of it has arrived */
    bool source_gone;  /* target: the source was lost, or began anew, since the handover */
};

enum saga_deed {
    SAGA_REST = 0, /* nothing to do now */
    SAGA_PREPARE,
    SAGA_RECEIVE,
    SAGA_CAPTURE,
    SAGA_ACTIVATE,
    SAGA_AWAIT,   /* target: until its memory is here */
    SAGA_KILL,    /* target: its memory will not come */
    SAGA_RESUME,  /* source: thaw, it is the owner still, or again */
    SAGA_DISCARD, /* this copy is not needed any more */
};

/* For how long the target may acknowledge nothing of what is sent, before the source takes the
 * stream for broken, and the move is undone. A guest that stands still meanwhile is not kept so for
 * longer than a second, or than its user allows; 0: it runs meanwhile, as long as any stream. */
uint32_t saga_patience_ms(bool is_live, uint32_t downtime_ms);

enum saga_deed saga_source(const struct saga_local *local);
enum saga_deed saga_target(const struct saga_local *local);

/* ---- leader */

enum saga_step {
    SAGA_PREPARING = 1,
    SAGA_COPYING,
    SAGA_VERIFIED,
    SAGA_COMMITTED,
    SAGA_FETCHING, /* the guest runs at the target, its memory is still on its way */
    SAGA_RUNNING,
    SAGA_ABORTING,
    SAGA_RETURNING, /* the target could not bring it to life: back to the source */
    SAGA_STEP_END
};

struct saga {
    uint64_t id;
    enum saga_step step;
    uint64_t since_us; /* of the step */
    uint64_t order_us; /* when the source was last told to capture */
    bool is_live;      /* a guest that runs while it is copied: the caller's to set */
    char reason[REASON_SIZE];
};

struct saga_facts {
    enum saga_phase phase;
    enum saga_copy source, target;
    bool source_failed, target_failed;
    bool is_lazy;                          /* the source has kept its memory back */
    bool memory_here;                      /* the target says that all of it arrived */
    bool target_activates;                 /* … that it knows in a moment: its guard is asked */
    bool never_ran;                        /* … that it had no part of it yet, and never will */
    const char *source_text, *target_text; /* why */
};

enum saga_advice {
    SAGA_WAIT = 0,
    SAGA_ORDER_CAPTURE,  /* tell the source (a message) */
    SAGA_PROPOSE_COMMIT, /* of a handover, where facts->is_lazy */
    SAGA_PROPOSE_ABORT,  /* saga->reason says why */
    SAGA_PROPOSE_DONE,
    SAGA_PROPOSE_RETURN, /* likewise */
};

/* A leader meets a migration: its own new one, or one that it found. */
void saga_init(struct saga *saga, uint64_t id, uint64_t now);
/* Level-triggered: asked again with the same facts it advises the same (but an order to capture
 * only every SAGA_ORDER_AGAIN_MS). */
enum saga_advice saga_step(struct saga *saga, const struct saga_facts *facts, uint64_t now);
uint64_t saga_deadline(const struct saga *saga); /* UINT64_MAX = none */
/* True when the commit is in reach: the loss of the source waits for it. */
bool saga_is_verified(const struct saga_facts *facts);
bool saga_step_is_legal(enum saga_step from, enum saga_step to);
const char *saga_step_name(enum saga_step step);

#endif

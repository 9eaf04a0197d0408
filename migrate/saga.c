#include "migrate/saga.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- source and target */

uint32_t saga_patience_ms(bool is_live, uint32_t downtime_ms)
{
    if (is_live)
        return 0;
    if (downtime_ms < SAGA_PATIENCE_MS)
        return SAGA_PATIENCE_MS;
    return downtime_ms < SAGA_PATIENCE_MAX_MS ? downtime_ms : SAGA_PATIENCE_MAX_MS;
}

enum saga_deed saga_source(const struct saga_local *local)
{
    switch (local->phase) {
    case SAGA_PHASE_RESERVED:
        return local->copy == SAGA_COPY_RUNNING && local->ordered && !local->failed ? SAGA_CAPTURE
                                                                                    : SAGA_REST;
    case SAGA_PHASE_COMMITTED:
    case SAGA_PHASE_HANDOVER:
        return SAGA_REST; /* the frozen copy is kept until the target runs */
    case SAGA_PHASE_OVER:
        break;
    }
    if (local->copy != SAGA_COPY_HANDED_OVER)
        return SAGA_REST;
    return local->is_owner ? SAGA_RESUME : SAGA_DISCARD;
}

static enum saga_deed target_reserved(const struct saga_local *local)
{
    if (local->failed)
        return SAGA_REST;
    if (local->copy == SAGA_COPY_NONE)
        return local->image_ready ? SAGA_PREPARE : SAGA_REST;
    return local->copy == SAGA_COPY_PREPARED ? SAGA_RECEIVE : SAGA_REST;
}

static enum saga_deed target_committed(const struct saga_local *local)
{
    if (local->copy == SAGA_COPY_RECEIVED && !local->failed)
        return local->switch_ready && local->lease_live ? SAGA_ACTIVATE : SAGA_REST;
    if (local->copy == SAGA_COPY_RECEIVED || local->copy == SAGA_COPY_PREPARED)
        return SAGA_DISCARD;
    return SAGA_REST; /* also without a copy: the leader says what becomes of the guest */
}

/* A copy that failed to get its memory, or ended by itself, is left to its restart policy: that
 * begins when the migration is over. */
static enum saga_deed target_handover(const struct saga_local *local)
{
    if (local->copy == SAGA_COPY_ENDED)
        return SAGA_REST;
    if (local->copy != SAGA_COPY_RUNNING || local->memory_here)
        return target_committed(local);
    return local->source_gone || local->failed ? SAGA_KILL : SAGA_AWAIT;
}

enum saga_deed saga_target(const struct saga_local *local)
{
    switch (local->phase) {
    case SAGA_PHASE_RESERVED:
        return target_reserved(local);
    case SAGA_PHASE_COMMITTED:
        return target_committed(local);
    case SAGA_PHASE_HANDOVER:
        return target_handover(local);
    case SAGA_PHASE_OVER:
        break;
    }
    return local->copy == SAGA_COPY_PREPARED || local->copy == SAGA_COPY_RECEIVED ? SAGA_DISCARD
                                                                                  : SAGA_REST;
}

/* ---- leader */

#define STEP(step) (1u << (step))
#define AFTER_COMMIT                                                                               \
    (STEP(SAGA_COMMITTED) | STEP(SAGA_FETCHING) | STEP(SAGA_RUNNING) | STEP(SAGA_RETURNING))

/* From where to where; a new leader may find any step's facts, so that steps may be skipped. */
static const unsigned legal[SAGA_STEP_END] = {
    [SAGA_PREPARING] =
        STEP(SAGA_COPYING) | STEP(SAGA_VERIFIED) | STEP(SAGA_ABORTING) | AFTER_COMMIT,
    [SAGA_COPYING] = STEP(SAGA_VERIFIED) | STEP(SAGA_ABORTING) | AFTER_COMMIT,
    [SAGA_VERIFIED] = STEP(SAGA_ABORTING) | AFTER_COMMIT,
    [SAGA_COMMITTED] = AFTER_COMMIT & ~STEP(SAGA_COMMITTED),
    [SAGA_FETCHING] = STEP(SAGA_COMMITTED) | STEP(SAGA_RUNNING), /* it has run: no way back */
    [SAGA_RUNNING] = AFTER_COMMIT & ~STEP(SAGA_RUNNING),
    /* the commit of an earlier leader may win over our abort */
    [SAGA_ABORTING] = AFTER_COMMIT,
    [SAGA_RETURNING] = STEP(SAGA_COMMITTED) | STEP(SAGA_RUNNING), /* the source lost its copy */
};

bool saga_step_is_legal(enum saga_step from, enum saga_step to)
{
    return (legal[from] & STEP(to)) != 0;
}

const char *saga_step_name(enum saga_step step)
{
    static const char *const names[SAGA_STEP_END] = {
        [SAGA_PREPARING] = "preparing", [SAGA_COPYING] = "copying",
        [SAGA_VERIFIED] = "verified",   [SAGA_COMMITTED] = "committed",
        [SAGA_FETCHING] = "fetching",   [SAGA_RUNNING] = "running",
        [SAGA_ABORTING] = "aborting",   [SAGA_RETURNING] = "returning",
    };

    return (unsigned)step < SAGA_STEP_END && names[step] != NULL ? names[step] : "?";
}

void saga_init(struct saga *saga, uint64_t id, uint64_t now)
{
    *saga = (struct saga){.id = id, .step = SAGA_PREPARING, .since_us = now};
}

static void move_to(struct saga *saga, enum saga_step step, uint64_t now)
{
    if (saga->step == step)
        return;
    assert(saga_step_is_legal(saga->step, step));
    saga->step = step;
    saga->since_us = now;
}

bool saga_is_verified(const struct saga_facts *facts)
{
    return facts->phase == SAGA_PHASE_RESERVED && facts->source == SAGA_COPY_HANDED_OVER &&
           facts->target == SAGA_COPY_RECEIVED;
}

/* Why the migration cannot go on, or NULL. */
static const char *obstacle(const struct saga *saga, const struct saga_facts *facts, uint64_t now)
{
    if (facts->source_failed)
        return facts->source_text;
    if (facts->target_failed)
        return facts->target_text;
    if (facts->source == SAGA_COPY_ENDED)
        return "the guest ended by itself";
    if (facts->source == SAGA_COPY_NONE) /* and is not started while it is to move */
        return "the guest does not run on its node yet";
    if (facts->target == SAGA_COPY_NONE && saga->step != SAGA_PREPARING)
        return "the target lost what it had prepared";
    if (now >= saga_deadline(saga))
        return saga->step == SAGA_PREPARING ? "the target took too long to prepare"
                                            : "the transfer took too long";
    return NULL;
}

static enum saga_advice order_capture(struct saga *saga, uint64_t now)
{
    if (saga->order_us != 0 && now < saga->order_us + (uint64_t)SAGA_ORDER_AGAIN_MS * 1000)
        return SAGA_WAIT;
    saga->order_us = now;
    return SAGA_ORDER_CAPTURE;
}

static enum saga_advice step_reserved(struct saga *saga, const struct saga_facts *facts,
                                      uint64_t now)
{
    const char *reason = obstacle(saga, facts, now);

    if (saga->step == SAGA_ABORTING)
        return SAGA_PROPOSE_ABORT;
    if (reason == NULL && saga_is_verified(facts)) {
        move_to(saga, SAGA_VERIFIED, now);
        return SAGA_PROPOSE_COMMIT;
    }
    if (reason != NULL) {
        snprintf(saga->reason, sizeof(saga->reason), "%s", reason);
        move_to(saga, SAGA_ABORTING, now);
        return SAGA_PROPOSE_ABORT;
    }
    if (saga->step == SAGA_VERIFIED) /* a report is missing again: what was verified stays so */
        return SAGA_PROPOSE_COMMIT;
    if (saga->step == SAGA_PREPARING && facts->target != SAGA_COPY_PREPARED &&
        facts->target != SAGA_COPY_RECEIVED)
        return SAGA_WAIT;
    move_to(saga, SAGA_COPYING, now);
    return facts->source == SAGA_COPY_RUNNING ? order_capture(saga, now) : SAGA_WAIT;
}

/* The target owns it and has no copy; nor will it ever have one by this migration. */
static enum saga_advice step_without_target(struct saga *saga, const struct saga_facts *facts,
                                            uint64_t now)
{
    if (facts->phase == SAGA_PHASE_HANDOVER && facts->target_activates) {
        move_to(saga, SAGA_COMMITTED, now);
        return SAGA_WAIT;
    }
    if (facts->phase == SAGA_PHASE_HANDOVER &&
        (!facts->never_ran || saga->step == SAGA_FETCHING)) { /* it may have run: no way back */
        move_to(saga, SAGA_COMMITTED, now);
        return SAGA_PROPOSE_DONE;
    }
    if (facts->source != SAGA_COPY_HANDED_OVER && facts->source != SAGA_COPY_BUSY) {
        move_to(saga, SAGA_COMMITTED, now);
        return facts->source == SAGA_COPY_UNHEARD ? SAGA_WAIT : SAGA_PROPOSE_DONE;
    }
    snprintf(saga->reason, sizeof(saga->reason), "%s",
             facts->target_failed ? facts->target_text : "the target lost what it had received");
    move_to(saga, SAGA_RETURNING, now);
    return SAGA_PROPOSE_RETURN;
}

enum saga_advice saga_step(struct saga *saga, const struct saga_facts *facts, uint64_t now)
{
    if (facts->phase == SAGA_PHASE_RESERVED)
        return step_reserved(saga, facts, now);
    if (facts->target == SAGA_COPY_RUNNING && facts->phase == SAGA_PHASE_HANDOVER &&
        !facts->memory_here) {
        move_to(saga, SAGA_FETCHING, now);
        return SAGA_WAIT;
    }
    if (facts->target == SAGA_COPY_RUNNING || facts->target == SAGA_COPY_ENDED) {
        move_to(saga, SAGA_RUNNING, now);
        return SAGA_PROPOSE_DONE;
    }
    if (facts->target == SAGA_COPY_NONE)
        return step_without_target(saga, facts, now);
    move_to(saga, SAGA_COMMITTED, now);
    return SAGA_WAIT;
}

uint64_t saga_deadline(const struct saga *saga)
{
    if (saga->step == SAGA_PREPARING)
        return saga->since_us + (uint64_t)SAGA_PREPARE_LIMIT_MS * 1000;
    if (saga->step == SAGA_COPYING)
        return saga->since_us +
               (uint64_t)(saga->is_live ? SAGA_LIVE_COPY_LIMIT_MS : SAGA_COPY_LIMIT_MS) * 1000;
    return UINT64_MAX;
}

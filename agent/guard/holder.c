#include "agent/guard/holder.h"

#include <errno.h>
#include <string.h>

#include "base/planted.h"

void holder_init(struct holder *h, const uint8_t boot_nonce[NONCE_SIZE], uint32_t run,
                 uint32_t freeze_ms)
{
    *h = (struct holder){
        .run = run,
        .next_sequence = 1,
        .freeze_us = (uint64_t)freeze_ms * 1000,
        .lapsed = true,
    };
    memcpy(h->boot_nonce, boot_nonce, NONCE_SIZE);
}

void holder_issue(struct holder *h, uint64_t now, struct stamp *ret)
{
    memcpy(ret->boot_nonce, h->boot_nonce, NONCE_SIZE);
    ret->run = h->run;
    ret->sequence = h->next_sequence++;
    h->issued_us[ret->sequence % HOLDER_STAMPS_KEPT] = now > 0 ? now : 1;
}

/* When the stamp was issued; 0 for a stamp that is not ours, or forgotten. */
static uint64_t issued_at(const struct holder *h, const struct stamp *stamp)
{
    if (stamp->run != h->run || memcmp(stamp->boot_nonce, h->boot_nonce, NONCE_SIZE) != 0)
        return 0;
    if (stamp->sequence == 0 || stamp->sequence >= h->next_sequence ||
        h->next_sequence - stamp->sequence > HOLDER_STAMPS_KEPT)
        return 0;
    return h->issued_us[stamp->sequence % HOLDER_STAMPS_KEPT];
}

/* The moment from which a lease that ends at `end_us` counts as over. */
static uint64_t freeze_before(const struct holder *h, uint64_t end_us)
{
    return end_us > h->freeze_us ? end_us - h->freeze_us : 0;
}

/* What another cluster numbered means nothing to this one. */
static void enter_cluster(struct holder *h, const struct lease_ack *ack)
{
    memcpy(h->cluster, ack->cluster, NONCE_SIZE);
    h->term = ack->term;
    h->floor_index = ack->index;
}

/* Only the answer to a beat of this very lapse: an older list may lack a copy that was started
 * since. */
static bool may_lift(const struct holder *h, const struct lease_ack *ack, uint64_t issued)
{
    return ack->has_copies && (issued >= h->lapsed_at_us || IS_PLANTED(STALE_LIFT));
}

static bool is_of_others(const struct holder *h, const struct lease_ack *ack)
{
    static const uint8_t none[NONCE_SIZE];

    return memcmp(h->cluster, none, NONCE_SIZE) != 0 &&
           memcmp(h->cluster, ack->cluster, NONCE_SIZE) != 0;
}

enum holder_outcome holder_ack(struct holder *h, const struct lease_ack *ack, uint64_t now)
{
    bool is_others = is_of_others(h, ack);
    uint64_t issued = issued_at(h, &ack->stamp);
    uint64_t from = IS_PLANTED(LEASE_FROM_ARRIVAL) ? now : issued;
    uint64_t end = from + (uint64_t)ack->lease_ms * 1000;
    uint64_t freeze_us = ack->freeze_ms != 0 ? (uint64_t)ack->freeze_ms * 1000 : h->freeze_us;

    if (issued == 0 || (is_others ? !h->lapsed : ack->term < h->term && !IS_PLANTED(OLD_ACKS)))
        return HOLDER_IGNORED;
    if (!is_others) {
        memcpy(h->cluster, ack->cluster, NONCE_SIZE);
        h->term = ack->term;
        h->freeze_us = freeze_us;
    }
    if (ack->lease_ms == 0 || now + freeze_us >= end)
        return HOLDER_IGNORED;
    if (h->lapsed) {
        if (!may_lift(h, ack, issued))
            return HOLDER_IGNORED;
        if (is_others)
            enter_cluster(h, ack);
        h->freeze_us = freeze_us;
        h->lease_end_us = end;
        if (ack->index > h->floor_index)
            h->floor_index = ack->index;
        return HOLDER_LIFT;
    }
    /* Time is up and holder_expire() was not asked yet: it decides, not a late ack. */
    if (now >= holder_freeze_at(h) || end <= h->lease_end_us)
        return HOLDER_IGNORED;
    h->lease_end_us = end;
    return HOLDER_EXTENDED;
}

bool holder_lifted(struct holder *h, uint64_t now)
{
    if (now >= freeze_before(h, h->lease_end_us))
        return false;
    h->lapsed = false;
    return true;
}

uint64_t holder_freeze_at(const struct holder *h)
{
    return h->lapsed ? UINT64_MAX : freeze_before(h, h->lease_end_us);
}

bool holder_expire(struct holder *h, uint64_t now)
{
    if (now < holder_freeze_at(h))
        return false;
    h->lapsed = true;
    h->lapsed_at_us = now;
    return true;
}

int holder_may_start(const struct holder *h, uint64_t index, uint64_t now)
{
    if (h->lapsed || now >= holder_freeze_at(h))
        return -EKEYEXPIRED;
    return index < h->floor_index ? -ESTALE : 0;
}

#include "agent/lease.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/planted.h"
#include "base/timers.h"
#include "base/units.h"

bool stamp_is_equal(const struct stamp *a, const struct stamp *b)
{
    return a->run == b->run && a->sequence == b->sequence &&
           memcmp(a->boot_nonce, b->boot_nonce, NONCE_SIZE) == 0;
}

static bool is_listed(const struct lease_ack *ack, const char *guest, uint64_t epoch)
{
    for (uint32_t i = 0; i < ack->n_copies; i++) {
        const struct guest_copy *copy = &ack->copies[i];

        if (strcmp(copy->guest, guest) == 0 && (copy->epoch == epoch || IS_PLANTED(THAW_ANY_EPOCH)))
            return true;
    }
    return false;
}

bool lease_ack_keeps(const struct lease_ack *ack, const uint8_t cluster[NONCE_SIZE],
                     const char *guest, uint64_t epoch)
{
    return memcmp(ack->cluster, cluster, NONCE_SIZE) == 0 &&
           (epoch > ack->index || is_listed(ack, guest, epoch));
}

void stamp_encode(const struct stamp *stamp, struct writer *w)
{
    write_bytes(w, stamp->boot_nonce, NONCE_SIZE);
    write_u32(w, stamp->run);
    write_u64(w, stamp->sequence);
}

void stamp_decode(struct reader *r, struct stamp *ret)
{
    read_bytes(r, ret->boot_nonce, NONCE_SIZE);
    ret->run = read_u32(r);
    ret->sequence = read_u64(r);
}

void lease_ack_encode(const struct lease_ack *ack, struct writer *w)
{
    stamp_encode(&ack->stamp, w);
    write_bytes(w, ack->cluster, NONCE_SIZE);
    write_u64(w, ack->term);
    write_u32(w, ack->freeze_ms);
    write_u32(w, ack->lease_ms);
    write_u64(w, ack->index);
    write_bool(w, ack->has_copies);
    write_u32(w, ack->n_copies);
    for (uint32_t i = 0; i < ack->n_copies; i++) {
        write_string(w, ack->copies[i].guest);
        write_u64(w, ack->copies[i].epoch);
    }
}

struct lease_ack *lease_ack_copy(const struct lease_ack *ack)
{
    struct lease_ack *copy = malloc(sizeof(*copy));

    if (copy != NULL)
        memcpy(copy, ack, offsetof(struct lease_ack, copies[ack->n_copies]));
    return copy;
}

void lease_ack_decode(struct reader *r, struct lease_ack *ret)
{
    stamp_decode(r, &ret->stamp);
    read_bytes(r, ret->cluster, NONCE_SIZE);
    ret->term = read_u64(r);
    ret->freeze_ms = read_u32(r);
    ret->lease_ms = read_u32(r);
    ret->index = read_u64(r);
    ret->has_copies = read_bool(r);
    ret->n_copies = read_count(r, MAX_NODE_GUESTS);
    for (uint32_t i = 0; i < ret->n_copies; i++) {
        read_string(r, ret->copies[i].guest, sizeof(ret->copies[i].guest));
        ret->copies[i].epoch = read_u64(r);
        if (!name_is_valid(ret->copies[i].guest))
            reader_fail(r);
    }
    if (ret->freeze_ms > TIMERS_MAX_FREEZE_MS ||
        (ret->freeze_ms != 0 && ret->freeze_ms < TIMERS_MIN_FREEZE_MS))
        reader_fail(r);
    if (ret->lease_ms > MAX_LEASE_MS || (!ret->has_copies && ret->n_copies > 0))
        reader_fail(r);
    if (r->failed)
        memset(ret, 0, sizeof(*ret));
}

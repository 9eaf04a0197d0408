#include "agent/guard/record.h"

#include <errno.h>
#include <string.h>

enum { RECORD_VERSION = 3 };

void guest_record_deinit(struct guest_record *record)
{
    guest_run_deinit(&record->run);
    memset(record, 0, sizeof(*record));
}

void guest_record_encode(const struct guest_record *record, struct writer *w)
{
    write_u8(w, RECORD_VERSION);
    guest_run_encode(&record->run, w);
    write_bytes(w, record->cluster, NONCE_SIZE);
    write_u8(w, (uint8_t)record->state);
    write_u64(w, record->migration);
    write_u8(w, record->frozen_by);
    write_bool(w, record->keep_upper);
    write_u32(w, (uint32_t)record->exit_status);
    write_u32(w, record->pid);
    write_u64(w, record->start_time);
    write_u32(w, record->n_starts);
}

int guest_record_decode(const void *data, size_t size, struct guest_record *ret)
{
    struct reader r;
    int rc;

    memset(ret, 0, sizeof(*ret));
    reader_init(&r, data, size);
    if (read_u8(&r) != RECORD_VERSION)
        return -EBADMSG;
    rc = guest_run_decode(&r, &ret->run);
    if (rc < 0)
        return rc;
    read_bytes(&r, ret->cluster, NONCE_SIZE);
    ret->state = read_u8(&r);
    ret->migration = read_u64(&r);
    ret->frozen_by = read_u8(&r);
    ret->keep_upper = read_bool(&r);
    ret->exit_status = (int32_t)read_u32(&r);
    ret->pid = read_u32(&r);
    ret->start_time = read_u64(&r);
    ret->n_starts = read_u32(&r);
    if (reader_done(&r) && ret->state >= GUEST_STARTING && ret->state <= GUEST_RESTORING)
        return 0;
    guest_record_deinit(ret);
    return -EBADMSG;
}

bool guest_record_is_target(const struct guest_record *record)
{
    return record->state == GUEST_PREPARED || record->state == GUEST_RECEIVED;
}

bool guest_record_is_of(const struct guest_record *record, const uint8_t cluster[NONCE_SIZE])
{
    return memcmp(record->cluster, cluster, NONCE_SIZE) == 0;
}

bool guest_record_stays(const struct guest_record *record)
{
    return record->run.spec.failover == FAILOVER_STAY;
}

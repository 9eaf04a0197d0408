/* Committed entries and snapshots: to the owner's queue and to the replica's own copy of the state.
 *
 * A command stands in the log as {u8 version, 3 zero bytes, u32 size, u64 term}, its bytes, zeroes
 * up to a multiple of 8 (libraft demands that). The term is the entry's own: libraft does not hand
 * it to the state machine. A snapshot is {u8 version, 7 zero bytes, u64 index, u64 term}, then the
 * fsm's bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "consensus/replica_raft.h"

enum { ENTRY_VERSION = 1, ENTRY_HEADER = 16, SNAPSHOT_VERSION = 1, SNAPSHOT_HEADER = 24 };

static size_t round_up(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

int replica_entry_encode(uint64_t term, const void *bytes, size_t size, struct raft_buffer *ret)
{
    size_t whole = round_up(ENTRY_HEADER + size);
    uint8_t *data = raft_calloc(1, whole);
    struct writer w;

    if (data == NULL)
        return -ENOMEM;
    writer_init(&w, data, whole);
    write_u32(&w, ENTRY_VERSION);
    write_u32(&w, (uint32_t)size);
    write_u64(&w, term);
    write_bytes(&w, bytes, size);
    *ret = (struct raft_buffer){.base = data, .len = whole};
    return 0;
}

static bool entry_decode(const struct raft_buffer *buffer, uint64_t *ret_term, size_t *ret_size)
{
    struct reader r;
    bool ok;

    reader_init(&r, buffer->base, buffer->len);
    ok = read_u32(&r) == ENTRY_VERSION;
    *ret_size = read_u32(&r);
    *ret_term = read_u64(&r);
    return ok && !r.failed && buffer->len == round_up(ENTRY_HEADER + *ret_size);
}

static void tell_entry(struct replica *r, enum replica_event_type type, uint64_t index,
                       uint64_t term, const void *bytes, size_t size)
{
    struct replica_event event = {.type = type};

    event.entry.index = index;
    event.entry.term = term;
    event.entry.size = size;
    event.entry.bytes = malloc(size > 0 ? size : 1);
    if (event.entry.bytes == NULL)
        abort(); /* a replica must not skip an entry */
    memcpy(event.entry.bytes, bytes, size);
    replica_tell(r, &event);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
    struct replica *r = fsm->data;
    /* libraft counts an entry as applied after this returns, and counts its own entries too. */
    uint64_t index = raft_last_applied(&r->raft) + 1, term;
    const uint8_t *bytes = (const uint8_t *)buffer->base + ENTRY_HEADER;
    size_t size;

    if (!entry_decode(buffer, &term, &size))
        replica_fail_stop("log entry %llu is of no known format: is this version of Skein older "
                          "than the cluster's?",
                          (unsigned long long)index);
    r->config.fsm.apply(r->config.fsm.data, index, term, bytes, size);
    r->applied_term = term;
    tell_entry(r, REPLICA_COMMITTED, index, term, bytes, size);
    *result = NULL;
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct replica *r = fsm->data;
    struct raft_buffer *buffer = raft_malloc(sizeof(*buffer));
    size_t size = 0;
    void *state = r->config.fsm.snapshot(r->config.fsm.data, &size);
    struct writer w;

    if (buffer != NULL)
        buffer->base = raft_malloc(SNAPSHOT_HEADER + size);
    if (buffer == NULL || buffer->base == NULL || state == NULL)
        abort();
    buffer->len = SNAPSHOT_HEADER + size;
    writer_init(&w, buffer->base, buffer->len);
    write_u64(&w, SNAPSHOT_VERSION);
    write_u64(&w, raft_last_applied(&r->raft));
    write_u64(&w, r->applied_term);
    write_bytes(&w, state, size);
    free(state);
    *bufs = buffer;
    *n_bufs = 1;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
    struct replica *r = fsm->data;
    const uint8_t *bytes = (const uint8_t *)buffer->base + SNAPSHOT_HEADER;
    uint64_t version, index, term;
    struct reader reader;
    size_t size;

    reader_init(&reader, buffer->base, buffer->len);
    version = read_u64(&reader);
    index = read_u64(&reader);
    term = read_u64(&reader);
    if (reader.failed || version != SNAPSHOT_VERSION)
        replica_fail_stop("a snapshot is of no known format: is this version of Skein older than "
                          "the cluster's?");
    size = buffer->len - SNAPSHOT_HEADER;
    if (r->config.fsm.restore(r->config.fsm.data, index, term, bytes, size) < 0)
        replica_fail_stop("the snapshot at %llu cannot be read", (unsigned long long)index);
    r->applied_term = term;
    tell_entry(r, REPLICA_RESTORED, index, term, bytes, size);
    raft_free(buffer->base); /* libraft gives it away on success */
    return 0;
}

void replica_resync(struct replica *r)
{
    struct replica_event event = {.type = REPLICA_RESTORED};

    event.entry.index = raft_last_applied(&r->raft);
    event.entry.term = r->applied_term;
    event.entry.bytes = r->config.fsm.snapshot(r->config.fsm.data, &event.entry.size);
    if (event.entry.bytes == NULL)
        abort();
    if (event_queue_catch_up(&r->events, &event))
        r->config.wake(r->config.wake_data);
}

void replica_fsm_init(struct replica *r)
{
    r->fsm = (struct raft_fsm){
        .version = 1,
        .data = r,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
}

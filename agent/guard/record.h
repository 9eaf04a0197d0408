/* record: what the guard writes down about each guest, so that a restarted guard knows it again
 * (pure codec; records_posix.c keeps the files).
 */
#ifndef SKEIN_AGENT_GUARD_RECORD_H
#define SKEIN_AGENT_GUARD_RECORD_H

#include "agent/guard/proto.h"

struct guest_record {
    struct guest_run run;        /* owned; its epoch is the migration's id while only a target */
    uint8_t cluster[NONCE_SIZE]; /* that its epoch is of; zeroes: it has begun under no lease */
    enum guard_guest_state state;
    uint64_t migration;  /* that it is source or target of; 0 = none */
    uint8_t frozen_by;   /* USER and MIGRATION; the lease is not the record's */
    bool keep_upper;     /* STOPPING: what the guest wrote stays */
    int32_t exit_status; /* EXITED */
    uint32_t pid;        /* of its init; 0 = none */
    uint64_t start_time; /* of that process: with the pid it names it */
    uint32_t n_starts;   /* of this epoch */
};

void guest_record_deinit(struct guest_record *record);
void guest_record_encode(const struct guest_record *record, struct writer *w);
int guest_record_decode(const void *data, size_t size, struct guest_record *ret);
/* A migration's target with nothing that runs. */
bool guest_record_is_target(const struct guest_record *record);
bool guest_record_is_of(const struct guest_record *record, const uint8_t cluster[NONCE_SIZE]);
bool guest_record_stays(const struct guest_record *record);

#endif

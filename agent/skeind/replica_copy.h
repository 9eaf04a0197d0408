/* replica_copy: the copy of the state that the Raft thread keeps, to make snapshots of and to
 * know how long leases are (pure). */
#ifndef SKEIN_AGENT_SKEIND_REPLICA_COPY_H
#define SKEIN_AGENT_SKEIND_REPLICA_COPY_H

#include <stddef.h>
#include <stdint.h>

struct replica_copy;

struct replica_copy *replica_copy_new(void); /* NULL: no memory */
void replica_copy_free(struct replica_copy *copy);

/* The functions of struct replica_fsm (consensus/replica.h); `data` is the copy. */
void replica_copy_apply(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size);
void *replica_copy_snapshot(void *data, size_t *ret_size);
int replica_copy_restore(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size);
uint32_t replica_copy_election_limit_ms(void *data, uint64_t leader);

#endif

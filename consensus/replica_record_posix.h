/* replica_record_posix: what a data directory says of the replica in it: whose log it is, how far
 * nothing may be missing, and who holds it. Private to the replica; replica.h has the public half.
 */
#ifndef SKEIN_CONSENSUS_REPLICA_RECORD_POSIX_H
#define SKEIN_CONSENSUS_REPLICA_RECORD_POSIX_H

#include "consensus/replica.h"

#define REPLICA_LOG_DIRECTORY "raft"

/* Takes the directory's lock: a descriptor to close at the end; -EBUSY: another process has it. */
int replica_lock(const char *directory, struct err *err);

/* Writes the record; it is on the disk when this returns 0. */
int replica_record_write(const char *directory, const struct replica_record *record,
                         struct err *err);

/* Makes the log's directory. What is in it without a record belongs to nobody and is moved aside.
 */
int replica_prepare_log(const char *directory, bool has_record, struct err *err);

#endif

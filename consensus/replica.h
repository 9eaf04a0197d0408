/* replica: this node's part in the replicated log (contract; no third-party header in it).
 *
 * One replica is one thread of its own that does nothing but Raft. Its owner (the main thread)
 * proposes and hears what was committed; both directions are queues with a limit, nothing here
 * blocks the caller. All functions but replica_start, replica_stop and replica_next_event may be
 * called by any thread.
 *
 * The owner keeps its own copy of the state by applying REPLICA_COMMITTED in order, beginning from
 * nothing or from the last REPLICA_RESTORED. The replica keeps another one behind `struct
 * replica_fsm`, to make snapshots of.
 *
 * Fail stop (law): a write to the log, to a snapshot or to the term and vote that fails, or that is
 * outstanding longer than `disk_stall_ms`, ends the process with REPLICA_EXIT_CODE and one clear
 * last line. It never goes on with a log that may be torn.
 *
 * Its disk work uses the process's libuv thread pool (as does everything on uv_queue_work): whoever
 * keeps all of its threads busy for long stalls the log, and after `disk_stall_ms` ends the
 * process.
 *
 * Identity (law): the directory records the id that it belongs to and a mark (index, term) below
 * which nothing may be missing. When the log on disk is older than the mark, the replica does not
 * start: REPLICA_FAILED with -ESTALE; the node must come back under a new id (replica_discard).
 */
#ifndef SKEIN_CONSENSUS_REPLICA_H
#define SKEIN_CONSENSUS_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "consensus/types.h"

struct identity;
struct keyring;
struct replica;

enum {
    REPLICA_EXIT_CODE = 75,
    REPLICA_MAX_PROPOSALS = 1024, /* accepted by replica_propose, not yet handed to Raft */
    REPLICA_MAX_EVENTS = 65536,   /* not yet taken by the owner */
    REPLICA_MAX_EVENT_BYTES = 64 * 1024 * 1024,
    REPLICA_DEFAULT_DISK_STALL_MS = 5000,
};

/* A copy of the state, kept in the replica's thread. It cannot fail: lack of memory aborts. */
struct replica_fsm {
    void *data;
    void (*apply)(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size);
    /* Returns the whole state as bytes on the heap (malloc); the replica frees them. */
    void *(*snapshot)(void *data, size_t *ret_size);
    /* Replaces the state. -EBADMSG for bytes that are no snapshot. */
    int (*restore)(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size);
    /* May be NULL. For how long a follower may wait for `leader` (0: whoever it was) at most, so that
     * the leases of the other nodes outlast the election. */
    uint32_t (*election_limit_ms)(void *data, uint64_t leader);
};

/* A server in Raft's own configuration. */
struct replica_member {
    uint64_t id;
    uint32_t address;
    uint16_t port;
    enum raft_role role;
};

struct replica_config {
    const char *directory; /* must exist; the log goes to its "raft" subdirectory */
    uint64_t id;           /* node id, not 0 */
    uint32_t address;      /* where this replica listens and is reached */
    uint16_t port;         /* PORT_RAFT; 0 = any free one (see replica_port) */
    uint8_t cluster[NONCE_SIZE];
    const struct identity *identity; /* borrowed until replica_stop returns */
    struct keyring *keyring;         /* borrowed likewise */

    uint32_t election_ms;        /* 0 = DEFAULT_ELECTION_MS */
    uint32_t heartbeat_ms;       /* 0 = DEFAULT_HEARTBEAT_MS */
    uint32_t disk_stall_ms;      /* 0 = REPLICA_DEFAULT_DISK_STALL_MS */
    uint32_t snapshot_threshold; /* entries between snapshots; 0 = 1024 */
    uint32_t snapshot_trailing;  /* entries kept behind a snapshot; 0 = 1024 */
    uint32_t connect_ms;         /* limit of connect and handshake; 0 = 500 */

    /* True on the very first node alone: its log begins with the configuration {itself, voter}.
     * Refused with -EEXIST where the directory already holds a log. */
    bool bootstrap;

    struct replica_fsm fsm;
    /* Called by the replica's thread when the event queue was empty and is not any more. Must be
     * quick and thread-safe (uv_async_send, a write to an eventfd). */
    void (*wake)(void *data);
    void *wake_data;
};

enum replica_role { REPLICA_FOLLOWER = 1, REPLICA_CANDIDATE, REPLICA_LEADER };

enum replica_event_type {
    /* The log is loaded, peers are served. .started. What the disk held follows as RESTORED and,
     * once the leader has said how far they are committed, as COMMITTED. */
    REPLICA_STARTED = 1,
    /* It did not start, and its thread has ended: .failed. -ESTALE: identity law. -EEXIST:
     * bootstrap over a log, or the directory is another id's or cluster's. -EADDRINUSE, …: cannot
     * listen. -EBADMSG: unreadable log. */
    REPLICA_FAILED,
    /* .entry: in order, each index once; also those that others proposed. Indexes of Raft's own
     * entries (barriers, configurations) are left out. */
    REPLICA_COMMITTED,
    /* .entry: replace the state by this snapshot: all up to index; term is of the last command in
     * it. Also sent in place of COMMITTED when the owner was too slow to take its events. */
    REPLICA_RESTORED,
    REPLICA_ROLE,           /* .role: this server's role, term or known leader changed */
    REPLICA_MEMBERS,        /* .members: Raft's committed configuration changed */
    REPLICA_PROPOSE_FAILED, /* .propose_failed */
    REPLICA_CHANGE_DONE,    /* .change_done: outcome of add, assign, remove, transfer */
    /* Another process holds the directory's lock; the replica waits for it. */
    REPLICA_WAITING,
};

struct replica_event {
    enum replica_event_type type;
    union {
        struct {
            uint64_t term, last_index;
            bool real_time; /* the thread got SCHED_FIFO */
        } started;
        struct err failed;
        struct {
            uint64_t index, term;
            uint8_t *bytes; /* owned by the event */
            size_t size;
        } entry;
        struct {
            enum replica_role role;
            uint64_t term;
            uint64_t leader; /* 0 = unknown */
        } role;
        struct {
            uint64_t index; /* of the configuration */
            uint32_t n;
            struct replica_member *members; /* owned by the event */
        } members;
        struct {
            uint8_t request[NONCE_SIZE];
            /* -ENOTCONN: not the leader, certainly not in the log. -EAGAIN: leadership was lost,
             * the outcome is unknown: it may still be committed. -ENOSPC, -ENOMEM, -EMSGSIZE:
             * certainly not in the log. -ECANCELED: stopped, unknown. */
            int error;
        } propose_failed;
        struct {
            uint64_t cookie; /* the caller's */
            /* 0 = done (transfer: the target leads). -ENOTCONN not leader, -EAGAIN unknown, -EBUSY
             * another change is in flight, -ENOENT no such id, -EALREADY it is so already, -EEXIST
             * id or address taken, -EHOSTUNREACH it did not catch up, -ETIMEDOUT (transfer). */
            int error;
        } change_done;
    };
};

/* What a directory says of itself, without starting anything. */
struct replica_record {
    uint64_t id;
    uint8_t cluster[NONCE_SIZE];
    uint64_t mark_index, mark_term;
};

/* Reads a directory's record. -ENOENT: never used. -EBADMSG: damaged. */
int replica_inspect(const char *directory, struct replica_record *ret, struct err *err);

/* Moves a log aside ("raft.lost-ID-N") and forgets its id, so that a new one can begin. -EBUSY
 * while another process holds it. */
int replica_discard(const char *directory, struct err *err);

/* Starts the thread and returns at once; STARTED or FAILED tells what became of it. Errors here are
 * the caller's (-EINVAL) or the process's (-ENOMEM, -EAGAIN). From then on the process ignores
 * SIGPIPE and SIGXFSZ, unless it handles them. */
int replica_start(const struct replica_config *config, struct replica **ret, struct err *err);

/* Ends the thread, waits for it (bounded by disk_stall_ms) and frees everything. NULL is fine. */
void replica_stop(struct replica *replica);

/* Takes the oldest event: true, and `ret` is the caller's, to be ended with replica_event_deinit.
 */
bool replica_next_event(struct replica *replica, struct replica_event *ret);
/* Safe on zeroes and safe twice. */
void replica_event_deinit(struct replica_event *event);

/* Proposes an entry; the bytes are copied. 0: COMMITTED with these bytes or PROPOSE_FAILED will
 * follow (or a RESTORED that covers it). -ENOBUFS: too many are waiting; -EMSGSIZE: more than
 * COMMAND_MAX_SIZE; -ESHUTDOWN: it has failed or is being stopped. */
int replica_propose(struct replica *replica, const uint8_t request[NONCE_SIZE], const void *bytes,
                    size_t size);

/* Membership, on the leader only, one change at a time; REPLICA_CHANGE_DONE with the cookie tells
 * the outcome. A new member begins as a spare; a voter is caught up before it counts. Errors as of
 * replica_propose. */
int replica_add(struct replica *replica, uint64_t cookie, uint64_t id, uint32_t address,
                uint16_t port);
int replica_assign(struct replica *replica, uint64_t cookie, uint64_t id, enum raft_role role);
int replica_remove(struct replica *replica, uint64_t cookie, uint64_t id);
/* Hands leadership to `id`, 0 = to any voter that is up to date. */
int replica_transfer(struct replica *replica, uint64_t cookie, uint64_t id);

/* The highest term that this server has entered; 0 until the log is loaded. It is published before
 * a vote or message of that term leaves (DESIGN: Leases, 2). To echo a leader's stamp truthfully,
 * read it after the stamp has arrived. Any thread; never blocks. */
uint64_t replica_published_term(const struct replica *replica);

/* The port that it listens on; 0 before REPLICA_STARTED. */
uint16_t replica_port(const struct replica *replica);

#endif

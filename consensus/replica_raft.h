/* replica_raft: the inside of a replica, shared by its files (and by nobody else).
 *
 *   replica_raft.c            life: start, the thread, stop
 *   replica_report_raft.c     what the owner is told
 *   replica_fsm_raft.c        committed entries and snapshots, to the owner and to the fsm
 *   replica_disk_raft.c       libraft's disk, watched: term published, fail stop, the mark
 *   replica_transport_raft.c  libraft's network: sealed links
 *   replica_request_raft.c    proposals and membership
 */
#ifndef SKEIN_CONSENSUS_REPLICA_RAFT_H
#define SKEIN_CONSENSUS_REPLICA_RAFT_H

#include <pthread.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "consensus/file_posix.h"
#include "consensus/link_uv.h"
#include "consensus/patience.h"
#include "consensus/replica.h"
#include "consensus/replica_queue_posix.h"
#include "consensus/replica_record_posix.h"
#include "consensus/watchdog_posix.h"

enum {
    REPLICA_ADDRESS_SIZE = 24,     /* "255.255.255.255:65535" */
    REPLICA_CONNECT_RETRY_MS = 50, /* between two calls of a peer that does not answer */
    REPLICA_INSTALL_MS = 5000,     /* a snapshot that was not taken is sent again */
    REPLICA_LOCK_POLL_MS = 20,
    REPLICA_CHORES_MS = 1000, /* how often the mark follows the log, and voters are greeted */
    REPLICA_MAX_IN_FLIGHT = 256 * 1024, /* bytes of proposals handed to libraft, not yet applied */
    REPLICA_DISK_RETRY_MS = 3600000,    /* never, for us: see replica_disk_raft.c */
};

struct replica {
    struct replica_config config; /* its `directory` points to the copy below */
    char directory[FILE_PATH_SIZE];
    int lock; /* of the directory; -1 = not held */
    pthread_t thread;

    /* Between the threads. */
    struct event_queue events;
    struct request_queue requests;
    pthread_mutex_t wake_lock; /* of the two below */
    uv_async_t wakeup;
    bool takes_wakeups;
    atomic_bool is_stopping;
    _Atomic uint64_t published_term;
    _Atomic uint16_t port;

    /* The replica's thread alone. */
    uv_loop_t loop;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_timer_t chores;
    struct link *link;
    raft_uv_accept_cb accepted; /* libraft's, once it listens */
    struct raft raft;
    struct raft_io io;                /* ours over… */
    struct raft_io disk;              /* …libraft's own */
    struct raft_io_snapshot_put *put; /* in flight, or NULL */
    struct raft_uv_transport transport;
    raft_uv_transport_close_cb transport_closed;
    struct raft_tracer tracer;
    raft_io_recv_cb receive; /* libraft's */
    struct raft_fsm fsm;
    bool is_real_time;
    bool is_closing;
    size_t in_flight; /* bytes of proposals */
    struct raft_barrier spreader;
    bool is_spreading;
    bool has_change;      /* a membership change of ours is in flight */
    struct patience patience;
    unsigned patience_ms; /* libraft's election timeout as it is now */
    uint64_t last_leader; /* that was known; 0 = none */
    struct err load_error;
    uint64_t applied_term; /* of the last command applied */
    /* What the owner was told last. */
    struct {
        enum replica_role role;
        uint64_t term, leader, configuration;
    } told;

    /* The disk. */
    struct watchdog *watchdog;
    struct watch prepare_watch;  /* of the log segment that is being made */
    pthread_mutex_t record_lock; /* of the three below: the mark is written by a worker */
    struct replica_record record;
    uint64_t mark_lowered; /* grows when a mark on its way is too high */
    bool has_record;
    bool has_mark; /* above 0, or on its way */
    uv_work_t mark_work;
    bool is_marking;
    uint64_t marking_lowered;
    struct replica_record marking;
};

/* The last line, and the end of the process. */
void replica_fail_stop(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* "a.b.c.d:port" and back. */
void replica_address_format(uint32_t address, uint16_t port, char ret[REPLICA_ADDRESS_SIZE]);
int replica_address_parse(const char *text, uint32_t *ret_address, uint16_t *ret_port);

/* ---- report */
/* Hands an event to the owner (and takes it). */
void replica_tell(struct replica *r, struct replica_event *event);
/* Its role and the members, where they are not what was told last. */
void replica_report(struct replica *r);

/* ---- fsm */
void replica_fsm_init(struct replica *r);
/* Allocates (with raft_malloc) the log entry of a command. */
int replica_entry_encode(uint64_t term, const void *bytes, size_t size, struct raft_buffer *ret);
/* A snapshot of now to the owner, who fell behind. */
void replica_resync(struct replica *r);

/* ---- disk: after raft_uv_init */
void replica_disk_init(struct replica *r);
/* Brings the record and the log's directory in order, before libraft sees it. */
int replica_disk_check(struct replica *r, struct err *err);
/* A record of the first start, once the log itself is there. */
int replica_disk_adopt(struct replica *r, struct err *err);
/* The mark follows the log; from the loop. */
void replica_disk_mark(struct replica *r);

/* ---- transport */
int replica_transport_open(struct replica *r, struct err *err);
/* After replica_disk_init. */
void replica_transport_wrap(struct replica *r);
/* Keeps a link to every other voter open, before it is needed; from the loop. */
void replica_transport_greet(struct replica *r);

/* ---- requests */
/* Serves what is waiting, as far as there is room: a burst of proposals that followers could not
 * take within an election timeout would cost the leader its office. */
void replica_request_serve(struct replica *r);

#endif

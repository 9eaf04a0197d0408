/* proto: what skeind may ask of skein-guard, and what comes back (pure codec).
 *
 * Two SOCK_SEQPACKET connections to /run/skein/guard.sock, one message a packet; the first of each
 * is HELLO with the board's key (key_posix.h):
 *   lease  small, answered at once by the lease thread: STAMP, ACK; the newest one is served
 *   work   everything else; answers come when the work is done, in any order, matched by `serial`
 * Descriptors ride as SCM_RIGHTS of the packet. Every argument is checked by the guard, whoever
 * asks.
 */
#ifndef SKEIN_AGENT_GUARD_PROTO_H
#define SKEIN_AGENT_GUARD_PROTO_H

#include "agent/guest/guest.h"
#include "agent/lease.h"
#include "base/bytes.h"
#include "base/err.h"
#include "migrate/mode.h"
#include "netfabric/flows.h"

enum {
    GUARD_PACKET_MAX = 192 * 1024,
    GUARD_MAX_FDS = 3,
    GUARD_MAX_GRACE_MS = 10 * 60 * 1000,
    GUARD_KEY_SIZE = 32,
    GUARD_MAX_KEEPS = 2048, /* guests with volumes on one node */
};

enum guard_op {
    GUARD_HELLO = 1,  /* lease or work, key -> guard_hello in the reply; -EACCES, and cut off */
    GUARD_STAMP,      /* lease: -> stamp */
    GUARD_ACK,        /* lease: ack -> lapsed, lease_left_ms */
    GUARD_LIST,       /* -> reports of all guests */
    GUARD_FABRIC,     /* view: make the switch equal to it; also plugs nothing */
    GUARD_UNPACK,     /* digest + fd of the image's bytes (a regular file) -> its root stands */
    GUARD_DROP_IMAGE, /* digest: removes its root */
    GUARD_START,      /* run + index: refused while lapsed, or when index is below the floor */
    GUARD_STOP,       /* copy + grace_ms: terminate, then kill; done when nothing of it runs */
    GUARD_FREEZE,     /* copy: reason "user" */
    GUARD_THAW,       /* copy: reason "user" */
    GUARD_LOOK,       /* copy + fd of a pipe: what speaks for and against moving it (struct look) is
                       * written there */
    GUARD_EXEC,       /* copy + argv + 3 fds -> status */
    GUARD_CONSOLE,    /* copy + 3 fds: joins them to its console until either side ends */
    GUARD_LOGS,       /* guest -> fd of its log, read only */
    GUARD_PREPARE,    /* target: run with epoch = migration id -> room */
    GUARD_CAPTURE,    /* source: copy + migration + wish + fd -> report; stays frozen, reason
                         "migration" */
    GUARD_RECEIVE,    /* target: guest + migration + fd -> report */
    GUARD_ACTIVATE,   /* target: guest + migration, epoch = the commit's: live lease needed; runs on
                         reply */
    GUARD_RESUME,     /* source, after an abort: copy; thawed on reply */
    GUARD_DISCARD,    /* target, after an abort: guest + migration. Source, after the commit: the
                       * frozen copy (guest, epoch) is destroyed; only for what does not run */
    GUARD_CHECK, /* copy + timeout_ms + port or argv: done when the guest passed its health check;
                  * -EREMOTEIO when it did not, with words; another error: it was not checked */
    GUARD_FAIL,  /* copy + grace_ms: as STOP, but it counts as the guest's own end by a failure:
                  * it is EXITED then, with a status that is not 0 */
    GUARD_CHECKPOINT, /* copy + since_us: kept as it is now, and goes on -> frozen_us,
                       * handed_over_us: since and until when it stood still; mode: PRE, of memory
                       * only what was written since that one */
    GUARD_SEND,       /* copy + digest + fd: writes what CHECKPOINT kept -> bytes */
    GUARD_RESTORE,    /* as START, out of the checkpoint with this digest: fd of its file */
    GUARD_STATS,      /* copy: what it has used since it came to this node -> stats */
    GUARD_AWAIT, /* target of a handover: copy: done when all of its memory is here; -EREMOTEIO: it
                  * does not come, and the guest was killed */
    GUARD_PROGRESS,     /* source: copy + migration -> how far it is; zeroes: nothing has begun */
    GUARD_KEEP_VOLUMES, /* keeps + index: of all volumes here only those stay; -EBUSY while a guest
                         * is here whose volumes are none of them */
    GUARD_OP_END
};

/* Events of the guard on the work connection, serial 0. */
enum guard_event {
    GUARD_EVENT_LIST = 1, /* something changed: all guests anew */
    GUARD_EVENT_LAPSED,   /* everything but `stay` guests is frozen */
    GUARD_EVENT_LIFTED,
};

enum guard_connection { GUARD_CONNECTION_LEASE = 1, GUARD_CONNECTION_WORK };

enum guard_guest_state {
    GUEST_STARTING = 1,
    GUEST_RUNNING,
    GUEST_FROZEN, /* by one or more reasons */
    GUEST_STOPPING,
    GUEST_EXITED,      /* ended by itself; exit_status says how; nothing of it runs */
    GUEST_PREPARED,    /* target of a migration, nothing runs */
    GUEST_RECEIVED,    /* target: verified, nothing runs */
    GUEST_HANDED_OVER, /* source: captured whole, frozen */
    GUEST_RESTORING,
    GUEST_STATE_LAST = GUEST_RESTORING,
};

enum { FROZEN_BY_LEASE = 1, FROZEN_BY_MIGRATION = 2, FROZEN_BY_USER = 4 };

/* One guest as the guard knows it. */
struct guard_report {
    char guest[NAME_SIZE];
    uint64_t epoch;     /* 0 while only a migration's target */
    uint64_t migration; /* that it is source or target of; 0 = none */
    enum guard_guest_state state;
    uint8_t frozen_by;   /* FROZEN_BY_… */
    int32_t exit_status; /* EXITED: code, or 128 + signal; -1 unknown (adopted) */
    uint32_t pid;        /* of its init, in the node's namespace; 0 = none */
    uint32_t n_starts;   /* of this epoch */
};

struct guard_request {
    uint32_t serial; /* the caller's, not 0 */
    enum guard_op op;
    enum guard_connection connection; /* HELLO */
    uint8_t key[GUARD_KEY_SIZE];      /* HELLO: the board's */
    struct lease_ack ack;             /* ACK */
    struct guest_run run;             /* START, RESTORE, PREPARE; owned */
    uint64_t index;         /* START … KEEP_VOLUMES: of the state that it was decided on */
    struct guest_copy copy; /* guest and epoch, where one is meant */
    uint64_t migration;
    struct mode_wish wish; /* CAPTURE */
    uint32_t grace_ms;     /* STOP */
    bool keep_upper;       /* STOP: what the guest wrote stays for its next start here */
    uint64_t since_us;     /* CHECKPOINT: frozen_us of one that its buddy holds; 0: it is whole */
    uint8_t digest[DIGEST_SIZE]; /* UNPACK, DROP_IMAGE; RESTORE: the checkpoint's; SEND: of the one
                                  * that an increment continues, as the buddy holds it */
    struct fabric_view view;     /* FABRIC; owned */
    uint32_t timeout_ms;         /* CHECK */
    uint16_t port;               /* CHECK: of TCP; 0: argv is run */
    uint32_t n_argv;
    char **argv; /* EXEC, CHECK; owned; NULL-terminated where decoded */
    uint32_t n_keeps;
    char (*keeps)[VOLUMES_NAME_SIZE]; /* KEEP_VOLUMES: as guest_volumes_name() makes them; owned */
    int fds[GUARD_MAX_FDS];           /* borrowed; -1 = none */
};

struct guard_hello {
    uint8_t boot_nonce[NONCE_SIZE];
    uint32_t run;
    bool lapsed;
};

/* Since the guest came to this node, and now; GUARD_UNKNOWN where this machine does not count it.
 */
#define GUARD_UNKNOWN UINT64_MAX
struct guard_stats {
    uint64_t cpu_us;                     /* processor time of all that ran in it */
    uint64_t memory_bytes;               /* now, with the cache of its files */
    uint64_t n_processes;                /* now; threads count as processes */
    uint64_t sent_bytes, received_bytes; /* through its port; unknown without a slice */
};

struct guard_reply {
    uint32_t serial; /* 0: an event */
    int code;        /* 0 or negative errno */
    char text[ERR_TEXT_SIZE];
    enum guard_op op;
    enum guard_event event;
    struct guard_hello hello;
    struct stamp stamp;
    bool lapsed;            /* ACK */
    uint32_t lease_left_ms; /* ACK */
    int32_t status;         /* EXEC: exit code, or 128 + signal */
    uint64_t bytes, frozen_us,
        handed_over_us;            /* CAPTURE, RECEIVE; ACTIVATE: handed_over_us = runs since */
    enum move_mode mode;           /* CAPTURE, RECEIVE, CHECKPOINT: as it was done; 0 else */
    struct move_progress progress; /* PROGRESS, CAPTURE */
    uint32_t n_reports;
    struct guard_report *reports; /* LIST; owned */
    struct guard_stats stats;     /* STATS */
    struct node_room room;        /* PREPARE */
    int fd;                       /* LOGS: the receiver's to close; -1 = none */
};

void guard_request_init(struct guard_request *request); /* fds -1 */
void guard_request_deinit(struct guard_request *request);
void guard_request_encode(const struct guard_request *request, struct writer *w);
/* -EBADMSG for anything out of bounds, names that are no names, unknown ops. Descriptors are the
 * transport's. */
int guard_request_decode(const void *data, size_t size, struct guard_request *ret);
void guard_reply_init(struct guard_reply *reply);
void guard_reply_deinit(struct guard_reply *reply);
void guard_reply_encode(const struct guard_reply *reply, struct writer *w);
int guard_reply_decode(const void *data, size_t size, struct guard_reply *ret);
const char *guard_op_name(enum guard_op op);
const char *guard_guest_state_name(enum guard_guest_state state);

#endif

/* core: one node's mind (pure). Composes the state, the scheduler, leases, migrations and the
 * fabric's view; every skeind and every simulated node is this plus a shell.
 *
 * One door: core_step(core, &event, now, &actions), and core_next_deadline(). The shell carries the
 * actions out in order. Time is CLOCK_BOOTTIME in µs. Nothing here blocks, draws random numbers or
 * reads a clock.
 *
 *   node's part    beats out, acks in to the guard; makes the guard's guests equal to what the
 * state places here leader's part  authority, grants, losses, placing what has no place,
 * migrations, Raft roles, requests of users
 */
#ifndef SKEIN_AGENT_CORE_CORE_H
#define SKEIN_AGENT_CORE_CORE_H

#include "agent/core/timeline.h"
#include "agent/guard/proto.h"
#include "agent/lease.h"
#include "agent/streams/pace.h"
#include "consensus/state.h"
#include "netfabric/backhaul.h"
#include "scheduler/place.h"

struct core;

struct core_config {
    uint64_t id;              /* own node id (Raft server id) */
    struct timers timers;     /* of the cluster, until the state has them */
    uint8_t salt[NONCE_SIZE]; /* fresh random at every start: request ids are derived from it */
    struct node_facts facts;  /* own; proposed as NODE_FACTS when the state has others. Copied */
    uint32_t max_voters;      /* 3, 5 or 7 */
    uint32_t stream_delay_ms; /* queueing delay that bulk streams may cause; 0: they are not held
                               * back */
    /* Nodes that it knew when it last ended (or that its join answer named): they are tried for the
     * leader while the log is not loaded. Copied; at most CORE_MAX_HINTS count. */
    uint32_t n_hints;
    const uint64_t *hints;
};

enum { CORE_MAX_HINTS = 64, CORE_MAX_MEMBERS = 64 };

/* A server in Raft's own configuration. */
struct core_member {
    uint64_t id;
    enum raft_role role;
};

enum core_event_type {
    CORE_TICK = 1,  /* the deadline is reached */
    CORE_COMMITTED, /* the next entry of the log: index, term, data (size 0: Raft's own entry) */
    CORE_RESTORED,  /* a snapshot replaces everything: index, term, data */
    CORE_ROLE,      /* Raft: is_leader, term, leader (0 = unknown) */
    CORE_MEMBERSHIP_DONE, /* serial, code */
    CORE_PROPOSE_FAILED,  /* request, code: -ENOTCONN not leader; -EAGAIN outcome unknown */
    CORE_STAMP,           /* the guard issued a stamp: stamp, published_term */
    CORE_PEER_MESSAGE,    /* from, data: sealed, and the sender's key is the state's */
    CORE_GUARD_HELLO,     /* hello: (re)connected */
    CORE_GUARD_LOST,
    CORE_GUARD_LIST,    /* reports */
    CORE_GUARD_LEASE,   /* lapsed: froze or lifted */
    CORE_GUARD_DONE,    /* serial, reply */
    CORE_REQUEST,       /* a user's wish: ticket, command, no_wait. Needs the leader */
    CORE_REQUEST_GONE,  /* its client went away: ticket */
    CORE_IMAGE_HELD,    /* the local store holds digest, verified (also once for each at start) */
    CORE_IMAGE_FAILED,  /* a fetch failed: digest, code */
    CORE_CONFIGURATION, /* Raft's committed configuration: members. Authority counts its voters;
                         * until the first one the state's roles stand in */
    CORE_LINKS,         /* the own uplink was measured: links */
    CORE_STREAMS,       /* bulk streams to others, each PACE_STEP_MS while there are any, and once
                         * when there are none any more: flows */
    CORE_STREAM_ENDED,  /* the stream that a CAPTURE went out by is over: migration, code (0: both
                         * ends ended it; -ETIMEDOUT: the target acknowledged nothing any more) */
};

struct core_event {
    enum core_event_type type;
    uint64_t index, term;
    const uint8_t *data; /* borrowed */
    size_t size;
    bool is_leader, lapsed, no_wait, may_continue;
    uint64_t leader, from, ticket, migration;
    uint64_t published_term; /* Raft's term as last published, read when the event was made */
    uint32_t serial;
    int code;
    uint64_t sent;
    uint8_t request[NONCE_SIZE];
    uint8_t digest[DIGEST_SIZE];
    struct stamp stamp;
    struct guard_hello hello;
    uint32_t n_reports;
    const struct guard_report *reports; /* borrowed */
    const struct guard_reply *reply;    /* borrowed */
    /* REQUEST: what the user wants, as far as the user says it. Core completes it: request id where
     * it is zero, placements, epochs, terms. What it owns is taken (core calls command_deinit); the
     * struct itself stays the caller's. */
    struct command *command;
    struct backhaul links;
    uint64_t wall_s; /* any: wall clock, seconds since 1970, for what is proposed; 0 = as
                      * in an earlier event */
    uint32_t n_members;
    const struct core_member *members; /* CONFIGURATION; borrowed */
    uint32_t n_flows;
    const struct pace_flow *flows; /* STREAMS; borrowed; a node at most once */
};

enum core_action_type {
    CORE_SEND = 1,   /* to, data: lost is fine */
    CORE_PROPOSE,    /* request, data */
    CORE_WANT_STAMP, /* ask the guard for a stamp */
    CORE_ACK_GUARD,  /* ack */
    CORE_ASK_GUARD,  /* guard: the shell adds descriptors (see below) and answers with GUARD_DONE */
    CORE_MEMBERSHIP, /* serial, member_op, node, role */
    CORE_RESPOND,    /* ticket, answer: ends the request */
    CORE_PROGRESS,   /* ticket, answer: text, and of a move step, progress, rate_kbps */
    CORE_FETCH_IMAGE, /* digest, size; from any of its holders, the shell picks: answers
                         IMAGE_HELD/FAILED */
    CORE_DROP_IMAGE,  /* digest: no longer in the state */
    CORE_MEMBERS, /* nodes, keys or addresses changed: the keyring and peers are to be made anew */
    CORE_EVENT,   /* record: for `events` and the log */
    CORE_STOP,    /* answer.text: this node was removed: end */
    CORE_KEEP_CHECKPOINTS, /* those that the state names of this node; it may drop all others but
                            * the newest of a guest that came and is not named yet */
    CORE_END_STREAM, /* migration: it is over; a RECEIVE or CAPTURE that still waits for its stream
                      * ends with -ECANCELED, a stream that waits for its request is closed, and one
                      * by which it still leaves breaks */
    CORE_SET_STREAM, /* migration, patience_ms, manner: of the stream by which it leaves, from now
                      * on, as those of CAPTURE */
    CORE_PACE,       /* to, rate_kbps: that all bulk streams to this node may have together */
};
/* Descriptors of ASK_GUARD: UNPACK gets the stored image's file; CAPTURE a sealed stream to node
 * `to` that says the migration's id, and is broken when the target acknowledges nothing for
 * patience_ms (0: as any stream; see STREAM_ENDED), and gives way as `manner` says; RECEIVE the
 * accepted stream of that id from node `to` (the shell waits for it, with a limit). A stream that
 * cannot be had is answered as GUARD_DONE with its error. SEND gets a sealed stream to node `to`;
 * GUARD_DONE comes once that node has said that it keeps the checkpoint, with its digest, and says
 * how much crossed (sent) and whether it has room for an increment (may_continue). RESTORE gets the
 * checkpoint's file. */

enum member_op { MEMBER_ADD = 1, MEMBER_ASSIGN, MEMBER_REMOVE, MEMBER_TRANSFER /* it leads */ };

enum answer_kind {
    ANSWER_DONE = 1,
    ANSWER_REFUSED,     /* exit 1: reason in text; nothing changed */
    ANSWER_INVALID,     /* exit 2 */
    ANSWER_NO_PLACE,    /* exit 3: fits nowhere, text says why for each node */
    ANSWER_NOT_NOW,     /* exit 4: no leader, no quorum, outcome unknown */
    ANSWER_NOT_LEADER,  /* nothing was begun here; the shell forwards to `leader` */
    ANSWER_LEADER_LOST, /* it was begun here: the outcome is unknown; the same request (by its id)
                         * goes on at the next leader */
};

struct answer {
    enum answer_kind kind;
    char text[1024];
    uint64_t index, id; /* as in struct outcome */
    uint64_t leader;
    uint64_t node;                  /* guest create, start, migrate: where it runs now */
    uint64_t from;                  /* migrate */
    char mode[20];                  /* migrate */
    uint64_t bytes;                 /* migrate */
    const char *step;               /* PROGRESS of a migrate: static */
    struct move_progress progress;  /* likewise */
    uint32_t rate_kbps;             /* likewise */
    uint32_t blackout_us, total_ms; /* migrate: source's clock (0 = not known); leader's clock */
};

/* What happened, for people: one line of `events`. */
struct core_record {
    char what[32];         /* "node-lost", "guest-running", "migration-committed", … */
    char guest[NAME_SIZE]; /* "" = none */
    uint64_t node;         /* 0 = none */
    uint64_t index;        /* of the log, 0 = not from the log */
    char text[REASON_SIZE];
    struct timeline timeline; /* "failover" */
};

struct core_action {
    enum core_action_type type;
    uint64_t to, ticket, node, migration;
    uint32_t serial;
    enum member_op member_op;
    enum raft_role role;
    uint8_t request[NONCE_SIZE];
    uint8_t digest[DIGEST_SIZE];
    uint64_t size_bytes;
    uint32_t rate_kbps, patience_ms;
    enum pace_manner manner; /* of a CAPTURE's stream, like patience_ms */
    uint8_t *data;           /* owned by the list */
    size_t size;
    struct lease_ack *ack;       /* owned by the list */
    struct guard_request *guard; /* owned by the list; the shell may take it (set NULL) */
    struct answer *answer;       /* owned by the list */
    struct core_record *record;  /* owned by the list */
};

/* A list that core_step fills and the shell empties; grows, bounded by what one event can cause. */
struct core_actions {
    size_t n, capacity;
    struct core_action *list;
};

void core_actions_clear(struct core_actions *actions); /* keeps the capacity */
void core_actions_deinit(struct core_actions *actions);

int core_new(const struct core_config *config, struct core **ret, struct err *err);
void core_free(struct core *core);
void core_step(struct core *core, const struct core_event *event, uint64_t now,
               struct core_actions *actions);
uint64_t core_next_deadline(const struct core *core); /* UINT64_MAX = none */

/* ---- what the API shows; all borrowed until the next step */

const struct state *core_state(const struct core *core);
bool core_is_leader(
    const struct core *core); /* Raft says so, and its term's first entry is applied */
uint64_t core_leader(const struct core *core); /* 0 = unknown */
/* When another node last answered a beat of this run of skeind; 0 = never. */
uint64_t core_answered_us(const struct core *core);
bool core_has_authority(const struct core *core, uint64_t now);

enum { CORE_MAX_OTHERS = 3, CORE_OTHERS_SIZE = 160 };

/* One of the others that were asked about a silent node. */
struct other_view {
    uint64_t node;
    bool is_answered, is_heard;
    uint64_t ms_ago; /* its answer */
};

struct node_view { /* of the leader; on other nodes only what they know */
    bool present;
    bool heard; /* any beat in this leadership */
    uint64_t heard_ms_ago;
    uint32_t round_trip_us;     /* of its newest beat, as the node measured it; 0 = unknown */
    uint8_t n_beats;            /* the node's newest beats whose answer is due, … */
    uint8_t n_beats_unanswered; /* … and how many of them got none */
    bool may_be_lost;           /* it is up, it is not maintenance: … */
    uint32_t lost_in_ms;        /* … so long without a beat and the leader calls it lost */
    uint32_t lease_left_ms;     /* as granted, from the leader's side */
    bool lapsed;                /* says its guard */
    bool is_silent;             /* others are asked whether they hear it; nothing decides by that */
    uint64_t silent_ms;
    uint32_t n_others;
    struct other_view others[CORE_MAX_OTHERS];
    uint64_t applied_index;
    uint32_t backhaul_permille;
    bool has_links; /* its uplink was measured lately … */
    uint64_t links_ms_ago;
    struct backhaul links;
};
void core_node_view(const struct core *core, uint64_t node, uint64_t now, struct node_view *ret);

/* What the others say of a silent node, in words ("n3 hears it: only its path to the leader n1 is
 * down"); "" when it is not silent or this node does not lead. */
void core_ask_words(const struct core *core, uint64_t node, char *ret, size_t size);

struct guest_view {
    bool known; /* some guard reported it */
    enum guard_guest_state state;
    uint8_t frozen_by;
    int32_t exit_status;
    uint32_t pid;
    uint32_t n_starts;
    /* How it fares, as its own node and the leader know it. */
    const char *health; /* NULL: no check; "starting", "healthy", "unhealthy" */
    uint32_t n_check_failures;
    uint32_t n_ends;        /* since it last ran calmly */
    uint32_t next_start_ms; /* 0 = none is due */
    char text[REASON_SIZE]; /* of the last failed check, "" = none */
};
void core_guest_view(const struct core *core, const char *guest, struct guest_view *ret);
/* How well a guest is protected, as this node knows it. */
struct protection_view {
    bool has_age; /* this node saw its newest checkpoint committed */
    uint64_t age_ms;
    bool is_told; /* the node that it runs on said: */
    uint32_t interval_ms, n_failures;
    char text[REASON_SIZE]; /* why the newest failed, "" = it did not */
};
void core_protection_view(const struct core *core, const char *guest, struct protection_view *ret);
/* One word for people: "running", "starting", "frozen", "stopped", "pending" (no place),
 * "migrating", "lost", "unknown", … */
const char *core_guest_state_word(const struct core *core, const char *guest);
/* Telemetry rows as the scheduler takes them; heap, the caller frees. */
struct node_telemetry *core_telemetry(const struct core *core, uint64_t now, size_t *ret_n);

/* What a drain of the node would do, the most important guest first; the leader knows. */
struct drain_row {
    char guest[NAME_SIZE];
    bool goes;
    uint64_t to;    /* 0: it stays, or is on its way already */
    char text[400]; /* why it stays */
};
size_t core_drain_plan(const struct core *core, uint64_t node, struct drain_row **ret); /* heap */

/* Whether this leader would refuse to remove the node as things are; `ret`: why. */
bool core_removal_is_refused(const struct core *core, const char *name, char *ret, size_t size);

/* A migration in flight. */
struct migration_view {
    const char *step; /* NULL: this node does not lead */
    uint64_t step_ms; /* since when it is at this step */
    uint64_t bytes;   /* that the source has sent; 0: not known yet */
    struct move_progress progress;
    uint32_t rate_kbps; /* lately; 0: not known */
    const char *text;   /* why it cannot go on; "" */
};
/* What the guard of the source is told of a move, by what this node knows. */
void core_move_wish(const struct core *core, const struct guest *guest, uint64_t from, uint64_t to,
                    const struct move_terms *terms, struct mode_wish *ret);
void core_migration_view(const struct core *core, const struct migration *m, uint64_t now,
                         struct migration_view *ret);

#endif

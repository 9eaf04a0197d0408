/* skeind_uv: the daemon's whole, inside its own files only: the others carry out what core decides,
 * those of agent/api speak with clients. Everything here runs on the main thread.
 *
 *   main.c                 settings, privileges, loop
 *   skeind/skeind_uv.c            events into core, actions out of it, timers
 *   skeind/guard_uv.c      the guard's connection, descriptors for its work
 *   skeind/protect_uv.c    checkpoints on their way
 *   skeind/replica_uv.c    the replicated log
 *   skeind/links_uv.c      measures the uplink, and what of it is bulk streams
 *   skeind/cluster_uv.c    being a member: start, what to remember, ways into a cluster
 */
#ifndef SKEIN_AGENT_SKEIND_SKEIND_UV_H
#define SKEIN_AGENT_SKEIND_SKEIND_UV_H

#include <uv.h>

#include "agent/api/envelope.h"
#include "agent/config.h"
#include "agent/core/core.h"
#include "agent/skeind/facts.h"
#include "agent/skeind/guard_client_uv.h"
#include "agent/skeind/members.h"
#include "agent/skeind/peers_czmq.h"
#include "agent/streams/image_store.h"
#include "consensus/identity_sodium.h"

struct api;
struct api_server;
struct checkpoints;
struct keyring;
struct pump;
struct replica;
struct replica_copy;
struct sending;
struct streams;
struct skeind;

enum {
    SKEIND_EXIT_USAGE = 2,
    SKEIND_EXIT_IDENTITY = 76, /* the log is older than what this node had acknowledged */
    SKEIND_EXIT_REMOVED = 77,  /* the cluster removed this node */
    SKEIND_MAX_TRANSFERS = 32,
    SKEIND_TRANSFER_LIMIT_MS = 15000, /* a stream that is waited for */
    SKEIND_OWN_SERIALS = 0x40000000,  /* of requests to the guard that core does not know of */
};

/* An event that came up while core was busy with another one. */
struct deferred {
    struct deferred *next;
    struct core_event event;  /* borrows from the following */
    struct guard_reply reply; /* without what it would own */
    uint8_t data[];
};

/* A migration's stream that came before the guard was told, or a guard's request that waits for
 * its stream. */
struct transfer {
    uint64_t migration, from;
    int fd;                        /* accepted; -1 = awaited */
    struct guard_request *request; /* awaiting; NULL = the stream is here first */
    uint64_t deadline_us;
};

struct skeind {
    struct config config;
    struct machine machine;
    uv_loop_t *loop;
    struct pump *pump;
    struct api *api;
    struct api_server *server;
    struct image_store *store;
    struct checkpoints *checkpoints;
    struct sending *sendings;
    struct guard_client *guard;
    char guard_path[CONFIG_PATH_SIZE + 16];
    uint8_t guard_key[GUARD_KEY_SIZE];
    int guard_key_fd; /* open and locked for the life of the process */
    uv_timer_t deadline, sweep;
    uv_signal_t term, interrupt;
    int exit_code;

    bool is_member;
    char reason[ERR_TEXT_SIZE]; /* why it is no member, when there is a reason */
    struct members members;

    /* ---- of a member */
    struct identity identity;
    struct core *core;
    struct core_actions actions;
    bool is_stepping;
    struct deferred *first, **last;
    struct keyring *keyring;
    struct peers *peers;
    struct streams *streams;
    struct replica *replica;
    struct replica_copy *copy;
    uv_async_t replica_wake;
    uint64_t raft_leader;
    uint64_t loaded_index;   /* of the log's last entry when it was loaded: the past ends here */
    bool members_changed;    /* not acted on yet: what the past says of members is out of date */
    uint64_t members_due_us; /* acted on then at the latest */
    bool init_proposed;
    struct guard_hello hello; /* the guard's newest */
    bool has_guard;
    uint32_t next_serial;
    struct backhaul links; /* as read at … */
    uint64_t links_us;     /* … then; 0 = not yet */
    int links_error;       /* of the newest reading */
    uint64_t member_us;    /* since when, in this run */
    unsigned n_questions;  /* under way: whether this node is a member still */
    uint64_t known_us;     /* when the newest was answered */
    unsigned known_turn;   /* whom the next one goes to */
    unsigned fetch_turn;   /* which holder is asked next */
    size_t n_transfers;
    struct transfer transfers[SKEIND_MAX_TRANSFERS];
};

uint64_t now_us(void);  /* CLOCK_BOOTTIME */
uint64_t wall_ms(void); /* since 1970 */
void random_bytes(void *ret, size_t size);

/* ---- skeind/skeind_uv.c */

/* Gives core the event (now, or after the one that it is busy with; copied then) and carries out
 * what it decides. Without a core it does nothing. */
void skeind_event(struct skeind *s, const struct core_event *event);
void skeind_stop(struct skeind *s, int exit_code); /* the loop ends */
int skeind_timers_start(struct skeind *s);
uint64_t skeind_leader(const struct skeind *s); /* 0 = unknown */

/* ---- skeind/guard_uv.c */

/* While skeind is root: what its guard knows it by. */
int skeind_guard_take_key(struct skeind *s, struct err *err);
int skeind_guard_start(struct skeind *s, struct err *err);
/* -EBUSY: another skeind runs on this board. */
int skeind_guard_claim(struct skeind *s, struct err *err);
void skeind_want_stamp(struct skeind *s);
void skeind_ack_guard(struct skeind *s, const struct lease_ack *ack);
void skeind_ask_guard(struct skeind *s, struct core_action *action);
void skeind_migration_stream(void *context, uint64_t from, uint64_t migration, int fd);
void skeind_migration_end(void *context, uint64_t migration, int status);
void skeind_sweep_transfers(struct skeind *s);
void skeind_end_transfer(struct skeind *s, uint64_t migration);
/* Sends a request of the shell's own; takes it. */
void skeind_guard_send(struct skeind *s, struct guard_request *request, guard_reply_cb cb,
                       void *context);

/* ---- skeind/protect_uv.c */

void skeind_send_checkpoint(struct skeind *s, struct guard_request *request, uint64_t to);
void skeind_checkpoint_stream(void *context, uint64_t from, uint64_t created, uint64_t epoch,
                              int fd);
void skeind_keep_checkpoints(struct skeind *s);
void skeind_sweep_sendings(struct skeind *s);

/* ---- skeind/links_uv.c */

void skeind_sweep_links(struct skeind *s);
void skeind_stream_flows(void *context, const struct pace_flow *flows, uint32_t n);

/* ---- skeind/known_uv_jansson.c */

/* Asks the others when they are silent; leaves the cluster when it has removed this node. */
void skeind_sweep_known(struct skeind *s);

/* ---- skeind/replica_uv.c */

/* -EADDRINUSE, …: with words. */
int skeind_replica_start(struct skeind *s, bool bootstrap, struct err *err);
void skeind_replica_stop(struct skeind *s);
void skeind_propose(struct skeind *s, const struct core_action *action);
void skeind_membership(struct skeind *s, const struct core_action *action);

/* ---- skeind/cluster_uv.c */

/* Reads what the data directory says, and starts as a member if it is one. */
int skeind_cluster_load(struct skeind *s, struct err *err);
/* Makes a cluster of this node alone. Done when the state holds the cluster. */
int skeind_cluster_init(struct skeind *s, struct err *err);
/* Starts as what the answer to its join says that it is; takes `members`. */
int skeind_cluster_join(struct skeind *s, struct members *members, struct err *err);
/* The state's nodes changed: keys, peers, and the file follow, as soon as the state is no longer
 * the past. */
void skeind_cluster_members(struct skeind *s);
void skeind_sweep_members(struct skeind *s);
bool skeind_is_past(const struct skeind *s, uint64_t index);
/* First node, empty state, leader: the cluster begins. */
void skeind_cluster_begin(struct skeind *s);
/* Remembers why this node is no member any more, and ends the process. */
void skeind_cluster_leave(struct skeind *s, const char *reason, int exit_code);
void skeind_cluster_stop(struct skeind *s);
/* Own facts with keys; the caller ends `ret`. */
int skeind_facts(struct skeind *s, struct node_facts *ret, struct err *err);

#endif

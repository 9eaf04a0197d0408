/* sim: a cluster of real cores and real lease holders under one virtual clock and one seed.
 *
 * What is real: agent/core with all that it composes, agent/guard/holder, consensus/state, the
 * codecs. What is modelled: clocks, the network, the log (Raft), the guard around its holder, the
 * guests, the users. Each file is one model; this header is what they share.
 *
 *   main.c         seeds, output        sim.c        the loop, actors, the transcript
 *   setup.c        the first entries    node.c       skeind's shell around a core
 *   model_net.c    links                model_raft*.c  the log
 *   model_guard.c  lease, process       model_ops*.c  what the guard does to guests
 *   model_move.c   streams of moves
 *   faults.c       what goes wrong      aims.c       at the worst moment
 *   users.c        requests and their answers
 *   oracle.c       the log as committed checks.c     what must be true
 */
#ifndef SKEIN_TESTS_SIM_SIM_H
#define SKEIN_TESTS_SIM_SIM_H

#include "agent/core/core.h"
#include "agent/guard/holder.h"
#include "tests/sim/counts.h"
#include "tests/sim/queue.h"
#include "tests/sim/script.h"
#include "tests/support/prng.h"

enum {
    SIM_MAX_NODES = 5,
    SIM_GUESTS = 9,
    SIM_IMAGES = 3,
    SIM_WALL_START_S = 1700000000,

    /* A seed, µs: it forms, faults rage, all is healed, and it must settle. */
    SIM_FAULTS_FROM_US = 1500000,
    SIM_CALM_FROM_US = 52000000,
    SIM_END_US = 60000000,
    SIM_SETTLE_LIMIT_US = 20000000,
};

#define MS 1000ull

enum event_kind {
    /* to a core */
    EV_TICK = 1,
    EV_PEER,            /* from; data: b bytes */
    EV_CONNECT,         /* the guard's connections are made */
    EV_GUARD_GONE,      /* they broke */
    EV_STAMP,           /* a = run, b = sequence; within a boot */
    EV_GUARD_REPLY,     /* data: reply; a = 1: an event of the guard */
    EV_COMMITTED,       /* a = index; data: entry, not owned */
    EV_RESTORED,        /* data: snapshot, not owned */
    EV_ROLE,            /* data: core_event */
    EV_CONFIGURATION,   /* a = roles, packed */
    EV_PROPOSE_FAILED,  /* b = code; data: request id */
    EV_MEMBERSHIP_DONE, /* a = serial, b = code */
    EV_REQUEST,         /* a = ticket */
    EV_REQUEST_GONE,    /* a = ticket */
    EV_IMAGE,           /* a = image, b = code */
    EV_STREAM,          /* from; a = migration: the shell has a stream for CAPTURE or RECEIVE */
    EV_STREAM_SILENT,   /* a = migration: nothing that was sent is acknowledged any more */
    EV_STREAM_LIMIT,    /* a = migration: RECEIVE has waited long enough */
    /* to the log */
    EV_RAFT_LOADED,
    EV_RAFT_TIMER,
    EV_RAFT_MESSAGE, /* from; data: message */
    EV_PROPOSE,      /* data: proposal */
    EV_MEMBERSHIP,   /* a = serial, b = op, node, role, packed */
    /* to a guard */
    EV_LEASE_TIMER,
    EV_LIFTED,
    EV_GUARD_STAMP, /* a stamp is asked for */
    EV_GUARD_ACK,   /* data: ack */
    EV_GUARD_ASK,   /* data: request */
    EV_OP_DONE,     /* a = guest, b = token */
    /* to the simulation itself */
    EV_RESUME,    /* node, a = actor, b = run */
    EV_BOOT,      /* node, a = actor to start */
    EV_MOVE_DONE, /* a = migration, b = token */
    EV_FAULT,
    EV_HEAL, /* a = fault, node, from */
    EV_USER,
    EV_USER_SEND,  /* a = ticket, node */
    EV_USER_LIMIT, /* a = ticket */
    EV_CALM,
    EV_LOOK, /* has it settled? */
    EV_KIND_END
};

/* One process, or a thread of its own. */
struct actor {
    bool up;
    uint32_t run; /* grows with each start */
    uint64_t stalled_until;
    size_t n_held, held_capacity;
    struct event *held; /* what came while it was stalled */
};

struct link { /* one way */
    bool is_cut;
    uint32_t delay_us, jitter_us, loss_permille;
    uint64_t n_cuts;
    uint64_t open_until; /* when it was last open, and both ends lived; current only while closed */
};

/* ---- the log */

enum raft_kind { RAFT_ENTRY_COMMAND = 1, RAFT_ENTRY_CONFIG, RAFT_ENTRY_NOOP };

struct raft_entry { /* never changes; lives as long as the seed */
    struct raft_entry *next;
    uint64_t term;
    enum raft_kind kind;
    uint8_t proposer;
    uint8_t request[NONCE_SIZE];
    uint8_t roles[SIM_MAX_NODES]; /* CONFIG: enum raft_role by position, 0 = no member */
    size_t size;
    uint8_t data[];
};

struct raft_snapshot { /* likewise */
    struct raft_snapshot *next;
    uint64_t index, term;
    uint8_t roles[SIM_MAX_NODES];
    size_t size;
    uint8_t data[];
};

enum raft_state { RAFT_FOLLOWER = 0, RAFT_CANDIDATE, RAFT_LEADER };

struct raft {
    /* on disk */
    uint64_t term;
    int voted_for; /* -1 = nobody */
    struct raft_entry **log;
    size_t n, capacity;
    uint64_t first; /* index of log[0] */
    const struct raft_snapshot *snapshot;
    /* in memory */
    bool is_loaded;
    enum raft_state state;
    int leader; /* -1 = unknown */
    uint64_t commit, delivered;
    uint8_t roles[SIM_MAX_NODES]; /* of the newest configuration in the log */
    uint64_t election_us, timer_us, leader_heard_us, feed_us;
    uint32_t votes;
    uint64_t next[SIM_MAX_NODES], match[SIM_MAX_NODES], heard_us[SIM_MAX_NODES];
    uint64_t refused_us[SIM_MAX_NODES];
    uint64_t silent_us[SIM_MAX_NODES]; /* a snapshot is on its way until then */
    struct {
        uint32_t serial; /* 0 = none */
        int node;
        enum raft_role role;
        uint64_t index; /* of its entry; 0 = the node catches up first */
        uint64_t limit_us;
    } change;
    struct {
        enum raft_state state;
        uint64_t term;
        int leader;
        bool any;
    } told;
};

/* ---- the guard */

struct sim_copy {
    enum guard_guest_state state; /* 0 = there is none */
    uint64_t epoch, migration;
    uint8_t frozen_by;
    int32_t exit_status;
    uint32_t pid, n_starts;
    bool stays;
    bool has_copy;     /* something of it may run: a lift that does not list it destroys it */
    bool is_destroyed; /* by a lift: nothing of it runs any more */
    bool is_unfrozen;  /* the capture has begun, the freeze has not */
    uint64_t life;     /* of what runs: moves with it, and is another one after a new start */
    /* the operation under way */
    struct guard_request *op;
    uint32_t op_core_run;
    uint32_t token;
    bool is_finishing;
    size_t n_waiting;
    struct {
        struct guard_request *request;
        uint32_t core_run;
    } waiting[4];
};

struct sim_guard {
    struct holder holder;
    uint8_t boot_nonce[NONCE_SIZE];
    uint32_t run; /* within the boot */
    uint32_t pids;
    bool is_frozen;       /* the kernel's: the cgroup above all guests that do not stay */
    uint64_t deadline_us; /* the kernel's, own clock: filters drop what leaves later */
    uint64_t timer_us;
    uint64_t channel_us;   /* the work connection keeps its order */
    bool is_lifting;       /* its lease thread is at it, and does nothing else */
    uint64_t disturbed_us; /* by a crash or a stall, last */
    struct sim_copy copies[SIM_GUESTS];
};

/* ---- a node */

struct sim_node {
    unsigned at;
    uint64_t id;
    bool is_on;
    int32_t drift_ppm;
    uint64_t boot_us; /* the simulation's clock at boot */
    uint64_t boot_offset_us;
    struct actor actors[N_ACTORS];

    struct core *core;
    struct node_facts facts;
    uint64_t tick_us;
    uint32_t n_at_once;     /* turns that the core asked for at once, without a rest between */
    bool is_connected;      /* core and guard */
    uint32_t connected_run; /* of the guard that skeind is connected to */
    uint64_t seen_index;
    uint64_t published_term;
    uint64_t handover_us; /* until then nothing goes from the core to the log: a stall between */
    uint64_t crashed_us;  /* skeind's last crash */
    uint32_t images;      /* bit: held by the store */
    struct raft raft;
    struct sim_guard guard;
};

/* A stream between two nodes for one migration. */
struct sim_move {
    uint64_t id;
    uint8_t from, to;
    int guest;
    uint32_t token;
    bool is_open; /* the source's shell has it */
    bool drops;   /* a fault was planned for it */
    uint64_t cuts;
    struct guard_request *waits; /* RECEIVE in the target's shell */
    bool captures, receives;     /* guards are at it */
    bool is_moving;
};

struct options {
    uint32_t drift_ppm;    /* 0 = within the margin */
    bool ends_with_calm;   /* what comes after is of no interest */
    struct script *script; /* NULL: users and faults as the seed draws them */
};

struct users;
struct raft_message;
struct oracle;
struct trace;

struct sim {
    uint64_t seed, now;
    struct prng prng;
    const struct options *options;
    struct counts *counts;
    struct trace *trace; /* NULL = nobody listens */
    struct queue queue;
    unsigned n;
    struct sim_node nodes[SIM_MAX_NODES];
    struct link links[SIM_MAX_NODES][SIM_MAX_NODES]; /* [from][to] */
    uint32_t max_voters;
    struct raft_entry *entries; /* all that were ever made */
    struct raft_message *free_messages;
    struct raft_snapshot *snapshots;
    struct core_actions actions;
    size_t n_moves;
    struct sim_move moves[16];
    struct users *users;
    struct oracle *oracle;
    uint64_t ran[SIM_GUESTS]; /* highest epoch of which a copy ran */
    uint64_t n_checkpoints;
    uint64_t n_lives;
    uint64_t calm_us,
        end_us; /* from when on nothing goes wrong; when it is over, if it has settled */
    /* of this seed */
    bool checks_quorum, sticky_votes, noops, hangs_guards;
    uint32_t snapshot_every, fault_ms, user_ms, op_failure_permille, doubled_permille,
        in_move_permille, aim_permille;
    uint32_t weights[32]; /* of faults */
    bool is_calm, is_over;
    bool has_failed, is_unsafe; /* unsafe: two copies, or one that is nobody's */
    char failure[512];
    char words[256]; /* what has not settled */
};

/* ---- sim.c */
void sim_run(struct sim *sim); /* until it settled or something is wrong: sim->has_failed */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The promise itself is broken. */
#define sim_unsafe(sim, ...)                                                                       \
    do {                                                                                           \
        (sim)->is_unsafe = !(sim)->has_failed || (sim)->is_unsafe;                                 \
        sim_fail(sim, __VA_ARGS__);                                                                \
    } while (0)
/* Draws. */
uint32_t sim_below(struct sim *sim, uint32_t n);
uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high);
bool sim_chance(struct sim *sim, uint32_t permille);
/* An event for an actor of `node` (its present run unless `any_run`), `delay` from now. */
void sim_push(struct sim *sim, struct event event, uint64_t delay);
struct event sim_event(enum event_kind kind, const struct sim_node *node, enum actor_kind actor);
void actor_start(struct actor *actor);
void actor_stop(struct actor *actor);
void actor_stall(struct sim *sim, struct sim_node *node, enum actor_kind kind, uint64_t us);
bool actor_is_stalled(const struct sim *sim, const struct sim_node *node, enum actor_kind kind);
uint64_t node_clock(const struct sim *sim, const struct sim_node *node);
uint64_t node_sim_time(const struct sim_node *node, uint64_t clock_us);
struct sim_node *sim_node_of(struct sim *sim, uint64_t id);
void sim_count(struct sim *sim, enum count count);
/* Guests are g0, g1, …; -1 for any other name. */
int sim_guest_of(const char *name);
void sim_guest_name(int guest, char ret[NAME_SIZE]);

void sim_trace_line(struct sim *sim, const struct sim_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define sim_trace(sim, node, ...)                                                                  \
    do {                                                                                           \
        if ((sim)->trace != NULL)                                                                  \
            sim_trace_line(sim, node, __VA_ARGS__);                                                \
    } while (0)
struct trace *trace_new(bool live);
void trace_print(const struct trace *trace);
void trace_free(struct trace *trace);

/* ---- setup.c */
void setup_sim(struct sim *sim, uint64_t seed, unsigned n_nodes);
void setup_end(struct sim *sim);

/* ---- node.c */
void node_power_on(struct sim *sim, struct sim_node *node);
void node_power_off(struct sim *sim, struct sim_node *node);
void skeind_start(struct sim *sim, struct sim_node *node);
void skeind_crash(struct sim *sim, struct sim_node *node);
void node_handle(struct sim *sim, struct sim_node *node, struct event *event);
/* The connection to the guard is made some time after both are up. */
void node_connect(struct sim *sim, struct sim_node *node);
void node_arm_tick(struct sim *sim, struct sim_node *node);
void image_digest(unsigned image, uint8_t ret[DIGEST_SIZE]);

/* ---- model_net.c */
/* Sends the event to the node; the network may double what peers say. */
void net_send(struct sim *sim, struct sim_node *from, struct sim_node *to, struct event *event);
/* The event has arrived; false: it did not (it may come later). */
bool net_arrives(struct sim *sim, struct event *event);
void net_cut(struct sim *sim, unsigned from, unsigned to, bool is_cut);
/* The last time that something could pass from one to the other. */
uint64_t net_last_open(const struct sim *sim, unsigned from, unsigned to);
/* To be called before an end starts or stops to live. */
void net_note(struct sim *sim, unsigned node);

/* ---- model_raft*.c */
void raft_start(struct sim *sim, struct sim_node *node);
void raft_stop(struct sim *sim, struct sim_node *node);
void raft_handle(struct sim *sim, struct sim_node *node, struct event *event);
/* The leader hands over to one who has everything: `to`, or -1 = any. */
void raft_transfer(struct sim *sim, struct sim_node *node, int to);
void raft_propose(struct sim *sim, struct sim_node *node, struct core_action *action);
void raft_membership(struct sim *sim, struct sim_node *node, const struct core_action *action);
/* The core has applied so much that a snapshot of it is due. */
void raft_snapshot_if_due(struct sim *sim, struct sim_node *node);

/* ---- model_guard.c */
void guard_start(struct sim *sim, struct sim_node *node);
void guard_crash(struct sim *sim, struct sim_node *node);
void guard_stop(struct sim *sim, struct sim_node *node); /* power off: nothing is left */
void guard_handle(struct sim *sim, struct sim_node *node, struct event *event);
void guard_resumed(struct sim *sim, struct sim_node *node);
void guard_hello(const struct sim_node *node, struct guard_hello *ret);
void guard_want_stamp(struct sim *sim, struct sim_node *node);
void guard_take_ack(struct sim *sim, struct sim_node *node, struct lease_ack *ack); /* takes it */
void guard_ask(struct sim *sim, struct sim_node *node, struct guard_request *request); /* takes */
/* The guest that a request is about. */
const char *guard_guest_of(const struct guard_request *request);
void guard_reply(struct sim *sim, struct sim_node *node, uint32_t core_run,
                 const struct guard_request *request, int code, const char *text,
                 struct guard_reply *reply);
void guard_news(struct sim *sim, struct sim_node *node);
void guard_request_free(void *request);

/* ---- model_ops*.c */
void ops_begin(struct sim *sim, struct sim_node *node, struct guard_request *request,
               uint32_t core_run); /* takes */
void ops_done(struct sim *sim, struct sim_node *node, int guest, uint32_t token);
void ops_finish(struct sim *sim, struct sim_node *node, int guest, int code, const char *text,
                struct guard_reply *reply);
void ops_after(struct sim *sim, struct sim_node *node, int guest, uint64_t delay);
void ops_abandon(struct sim_copy *copy); /* the guard is gone: its operations with it */
void ops_clear(struct sim_copy *copy);   /* there is no such copy any more */
void ops_adopt(struct sim_node *node);
void ops_destroy(struct sim *sim, struct sim_node *node, int guest);
void ops_exit(struct sim *sim, struct sim_node *node, int guest);
/* Something of it runs, as far as the kernel is concerned. */
bool copy_runs(const struct sim_node *node, const struct sim_copy *copy);

/* ---- model_move.c */
void move_ask(struct sim *sim, struct sim_node *node, struct core_action *action);
void move_stream(struct sim *sim, struct sim_node *node, const struct event *event);
/* The migration is over: what waits for its stream ends. */
void move_end(struct sim *sim, struct sim_node *node, uint64_t migration);
void move_stream_limit(struct sim *sim, struct sim_node *node, const struct event *event);
void move_begin(struct sim *sim, struct sim_node *node, int guest); /* a guard is at its part */
void move_done(struct sim *sim, const struct event *event);
void move_break(struct sim *sim, const struct sim_node *node); /* an end died */
void moves_free(struct sim *sim);

/* ---- faults.c */
void faults_setup(struct sim *sim);
void faults_handle(struct sim *sim, struct event *event);

/* ---- aims.c: told of steps at which a fault would hurt most */
void aims_in_move(struct sim *sim, uint64_t from, uint64_t to);
void aims_at_proposal(struct sim *sim, struct sim_node *node, const struct core_action *action);
void aims_at_vote(struct sim *sim, struct sim_node *voter, unsigned candidate);
/* True: the guard stalls just when it must freeze, within its budget. */
bool aims_at_lease_end(struct sim *sim, struct sim_node *node);

/* ---- users.c */
void users_setup(struct sim *sim);
void users_free(struct sim *sim);
/* A plain request, to one node; `target` is that of a migration. */
void users_ask(struct sim *sim, enum command_type type, int guest, int target, unsigned node);
void users_handle(struct sim *sim, struct event *event);
void users_answer(struct sim *sim, struct sim_node *node, uint64_t ticket,
                  const struct answer *answer);
/* The log has spoken about a request. */
void users_outcome(struct sim *sim, const uint8_t request[NONCE_SIZE],
                   const struct outcome *outcome);
void users_check_end(struct sim *sim);
bool users_command(struct sim *sim, uint64_t ticket, struct command *ret, bool *ret_no_wait);

/* ---- oracle.c */
void oracle_setup(struct sim *sim);
void oracle_free(struct sim *sim);
const struct state *oracle_state(const struct sim *sim);
/* `node` knows the entry as committed. */
void oracle_commit(struct sim *sim, const struct sim_node *node, uint64_t index,
                   const struct raft_entry *entry);
/* A core has applied up to here. */
void oracle_applied(struct sim *sim, const struct sim_node *node);
enum move_end { MOVE_OPEN = 0, MOVE_DONE, MOVE_ABORTED, MOVE_DROPPED };
enum move_end oracle_move_end(const struct sim *sim, uint64_t id);

/* ---- checks.c */
void check_guest(struct sim *sim, int guest);
void check_guests(struct sim *sim);
/* A lift is about to destroy this copy. */
void check_destroy(struct sim *sim, const struct sim_node *node, int guest);
void check_start(struct sim *sim, struct sim_node *node, int guest);
/* NULL, or what has not settled yet. */
const char *check_settled(struct sim *sim);

#endif

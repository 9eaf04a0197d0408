/* world: a few cores with a perfect log, a network with cuts, and fake guards, under one virtual
 * clock: for unit tests of the core. (Faults at random, drifting clocks and real elections are the
 * simulator's.)
 *
 * Nodes are numbered from 1, as their names say: n1, n2, … Their ids are those of cluster_form().
 * The log commits what the leader proposes after WORLD_COMMIT_US, if the leader reaches a majority.
 */
#ifndef SKEIN_TESTS_SUPPORT_WORLD_H
#define SKEIN_TESTS_SUPPORT_WORLD_H

#include "agent/core/core.h"
#include "agent/guard/holder.h"
#include "tests/support/cluster.h"

enum {
    WORLD_MAX_NODES = 6,
    WORLD_MAX_GUESTS = 16,
    WORLD_COMMIT_US = 1000,
    WORLD_DELAY_US = 500, /* of a message */
    WORLD_START_US = 20000,
    WORLD_COPY_US = 50000,
    WORLD_CHECK_US = 30000,
    WORLD_FREEZE_US = 15000,  /* for a checkpoint */
    WORLD_MEMORY_US = 600000, /* until memory that follows has arrived */
    WORLD_RECORD_SIZE = 16384,
};

struct world_guard {
    bool up;
    struct holder holder;
    uint32_t n_guests;
    struct guard_report guests[WORLD_MAX_GUESTS];
};

struct world_node {
    uint64_t id;
    bool up; /* the board */
    struct core *core;
    struct world_guard guard;
    uint32_t n_boots;
    uint64_t published_term;
    uint64_t applied; /* entries handed to the core */
    uint64_t stamps;  /* asked for */
};

struct world {
    uint64_t now;
    unsigned n;
    uint32_t max_voters; /* of cores made from now on; 5 */
    struct world_node nodes[WORLD_MAX_NODES + 1];
    unsigned leader; /* 0 = none */
    uint64_t term;
    bool cut[WORLD_MAX_NODES + 1][WORLD_MAX_NODES + 1]; /* from, to */
    size_t n_entries, n_pending;
    struct world_entry *entries; /* the log, from first_index on */
    struct world_pending *pending;
    uint64_t first_index;
    uint8_t *snapshot;
    size_t snapshot_size;
    uint64_t snapshot_index;

    enum guard_op fail_op; /* the next such request fails with fail_code */
    int fail_code;
    enum guest_kind kind;       /* of guests that are created; 0 = cells */
    enum move_mode mode;        /* of captures; 0 = stop-and-copy */
    unsigned full_node;         /* has no room for anything; 0 = none */
    uint64_t copy_us;           /* what a capture takes; 0 = WORLD_COPY_US */
    uint32_t rounds;            /* of pre-copy, that a capture tells of; 0 = none */
    bool loses_streams;         /* what a capture wrote arrives nowhere */
    uint32_t patience_ms;       /* of the newest capture's stream */
    enum pace_manner manner;    /* likewise */
    unsigned n_calmed;          /* CORE_SET_STREAM actions that let a stream give way */
    unsigned n_progress;        /* CORE_PROGRESS actions */
    struct answer progress;     /* the newest */
    struct health_check health; /* of guests created from now on: tcp or none */
    int check_code;             /* what their checks answer */
    uint32_t protect_ms;        /* likewise: they restore; 0 = they do not */
    uint64_t send_us;           /* of a whole checkpoint's way to its buddy; 0 = as a capture */
    uint8_t n_checkpoints;      /* that reached their buddies: the first byte of their digests */
    bool is_full;               /* buddies have no room for increments */
    bool tracks;                /* guards take an increment where they may … */
    uint64_t since_us;          /* … of the newest checkpoint that was asked for … */
    uint8_t since;              /* … and sent: the first byte of the digest that it continues */
    uint8_t restored;           /* the same of the newest that a guard was given */
    uint32_t n_checks;          /* that guards did */
    unsigned successor;         /* that the leader hands over to; the test lets it lead */
    unsigned n_stopped;         /* nodes that were told that they are removed */
    unsigned n_promoted;        /* times that a node was to become a voter */
    bool has_answer;            /* the newest one */
    struct answer answer;
    uint64_t answered_us;
    char records[WORLD_RECORD_SIZE]; /* "[ms] what guest: text" lines of core records by the leader
                                      */
};

void world_init(struct world *w, unsigned n);
void world_deinit(struct world *w);
void world_run(struct world *w, uint64_t ms);
/* Makes node `i` the leader of a new term (0: nobody leads). */
void world_lead(struct world *w, unsigned i);
void world_kill(struct world *w, unsigned i);           /* power off */
void world_boot(struct world *w, unsigned i);           /* and on again */
void world_restart_skeind(struct world *w, unsigned i); /* the guard goes on */
/* The guard starts anew, lapsed, and adopts what runs. */
void world_restart_guard(struct world *w, unsigned i);
void world_isolate(struct world *w, unsigned i, bool cut);
/* Asks the leader; the command's heap parts are taken. The answer comes in w->answer. */
void world_ask(struct world *w, struct command *command);
/* Runs until an answer is here (true) or the limit is reached. */
bool world_answered(struct world *w, uint64_t limit_ms);
void world_create(struct world *w, const char *name, enum restart_policy restart);
/* What it asks for, to be changed and asked for by world_ask: a cell of one core, in no slice. */
void world_spec(struct guest_spec *ret, const char *name);
void world_by_name(struct world *w, enum command_type type, const char *name);
void world_migrate(struct world *w, const char *name, unsigned to);
/* The stream of the one migration there is has ended for its source. */
void world_end_stream(struct world *w, int code);
/* The guest ends by itself. */
void world_end_guest(struct world *w, unsigned node, const char *name, int32_t status);
/* What a target was given ends before it runs: its guard has nothing of it any more. */
void world_end_target(struct world *w, unsigned node, const char *name);
/* How many nodes run a copy that is not frozen; `ret_node` (may be NULL) is the last of them. */
unsigned world_n_running(const struct world *w, const char *name, unsigned *ret_node);
const struct guard_report *world_copy(const struct world *w, unsigned node, const char *name);
const struct state *world_state(const struct world *w); /* the leader's */

#endif

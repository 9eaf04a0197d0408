/* state: what the log says so far (pure; the laws of replicated code hold here).
 *
 * Same log, same bytes: apply uses nothing but the state and the command. Everything is kept in
 * arrays sorted by id or name; pointers that a query returns are borrowed until the next apply.
 */
#ifndef SKEIN_CONSENSUS_STATE_H
#define SKEIN_CONSENSUS_STATE_H

#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"
#include "consensus/command.h"
#include "consensus/types.h"

/* What became of a command, for whoever proposed it. */
struct outcome {
    int code;                 /* 0; or refused, nothing changed: -EEXIST taken, -ENOENT unknown,
                               * -EBUSY in use or in flight, -ESTALE decided on what is no longer so,
                               * -EKEYREJECTED token, -EINVAL impossible, -ENOSPC a limit */
    uint64_t index;           /* of the entry that had the effect (for a retry: of the first one) */
    uint64_t id;              /* node id, VNI, migration id; 0 where nothing has one */
    char reason[REASON_SIZE]; /* of a refusal: what, why, what to do */
};

/* Outcomes of the newest requests are kept, so that a retry is answered and not done again. */
enum { STATE_REQUESTS_KEPT = 256 };

struct request_outcome {
    uint8_t request[NONCE_SIZE];
    struct outcome outcome;
};

struct state {
    uint64_t index;              /* of the last entry applied */
    uint64_t term;               /* of that entry */
    uint8_t cluster[NONCE_SIZE]; /* zeroes until CLUSTER_INIT */
    uint64_t leader;             /* node of the newest TERM_STARTED, and its term */
    uint64_t leader_term;
    uint32_t next_vni;
    bool maintenance;     /* SETTING_MAINTENANCE */
    bool preemption;      /* SETTING_PREEMPTION */
    struct timers timers; /* since CLUSTER_INIT; zeroes until then */

    size_t n_nodes, n_slices, n_images, n_guests, n_migrations, n_tokens, n_requests;
    struct node *nodes;               /* by id */
    struct slice *slices;             /* by name */
    struct image *images;             /* by name */
    struct guest *guests;             /* by name */
    struct migration *migrations;     /* by id */
    struct token *tokens;             /* by hash */
    struct request_outcome *requests; /* oldest first */
};

void state_init(struct state *state);
void state_deinit(struct state *state);

/* Applies the entry at (index, term): the one door. Memory failure aborts the process (a replica
 * must not diverge). */
void state_apply(struct state *state, uint64_t index, uint64_t term, const struct command *command,
                 struct outcome *ret);
/* Moves past an entry that holds no command of ours (Raft's own). */
void state_skip(struct state *state, uint64_t index, uint64_t term);

/* The whole state as bytes, the same for the same log; and back. -EBADMSG leaves `ret` empty. */
void state_snapshot(const struct state *state, struct writer *w);
int state_restore(struct state *ret, const void *data, size_t size, struct err *err);
/* What is true of every state that a log can make: order, references, one owner a core. 0, or
 * -EBADMSG with what is wrong. state_restore checks it. */
int state_check(const struct state *state, struct err *err);
/* 64-bit FNV-1a of the snapshot's bytes, to compare replicas. */
uint64_t state_digest(const struct state *state);

const struct node *state_node(const struct state *state, uint64_t id);
const struct node *state_node_by_name(const struct state *state, const char *name);
const struct node *state_node_by_curve_key(const struct state *state, const uint8_t key[KEY_SIZE]);
/* Of the nodes that are up but `except` (0: of all); UINT32_MAX when there is none. ms. */
uint32_t state_shortest_ceiling_ms(const struct state *state, uint64_t except);
const struct slice *state_slice(const struct state *state, const char *name);
const struct image *state_image(const struct state *state, const char *name);
const struct guest *state_guest(const struct state *state, const char *name);
const struct migration *state_migration(const struct state *state, uint64_t id);
/* A disk for a machine, not the files of a root. */
bool image_is_disk(const struct image *image);
bool image_is_held(const struct image *image, uint64_t node);
/* Whether it may take the place of less important ones: by its own word, else by the cluster's. */
bool state_may_preempt(const struct state *state, const struct guest_spec *spec);
/* It has a place, and is being stopped there: by a user, for a more important guest, or to start
 * elsewhere. */
bool guest_is_leaving(const struct guest *guest);
/* It runs in its place, and may be asked to leave it: it is no `stay` guest, in no migration, and
 * not leaving already. */
bool guest_may_give_way(const struct guest *guest);
/* Likewise, and nothing of it would stay behind but what a restart costs: it has no volumes. */
bool guest_may_start_elsewhere(const struct guest *guest);
/* The guest's checkpoint that the node holds: the newest for `nth` 0, then the older ones; NULL
 * when there is none. */
const struct checkpoint *state_checkpoint_at(const struct guest *guest, uint64_t node, size_t nth);
/* A guest that has no place goes where its volumes are, as long as that node is up: that node, when
 * it is not `node`. NULL: the guest may go to `node`, also because it has none, is placed (it moves
 * with them), would resume there from a checkpoint, or is not known. */
const struct node *state_volumes_elsewhere(const struct state *state, const char *guest,
                                           uint64_t node);
size_t state_n_voters(const struct state *state);

/* Names of the enums for people and JSON: "up", "lost"; "voter", …; "cell", …; and back: -EINVAL
 * for an unknown name. */
const char *node_state_name(enum node_state v);
const char *raft_role_name(enum raft_role v);
const char *guest_kind_name(enum guest_kind v);
const char *image_format_name(enum image_format v);
const char *restart_policy_name(enum restart_policy v);
const char *failover_policy_name(enum failover_policy v);
const char *preempt_policy_name(enum preempt_policy v); /* "cluster", "on", "off" */
const char *desired_state_name(enum desired_state v);
const char *migration_phase_name(enum migration_phase v);
int guest_kind_parse(const char *text, enum guest_kind *ret);
int image_format_parse(const char *text, enum image_format *ret);
int restart_policy_parse(const char *text, enum restart_policy *ret);
int failover_policy_parse(const char *text, enum failover_policy *ret);

#endif

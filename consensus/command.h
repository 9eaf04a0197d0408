/* command: every entry of the replicated log, and its versioned codec (pure).
 *
 * A command carries all that its effect depends on: times, choices and random values are the
 * proposer's. It names what it was decided on (expected epochs, the term); apply re-checks that.
 */
#ifndef SKEIN_CONSENSUS_COMMAND_H
#define SKEIN_CONSENSUS_COMMAND_H

#include "base/bytes.h"
#include "base/err.h"
#include "consensus/loss_origin.h"
#include "consensus/types.h"

enum command_type {
    COMMAND_CLUSTER_INIT = 1, /* the first entry: cluster id and the first node */
    COMMAND_TERM_STARTED,     /* a new leader's first entry: with it applied, its state is whole */
    COMMAND_TOKEN_CREATE,
    COMMAND_NODE_JOIN,
    COMMAND_NODE_FACTS,    /* a node's facts changed */
    COMMAND_NODE_SET_ROLE, /* Raft's configuration was changed so */
    COMMAND_NODE_CORDON,   /* cordoned := flag */
    COMMAND_NODE_DRAIN,    /* draining := flag */
    COMMAND_NODE_CEILING,
    COMMAND_NODE_LOST,     /* only in the term that it names; its guests get new epochs, no place */
    COMMAND_NODE_REBOOTED, /* a new boot nonce: the guests of the boot before are gone, likewise */
    COMMAND_NODE_RETURNED, /* a lost node beats again */
    COMMAND_NODE_REMOVE,   /* only one without guests and vote */
    COMMAND_SLICE_CREATE,
    COMMAND_SLICE_REMOVE, /* only without guests */
    COMMAND_IMAGE_ADD,
    COMMAND_IMAGE_HELD, /* a node holds it, verified */
    COMMAND_IMAGE_REMOVE,
    COMMAND_GUEST_CREATE,  /* spec and first placement; without one it waits, if it may preempt */
    COMMAND_GUEST_PLACE,   /* a guest that waits for a place gets one */
    COMMAND_GUEST_STOP,    /* desired := stopped; the placement stays until the guard's word */
    COMMAND_GUEST_STOPPED, /* its guard confirmed that (guest, epoch) does not run any more */
    COMMAND_GUEST_START,   /* desired := running, with a placement */
    COMMAND_GUEST_REMOVE,  /* only when stopped and without placement */
    COMMAND_MIGRATION_RESERVE,
    COMMAND_MIGRATION_COMMIT,
    COMMAND_MIGRATION_ABORT,
    COMMAND_MIGRATION_DONE,   /* the target runs: the source may clean up */
    COMMAND_GUEST_PROTECT,    /* a checkpoint so often and `restore`; or none and `restart` */
    COMMAND_GUEST_BUDDY,      /* the node that its checkpoints go to */
    COMMAND_GUEST_CHECKPOINT, /* its buddy holds a new one, whole */
    COMMAND_CLUSTER_SET,      /* a setting of the cluster := flag */
    COMMAND_GUEST_EVICT,      /* less important guests of one node give way to one that waits */
    COMMAND_IMAGE_RELEASE,    /* nodes need not hold copies any more that are surplus */
    COMMAND_MIGRATION_RETURN, /* committed, but not to be restored: it goes on at the source */
    COMMAND_GUEST_LEAVE,      /* of a node that drains: it is stopped there, to start elsewhere */
    COMMAND_TYPE_END
};

struct command {
    uint8_t request[NONCE_SIZE]; /* a retry carries the same: answered with the first outcome */
    uint64_t time_s; /* proposer's wall clock, seconds since 1970: for people and expiry */
    enum command_type type;
    union {
        struct {
            uint8_t cluster[NONCE_SIZE];
            char name[NAME_SIZE];
            struct node_facts facts;
            struct timers timers; /* the cluster's, for good */
        } cluster_init;
        struct {
            uint64_t node; /* the leader */
            uint64_t term;
        } term_started;
        struct {
            struct token token;
        } token_create;
        struct {
            uint8_t token_hash[DIGEST_SIZE];
            char name[NAME_SIZE];
            struct node_facts facts;
            struct timers timers; /* that the node insists on; 0 = any */
        } node_join;
        struct {
            uint64_t node;
            struct node_facts facts;
        } node_facts;
        struct {
            uint64_t node;
            enum raft_role role;
        } node_set_role;
        struct {
            char name[NAME_SIZE];
            bool flag;
            uint32_t drain_ms; /* DRAIN: the node's */
        } node_flag;           /* CORDON, DRAIN */
        struct {
            uint64_t node;
            uint32_t ceiling_ms;
        } node_ceiling;
        struct {
            uint64_t node;
            uint64_t expect_epoch;          /* the node's */
            uint64_t term;                  /* of the leader that decided it */
            uint8_t boot_nonce[NONCE_SIZE]; /* REBOOTED: the new one */
            struct loss_origin origin;      /* LOST, REBOOTED */
        } node_event;                       /* LOST, REBOOTED, RETURNED */
        struct {
            char name[NAME_SIZE];
        } by_name; /* NODE_REMOVE, SLICE_REMOVE, IMAGE_REMOVE, GUEST_STOP, GUEST_REMOVE */
        struct {
            struct slice slice; /* its VNI is given by apply */
        } slice_create;
        struct {
            struct image image; /* holders: the nodes that hold it already */
        } image_add;
        struct {
            char name[NAME_SIZE];
            uint8_t digest[DIGEST_SIZE];
            uint64_t node;
        } image_held;
        struct {
            char name[NAME_SIZE]; /* "": every image that has surplus copies … */
            uint64_t node;        /* … there; 0: anywhere */
        } image_release;
        struct {
            struct guest_spec spec;
            struct placement placement; /* its epoch is given by apply */
        } guest_create;
        struct {
            char name[NAME_SIZE];
            uint64_t expect_epoch; /* the guest's present one */
            struct placement placement;
        } guest_place; /* PLACE, START */
        struct {
            char name[NAME_SIZE];
            uint64_t epoch;
            bool
                exited; /* ended by itself, and its restart policy lets it be: desired := stopped */
        } guest_stopped;
        struct {
            char name[NAME_SIZE];
            uint64_t expect_epoch; /* its present one */
        } guest_leave;
        struct {
            char guest[NAME_SIZE];
            uint64_t source_epoch;
            struct placement target; /* node, cores */
            struct move_terms terms;
        } migration_reserve;
        struct {
            uint64_t id;
            bool is_lazy;             /* COMMIT, RETURN: … whose memory is still to follow */
            char reason[REASON_SIZE]; /* ABORT: for people */
        } migration_step;             /* COMMIT, ABORT, DONE */
        struct {
            enum cluster_setting setting;
            bool flag;
        } cluster_set;
        struct {
            char name[NAME_SIZE];  /* of the guest that waits */
            uint64_t expect_epoch; /* its present one */
            uint64_t node;         /* that is cleared for it */
            uint32_t n_victims;    /* at least one */
            struct {
                char name[NAME_SIZE];
                uint64_t epoch; /* its present one */
            } victims[MAX_VICTIMS];
        } guest_evict;
        struct {
            char name[NAME_SIZE];
            uint32_t protect_ms; /* 0 = off */
        } guest_protect;
        struct {
            char name[NAME_SIZE];
            uint64_t node;
        } guest_buddy;
        struct {
            char name[NAME_SIZE];
            uint64_t epoch;               /* of the copy that it was taken of */
            struct checkpoint checkpoint; /* its index is given by apply */
            uint32_t age_ms;              /* when it was proposed: for people */
        } guest_checkpoint;
    };
};

/* Frees what the command owns; safe on zeroes and safe twice. */
void command_deinit(struct command *command);

/* Appends the command's bytes (format version first). Only the writer can fail: see w->failed. */
void command_encode(const struct command *command, struct writer *w);

/* Reads one whole command. 0; -EBADMSG for bytes that are no command of a known version and type,
 * or out of bounds; -ENOMEM. On failure `ret` is zeroed. The caller ends it with command_deinit. */
int command_decode(const void *data, size_t size, struct command *ret, struct err *err);

/* Codecs of the larger values, used by commands, snapshots and the guard's protocol alike. */
void node_facts_encode(const struct node_facts *facts, struct writer *w);
int node_facts_decode(struct reader *r, struct node_facts *ret);
void guest_spec_encode(const struct guest_spec *spec, struct writer *w);
int guest_spec_decode(struct reader *r, struct guest_spec *ret);
void placement_encode(const struct placement *placement, struct writer *w);
void placement_decode(struct reader *r, struct placement *ret);

/* "guest-create", …; for logs and events. */
const char *command_type_name(enum command_type type);

#endif

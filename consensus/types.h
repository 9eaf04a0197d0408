/* types: the things that the cluster agrees on, as plain values (pure).
 *
 * Every struct here is part of the replicated state or of a command that changes it. Text is
 * NUL-terminated within its array; unused bytes are zero, so that equal values are equal bytes.
 */
#ifndef SKEIN_CONSENSUS_TYPES_H
#define SKEIN_CONSENSUS_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/limits.h"
#include "base/move.h"
#include "base/timers.h"
#include "base/volume.h"
#include "consensus/vm_driver.h"

/* ---- the cluster */

enum cluster_setting {
    SETTING_MAINTENANCE = 1, /* people work on cables: the leader calls no node lost */
    SETTING_PREEMPTION,      /* guests that say nothing themselves may preempt */
};

/* ---- nodes */

enum node_state {
    NODE_UP = 1, /* member in good standing; takes guests unless cordoned or draining */
    NODE_LOST,   /* its lease ran out by decision of the leader; its guests were placed elsewhere */
};

enum raft_role { ROLE_VOTER = 1, ROLE_STANDBY, ROLE_SPARE };

enum guest_kind { KIND_CELL = 1, KIND_LXC, KIND_VM };
#define KIND_BIT(kind) (1u << (kind))

struct label {
    char key[LABEL_KEY_SIZE];
    char value[LABEL_VALUE_SIZE];
};

/* One CPU core of a node, as its topology says. */
struct core_info {
    uint16_t id;      /* the kernel's CPU number */
    uint16_t numa;    /* NUMA node */
    uint16_t cluster; /* cores that share a last-level cache */
    uint16_t sibling; /* physical core: equal for SMT siblings */
    bool isolated; /* given to guests whole; the others serve the node itself and shared guests */
};

/* What a node says of itself at join, and again when it starts with something changed. */
struct node_facts {
    uint32_t address; /* control plane, IPv4 */
    uint32_t vtep;    /* end of its VXLAN tunnels, IPv4 */
    uint8_t link_key[KEY_SIZE];
    uint8_t curve_key[KEY_SIZE];
    uint32_t n_labels;
    struct label labels[MAX_LABELS];
    uint32_t n_cores;
    struct core_info *cores; /* ascending ids; heap, owned */
    uint32_t memory_mib;     /* for guests */
    uint32_t kinds;          /* KIND_BIT of every guest kind that it can run */
    bool can_track_dirty;    /* its kernel says which pages were written: pre-copy */
    bool can_lazy;           /* its kernel lets memory come when it is touched: post-copy */
    char arch[16];           /* "x86_64" */
    uint32_t backhaul_kbps;  /* 0 = unknown */
    bool isolation_simulated;
    bool witness;             /* votes, but takes no guests */
    uint32_t images_mib;      /* that images may take of its disk; 0 = no limit */
    enum vm_driver vm_driver; /* NONE exactly where `kinds` has no VM */
};

struct node {
    uint64_t
        id; /* Raft server id: 1 for the first node, else the index of its join; never reused */
    char name[NAME_SIZE];
    struct node_facts facts;
    enum raft_role role; /* as the leader last arranged it in Raft's own configuration */
    enum node_state state;
    bool cordoned;
    bool draining;
    uint32_t
        drain_ms;   /* guests that its drain did not move within it start elsewhere; 0 = none do */
    uint64_t epoch; /* index of the command that last joined, lost or returned it */
    uint8_t boot_nonce[NONCE_SIZE]; /* of the boot that it was last seen in; zeroes = none yet */
    uint32_t ceiling_ms;            /* no longer lease is ever granted to it */
};

/* ---- slices */

struct slice {
    char name[NAME_SIZE];
    uint32_t vni; /* 1…2^24-1, given by the state, never reused */
    struct subnet subnet;
    uint32_t rate_kbps; /* of the slice on each uplink; 0 = no limit */
};

/* ---- images */

/* What the stored bytes are: roots (for cells and lxc) and disks (for machines). */
enum image_format {
    IMAGE_TAR = 1, /* plain, or compressed with gzip or zstd */
    IMAGE_SQUASHFS,
    IMAGE_QCOW2,
    IMAGE_RAW, /* a disk's bytes, with a partition table */
};

/* What a guest does that is not told otherwise; of an OCI image's config, else empty. */
struct image_defaults {
    uint32_t n_env, n_entrypoint, n_command;
    char **env;                     /* "KEY=VALUE"; heap, owned, like the two below */
    char **entrypoint;              /* before the guest's own arguments */
    char **command;                 /* when the guest has none */
    char directory[DIRECTORY_SIZE]; /* "" = "/" */
    uint32_t uid, gid;
};

struct image {
    char name[NAME_SIZE];
    enum image_format format;
    uint8_t digest[DIGEST_SIZE]; /* BLAKE2b-256 of the stored bytes */
    uint64_t size;               /* bytes */
    uint64_t added;              /* index of the command */
    uint32_t copies;             /* on so many nodes, beside those that run it; 0 = on all */
    struct image_defaults defaults;
    uint32_t n_holders;
    uint64_t *holders; /* node ids, ascending; heap, owned */
};

/* ---- guests */

enum restart_policy { RESTART_ALWAYS = 1, RESTART_ON_FAILURE, RESTART_NEVER };
enum failover_policy { FAILOVER_RESTART = 1, FAILOVER_STAY, FAILOVER_RESTORE };
/* Whether a guest that fits nowhere may take the place of less important ones. */
enum preempt_policy { PREEMPT_BY_CLUSTER = 0, PREEMPT_ON, PREEMPT_OFF };
enum desired_state { DESIRED_RUNNING = 1, DESIRED_STOPPED };

/* Bounds of `protect_ms`, and what it is when a guest says only `restore`. */
enum { DRAIN_MAX_MS = 7 * 24 * 3600 * 1000 }; /* a drain's deadline */

enum { PROTECT_MIN_MS = 500, PROTECT_MAX_MS = 3600000, PROTECT_DEFAULT_MS = 10000 };

enum health_kind { HEALTH_NONE = 0, HEALTH_TCP, HEALTH_EXEC };

/* How its own node finds out whether a guest that runs also works; see consensus/health.h. */
struct health_check {
    enum health_kind kind; /* HEALTH_NONE: all else is zero */
    uint16_t port;         /* TCP */
    uint32_t interval_ms;  /* from one check's end to the next */
    uint32_t timeout_ms;   /* a check that takes longer has failed */
    uint32_t retries;      /* so many failures in a row, and the guest starts again */
    uint32_t start_ms;     /* so long after a start failures do not count, until a check succeeds */
    uint32_t n_argv;
    char **argv; /* EXEC; heap, owned; at least one */
};

/* What the user asked for. */
struct guest_spec {
    char name[NAME_SIZE];
    enum guest_kind kind;
    char image[NAME_SIZE];
    char slice[NAME_SIZE]; /* "" = no network */
    uint32_t n_cores;      /* whole isolated cores; 0 = shares the node's other cores */
    uint32_t memory_mib;
    uint32_t priority; /* higher comes back first; default 100 */
    enum restart_policy restart;
    enum failover_policy failover;
    uint32_t protect_ms; /* RESTORE, and only then: a checkpoint so often */
    enum preempt_policy preempt;
    struct health_check health;
    char on[NAME_SIZE]; /* a node's name that it must run on, or "" */
    uint32_t n_constraints;
    struct label constraints[MAX_LABELS]; /* the node must carry each of them */
    uint32_t n_env;
    char **env; /* "KEY=VALUE"; heap, owned */
    uint32_t n_argv;
    char **argv; /* heap, owned; at least one; none for a VM, which boots its image */
    char directory[DIRECTORY_SIZE]; /* that it starts in, absolute; "" = "/" */
    uint32_t uid, gid;              /* that it runs as, inside */
    char *user_data;                /* VM: for cloud-init; heap, owned; NULL = none */
    uint32_t n_volumes;
    struct volume *volumes; /* CELL: as volumes_check() wants them; heap, owned */
};

/* Where a guest is. */
struct placement {
    uint64_t node;  /* 0 = nowhere */
    uint64_t epoch; /* index of the command that assigned, lost or stopped the guest */
    uint32_t n_cores;
    uint16_t cores[MAX_GUEST_CORES]; /* isolated core ids, ascending */
};

enum { MAX_CHECKPOINTS = 2 }; /* kept a guest; one more may be on its way */

/* What a protected guest can resume from after a loss. */
struct checkpoint {
    uint64_t index;              /* of the command that named it; 0 = none */
    uint64_t node;               /* holds it, whole and verified */
    uint8_t digest[DIGEST_SIZE]; /* of its stream */
    uint64_t size;               /* bytes of its stream */
    uint64_t sent;               /* bytes that crossed for it: fewer, of an increment */
    uint32_t n_increments;       /* 0: it came whole; else so many since one that did */
    uint32_t frozen_us;          /* so long the guest stood still for it */
};

struct guest {
    struct guest_spec spec;
    uint64_t created; /* index */
    uint16_t slot;    /* the lowest number that no other guest had then; names its switch port */
    enum desired_state desired;
    uint32_t ip; /* in its slice, given by the state; 0 without a slice */
    struct placement placement;
    uint64_t home;      /* node that it was placed at last, where its volumes are; 0 = none yet */
    uint64_t migration; /* id of the migration in flight, 0 = none */
    /* Guest that this one gave way to; only while it is meant to run: with a place it is being
     * stopped, without one it waits. "" = none. */
    char preempted_by[NAME_SIZE];
    bool must_leave; /* likewise, to start elsewhere: its node's drain did not move it in time */
    uint64_t clears; /* node that is being cleared for this guest, which waits; 0 = none */
    uint64_t buddy;  /* node that its checkpoints go to; 0 = none yet */
    struct checkpoint checkpoints[MAX_CHECKPOINTS]; /* newest first; only of a protected guest */
};

/* ---- migrations */

/* An aborted or finished migration is no longer in the state. */
enum migration_phase {
    MIGRATION_RESERVED = 1, /* intent and target cores; the source owns the guest */
    MIGRATION_COMMITTED,    /* the target owns it; the source's frozen copy awaits clean-up */
    MIGRATION_HANDOVER, /* the target owns it, and gets its memory from the source's frozen copy:
                         * what is lost with either is not there any more */
};

struct migration {
    uint64_t id; /* index of its reserve command */
    char guest[NAME_SIZE];
    uint64_t from, to; /* node ids */
    uint64_t source_epoch;
    struct placement source; /* where the guest was; its cores are held until the migration's end */
    struct placement target; /* node, cores; epoch is 0 until the commit */
    enum migration_phase phase;
    struct move_terms terms;
};

/* ---- join tokens */

struct token {
    uint8_t hash[DIGEST_SIZE];
    uint64_t expires_s; /* wall clock of the proposer, seconds since 1970 */
    uint32_t uses_left;
};

/* ---- life of the values that own heap memory; all safe on zeroes and safe twice */

void node_facts_deinit(struct node_facts *facts);
void guest_spec_deinit(struct guest_spec *spec);
/* True when its image is booted; else a command is run in it. */
bool guest_spec_boots(const struct guest_spec *spec);
/* Deep copies; -ENOMEM leaves `ret` zeroed. `ret` must hold nothing before. */
int node_facts_copy(struct node_facts *ret, const struct node_facts *facts);
int guest_spec_copy(struct guest_spec *ret, const struct guest_spec *spec);
void image_deinit(struct image *image);
int image_copy(struct image *ret, const struct image *image);

#endif

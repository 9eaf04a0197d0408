/* parts: what a core holds: the node's part, the leader's part, and the whole (inside agent/core
 * only; pure).
 */
#ifndef SKEIN_AGENT_CORE_PARTS_H
#define SKEIN_AGENT_CORE_PARTS_H

#include "agent/core/core.h"
#include "agent/core/detector.h"
#include "agent/core/message.h"
#include "agent/streams/pace.h"
#include "migrate/saga.h"

enum {
    CORE_SENT_KEPT = 64,      /* own beats whose departure is remembered */
    CORE_ANSWER_DUE_MS = 500, /* a beat that has no answer by then counts as unanswered */
    CORE_MAX_PROPOSALS = 512, /* under way at once */
    CORE_MAX_WISHES = 256,
    CORE_STOP_GRACE_MS = 10000,
    CORE_RETRY_MS = 200,
    CORE_RESTART_MIN_MS = 200, /* back-off of restarts doubles from here … */
    CORE_RESTART_MAX_MS = 30000,
    CORE_RESTART_CALM_MS = 10000, /* … and begins anew after so long a run */
    CORE_PROPOSAL_LIMIT_MS = 5000,
    CORE_NO_AUTHORITY_LIMIT_MS = 2000, /* at least: a lease, where those are longer */
    CORE_EFFECT_LIMIT_MS = 120000,
    CORE_MOVE_KEPT_MS = 10000,
    CORE_PROGRESS_MS = 250, /* so often a source's guard is asked how far it is */
    CORE_ENDS_KEPT = 32,    /* of migrations */
    CORE_MAX_CHECKS = 6,    /* under way at once: the guard has room for other work beside them */
    CORE_MAX_INQUIRIES = 8, /* silent nodes that others are asked about, at once */
    CORE_MAX_HELPERS = 3,   /* … so many others a node */
    CORE_MAX_PROBES = 8,    /* pings that a helper waits for */
};

/* ---- node's part */

/* Of one run of a guest. */
struct local_health {
    enum guest_health state;
    uint32_t pid; /* of that run */
    uint64_t since_us;
    uint64_t next_us; /* of the next check */
    uint32_t serial;  /* of the check under way; 0 = none */
    bool is_void;     /* … whose outcome says nothing: it was frozen, moved or gone meanwhile */
    bool was_healthy;
    uint32_t n_failures;
    char text[REASON_SIZE]; /* of the last failure */
};

/* The checkpoints of one run of a protected guest. */
struct local_protection {
    uint64_t epoch;        /* of that run, … */
    uint32_t pid;          /* … and its init; 0 = none yet */
    uint64_t next_us;      /* when the next one is due */
    uint64_t begun_us;     /* when the one under way was asked for; 0 = none is */
    uint64_t to;           /* the node that it goes to */
    uint32_t serial;       /* of its sending; 0 = it is not sent yet */
    uint64_t frozen_at_us; /* when the guest stood still for it, … */
    uint32_t frozen_us;    /* … and for how long */
    bool is_increment;     /* the one under way: over the report's */
    bool is_held;          /* the report's is the newest taken: the next may be an increment */
    uint64_t usual_us;     /* what the newest increment took; 0 = there is none to go by */
    uint32_t wanted_ms;    /* the period that `next_us` goes by */
    bool is_stretched;
    uint64_t taken_us; /* of the one in the report */
    struct protection report;
};

struct local_guest {
    char name[NAME_SIZE];
    bool has_report;
    struct guard_report report;
    uint32_t busy;       /* serial of what the guard does for it now; 0 = nothing */
    uint64_t settled_by; /* generation of the list that must arrive before the next decision */
    uint64_t epoch;      /* that the following belong to */
    uint64_t retry_us;   /* nothing before then */
    uint32_t delay_ms;   /* back-off of restarts */
    uint64_t running_us; /* since when it runs, 0 = it does not */
    bool exit_seen;      /* the back-off for this exit is set */
    uint32_t n_ends;     /* since it last ran calmly */
    struct local_health health;
    struct local_protection protection;
    size_t n_restores;      /* checkpoints that are past trying, for its epoch */
    uint64_t resumed;       /* index of the one that it came from, in its epoch; 0 = none */
    struct claim claim;     /* kind 0 = none */
    uint64_t capture_order; /* id of the migration that the leader ordered the capture of */
    uint64_t notice_us;     /* when the source is next told that the guest runs here */
};

struct local_move {
    struct move_report report;
    struct node_room room; /* source: of the target, as the leader's order had it */
    bool is_captured;      /* source: the guard said that the capture is whole */
    bool is_received;      /* target: all of it is here, and does not run yet */
    uint32_t n_activated;  /* target: how often the guard was asked to let it go */
    uint64_t frozen_us;    /* source: since when, own clock */
    uint64_t progress_us;  /* source: when it was last asked how far it is */
    uint64_t heard_us;     /* source: and when that was last heard */
    int stream_code;       /* source: why its stream ended early; 0 = it did not … */
    bool is_cut;           /* … and its capture with it: the guest runs again … */
    uint64_t word_us;      /* … and how long the target's word on that is waited for */
    bool is_calm;          /* source: its stream is one that nobody stands still for */
    uint64_t over_us;      /* when it left the state; 0 = in flight */
};

enum unpack_state { UNPACK_WANTED = 0, UNPACK_ASKED, UNPACK_DONE, UNPACK_FAILED };

struct local_image {
    uint8_t digest[DIGEST_SIZE];
    bool is_held; /* in the store */
    bool is_fetching;
    enum unpack_state unpack;
    uint32_t serial; /* UNPACK_ASKED */
    uint64_t retry_us;
    char text[REASON_SIZE]; /* UNPACK_FAILED: why */
};

/* A request that the guard works on. */
struct asked {
    uint32_t serial;
    enum guard_op op;
    char guest[NAME_SIZE];
    uint64_t epoch, migration;
    bool is_ended; /* its stream is not wanted any more, and the shell was told */
};

/* A ping to a node that the leader asked about. */
struct probe {
    uint64_t node, asker, sent_us;
};

/* The control class to another node, and what bulk streams may take beside it. */
struct path {
    uint64_t node;
    struct pace pace;
    uint64_t asked_us;      /* the newest ping; its token */
    uint64_t unanswered_us; /* the oldest ping that is open; 0 = none */
    uint32_t n_streams;
    uint64_t held_us; /* when they were last held back; 0 = not yet */
};

struct node_part {
    bool is_connected; /* to the guard */
    bool lapsed;
    struct guard_hello hello;
    bool is_listed; /* a list has arrived since the connection was made */
    uint64_t list_generation, list_done;
    uint32_t list_serial;
    bool list_again;
    uint64_t list_retry_us;

    bool stamp_wanted, beat_soon;
    uint64_t stamp_us; /* when it was asked for */
    uint64_t next_beat_us;
    struct {
        struct stamp stamp;
        uint64_t sent_us;
        bool is_answered;
    } sent[CORE_SENT_KEPT]; /* by sequence modulo */
    uint32_t round_trip_us;
    uint32_t n_unanswered;
    uint64_t leader_hint; /* by word of peers; 0 = none */
    uint64_t answered_by; /* the newest other node that answered a beat of this run, … */
    uint64_t answered_us; /* … last at this moment */
    size_t next_peer;
    struct leader_stamp echo;
    uint32_t backhaul_permille;
    struct backhaul links;   /* of the own uplink, … */
    uint64_t links_us;       /* … measured then; 0 = not yet */
    uint32_t copy_kbps;      /* as moves from here have shown it (migrate/mode.h); 0 = not yet */
    uint64_t published_term; /* as of the newest beat */

    bool is_acked;          /* some leader with authority answered in this run of skeind */
    uint64_t current_index; /* the state counts as current from here on */
    uint64_t floor_index;   /* of the newest lift: older decisions start nothing */
    uint64_t acked_by;      /* leader that has … */
    uint32_t acked_version; /* … this version of the report */
    uint32_t report_version;

    size_t n_guests, n_images, n_moves, n_asked;
    struct local_guest *guests;
    struct local_image *images;
    struct local_move *moves;
    struct asked *asked;

    bool fabric_dirty;
    uint32_t fabric_serial;
    uint64_t fabric_retry_us, fabric_index, fabric_asked_index;
    uint8_t *fabric_bytes; /* of the view that the switch shows, or is being given */
    size_t fabric_size;
    char (*keeps)[VOLUMES_NAME_SIZE]; /* volumes that stay, as the guard was told last */
    uint32_t n_keeps, keeps_serial;
    bool keeps_told;
    uint64_t keeps_retry_us;
    uint64_t facts_retry_us;
    bool has_tidied; /* its checkpoints: those that the state does not name went */

    size_t n_probes;
    struct probe probes[CORE_MAX_PROBES];

    size_t n_paths, next_path;
    struct path *paths;

    bool dirty;
    uint64_t wake_us;
};

/* ---- leader's part */

enum proposal_kind {
    PROPOSAL_TERM = 1,
    PROPOSAL_LOST,
    PROPOSAL_REBOOTED,
    PROPOSAL_RETURNED,
    PROPOSAL_CEILING,
    PROPOSAL_PLACE,
    PROPOSAL_STOPPED,
    PROPOSAL_HELD,
    PROPOSAL_RELEASE,
    PROPOSAL_ROLE,
    PROPOSAL_FACTS,
    PROPOSAL_SAGA,
    PROPOSAL_DRAIN,
    PROPOSAL_BUDDY,
    PROPOSAL_CHECKPOINT,
    PROPOSAL_WISH,
};

struct proposal {
    uint8_t request[NONCE_SIZE];
    enum proposal_kind kind;
    uint64_t subject; /* node, migration or ticket; what the kind is about */
    char guest[NAME_SIZE];
    uint64_t sent_us;
};

/* What a node said in its newest beats. */
struct peer {
    uint64_t id;
    bool has_report;
    uint32_t report_version;
    uint64_t report_us; /* when it came */
    struct node_report report;
    uint64_t applied_index, fabric_index;
    uint32_t backhaul_permille, round_trip_us;
    uint8_t n_beats, n_beats_unanswered;
    struct backhaul links;
    uint64_t links_us;      /* 0 = not told yet */
    uint64_t boot_heard_us; /* newest beat of the boot that the state names; 0 = none */
};

/* How a migration ended, kept for those who ask again at another leader. */
struct ended_move {
    uint64_t id, from, to; /* id 0 = none */
    bool was_aborted;
    bool had_no_room; /* at the target, as far as this node has heard */
    char text[REASON_SIZE];
};

enum wish_phase {
    WISH_WAITING = 1, /* not yet proposed: there is no authority now */
    WISH_DRAINING,    /* node remove: until nothing is there or on its way there */
    WISH_HANDING,     /* … the leader itself: leads until another does */
    WISH_LEAVING,     /* … until it has no vote */
    WISH_PROPOSED,
    WISH_EFFECT, /* applied; what it is about is not so yet */
};

struct wish {
    uint64_t ticket;
    enum wish_phase phase;
    enum command_type type;
    struct command *command; /* WAITING, DRAINING to LEAVING: owned */
    bool no_wait;
    char name[NAME_SIZE]; /* guest, image or node */
    uint64_t epoch;       /* guest's that is waited for */
    uint64_t began_us, limit_us;
    struct outcome outcome;
    uint64_t from, to;       /* migrate */
    bool is_free;            /* migrate: nobody named the target */
    struct move_terms terms; /* migrate */
    uint64_t done_us;        /* migrate: done was applied */
    bool was_aborted, had_no_room;
    struct move_progress told; /* migrate: what the user heard last */
    const char *told_step;
    char text[REASON_SIZE];
};

/* A guest that a loss took from its node, until it serves elsewhere; kept by all that may lead,
 * across changes of the leader. 0 = not yet. */
struct failover {
    char guest[NAME_SIZE];
    uint64_t from;
    bool is_rebooted;
    struct loss_origin origin;
    uint64_t epoch;    /* of the loss, then of the new place */
    uint64_t began_us; /* the origin's moment, by this node's clock */
    uint64_t committed_us, placed_us, started_us;
};

/* A guest that a drain could not move; it is left alone for a while. */
struct drain_failure {
    char guest[NAME_SIZE];
    uint64_t retry_us;
    char text[REASON_SIZE];
};

/* A target that had no room for what a guest brings: others are chosen for it for a while. */
struct full_target {
    char guest[NAME_SIZE];
    uint64_t node;
    uint64_t until_us;
};

/* A drain with a deadline, as long as this leader has seen it. */
struct drain_clock {
    uint64_t node;
    uint32_t drain_ms; /* as it was when … */
    uint64_t due_us;   /* … this was counted from */
};

/* One of the others, asked about a silent node. */
struct helper {
    uint64_t id;
    bool is_answered, is_heard;
    uint64_t answered_us; /* its newest answer */
};

/* A silent node that others are asked about: for people, nothing decides by it. */
struct inquiry {
    uint64_t node;
    uint64_t next_us; /* when they are asked again */
    uint32_t n_asked; /* rounds, as far as they make the next one later */
    size_t n;
    struct helper helpers[CORE_MAX_HELPERS];
};

/* When a checkpoint of the state was taken, by this node's clock; it saw it committed. */
struct taken {
    uint64_t index, taken_us;
};

struct leader_part {
    struct detector detector;
    bool term_proposed;
    uint64_t propose_after_us; /* after a failed one */
    uint64_t authority_us;     /* since when without a gap; 0 = it has none */
    uint64_t steady_us;        /* since when without a gap longer than the grace; 0 = such a gap */
    uint64_t no_authority_us;  /* since when; 0 = it has it, or had none yet */
    size_t n_peers, n_proposals, n_wishes, n_sagas, n_failovers, n_failures, n_full, n_drains;
    struct peer *peers; /* by id */
    struct proposal *proposals;
    struct wish *wishes;
    struct saga *sagas;
    struct failover *failovers;
    struct drain_failure *failures;
    struct full_target *full;
    struct drain_clock *drains;
    size_t n_inquiries;
    struct inquiry inquiries[CORE_MAX_INQUIRIES];

    struct {
        uint32_t serial; /* of the change under way; 0 = none */
        enum member_op op;
        uint64_t node;
        enum raft_role role;
        uint64_t retry_us;
        bool failed; /* the last one */
    } change;

    bool dirty;
    uint64_t wake_us;
};

struct core {
    struct core_config config;
    uint64_t hints[CORE_MAX_HINTS];
    struct state state;
    uint64_t now, wall_s;
    struct core_actions *out; /* of this step */
    uint64_t n_requests_made;
    uint32_t last_serial;

    bool raft_leads; /* Raft says so */
    bool leads;      /* … and the first entry of the term is applied */
    uint64_t term, raft_leader;
    bool has_members;
    size_t n_members;
    struct core_member members[CORE_MAX_MEMBERS];
    size_t ended_at; /* ring */
    struct ended_move ended[CORE_ENDS_KEPT];

    size_t n_taken;
    struct taken *taken;

    struct node_part node;
    struct leader_part lead;
};

#endif

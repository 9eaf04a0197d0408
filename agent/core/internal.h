/* internal: what the parts of the core share (inside agent/core*.c only).
 *
 *   core/core.c          the door
 *   core/log.c      what is proposed, and what the log brings
 *   core/record.c   … in a line for people
 *   core/node.c     the node's part: beats, acks to the guard
 *   core/guests.c   the node's part: makes the guard's guests equal to the state
 *   core/health.c   the node's part: health checks
 *   core/protect.c  the node's part: checkpoints of guests, and starts out of them
 *   core/goods.c    the node's part: images, the switch, own facts
 *   core/leader.c   the leader's part: grants, losses, claims
 *   core/place.c    the leader's part: places what waits, and who gives way to it
 *   core/buddy.c    … and where protected guests' checkpoints go
 *   core/failover.c … and the timeline of what a loss did
 *   core/ask.c      … and what others say of a silent node: shown, never decisive
 *   core/copies.c   the leader's part: copies of images that are more than these need
 *   core/drain.c    the leader's part: empties nodes that drain
 *   core/remove.c   the leader's part: takes nodes out of the cluster
 *   core/members.c  the leader's part: Raft's roles
 *   core/request.c  the leader's part: wishes of users, up to the log
 *   core/effect.c   … and from there to their effect
 *   core/migrate.c  source and target of a migration: glue to migrate/saga
 *   core/saga.c     the leader's part of a migration
 *   core/links.c    what crosses the uplinks
 *   core/pace.c     … and how much of it bulk streams may be
 *   core/view.c     what the API shows
 */
#ifndef SKEIN_AGENT_CORE_INTERNAL_H
#define SKEIN_AGENT_CORE_INTERNAL_H

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
    CORE_NO_AUTHORITY_LIMIT_MS = 2000,
    CORE_EFFECT_LIMIT_MS = 120000,
    CORE_MOVE_KEPT_MS = 10000,
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
    bool is_captured;   /* source: the guard said that the capture is whole */
    uint64_t frozen_us; /* source: since when, own clock */
    uint64_t over_us;   /* when it left the state; 0 = in flight */
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
    uint64_t from, to; /* migrate */
    uint64_t done_us;  /* migrate: done was applied */
    bool was_aborted;
    char text[REASON_SIZE];
};

/* A guest that a loss took from its node, until it serves elsewhere. 0 = not yet. */
struct failover {
    char guest[NAME_SIZE];
    uint64_t from;
    bool is_rebooted;
    enum timeline_since since;
    uint64_t epoch;    /* of the loss, then of the new place */
    uint64_t began_us; /* the moment that `since` names */
    uint64_t lease_us, committed_us, placed_us, started_us;
};

/* A guest that a drain could not move; it is left alone for a while. */
struct drain_failure {
    char guest[NAME_SIZE];
    uint64_t retry_us;
    char text[REASON_SIZE];
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
    size_t n_peers, n_proposals, n_wishes, n_sagas, n_failovers, n_failures;
    struct peer *peers; /* by id */
    struct proposal *proposals;
    struct wish *wishes;
    struct saga *sagas;
    struct failover *failovers;
    struct drain_failure *failures;
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

/* ---- shared tools (core/tools.c) */

/* Array tools: element `n` grown by one, zeroed; or one taken out. No memory ends the process. */
void *core_append(void *array_pointer, size_t *n, size_t size);
void core_take_out(void *array, size_t *n, size_t size, size_t at);

struct core_action *core_act(struct core *core, enum core_action_type type);
void core_send(struct core *core, uint64_t to, const struct message *message);
void core_record(struct core *core, const char *what, const char *guest, uint64_t node,
                 uint64_t index, const char *format, ...) __attribute__((format(printf, 6, 7)));
struct core_record *core_newest_record(struct core *core); /* that core_record() has just made */
uint32_t core_serial(struct core *core);
const char *core_node_name(const struct core *core, uint64_t node);
void core_wake_at(uint64_t *wake_us, uint64_t at_us);

/* ---- the log (core/log.c) */

void core_log_committed(struct core *core, const struct core_event *event);
void core_log_restored(struct core *core, const struct core_event *event);
void core_log_failed(struct core *core, const struct core_event *event);
/* Whether Raft's leader also has applied its term's first entry. */
void core_update_leads(struct core *core);

/* What a command is about: a guest, a node. */
struct core_subject {
    char guest[NAME_SIZE];
    uint64_t node;
};

void core_subject_of(const struct core *core, const struct command *command,
                     struct core_subject *ret);
void core_record_command(struct core *core, const struct command *command,
                         const struct core_subject *subject, const struct outcome *outcome);

/* Proposes; false when nothing may be proposed now. `command` stays the caller's. */
bool core_propose(struct core *core, struct command *command, enum proposal_kind kind,
                  uint64_t subject, const char *guest);
/* subject 0 and guest NULL match all of the kind. */
bool core_is_proposed(const struct core *core, enum proposal_kind kind, uint64_t subject,
                      const char *guest);

/* ---- node's part */

void core_node_stamp(struct core *core, const struct core_event *event);
void core_node_ack(struct core *core, uint64_t from, const struct ack *ack);
void core_node_not_leader(struct core *core, uint64_t from, uint64_t leader);
void core_node_hello(struct core *core, const struct guard_hello *hello);
void core_node_lost(struct core *core);
void core_node_beats(struct core *core); /* asks for a stamp when a beat is due */
void core_node_run(struct core *core);
uint64_t core_node_leader(const struct core *core); /* as far as it is believed; 0 = unknown */
bool core_node_is_current(const struct core *core);
/* What it tells the leader changed: say so at once. */
void core_node_changed(struct core *core);

void core_guests_list(struct core *core, const struct guard_report *reports, uint32_t n);
void core_guests_done(struct core *core, const struct asked *asked,
                      const struct guard_reply *reply);
void core_guests_run(struct core *core);
struct local_guest *core_local_guest(struct core *core, const char *name);
/* The report as the leader may take it. */
struct guard_report core_move_masked(const struct core *core, const struct guard_report *report);
void core_guests_forget_busy(struct core *core);
struct guard_request *core_ask(struct core *core, enum guard_op op, const char *guest,
                               uint64_t epoch, uint64_t migration);
void core_ask_list(struct core *core);
/* Fills what the guard needs to run the guest with this placement. False: the image is not ready
 * here. */
bool core_fill_run(struct core *core, const struct guest *guest, const struct placement *placement,
                   uint64_t epoch, struct guest_run *ret);
bool core_guard_is_away(int code);
bool core_guard_says_later(int code);

/* Before a guest's other decisions: what is under way may say nothing any more. */
void core_health_watch(struct core *core, struct local_guest *local);
/* It is placed here, and is to run here: checks it, or has it start again. True: it was asked to
 * end. */
bool core_health_run(struct core *core, struct local_guest *local, const struct guest *guest);
/* True when the answer was a check's. */
bool core_health_done(struct core *core, uint32_t serial, const struct guard_reply *reply);
/* False when there is nothing to say. */
bool core_condition_of(const struct core *core, const struct local_guest *local,
                       struct condition *ret);

/* ---- checkpoints (core/protect.c) */

/* It is placed here and runs: takes a checkpoint when one is due. */
void core_protect_run(struct core *core, struct local_guest *local, const struct guest *guest);
/* It is placed here and nothing of it is: asks for its start out of a checkpoint that is here.
 * False: there is none, or all failed. */
bool core_protect_start(struct core *core, struct local_guest *local, const struct guest *guest);
/* The guard's answer to CHECKPOINT or RESTORE. */
void core_protect_kept(struct core *core, struct local_guest *local,
                       const struct guard_reply *reply);
void core_protect_restored(struct core *core, struct local_guest *local,
                           const struct guard_reply *reply);
/* True when the answer was about a checkpoint's way to its buddy. */
bool core_protect_sent(struct core *core, const struct core_event *event);
/* False when there is nothing to say. */
bool core_protection_of(const struct core *core, const struct local_guest *local,
                        struct protection *ret);
/* Once a run, when its state is current: what was not named any more while it was away goes. */
void core_protect_tidy(struct core *core);
/* A command was applied that names or ends checkpoints. */
void core_protect_applied(struct core *core, const struct command *command,
                          const struct outcome *outcome);

/* ---- buddies (core/buddy.c) */

void core_buddies_run(struct core *core);
/* A place where the guest can resume. 1: found; 0: there is none; -EAGAIN: a node that keeps a
 * checkpoint of it is silent: soon it is heard again, or lost. */
int core_buddy_place(struct core *core, const struct guest *guest, struct placement *ret);
const struct protection *core_protection_at(const struct core *core, uint64_t node,
                                            const char *guest, uint64_t epoch);

void core_goods_held(struct core *core, const uint8_t digest[DIGEST_SIZE]);
void core_goods_failed(struct core *core, const uint8_t digest[DIGEST_SIZE]);
void core_goods_unpacked(struct core *core, uint32_t serial, const struct guard_reply *reply);
void core_goods_wired(struct core *core, const struct guard_reply *reply);
void core_goods_dropped(struct core *core, const uint8_t digest[DIGEST_SIZE]);
void core_goods_run(struct core *core);
bool core_image_is_ready(const struct core *core, const char *image);

/* ---- migrations */

enum saga_phase core_phase_of(const struct migration *m);

enum saga_copy core_copy_of(const struct guard_report *report, const struct migration *m,
                            bool is_source);
/* The migration in flight that this node is an end of, for a guest; NULL = none. */
const struct migration *core_move_here(const struct core *core, const char *guest);
void core_move_run(struct core *core, struct local_guest *local, const struct migration *m);
void core_move_done(struct core *core, struct local_guest *local, const struct asked *asked,
                    const struct guard_reply *reply);
void core_move_order(struct core *core, uint64_t from, uint64_t migration);
void core_move_notice(struct core *core, uint64_t from, uint64_t migration);
void core_moves_tidy(struct core *core);
void core_sagas_run(struct core *core);
/* The node is the source of a migration whose commit is in reach. */
bool core_saga_holds_loss(const struct core *core, uint64_t node);
const struct move_report *core_move_report(const struct core *core, uint64_t node, uint64_t id);

/* ---- leader's part */

void core_lead_begin(struct core *core);
void core_lead_end(struct core *core);
void core_lead_hear(struct core *core, uint64_t from, struct beat *beat); /* takes the report */
void core_lead_facts(struct core *core, uint64_t from, const struct node_facts *facts);
void core_lead_run(struct core *core);
struct peer *core_peer(const struct core *core, uint64_t id);
bool core_peer_has_image(const struct peer *peer, const uint8_t digest[DIGEST_SIZE]);
const struct guard_report *core_report_of(const struct core *core, uint64_t node, const char *guest,
                                          uint64_t epoch);
void core_lead_outcome(struct core *core, const struct proposal *proposal, int code);

void core_members_run(struct core *core);
void core_members_done(struct core *core, uint32_t serial, int code);
void core_members_transfer(struct core *core, uint64_t node); /* it is to lead */
bool core_members_votes(const struct core *core,
                        const struct node *node); /* in Raft or the state */
void core_members_voters(struct core *core);      /* tells the detector who votes */

void core_wish(struct core *core, const struct core_event *event);
void core_wish_gone(struct core *core, uint64_t ticket);
void core_wish_outcome(struct core *core, uint64_t ticket, const struct outcome *outcome);
void core_wish_failed(struct core *core, uint64_t ticket, int code);
/* A migration has left the state; what is said first of it counts. */
void core_move_ended(struct core *core, const struct ended_move *end);
void core_wishes_run(struct core *core);
void core_wishes_end(struct core *core);

/* Whether a running guest of the kind can be moved. */
bool core_kind_moves(enum guest_kind kind);
struct answer *core_answer_new(enum answer_kind kind);
void core_respond(struct core *core, uint64_t ticket, struct answer *answer); /* takes it */
void core_end_wish(struct core *core, struct wish *wish, enum answer_kind kind, const char *text);
void core_wish_remove(struct core *core, struct wish *wish);
void core_wish_resume(struct core *core, struct wish *wish); /* WAITING: authority is there */
struct wish *core_wish_of(struct core *core, uint64_t ticket);
/* A wish that is proposed later: takes the command. */
struct wish *core_wish_keep(struct core *core, const struct core_event *event,
                            enum wish_phase phase);
bool core_wish_propose(struct core *core, struct wish *wish, struct command *command);
void core_refuse(struct core *core, uint64_t ticket, enum answer_kind kind, const char *text);

/* ---- node remove (core/remove.c) */

void core_remove_begin(struct core *core, const struct core_event *event); /* takes the command */
/* True when the wish was answered. */
bool core_remove_run(struct core *core, struct wish *wish);
uint64_t core_remove_leaving(const struct core *core); /* whose vote is to be taken; 0 = none */

/* The loss or the reboot of `node` was applied at `index`. */
void core_failover_lost(struct core *core, uint64_t node, bool is_rebooted, uint64_t index);
void core_timeline_record(struct core *core, const char *guest, uint64_t to,
                          const struct timeline *timeline);
void core_failovers_run(struct core *core);

/* ---- uplinks (core/links.c) */

void core_links_measured(struct core *core, const struct backhaul *links);
void core_lead_links(struct core *core, uint64_t from, const struct backhaul *links);

/* ---- bulk streams (core/pace.c) */

void core_pace_heard(struct core *core, uint64_t node, uint32_t round_trip_us);
void core_pace_ponged(struct core *core, uint64_t from, uint64_t token);
void core_pace_streams(struct core *core, const struct pace_flow *flows, uint32_t n);
void core_pace_learn(struct core *core); /* once a second: asks one of the others */
struct backhaul_streams core_pace_view(const struct core *core);

/* ---- asking others about a silent node (core/ask.c) */

void core_asked(struct core *core, uint64_t from, uint64_t about);
void core_pinged(struct core *core, uint64_t from, uint64_t token);
void core_ponged(struct core *core, uint64_t from, uint64_t token);
void core_heard(struct core *core, uint64_t from, uint64_t about, bool is_heard);
void core_probes_run(struct core *core);
void core_asks_run(struct core *core);
/* So long without a beat that others are asked; never this node itself. */
bool core_is_silent(const struct core *core, uint64_t node);
const struct inquiry *core_inquiry(const struct core *core, uint64_t node); /* NULL = none */

/* Of the own beats whose answer is due: how many there were, and how many got none. */
void core_node_count_beats(const struct core *core, uint8_t *ret_n, uint8_t *ret_unanswered);

void core_copies_run(struct core *core);
/* Whether surplus copies of the image ("": of any) may be dropped now; `ret`: why not. */
bool core_copies_may_go(const struct core *core, const char *name, char *ret, size_t size);

void core_places_run(struct core *core);
/* A placement by the scheduler; 0 when there is one. `move_from`: the node that it leaves; 0: it
 * runs nowhere. `ret_words` (may be NULL) is heap: why not,
 * for each node. */
int core_place(struct core *core, const struct guest_spec *spec, uint64_t move_from,
               struct placement *ret, char **ret_words, struct err *err);
/* The same on another state than the core's own. */
int core_place_in(const struct core *core, const struct state *state, const struct guest_spec *spec,
                  uint64_t move_from, struct placement *ret, char **ret_words, struct err *err);
/* A guest that fits nowhere may wait for a place: it may preempt, and there is who gives way. */
bool core_may_wait(const struct core *core, const struct guest_spec *spec);

void core_drains_run(struct core *core);
/* A migration of the guest was aborted. */
void core_drain_failed(struct core *core, const char *guest, const char *text);
/* The wish to drain a node: true when it was answered. */
bool core_drained(struct core *core, struct wish *wish);
/* Guests are left that cannot move, or the drain is off: the wish was answered with their names. */
bool core_drain_is_stuck(struct core *core, struct wish *wish, const struct node *node);
bool core_is_placed_on(const struct core *core, uint64_t node); /* any guest */

#endif

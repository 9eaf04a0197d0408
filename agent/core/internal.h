/* internal: what the files of the core call of each other (inside agent/core only); what they hold:
 * core/parts.h.
 *
 *   core/core.c          the door
 *   core/log.c      what is proposed, and what the log brings
 *   core/record.c   … in a line for people
 *   core/node.c     the node's part: beats, acks to the guard
 *   core/guests.c   the node's part: makes the guard's guests equal to the state
 *   core/health.c   the node's part: health checks
 *   core/protect.c  the node's part: checkpoints of guests, and starts out of them
 *   core/volumes.c  the node's part: whose volumes stay here
 *   core/goods.c    the node's part: images, the switch, own facts
 *   core/leader.c   the leader's part: its term, losses, claims; and when all the others run
 *   core/hear.c     … beats, what they report, and leases as answers
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
 *   core/memory.c   … and the guest's memory on its way
 *   core/saga.c     the leader's part of a migration
 *   core/links.c    what crosses the uplinks
 *   core/pace.c     … and how much of it bulk streams may be
 *   core/view.c     what the API shows
 */
#ifndef SKEIN_AGENT_CORE_INTERNAL_H
#define SKEIN_AGENT_CORE_INTERNAL_H

#include "agent/core/parts.h"

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

/* What a command is about: a guest, a node, the moves that a loss may end. */
struct core_subject {
    char guest[NAME_SIZE];
    uint64_t node;
    struct migration *moves; /* owned */
    size_t n_moves;
};

void core_subject_of(const struct core *core, const struct command *command,
                     struct core_subject *ret);
void core_subject_deinit(struct core_subject *subject);
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

/* ---- volumes (core/volumes.c) */

void core_volumes_run(struct core *core);
/* The guard's answer to KEEP_VOLUMES. */
void core_volumes_kept(struct core *core, const struct guard_reply *reply);

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
struct local_move *core_move_of(const struct core *core, uint64_t id); /* NULL: none */
struct local_move *core_move_made(struct core *core, uint64_t id);
void core_move_failed(struct core *core, struct local_move *move, const struct asked *asked,
                      const struct guard_reply *reply);
bool core_is_asked(const struct core *core, enum guard_op op, uint64_t migration);
/* Beside whatever else the guard is asked for the guest; not twice. */
void core_ask_beside(struct core *core, struct local_guest *local, enum guard_op op, uint64_t epoch,
                     uint64_t migration);
/* The guard's word on memory that was to follow. */
void core_move_awaited(struct core *core, const struct asked *asked,
                       const struct guard_reply *reply);
void core_move_progressed(struct core *core, const struct asked *asked,
                          const struct guard_reply *reply);
/* A capture's end: at which rate it copied. */
void core_move_measured(struct core *core, uint64_t id, const struct guard_reply *reply);
/* It may be lost with either node for a moment, since it would start again. */
bool core_allows_post(const struct guest_spec *spec);
/* The leader has the source hand it over, to a target with that room. */
void core_move_order(struct core *core, uint64_t from, uint64_t migration,
                     const struct node_room *room);
void core_move_notice(struct core *core, uint64_t from, uint64_t migration);
void core_moves_tidy(struct core *core);
void core_move_watch(struct core *core);
/* The source's stream of a migration. */
void core_move_stream_ended(struct core *core, uint64_t migration, int code);
void core_move_watch_stream(struct core *core, const struct migration *m);
void core_sagas_run(struct core *core);
/* The node is the source of a migration whose commit is in reach. */
bool core_saga_holds_loss(const struct core *core, uint64_t node);
const struct move_report *core_move_report(const struct core *core, uint64_t node, uint64_t id);

/* ---- leader's part */

void core_lead_begin(struct core *core);
void core_lead_end(struct core *core);
void core_lead_run(struct core *core);
/* What became of a node: COMMAND_NODE_LOST, _REBOOTED (with its new `boot_nonce`), _RETURNED. */
void core_propose_event(struct core *core, enum command_type type, enum proposal_kind kind,
                        uint64_t id, const uint8_t *boot_nonce);
void core_lead_outcome(struct core *core, const struct proposal *proposal, int code);

void core_lead_hear(struct core *core, uint64_t from, struct beat *beat); /* takes the report */
void core_lead_facts(struct core *core, uint64_t from, const struct node_facts *facts);
/* What held a node's lease back is settled: it should not wait for its next beat's turn. */
void core_lead_nudge(struct core *core, uint64_t to);
struct peer *core_peer(const struct core *core, uint64_t id);
bool core_peer_has_image(const struct peer *peer, const uint8_t digest[DIGEST_SIZE]);
const struct guard_report *core_report_of(const struct core *core, uint64_t node, const char *guest,
                                          uint64_t epoch);

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

struct answer *core_answer_new(enum answer_kind kind);
void core_respond(struct core *core, uint64_t ticket, struct answer *answer); /* takes it */
/* So long a request waits for authority: as long as the guests of a leader without it run. */
uint64_t core_no_authority_limit_us(const struct core *core);
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

/* What this leader knows of the loss or the reboot (`type`) of `node` that it is about to propose.
 */
void core_loss_origin(const struct core *core, uint64_t node, enum command_type type,
                      struct loss_origin *ret);
/* Such a command, proposed at `proposed_us` as far as this node knows, was applied at `index`. */
void core_failover_lost(struct core *core, const struct command *command, uint64_t index,
                        uint64_t proposed_us);
/* The leader tells of a guest that is back. */
void core_failover_told(struct core *core, const char *guest, uint64_t to,
                        const struct timeline *timeline);
void core_failovers_run(struct core *core);

/* ---- uplinks (core/links.c) */

void core_links_measured(struct core *core, const struct backhaul *links);
void core_lead_links(struct core *core, uint64_t from, const struct backhaul *links);

/* ---- bulk streams (core/pace.c) */

void core_pace_heard(struct core *core, uint64_t node, uint32_t round_trip_us);
void core_pace_ponged(struct core *core, uint64_t from, uint64_t token);
void core_pace_streams(struct core *core, const struct pace_flow *flows, uint32_t n);
/* Of the stream by which such a guest leaves, until nobody stands still for it (SET_STREAM). */
enum pace_manner core_pace_manner(enum guest_kind kind, enum move_mode mode);
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
/* The node had no room for what the guest brings: as long as others are to be had it is not chosen
 * by itself for a move of the guest's. */
void core_target_full(struct core *core, const char *guest, uint64_t node);
/* The same on another state than the core's own. */
int core_place_in(const struct core *core, const struct state *state, const struct guest_spec *spec,
                  uint64_t move_from, struct placement *ret, char **ret_words, struct err *err);
/* A guest that fits nowhere may wait for a place: it may preempt, and there is who gives way. */
bool core_may_wait(const struct core *core, const struct guest_spec *spec);

void core_drains_run(struct core *core);
/* A migration of the guest was aborted. */
void core_drain_failed(struct core *core, const char *guest, const char *text, bool had_no_room);
/* The wish to drain a node: true when it was answered. */
bool core_drained(struct core *core, struct wish *wish);
/* Guests are left that cannot move, or the drain is off: the wish was answered with their names. */
bool core_drain_is_stuck(struct core *core, struct wish *wish, const struct node *node);
bool core_is_placed_on(const struct core *core, uint64_t node); /* any guest */

#endif

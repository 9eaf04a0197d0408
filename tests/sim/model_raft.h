/* model_raft: the inside of the modelled log, shared by its files.
 *
 * Raft as its paper has it, as far as Skein can see it: terms and votes on disk, elections with
 * jitter, replication in batches, commits of the own term by a majority of the newest
 * configuration's voters, snapshots, one membership change at a time, transfer of leadership. Not
 * modelled: pre-vote (elections disturb more without it), the disk's time.
 *
 *   model_raft.c              elections, what the owner is told, life
 *   model_raft_replication.c  from a proposal to its commit; snapshots
 *   model_raft_log.c          the log of one server
 *   model_raft_members.c      changes of the configuration
 */
#ifndef SKEIN_TESTS_SIM_MODEL_RAFT_H
#define SKEIN_TESTS_SIM_MODEL_RAFT_H

#include "tests/sim/sim.h"

enum {
    RAFT_ELECTION_US = DEFAULT_ELECTION_MS * 1000,
    RAFT_HEARTBEAT_US = 30000,
    RAFT_BATCH = 12,
    RAFT_TRAILING = 20,
};

enum raft_message_type {
    RAFT_VOTE = 1,    /* index, log_term: of the candidate's last entry */
    RAFT_VOTE_RESULT, /* ok */
    RAFT_APPEND,      /* index, log_term: before the first entry; commit */
    RAFT_APPENDED,    /* ok; index: that matches, or from where to try again */
    RAFT_INSTALL,     /* snapshot */
    RAFT_TIMEOUT_NOW,
};

struct raft_message {
    struct raft_message **pool, *next; /* where it goes when it was read */
    enum raft_message_type type;
    uint64_t term, index, log_term, commit;
    bool ok;
    bool is_transfer; /* VOTE: the leader asked for it */
    const struct raft_snapshot *snapshot;
    uint32_t n;
    struct raft_entry *entries[RAFT_BATCH];
};

/* ---- model_raft_log.c */
struct raft_entry *raft_entry_new(struct sim *sim, enum raft_kind kind, uint64_t term,
                                  const void *data, size_t size);
struct raft_snapshot *raft_snapshot_new(struct sim *sim, uint64_t index, uint64_t term,
                                        const void *data, size_t size);
void raft_free_all(struct sim *sim);
uint64_t raft_last_index(const struct raft *raft);
/* 0 for what is not there (any more). */
uint64_t raft_term_at(const struct raft *raft, uint64_t index);
struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index);
void raft_log_append(struct raft *raft, struct raft_entry *entry);
void raft_log_truncate(struct raft *raft, uint64_t from);
/* Drops what the snapshot covers but for a few entries. */
void raft_log_trim(struct raft *raft, uint64_t trailing);
/* The log is what the snapshot says, and what already follows it. */
void raft_log_install(struct raft *raft, const struct raft_snapshot *snapshot);
void raft_configuration_at(const struct raft *raft, uint64_t index, uint8_t ret[SIM_MAX_NODES]);

/* ---- model_raft.c */
bool raft_is_voter(const struct raft *raft, unsigned node);
unsigned raft_n_voters(const struct sim *sim, const struct raft *raft);
void raft_put_off_election(struct sim *sim, struct raft *raft);
void raft_become_follower(struct sim *sim, struct sim_node *node, uint64_t term, int leader);
/* To the owner, in order: what is newly committed, the newest snapshot, a proposal's failure. */
void raft_deliver(struct sim *sim, struct sim_node *node);
void raft_tell_restored(struct sim *sim, struct sim_node *node);
void raft_tell_propose_failed(struct sim *sim, struct sim_node *node,
                              const uint8_t request[NONCE_SIZE], int code);
/* A message of the server's present term; sending takes it. */
struct raft_message *raft_message_new(struct sim *sim, const struct raft *raft,
                                      enum raft_message_type type);
void raft_send(struct sim *sim, struct sim_node *from, unsigned to, struct raft_message *m);

/* ---- model_raft_replication.c */
void raft_append_as_leader(struct sim *sim, struct sim_node *node, struct raft_entry *entry);
void raft_replicate(struct sim *sim, struct sim_node *node, unsigned to);
void raft_replicate_all(struct sim *sim, struct sim_node *node);
/* What has come to a server. */
void raft_handle_proposal(struct sim *sim, struct sim_node *node, struct raft_entry *entry);
void raft_handle_append(struct sim *sim, struct sim_node *node, unsigned from,
                        const struct raft_message *m);
void raft_handle_appended(struct sim *sim, struct sim_node *node, unsigned from,
                          const struct raft_message *m);
void raft_handle_install(struct sim *sim, struct sim_node *node, unsigned from,
                         const struct raft_message *m);

/* ---- model_raft_members.c */
void raft_change_begin(struct sim *sim, struct sim_node *node, const struct event *event);
/* Progress of replication or of the commit. */
void raft_change_run(struct sim *sim, struct sim_node *node);
void raft_change_fail(struct sim *sim, struct sim_node *node, int code);

#endif

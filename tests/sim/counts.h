/* counts: how often what happened over all seeds. What never happened was not tested: zero fails.
 */
#ifndef SKEIN_TESTS_SIM_COUNTS_H
#define SKEIN_TESTS_SIM_COUNTS_H

#include <stdint.h>

/* name in the code, words for people */
#define SIM_COUNTS(X)                                                                              \
    /* faults */                                                                                   \
    X(POWER_OFF, "fault: node powered off")                                                        \
    X(SKEIND_CRASH, "fault: skeind crashed")                                                       \
    X(GUARD_CRASH, "fault: guard crashed")                                                         \
    X(SKEIND_STALL, "fault: skeind stalled")                                                       \
    X(MAIN_STALL, "fault: skeind's main thread stalled")                                           \
    X(RAFT_STALL, "fault: skeind's log thread stalled")                                            \
    X(GUARD_STALL, "fault: guard stalled within its freeze budget")                                \
    X(GUARD_HUNG, "fault: guard hung beyond its lease")                                            \
    X(CUT_ONE_WAY, "fault: link cut one way")                                                      \
    X(CUT_BOTH_WAYS, "fault: link cut both ways")                                                  \
    X(PARTITION, "fault: partition")                                                               \
    X(LINK_MASK, "fault: mask of the directed links of three nodes")                               \
    X(LOSS, "fault: lossy link")                                                                   \
    X(DELAY, "fault: slow link")                                                                   \
    X(STREAM_DROPPED, "fault: migration stream dropped")                                           \
    X(STREAM_UNSURE, "fault: migration stream dropped at its last word")                           \
    X(STREAM_SILENT, "fault: migration stream sent whole, and nothing arrived")                    \
    X(TRANSFER_CUT, "fault: leadership transferred, the old leader cut off")                       \
    X(DEAF_LEADER, "fault: a leader's log thread stalled, its main thread did not")                \
    X(LATE_ACKS, "fault: acks to a node came late")                                                \
    X(LATE_BEATS, "fault: beats that come after the next boot")                                    \
    X(BEAT_GAPS, "fault: beats of a node came almost too late, again and again")                   \
    X(LONE_LEADER, "fault: leadership transferred, the old leader left with one node")             \
    X(VOTER_RESTART, "fault: voters restarted, then a vote asked for")                             \
    X(VOTED_AFTER_RESTART, "vote of a voter that restarted since a stamp it echoed counts")        \
    X(AT_VOTE, "fault: a voter does not hear the one it voted for")                                \
    X(AT_PROPOSAL, "fault: aimed at a leader's proposal")                                          \
    X(LOSS_STALLED, "fault: stall between a loss's decision and the log")                          \
    X(LOSS_HEARD, "fault: the log stalled with a proposed loss, the node was heard again")         \
    X(CEILING_CUT, "fault: leader lost with a proposed ceiling")                                   \
    X(AT_LEASE_END, "fault: guard stalled just when it had to freeze")                             \
    X(IN_MOVE, "fault: aimed at a step of a migration")                                            \
    X(SLOW_LIFT, "fault: slow lift of a guard")                                                    \
    X(TRANSFER, "fault: leadership transferred")                                                   \
    X(GUEST_EXIT, "fault: guest ended by itself")                                                  \
    X(GUARD_OP_FAILED, "fault: operation of a guard failed")                                       \
    X(FETCH_FAILED, "fault: image fetch failed")                                                   \
    X(MESSAGE_LOST, "fault: message lost")                                                         \
    X(MESSAGE_LATE, "fault: message held back by a cut")                                           \
    X(MESSAGE_DOUBLED, "fault: message doubled")                                                   \
    /* the log */                                                                                  \
    X(LEADER, "term begun by a leader")                                                            \
    X(TAIL_LOST, "uncommitted entry lost")                                                         \
    X(UNKNOWN_OUTCOME, "proposal with unknown outcome")                                            \
    X(NOT_LEADER, "proposal refused by a follower")                                                \
    X(SNAPSHOT_SENT, "snapshot sent to a follower")                                                \
    X(RESTORED, "state restored from a snapshot")                                                  \
    X(MEMBER_CHANGE, "change of the log's members")                                                \
    /* leases */                                                                                   \
    X(LAPSE, "lease lapsed")                                                                       \
    X(LIFT, "lease lifted")                                                                        \
    X(COPY_DESTROYED, "copy destroyed by a lift")                                                  \
    X(START_REFUSED, "start refused by a guard")                                                   \
    X(NODE_LOST, "node lost")                                                                      \
    X(NODE_REBOOTED, "node rebooted")                                                              \
    X(NODE_RETURNED, "node returned")                                                              \
    X(FAILOVER, "guest placed again")                                                              \
    /* guests */                                                                                   \
    X(GUEST_CREATED, "guest created")                                                              \
    X(GUEST_EVICTED, "guests gave way")                                                            \
    X(GUEST_MADE_LEAVE, "guests had not left by a drain's deadline")                               \
    X(GUEST_STOPPED, "guest stopped")                                                              \
    X(GUEST_STARTED, "guest started again")                                                        \
    X(GUEST_REMOVED, "guest removed")                                                              \
    X(MIGRATION_RESERVED, "migration reserved")                                                    \
    X(MIGRATION_COMMITTED, "migration committed")                                                  \
    X(MIGRATION_ABORTED, "migration aborted")                                                      \
    X(MIGRATION_RETURNED, "migration committed, and returned to its source")                       \
    X(MIGRATION_DONE, "migration done")                                                            \
    X(MIGRATION_DROPPED, "migration ended by a loss")                                              \
    /* users */                                                                                    \
    X(ANSWER_DONE, "answer: done")                                                                 \
    X(ANSWER_REFUSED, "answer: refused")                                                           \
    X(ANSWER_NO_PLACE, "answer: no place")                                                         \
    X(ANSWER_NOT_NOW, "answer: not now")                                                           \
    X(ANSWER_NOT_LEADER, "answer: another leads")                                                  \
    X(ANSWER_LEADER_LOST, "answer: leadership was lost, the outcome is unknown")                   \
    X(RETRY, "request repeated with its id")                                                       \
    X(RETRY_OF_DONE, "request repeated that was done already")                                     \
    X(CLIENT_GONE, "request given up by its client")

enum count {
#define X(name, words) COUNT_##name,
    SIM_COUNTS(X)
#undef X
        N_COUNTS
};

struct counts {
    uint64_t n[N_COUNTS];
    uint64_t masks[3]; /* by leader; bit m: the directed links of three nodes were cut as m says */
    uint64_t us;       /* of all clusters' time */
};

const char *count_words(enum count count);

#endif

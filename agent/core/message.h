/* message: what peers say to each other about beats, leases and migrations (pure codec).
 *
 *   BEAT        node -> leader     I am here, this is what I have
 *   ACK         leader -> node     your lease, and my stamp to echo
 *   NOT_LEADER  node -> node       a beat came to the wrong one: try this one
 *   CAPTURE     leader -> source   the target is prepared: hand the guest over
 *   RUNNING     target -> source   the guest runs here: stop the clock of its blackout
 *   FACTS       node -> leader     my facts are others than the state's
 *   ASK         leader -> helper   do you hear that silent node? shown, never decisive
 *   PING, PONG  helper <-> node    are you there? I am
 *   HEARD       helper -> leader   it answered me, or it did not
 *   LINKS       node -> leader     what crosses my uplink, once a second
 *   TIMELINE    leader -> node     how a guest came back, for `events` of those that may lead next
 *
 * Every message may be lost, late or doubled; none is needed for safety.
 */
#ifndef SKEIN_AGENT_CORE_MESSAGE_H
#define SKEIN_AGENT_CORE_MESSAGE_H

#include "agent/core/timeline.h"
#include "agent/guard/proto.h"
#include "agent/lease.h"
#include "base/err.h"
#include "consensus/types.h"
#include "netfabric/backhaul.h"

enum { MESSAGE_MAX_CLAIMS = MAX_NODE_GUESTS, MESSAGE_MAX_MOVES = 64 };

enum message_type {
    MESSAGE_BEAT = 1,
    MESSAGE_ACK,
    MESSAGE_NOT_LEADER,
    MESSAGE_CAPTURE,
    MESSAGE_RUNNING,
    MESSAGE_FACTS,
    MESSAGE_ASK,
    MESSAGE_PING,
    MESSAGE_PONG,
    MESSAGE_HEARD,
    MESSAGE_LINKS,
    MESSAGE_TIMELINE,
    MESSAGE_TYPE_END
};

/* A leader's own mark of time: when it sent an answer, by its own clock, in the term that it leads.
 * Only that leader ever reads it again. */
struct leader_stamp {
    uint64_t term; /* 0 = none */
    uint64_t sent_us;
};

enum claim_kind {
    CLAIM_STOPPED = 1,  /* desired: stopped, and nothing of (guest, epoch) is here any more */
    CLAIM_EXITED,       /* ended by itself, and its restart policy lets it be */
    CLAIM_START_FAILED, /* the guard could not start it; it is tried again */
    CLAIM_IMAGE_FAILED, /* `guest` names an image that the guard cannot unpack; epoch 0 */
};

/* What a node says of a guest that is placed on it, beyond the guard's report. */
struct claim {
    enum claim_kind kind;
    char guest[NAME_SIZE];
    uint64_t epoch;
    char text[REASON_SIZE];
};

enum guest_health {
    GUEST_HEALTH_NONE = 0, /* no check, or it does not run */
    GUEST_HEALTH_STARTING,
    GUEST_HEALTHY,
    GUEST_UNHEALTHY,
};

/* How a guest fares beyond the guard's report; only of guests that are checked or start again. */
struct condition {
    char guest[NAME_SIZE];
    uint64_t epoch;
    enum guest_health health;
    uint32_t n_failures;    /* checks, in a row */
    uint32_t n_ends;        /* times that it ended lately: since it last ran calmly */
    uint32_t next_start_ms; /* when the report was made; 0 = none is due */
    char text[REASON_SIZE]; /* the last failure's words */
};

/* What a node says of a protected guest that runs on it. */
struct protection {
    char guest[NAME_SIZE];
    uint64_t epoch;
    uint64_t resumed; /* index of the checkpoint that this copy began with; 0 = it started afresh */
    uint64_t node;    /* holds its newest checkpoint of this run, whole; 0 = none yet: … */
    uint8_t digest[DIGEST_SIZE]; /* … zeroes, as … */
    uint64_t size;               /* … bytes, … */
    uint64_t sent;               /* … of which crossed, … */
    uint32_t n_increments;       /* … as which increment since a whole one; 0 = whole, … */
    uint32_t frozen_us;          /* … how long the guest stood still for it, … */
    uint32_t age_ms;             /* … and when it did, before the report was made */
    uint32_t interval_ms;        /* between checkpoints, as it is held: the wanted one, or longer */
    uint32_t n_failures;         /* checkpoints that failed, in a row */
    char text[REASON_SIZE];      /* why; "" */
};

/* What a node says of a migration that it is an end of. */
struct move_report {
    uint64_t id;
    bool failed; /* its own part: text says why */
    char text[REASON_SIZE];
    enum move_mode mode;           /* source: as it was handed over; 0 = not yet */
    bool memory_here;              /* target: nothing of it is still to follow */
    bool activates;                /* target: the guard was asked, and has not answered */
    bool never_ran;                /* target: of what failed; no memory was asked for, either */
    bool no_room;                  /* of what failed: the target has no room for it */
    struct node_room room;         /* target: when it was prepared */
    uint64_t bytes;                /* that crossed, source */
    struct move_progress progress; /* source */
    uint32_t rate_kbps;            /* source: lately */
    uint32_t blackout_us;          /* source: frozen until the target's notice; 0 = not known */
};

/* The part of a beat that seldom changes. */
struct node_report {
    uint32_t n_guests;
    struct guard_report *guests; /* heap, owned */
    uint32_t n_claims;
    struct claim *claims; /* heap, owned */
    uint32_t n_conditions;
    struct condition *conditions; /* heap, owned */
    uint32_t n_moves;
    struct move_report *moves; /* heap, owned */
    uint32_t n_protections;
    struct protection *protections; /* heap, owned */
    uint32_t n_images;
    uint8_t (*images)[DIGEST_SIZE]; /* held, verified and unpacked; heap, owned */
};

struct beat {
    struct stamp stamp;
    struct leader_stamp echo; /* the newest that the node got from this leader */
    uint64_t published_term;  /* read after the echoed stamp had arrived; 0 = log not loaded */
    bool lapsed;
    uint64_t applied_index;
    uint64_t fabric_index; /* of the state that the node's switch shows */
    uint32_t backhaul_permille;
    uint32_t round_trip_us;              /* of an earlier beat, 0 = unknown */
    uint8_t n_beats, n_beats_unanswered; /* of its newest beats whose answer is due */
    uint32_t report_version;             /* grows with every change of the report */
    bool has_report; /* left out while the leader says that it has this version */
    struct node_report report;
};

struct ack {
    struct leader_stamp stamp;
    uint32_t report_version; /* the newest that the leader has of this node */
    bool again;              /* the leader waits for a fresh beat: do not wait for the next one */
    struct lease_ack lease;  /* lease_ms 0: nothing granted */
};

struct message {
    enum message_type type;
    union {
        struct beat beat;
        struct ack *ack; /* heap, owned: it is large */
        struct {
            uint64_t leader; /* 0 = unknown */
            uint64_t term;
        } not_leader;
        uint64_t migration; /* RUNNING */
        struct {
            uint64_t migration;
            struct node_room room; /* as the target said */
        } capture;
        struct node_facts facts;
        uint64_t about; /* ASK: a node */
        uint64_t token; /* PING, PONG: the helper's own, comes back as it was */
        struct {
            uint64_t node;
            bool is_heard;
        } heard;
        struct backhaul links;
        struct {
            char guest[NAME_SIZE];
            uint64_t node; /* where it serves */
            struct timeline timeline;
        } told;
    };
};

void node_report_deinit(struct node_report *report);
void message_deinit(struct message *message); /* safe on zeroes and safe twice */
void message_encode(const struct message *message, struct writer *w);
/* 0; -EBADMSG; -ENOMEM. `ret` is zeroed on failure. */
int message_decode(const void *data, size_t size, struct message *ret, struct err *err);

#endif

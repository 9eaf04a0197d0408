/* What tests of the replica begin with: real libraft on loopback and on temporary directories,
 * several replicas in one process. */
#ifndef SKEIN_TESTS_UNIT_REPLICAS_H
#define SKEIN_TESTS_UNIT_REPLICAS_H

#include "tests/unit/test.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "consensus/identity_sodium.h"
#include "consensus/keyring.h"
#include "consensus/replica.h"

/* Patient enough that no leader falls and no disk is called stalled because the machine is busy. */
enum { ELECTION_MS = 1000, HEARTBEAT_MS = 50, DISK_STALL_MS = 60000 };
enum { N_NODES = 4, LIMIT_MS = 120000, NO_ERROR = 1 };
static const uint32_t loopback = 0x7f000001;
static const uint8_t cluster[NONCE_SIZE] = "cluster-id-16-by";

/* A state that is a fold of the log. */
struct fold {
    uint64_t index, n, hash;
};

struct server {
    uint64_t id;
    char directory[64];
    struct identity identity;
    struct keyring *keyring;
    struct replica *replica;
    uint16_t port;
    struct fold inner, owner; /* the replica's copy, and the owner's */
    /* Of the owner's events. */
    bool has_started, is_waiting;
    int failed; /* of REPLICA_FAILED */
    enum replica_role role;
    uint64_t term, leader;
    int n_restored, n_committed;
    uint32_t n_voters, n_members;
    int propose_error, change_error; /* NO_ERROR = none yet */
    uint64_t change_cookie;
};

struct bench {
    char directory[32];
    int wakeups;
    struct server nodes[N_NODES + 1]; /* from 1 */
    uint32_t threshold, trailing, disk_stall_ms; /* 0: DISK_STALL_MS */
};

/* ---- the fold */

static inline void fold_apply(struct fold *f, uint64_t index, uint64_t term, const void *bytes,
                              size_t size)
{
    const uint8_t *at = bytes;

    assert_true(index > f->index);
    f->index = index;
    f->n++;
    f->hash = f->hash * 31 + term;
    for (size_t i = 0; i < size; i++)
        f->hash = f->hash * 31 + at[i];
}

static inline int fold_restore(struct fold *f, uint64_t index, const void *bytes, size_t size)
{
    struct reader r;

    reader_init(&r, bytes, size);
    f->index = index;
    f->n = read_u64(&r);
    f->hash = read_u64(&r);
    return reader_done(&r) ? 0 : -EBADMSG;
}

static inline void inner_apply(void *data, uint64_t index, uint64_t term, const void *bytes,
                               size_t size)
{
    fold_apply(&((struct server *)data)->inner, index, term, bytes, size);
}

static inline void *inner_snapshot(void *data, size_t *ret_size)
{
    struct server *n = data;
    struct writer w;

    writer_init_growing(&w, 1024);
    write_u64(&w, n->inner.n);
    write_u64(&w, n->inner.hash);
    return writer_steal(&w, ret_size);
}

static inline int inner_restore(void *data, uint64_t index, uint64_t term, const void *bytes,
                                size_t size)
{
    (void)term;
    return fold_restore(&((struct server *)data)->inner, index, bytes, size);
}

/* ---- life */

static inline void on_wake(void *data)
{
    struct bench *b = data;

    assert_int_equal(eventfd_write(b->wakeups, 1), 0);
}

static inline int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct keyring_entry table[N_NODES] = {{0}};

    strcpy(b->directory, "/tmp/skein-replica-XXXXXX");
    assert_non_null(mkdtemp(b->directory));
    b->wakeups = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (int i = 1; i <= N_NODES; i++) {
        struct server *n = &b->nodes[i];

        n->id = (uint64_t)i * 10;
        snprintf(n->directory, sizeof(n->directory), "%s/n%d", b->directory, i);
        assert_int_equal(mkdir(n->directory, 0700), 0);
        identity_generate(&n->identity);
        n->keyring = keyring_new();
        table[i - 1].id = n->id;
        table[i - 1].address = loopback + (uint32_t)i - 1;
        memcpy(table[i - 1].link_key, n->identity.link_public, KEY_SIZE);
    }
    for (int i = 1; i <= N_NODES; i++)
        assert_int_equal(keyring_replace(b->nodes[i].keyring, table, N_NODES), 0);
    *state = b;
    return 0;
}

static inline void stop(struct server *n)
{
    struct replica_event event;

    if (n->replica == NULL)
        return;
    /* What it told before it was stopped counts; what is left is freed by the stop. */
    while (replica_next_event(n->replica, &event))
        replica_event_deinit(&event);
    replica_stop(n->replica);
    n->replica = NULL;
}

static inline int remove_one(const char *path, const struct stat *status, int flag,
                             struct FTW *walk)
{
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

static inline int teardown(void **state)
{
    struct bench *b = *state;

    for (int i = 1; i <= N_NODES; i++) {
        stop(&b->nodes[i]);
        keyring_free(b->nodes[i].keyring);
    }
    nftw(b->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    close(b->wakeups);
    free(b);
    return 0;
}

static inline struct replica_config config_of(struct bench *b, struct server *n, bool bootstrap)
{
    struct replica_config config = {
        .directory = n->directory,
        .id = n->id,
        .address = loopback + (uint32_t)(n - b->nodes) - 1,
        .port = n->port,
        .identity = &n->identity,
        .keyring = n->keyring,
        .snapshot_threshold = b->threshold,
        .snapshot_trailing = b->trailing,
        .disk_stall_ms = b->disk_stall_ms != 0 ? b->disk_stall_ms : DISK_STALL_MS,
        .election_ms = ELECTION_MS,
        .heartbeat_ms = HEARTBEAT_MS,
        .bootstrap = bootstrap,
        .fsm = {n, inner_apply, inner_snapshot, inner_restore},
        .wake = on_wake,
        .wake_data = b,
    };

    memcpy(config.cluster, cluster, NONCE_SIZE);
    return config;
}

static inline void launch(struct bench *b, struct server *n, bool bootstrap)
{
    struct replica_config config = config_of(b, n, bootstrap);
    struct err err;

    memset(&n->inner, 0, sizeof(n->inner));
    memset(&n->owner, 0, sizeof(n->owner));
    n->has_started = n->is_waiting = false;
    n->failed = n->n_restored = n->n_committed = 0;
    n->role = 0;
    n->leader = n->term = 0;
    n->propose_error = n->change_error = NO_ERROR;
    assert_int_equal(replica_start(&config, &n->replica, &err), 0);
}

/* ---- events */

static inline void take_members(struct server *n, const struct replica_event *event)
{
    n->n_members = event->members.n;
    n->n_voters = 0;
    for (uint32_t i = 0; i < event->members.n; i++)
        n->n_voters += event->members.members[i].role == ROLE_VOTER;
}

static inline void take_event(struct server *n, const struct replica_event *event)
{
    switch (event->type) {
    case REPLICA_STARTED:
        n->has_started = true;
        n->port = replica_port(n->replica);
        break;
    case REPLICA_FAILED:
        n->failed = event->failed.code;
        break;
    case REPLICA_COMMITTED:
        fold_apply(&n->owner, event->entry.index, event->entry.term, event->entry.bytes,
                   event->entry.size);
        n->n_committed++;
        break;
    case REPLICA_RESTORED:
        assert_int_equal(
            fold_restore(&n->owner, event->entry.index, event->entry.bytes, event->entry.size), 0);
        n->n_restored++;
        break;
    case REPLICA_ROLE:
        n->role = event->role.role;
        n->term = event->role.term;
        n->leader = event->role.leader;
        break;
    case REPLICA_MEMBERS:
        take_members(n, event);
        break;
    case REPLICA_PROPOSE_FAILED:
        n->propose_error = event->propose_failed.error;
        break;
    case REPLICA_CHANGE_DONE:
        n->change_error = event->change_done.error;
        n->change_cookie = event->change_done.cookie;
        break;
    case REPLICA_WAITING:
        n->is_waiting = true;
        break;
    }
}

static inline void turn(struct bench *b, int wait_ms)
{
    struct pollfd wakeups = {.fd = b->wakeups, .events = POLLIN};
    struct replica_event event;
    eventfd_t n;

    poll(&wakeups, 1, wait_ms);
    eventfd_read(b->wakeups, &n);
    for (int i = 1; i <= N_NODES; i++)
        while (b->nodes[i].replica != NULL && replica_next_event(b->nodes[i].replica, &event)) {
            take_event(&b->nodes[i], &event);
            replica_event_deinit(&event);
        }
}

static inline uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

#define RUN_UNTIL(b, condition)                                                                    \
    do {                                                                                           \
        uint64_t until_ = now_ms() + LIMIT_MS;                                                     \
        while (!(condition)) {                                                                     \
            assert_true(now_ms() < until_);                                                        \
            turn(b, 20);                                                                           \
        }                                                                                          \
    } while (0)

static inline struct server *leader_of(struct bench *b)
{
    struct server *leader = NULL;

    for (int i = 1; i <= N_NODES; i++) {
        struct server *n = &b->nodes[i];

        if (n->replica != NULL && n->role == REPLICA_LEADER &&
            (leader == NULL || n->term > leader->term))
            leader = n;
    }
    return leader;
}

static inline void propose(struct server *n, const char *text)
{
    static uint8_t request[NONCE_SIZE];

    request[0]++;
    n->propose_error = NO_ERROR;
    assert_int_equal(replica_propose(n->replica, request, text, strlen(text)), 0);
}

static inline void propose_many(struct bench *b, struct server *leader, int n)
{
    uint64_t wanted = leader->owner.n + (uint64_t)n;

    for (int i = 0; i < n; i++) {
        propose(leader, i % 2 ? "an odd command" : "even");
        if (i % 256 == 255)
            RUN_UNTIL(b, leader->owner.n == wanted - (uint64_t)(n - i - 1));
    }
    RUN_UNTIL(b, leader->owner.n == wanted);
}

static inline void change_and_wait(struct bench *b, struct server *leader, int rc, int wanted)
{
    assert_int_equal(rc, 0);
    RUN_UNTIL(b, leader->change_error != NO_ERROR);
    assert_int_equal(leader->change_error, wanted);
    leader->change_error = NO_ERROR;
}

static inline void add_node(struct bench *b, struct server *leader, struct server *n,
                            enum raft_role role)
{
    if (n->replica == NULL)
        launch(b, n, false);
    RUN_UNTIL(b, n->has_started);
    change_and_wait(
        b, leader,
        replica_add(leader->replica, 7, n->id, loopback + (uint32_t)(n - b->nodes) - 1, n->port),
        0);
    if (role != ROLE_SPARE)
        change_and_wait(b, leader, replica_assign(leader->replica, 8, n->id, role), 0);
}

static inline struct server *found_one(struct bench *b)
{
    struct server *first = &b->nodes[1];

    launch(b, first, true);
    RUN_UNTIL(b, first->role == REPLICA_LEADER);
    return first;
}

static inline struct server *found_three(struct bench *b)
{
    struct server *first = found_one(b);

    add_node(b, first, &b->nodes[2], ROLE_VOTER);
    add_node(b, first, &b->nodes[3], ROLE_VOTER);
    RUN_UNTIL(b, b->nodes[3].n_voters == 3);
    return first;
}

static inline bool are_equal(const struct server *a, const struct server *c)
{
    return a->owner.n == c->owner.n && a->owner.hash == c->owner.hash;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif

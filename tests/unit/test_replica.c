/* replica: real libraft on loopback and on temporary directories, several replicas in one process.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "consensus/identity_sodium.h"
#include "consensus/keyring.h"
#include "consensus/replica.h"

enum { N_NODES = 4, LIMIT_MS = 30000, NO_ERROR = 1 };
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
    uint32_t threshold, trailing, disk_stall_ms;
};

/* ---- the fold */

static void fold_apply(struct fold *f, uint64_t index, uint64_t term, const void *bytes,
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

static int fold_restore(struct fold *f, uint64_t index, const void *bytes, size_t size)
{
    struct reader r;

    reader_init(&r, bytes, size);
    f->index = index;
    f->n = read_u64(&r);
    f->hash = read_u64(&r);
    return reader_done(&r) ? 0 : -EBADMSG;
}

static void inner_apply(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    fold_apply(&((struct server *)data)->inner, index, term, bytes, size);
}

static void *inner_snapshot(void *data, size_t *ret_size)
{
    struct server *n = data;
    struct writer w;

    writer_init_growing(&w, 1024);
    write_u64(&w, n->inner.n);
    write_u64(&w, n->inner.hash);
    return writer_steal(&w, ret_size);
}

static int inner_restore(void *data, uint64_t index, uint64_t term, const void *bytes, size_t size)
{
    (void)term;
    return fold_restore(&((struct server *)data)->inner, index, bytes, size);
}

/* ---- life */

static void on_wake(void *data)
{
    struct bench *b = data;

    assert_int_equal(eventfd_write(b->wakeups, 1), 0);
}

static int setup(void **state)
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

static void stop(struct server *n)
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

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

static int teardown(void **state)
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

static struct replica_config config_of(struct bench *b, struct server *n, bool bootstrap)
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
        .disk_stall_ms = b->disk_stall_ms,
        .bootstrap = bootstrap,
        .fsm = {n, inner_apply, inner_snapshot, inner_restore},
        .wake = on_wake,
        .wake_data = b,
    };

    memcpy(config.cluster, cluster, NONCE_SIZE);
    return config;
}

static void launch(struct bench *b, struct server *n, bool bootstrap)
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

static void take_members(struct server *n, const struct replica_event *event)
{
    n->n_members = event->members.n;
    n->n_voters = 0;
    for (uint32_t i = 0; i < event->members.n; i++)
        n->n_voters += event->members.members[i].role == ROLE_VOTER;
}

static void take_event(struct server *n, const struct replica_event *event)
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

static void turn(struct bench *b, int wait_ms)
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

static uint64_t now_ms(void)
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

static struct server *leader_of(struct bench *b)
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

static void propose(struct server *n, const char *text)
{
    static uint8_t request[NONCE_SIZE];

    request[0]++;
    n->propose_error = NO_ERROR;
    assert_int_equal(replica_propose(n->replica, request, text, strlen(text)), 0);
}

static void propose_many(struct bench *b, struct server *leader, int n)
{
    uint64_t wanted = leader->owner.n + (uint64_t)n;

    for (int i = 0; i < n; i++) {
        propose(leader, i % 2 ? "an odd command" : "even");
        if (i % 256 == 255)
            RUN_UNTIL(b, leader->owner.n == wanted - (uint64_t)(n - i - 1));
    }
    RUN_UNTIL(b, leader->owner.n == wanted);
}

static void change_and_wait(struct bench *b, struct server *leader, int rc, int wanted)
{
    assert_int_equal(rc, 0);
    RUN_UNTIL(b, leader->change_error != NO_ERROR);
    assert_int_equal(leader->change_error, wanted);
    leader->change_error = NO_ERROR;
}

static void add_node(struct bench *b, struct server *leader, struct server *n, enum raft_role role)
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

static struct server *found_one(struct bench *b)
{
    struct server *first = &b->nodes[1];

    launch(b, first, true);
    RUN_UNTIL(b, first->role == REPLICA_LEADER);
    return first;
}

static struct server *found_three(struct bench *b)
{
    struct server *first = found_one(b);

    add_node(b, first, &b->nodes[2], ROLE_VOTER);
    add_node(b, first, &b->nodes[3], ROLE_VOTER);
    RUN_UNTIL(b, b->nodes[3].n_voters == 3);
    return first;
}

static bool are_equal(const struct server *a, const struct server *c)
{
    return a->owner.n == c->owner.n && a->owner.hash == c->owner.hash;
}

/* ---- tests */

static void one_node_leads_itself_and_keeps_its_log(void **state)
{
    struct bench *b = *state;
    struct server *n = found_one(b);
    struct fold before;

    assert_true(replica_published_term(n->replica) == n->term);
    assert_int_equal(n->n_voters, 1);
    propose_many(b, n, 100);
    before = n->owner;
    stop(n);
    launch(b, n, false);
    RUN_UNTIL(b, n->owner.n == 100);
    assert_memory_equal(&before, &n->owner, sizeof(before));
    RUN_UNTIL(b, n->role == REPLICA_LEADER);
}

static void three_nodes_agree_and_outlive_their_leader(void **state)
{
    struct bench *b = *state;
    struct server *old = found_three(b), *leader;
    uint64_t start, term = old->term;

    propose_many(b, old, 200);
    RUN_UNTIL(b, are_equal(old, &b->nodes[2]) && are_equal(old, &b->nodes[3]));
    assert_int_equal(b->nodes[2].leader, old->id);

    start = now_ms();
    stop(old);
    RUN_UNTIL(b, leader_of(b) != NULL);
    leader = leader_of(b);
    print_message("# a new leader after %u ms\n", (unsigned)(now_ms() - start));
    assert_true(leader->term > term);
    assert_true(replica_published_term(leader->replica) >= leader->term);
    propose_many(b, leader, 50);

    launch(b, old, false);
    RUN_UNTIL(b, are_equal(old, leader));
    assert_int_equal(old->owner.n, 250);
}

static void who_does_not_lead_says_so(void **state)
{
    struct bench *b = *state;
    struct server *leader = found_three(b), *other = &b->nodes[2];

    propose(other, "no");
    RUN_UNTIL(b, other->propose_error != NO_ERROR);
    assert_int_equal(other->propose_error, -ENOTCONN);
    change_and_wait(b, other, replica_remove(other->replica, 1, leader->id), -ENOTCONN);
    change_and_wait(b, leader, replica_assign(leader->replica, 2, 999, ROLE_VOTER), -ENOENT);
    change_and_wait(b, leader, replica_assign(leader->replica, 3, other->id, ROLE_VOTER),
                    -EALREADY);
    change_and_wait(b, leader, replica_add(leader->replica, 4, other->id, 1, 1), -EEXIST);
    assert_int_equal(leader->change_cookie, 4);
    assert_int_equal(replica_propose(leader->replica, cluster, cluster, COMMAND_MAX_SIZE + 1),
                     -EMSGSIZE);
}

static void a_large_command_is_committed(void **state)
{
    struct bench *b = *state;
    struct server *leader = found_three(b);
    char *text = calloc(1, COMMAND_MAX_SIZE + 1);

    memset(text, 'x', COMMAND_MAX_SIZE);
    for (int i = 0; i < 40; i++) /* more than one log segment */
        propose(leader, text);
    RUN_UNTIL(b, leader->owner.n == 40 && are_equal(leader, &b->nodes[3]));
    free(text);
}

static void leadership_is_handed_over(void **state)
{
    struct bench *b = *state;
    struct server *leader = found_three(b), *next = &b->nodes[3];

    change_and_wait(b, leader, replica_transfer(leader->replica, 5, next->id), 0);
    RUN_UNTIL(b, next->role == REPLICA_LEADER && leader->role == REPLICA_FOLLOWER);
    propose_many(b, next, 10);
    RUN_UNTIL(b, are_equal(leader, next));
}

static void a_fresh_member_gets_a_snapshot(void **state)
{
    struct bench *b = *state;
    struct server *leader, *fresh = &b->nodes[4];

    b->threshold = 64;
    b->trailing = 16;
    leader = found_three(b);
    propose_many(b, leader, 500);
    add_node(b, leader, fresh, ROLE_VOTER);
    RUN_UNTIL(b, are_equal(leader, fresh));
    assert_int_equal(fresh->n_restored, 1);
    assert_true(fresh->n_committed < 200);
    propose_many(b, leader, 10);
    RUN_UNTIL(b, are_equal(leader, fresh));
    /* A start from a snapshot comes to the same. */
    stop(fresh);
    launch(b, fresh, false);
    RUN_UNTIL(b, are_equal(leader, fresh));
    assert_int_equal(fresh->n_restored, 1);
}

static void a_removed_member_is_left_out(void **state)
{
    struct bench *b = *state;
    struct server *leader = found_three(b), *gone = &b->nodes[3];
    uint64_t before = gone->owner.n;

    change_and_wait(b, leader, replica_remove(leader->replica, 6, gone->id), 0);
    RUN_UNTIL(b, leader->n_members == 2);
    propose_many(b, leader, 20);
    assert_true(gone->owner.n <= before + 1);
}

static void set_peers(struct bench *b, struct server *n, bool with_others)
{
    struct keyring_entry table[N_NODES] = {{0}};
    size_t n_entries = 0;

    for (int i = 1; i <= N_NODES; i++) {
        const struct server *o = &b->nodes[i];

        if (o != n && !with_others)
            continue;
        table[n_entries].id = o->id;
        table[n_entries].address = loopback + (uint32_t)i - 1;
        memcpy(table[n_entries++].link_key, o->identity.link_public, KEY_SIZE);
    }
    assert_int_equal(keyring_replace(n->keyring, table, n_entries), 0);
}

static uint64_t mark_of(struct server *n)
{
    struct replica_record record = {0};

    replica_inspect(n->directory, &record, NULL);
    return record.mark_index;
}

/* A leader that is cut off keeps entries that nobody else has; they give way to the new leader's.
 */
static void what_was_not_agreed_is_dropped(void **state)
{
    struct bench *b = *state;
    struct server *old = found_three(b), *leader;
    uint64_t agreed;

    propose_many(b, old, 10);
    RUN_UNTIL(b, are_equal(old, &b->nodes[2]) && are_equal(old, &b->nodes[3]));
    agreed = old->owner.index;
    set_peers(b, old, false);
    for (int i = 0; i < 20; i++)
        propose(old, "nobody hears this");
    RUN_UNTIL(b, old->propose_error != NO_ERROR);
    assert_int_equal(old->propose_error, -EAGAIN); /* unknown: it might have got through */
    RUN_UNTIL(b, old->role != REPLICA_LEADER);
    RUN_UNTIL(b, mark_of(old) >= agreed + 20); /* on its disk all the same */
    RUN_UNTIL(b, leader_of(b) != NULL && leader_of(b) != old);
    leader = leader_of(b);
    propose_many(b, leader, 3);

    set_peers(b, old, true);
    RUN_UNTIL(b, are_equal(old, leader));
    assert_int_equal(old->owner.n, 13);
    stop(old);
    assert_true(mark_of(old) <= leader->owner.index + 1); /* the empty entry behind the last */
    launch(b, old, false); /* the shorter log is no loss */
    RUN_UNTIL(b, are_equal(old, leader));
}

static void a_lost_log_does_not_vote(void **state)
{
    struct bench *b = *state;
    struct server *n = found_one(b);
    struct replica_record record;
    char path[80];
    struct err err;

    propose_many(b, n, 10);
    stop(n);
    assert_int_equal(replica_inspect(n->directory, &record, &err), 0);
    assert_int_equal(record.id, n->id);
    assert_true(record.mark_index >= 1);

    snprintf(path, sizeof(path), "%s/raft", n->directory);
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    launch(b, n, false);
    RUN_UNTIL(b, n->failed != 0);
    assert_int_equal(n->failed, -ESTALE);
    stop(n);

    assert_int_equal(replica_discard(n->directory, &err), 0);
    assert_int_equal(replica_inspect(n->directory, &record, &err), -ENOENT);
    n->id = 11;
    launch(b, n, false);
    RUN_UNTIL(b, n->has_started);
}

static void a_directory_belongs_to_one_id(void **state)
{
    struct bench *b = *state;
    struct server *n = found_one(b);

    stop(n);
    launch(b, n, true); /* a second beginning */
    RUN_UNTIL(b, n->failed != 0);
    assert_int_equal(n->failed, -EEXIST);
    stop(n);
    n->id = 77;
    launch(b, n, false);
    RUN_UNTIL(b, n->failed != 0);
    assert_int_equal(n->failed, -EEXIST);
    assert_int_equal(replica_propose(n->replica, cluster, "x", 1), -ESHUTDOWN);
}

static void a_successor_waits_for_the_lock(void **state)
{
    struct bench *b = *state;
    struct server *n = found_one(b), *next = &b->nodes[2];

    propose_many(b, n, 5);
    next->id = n->id;
    strcpy(next->directory, n->directory);
    launch(b, next, false);
    RUN_UNTIL(b, next->is_waiting);
    assert_false(next->has_started);
    stop(n);
    RUN_UNTIL(b, next->owner.n == 5);
}

/* ---- fail stop, in a child */

static struct server *child_start(struct bench *b)
{
    struct server *n;

    b->disk_stall_ms = 300;
    n = found_one(b);
    propose_many(b, n, 3);
    return n;
}

/* Every further byte beyond the first page of a file fails. */
static void child_with_a_full_disk(struct bench *b)
{
    struct rlimit limit = {4096, 4096};
    struct server *n = child_start(b);

    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 300; i++)
        propose(n, "0123456789012345678901234567890123456789");
    RUN_UNTIL(b, false);
}

static void child_that_cannot_make_a_segment(struct bench *b)
{
    struct rlimit limit = {65536, 65536};
    struct server *n = child_start(b);

    stop(n);
    setrlimit(RLIMIT_FSIZE, &limit);
    launch(b, n, false);
    RUN_UNTIL(b, n->role == REPLICA_LEADER);
    propose(n, "there is no room for this");
    RUN_UNTIL(b, false);
}

/* A write of the term that never returns: its file is a pipe that nobody reads. */
static void child_with_a_stalled_disk(struct bench *b)
{
    struct server *n = child_start(b);
    char path[96];

    add_node(b, n, &b->nodes[2], ROLE_VOTER);
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof(path), "%s/raft/metadata%d", b->nodes[2].directory, i);
        unlink(path);
        assert_int_equal(mkfifo(path, 0600), 0);
    }
    replica_transfer(n->replica, 9, b->nodes[2].id); /* it enters a new term at once */
    RUN_UNTIL(b, false);
}

static void expect_fail_stop(struct bench *b, void (*child)(struct bench *b))
{
    int status, output[2];
    char text[4096];
    ssize_t n, size = 0;
    pid_t pid;

    assert_int_equal(pipe(output), 0);
    pid = fork();
    if (pid == 0) {
        dup2(output[1], STDERR_FILENO);
        dup2(output[1], STDOUT_FILENO);
        close(output[0]);
        close(output[1]);
        alarm(5);
        child(b);
        _exit(1);
    }
    close(output[1]);
    while ((n = read(output[0], text + size, sizeof(text) - 1 - (size_t)size)) > 0)
        size += n;
    text[size] = '\0';
    close(output[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    print_message("# %s", strrchr(text, '\n') != NULL ? text : "(nothing)\n");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), REPLICA_EXIT_CODE);
    assert_non_null(strstr(text, "fail stop"));
}

static void a_failed_write_ends_the_process(void **state)
{
    expect_fail_stop(*state, child_with_a_full_disk);
}

static void a_segment_that_cannot_be_made_ends_the_process(void **state)
{
    expect_fail_stop(*state, child_that_cannot_make_a_segment);
}

static void a_stalled_write_ends_the_process(void **state)
{
    expect_fail_stop(*state, child_with_a_stalled_disk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    /* The children first: they fork while this process has no other thread. */
    const struct CMUnitTest tests[] = {
        TEST(a_failed_write_ends_the_process),
        TEST(a_segment_that_cannot_be_made_ends_the_process),
        TEST(a_stalled_write_ends_the_process),
        TEST(one_node_leads_itself_and_keeps_its_log),
        TEST(three_nodes_agree_and_outlive_their_leader),
        TEST(who_does_not_lead_says_so),
        TEST(a_large_command_is_committed),
        TEST(leadership_is_handed_over),
        TEST(a_fresh_member_gets_a_snapshot),
        TEST(a_removed_member_is_left_out),
        TEST(what_was_not_agreed_is_dropped),
        TEST(a_lost_log_does_not_vote),
        TEST(a_directory_belongs_to_one_id),
        TEST(a_successor_waits_for_the_lock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

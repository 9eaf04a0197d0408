/* replica: what members agree on, and who leads them. */
#include <arpa/inet.h>
#include <glob.h>

#include "tests/unit/replicas.h"

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

/* On a busy machine it may take longer than libraft waits: then it is asked for again. */
static void hand_over(struct bench *b, struct server *leader, struct server *next)
{
    do {
        leader->change_error = NO_ERROR;
        assert_int_equal(replica_transfer(leader->replica, 5, next->id), 0);
        RUN_UNTIL(b, leader->change_error != NO_ERROR);
    } while (leader->change_error == -ETIMEDOUT);
    assert_int_equal(leader->change_error, 0);
    RUN_UNTIL(b, next->role == REPLICA_LEADER && leader->role == REPLICA_FOLLOWER);
}

static void leadership_is_handed_over(void **state)
{
    struct bench *b = *state;
    struct server *leader = found_three(b), *next = &b->nodes[3];

    hand_over(b, leader, next);
    propose_many(b, next, 10);
    RUN_UNTIL(b, are_equal(leader, next));
}

static bool has_snapshot(const struct server *n)
{
    char pattern[96];
    glob_t found = {0};
    bool has_one;

    snprintf(pattern, sizeof(pattern), "%s/raft/snapshot-*.meta", n->directory);
    has_one = glob(pattern, 0, NULL, &found) == 0;
    globfree(&found);
    return has_one;
}

static void a_fresh_member_gets_a_snapshot(void **state)
{
    struct bench *b = *state;
    struct server *leader, *fresh = &b->nodes[4];

    b->threshold = 64;
    b->trailing = 16;
    leader = found_three(b);
    propose_many(b, leader, 500);
    RUN_UNTIL(b, has_snapshot(leader)); /* of how much of it, a slow disk decides */
    add_node(b, leader, fresh, ROLE_VOTER);
    RUN_UNTIL(b, are_equal(leader, fresh));
    assert_int_equal(fresh->n_restored, 1);
    assert_true(fresh->n_committed < 500);
    propose_many(b, leader, 10);
    RUN_UNTIL(b, are_equal(leader, fresh));
    /* A start from a snapshot comes to the same. */
    stop(fresh);
    launch(b, fresh, false);
    RUN_UNTIL(b, are_equal(leader, fresh));
    assert_int_equal(fresh->n_restored, 1);
}

/* The log is caught up with in one go, and long enough for a snapshot at the end of that. */
static void a_snapshot_at_the_end_of_a_start_has_the_newest_members(void **state)
{
    struct bench *b = *state;
    struct server *leader = found_three(b), *n = &b->nodes[3];

    propose_many(b, leader, 60);
    RUN_UNTIL(b, are_equal(leader, n));
    b->threshold = 50;
    for (int i = 0; i < 2; i++) {
        stop(n);
        n->n_voters = 0;
        launch(b, n, false);
        RUN_UNTIL(b, n->n_voters != 0);
        assert_int_equal(n->n_voters, 3); /* of all that it ever tells */
        RUN_UNTIL(b, has_snapshot(n) && are_equal(n, leader));
    }
    hand_over(b, leader, n);
    change_and_wait(b, n, replica_assign(n->replica, 6, leader->id, ROLE_STANDBY), 0);
    RUN_UNTIL(b, n->n_voters == 2);
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
    launch(b, old, false);                                /* the shorter log is no loss */
    RUN_UNTIL(b, are_equal(old, leader));
}

/* Connections that others opened to a server, as /proc/net/tcp shows them: those with its own port
 * at this end. */
static int n_callers(const struct bench *b, const struct server *n)
{
    enum { ESTABLISHED = 1 };
    unsigned address = htonl(loopback + (unsigned)(n - b->nodes) - 1), at, port, state;
    FILE *table = fopen("/proc/net/tcp", "re");
    char line[256];
    int callers = 0;

    assert_non_null(table);
    while (fgets(line, sizeof(line), table) != NULL)
        callers += sscanf(line, " %*d: %8X:%4X %*8X:%*4X %2X", &at, &port, &state) == 3 &&
                   at == address && port == n->port && state == ESTABLISHED;
    fclose(table);
    return callers;
}

static void voters_are_linked_before_one_needs_a_vote(void **state)
{
    struct bench *b = *state;

    found_three(b);
    for (int i = 1; i <= 3; i++)
        RUN_UNTIL(b, n_callers(b, &b->nodes[i]) >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_node_leads_itself_and_keeps_its_log),
        TEST(three_nodes_agree_and_outlive_their_leader),
        TEST(who_does_not_lead_says_so),
        TEST(a_large_command_is_committed),
        TEST(leadership_is_handed_over),
        TEST(a_fresh_member_gets_a_snapshot),
        TEST(a_snapshot_at_the_end_of_a_start_has_the_newest_members),
        TEST(a_removed_member_is_left_out),
        TEST(what_was_not_agreed_is_dropped),
        TEST(voters_are_linked_before_one_needs_a_vote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* replica: its directory, and disks that fail. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/replicas.h"

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
        alarm(LIMIT_MS / 1000);
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

int main(void)
{
    /* The children first: they fork while this process has no other thread. */
    const struct CMUnitTest tests[] = {
        TEST(a_failed_write_ends_the_process),
        TEST(a_segment_that_cannot_be_made_ends_the_process),
        TEST(a_stalled_write_ends_the_process),
        TEST(a_lost_log_does_not_vote),
        TEST(a_directory_belongs_to_one_id),
        TEST(a_successor_waits_for_the_lock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A skeind that means harm: every operation of the guard with bad arguments, by a child that knows
 * the board's key and has become user skein (guard_outsiders.c runs it).
 */
#include "tests/lab/guard_hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guard/packet_posix.h"

/* ---- attempts; each fills what makes it bad into a request of its operation */

static int a_file = -1, a_directory = -1, a_socket = -1;

static void nothing(struct guard_request *r)
{
    (void)r;
}

static void descriptor(struct guard_request *r)
{
    r->fds[0] = a_file;
}

static void directory(struct guard_request *r)
{
    r->fds[0] = a_directory;
}

static void running_image(struct guard_request *r)
{
    r->digest[0] = 0xab;
}

static void of_nobody(struct guard_request *r)
{
    strcpy(r->copy.guest, "nobody");
    r->copy.epoch = EPOCH;
    r->migration = 20;
    r->wish.terms = MOVE_TERMS_DEFAULT;
    r->fds[0] = r->op == GUARD_CAPTURE || r->op == GUARD_RECEIVE || r->op == GUARD_LOOK ||
                        r->op == GUARD_SEND
                    ? a_socket
                    : -1;
}

static void of_another_epoch(struct guard_request *r)
{
    of_nobody(r);
    strcpy(r->copy.guest, "web");
    r->copy.epoch = EPOCH + 1;
}

static void of_the_running_guest(struct guard_request *r)
{
    of_nobody(r);
    strcpy(r->copy.guest, "web");
}

static void with_a_file(struct guard_request *r)
{
    of_the_running_guest(r);
    r->fds[0] = a_file;
}

static void run(struct guard_request *r, const char *guest)
{
    enum guard_op op = r->op;

    run_of(r, op, guest, 20, PORT + 1);
    r->migration = 20;
    r->index = 10;
    r->run.cores[0] = 2;
}

static void run_on_a_low_port(struct guard_request *r)
{
    run(r, "evil");
    r->run.port = PORT - 1;
}

static void run_on_a_taken_core(struct guard_request *r)
{
    run(r, "evil");
    r->run.cores[0] = 0; /* the node's own */
}

static void run_without_memory(struct guard_request *r)
{
    run(r, "evil");
    r->run.spec.memory_mib = 0;
}

static void run_of_an_old_decision(struct guard_request *r)
{
    run(r, "evil");
    r->index = 1;
}

static void run_of_no_image(struct guard_request *r)
{
    run(r, "evil");
    r->run.digest[0] = 0xcd;
}

static void run_with_a_descriptor(struct guard_request *r)
{
    run(r, "evil");
    r->fds[0] = a_file;
}

static void run_of_another_migration(struct guard_request *r)
{
    run(r, "evil");
    r->migration = 21;
}

static void restore_from_a_directory(struct guard_request *r)
{
    run(r, "evil");
    r->fds[0] = a_directory;
}

static void restore_of_an_old_decision(struct guard_request *r)
{
    run_of_an_old_decision(r);
    r->fds[0] = a_file;
}

static void restore_without_a_file(struct guard_request *r)
{
    run(r, "evil");
}

static void restore_of_another_file(struct guard_request *r)
{
    run(r, "evil");
    memset(r->digest, 0xbb, DIGEST_SIZE);
    r->fds[0] = a_file;
}

static void restore_on_a_low_port(struct guard_request *r)
{
    run_on_a_low_port(r);
    r->fds[0] = a_file;
}

static void command(struct guard_request *r)
{
    r->n_argv = 1;
    r->argv = calloc(2, sizeof(char *));
    r->argv[0] = strdup("sh");
}

static void exec_in_nobody(struct guard_request *r)
{
    command(r);
    strcpy(r->copy.guest, "nobody");
    r->fds[0] = r->fds[1] = r->fds[2] = a_file;
}

static void exec_without_descriptors(struct guard_request *r)
{
    command(r);
    strcpy(r->copy.guest, "web");
    r->copy.epoch = EPOCH;
}

static void console_of_a_cell(struct guard_request *r)
{
    strcpy(r->copy.guest, "web");
    r->copy.epoch = EPOCH;
    r->fds[0] = r->fds[1] = r->fds[2] = a_file;
}

static void exec_on_a_directory(struct guard_request *r)
{
    exec_without_descriptors(r);
    r->fds[0] = r->fds[1] = r->fds[2] = a_directory;
}

static void check_of_nobody(struct guard_request *r)
{
    strcpy(r->copy.guest, "nobody");
    r->copy.epoch = EPOCH;
    r->port = 80;
    r->timeout_ms = 100;
}

static void check_of_another_epoch(struct guard_request *r)
{
    check_of_nobody(r);
    strcpy(r->copy.guest, "web");
    r->copy.epoch = EPOCH + 1;
}

static void check_with_a_file(struct guard_request *r)
{
    check_of_another_epoch(r);
    r->copy.epoch = EPOCH;
    r->fds[0] = a_file;
}

enum { MAX_TRIES = 6 };

/* `crossed`: said on the other connection than the operation's own. `cut`: answered by the end of
 * the connection. */
static const struct attempt {
    const char *what;
    void (*fill)(struct guard_request *request);
    bool crossed, cut;
} attempts[][MAX_TRIES] = {
    [GUARD_HELLO] = {{"hello twice", nothing, false, true}},
    [GUARD_STAMP] = {{"a stamp on the work connection", nothing, true, false}},
    [GUARD_ACK] = {{"an ack on the work connection", nothing, true, false}},
    [GUARD_LIST] = {{"a list on the lease connection", nothing, true, false}},
    [GUARD_FABRIC] = {{"a descriptor with the fabric", descriptor, false, false},
                      {"fabric on the lease connection", nothing, true, false}},
    [GUARD_UNPACK] = {{"no image file", nothing, false, false},
                      {"a directory", directory, false, false}},
    [GUARD_DROP_IMAGE] = {{"the image that runs", running_image, false, false},
                          {"a descriptor with it", descriptor, false, false}},
    [GUARD_START] = {{"a port below the guests'", run_on_a_low_port, false, false},
                     {"the node's own core", run_on_a_taken_core, false, false},
                     {"no memory", run_without_memory, false, false},
                     {"a decision below the floor", run_of_an_old_decision, false, false},
                     {"an image that is not there", run_of_no_image, false, false},
                     {"a descriptor with it", run_with_a_descriptor, false, false}},
    [GUARD_STOP] = {{"a descriptor with it", with_a_file, false, false},
                    {"on the lease connection", of_another_epoch, true, false}},
    [GUARD_FREEZE] = {{"nobody", of_nobody, false, false},
                      {"another epoch", of_another_epoch, false, false}},
    [GUARD_THAW] = {{"nobody", of_nobody, false, false},
                    {"another epoch", of_another_epoch, false, false}},
    [GUARD_LOOK] = {{"nobody", of_nobody, false, false},
                    {"a file for a pipe", with_a_file, false, false}},
    [GUARD_EXEC] = {{"nobody", exec_in_nobody, false, false},
                    {"no descriptors", exec_without_descriptors, false, false},
                    {"directories for descriptors", exec_on_a_directory, false, false}},
    [GUARD_CONSOLE] = {{"nobody", exec_in_nobody, false, false},
                       {"no descriptors", exec_without_descriptors, false, false},
                       {"a cell, which has none", console_of_a_cell, false, false}},
    [GUARD_LOGS] = {{"nobody", of_nobody, false, false},
                    {"a descriptor with it", with_a_file, false, false}},
    [GUARD_PREPARE] = {{"another migration", run_of_another_migration, false, false},
                       {"a port below the guests'", run_on_a_low_port, false, false},
                       {"the node's own core", run_on_a_taken_core, false, false},
                       {"an image that is not there", run_of_no_image, false, false},
                       {"a descriptor with it", run_with_a_descriptor, false, false}},
    [GUARD_CAPTURE] = {{"nobody", of_nobody, false, false},
                       {"another epoch", of_another_epoch, false, false},
                       {"a file for a stream", with_a_file, false, false}},
    [GUARD_RECEIVE] = {{"nobody", of_nobody, false, false},
                       {"the guest that runs", of_the_running_guest, false, false},
                       {"a file for a stream", with_a_file, false, false}},
    [GUARD_ACTIVATE] = {{"nobody", of_nobody, false, false},
                        {"the guest that runs", of_the_running_guest, false, false}},
    [GUARD_RESUME] = {{"nobody", of_nobody, false, false},
                      {"another epoch", of_another_epoch, false, false}},
    [GUARD_DISCARD] = {{"the guest that runs", of_the_running_guest, false, false},
                       {"a descriptor with it", with_a_file, false, false}},
    [GUARD_CHECK] = {{"nobody", check_of_nobody, false, false},
                     {"another epoch", check_of_another_epoch, false, false},
                     {"a descriptor with it", check_with_a_file, false, false}},
    [GUARD_FAIL] = {{"a descriptor with it", with_a_file, false, false},
                    {"on the lease connection", of_another_epoch, true, false}},
    [GUARD_CHECKPOINT] = {{"nobody", of_nobody, false, false},
                          {"another epoch", of_another_epoch, false, false},
                          {"a descriptor with it", with_a_file, false, false}},
    [GUARD_SEND] = {{"nobody", of_nobody, false, false},
                    {"another epoch", of_another_epoch, false, false},
                    {"a file for a stream", with_a_file, false, false}},
    [GUARD_RESTORE] = {{"no file", restore_without_a_file, false, false},
                       {"a directory", restore_from_a_directory, false, false},
                       {"a port below the guests'", restore_on_a_low_port, false, false},
                       {"a decision below the floor", restore_of_an_old_decision, false, false},
                       {"another file than was kept", restore_of_another_file, false, false}},
    [GUARD_STATS] = {{"nobody", of_nobody, false, false},
                     {"another epoch", of_another_epoch, false, false},
                     {"a descriptor with it", with_a_file, false, false}},
    [GUARD_AWAIT] = {{"nobody", of_nobody, false, false},
                     {"another epoch", of_another_epoch, false, false},
                     {"a descriptor with it", with_a_file, false, false}},
    [GUARD_PROGRESS] = {{"nobody", of_nobody, false, false},
                        {"another epoch", of_another_epoch, false, false},
                        {"a descriptor with it", with_a_file, false, false}},
};
_Static_assert(sizeof(attempts) / sizeof(attempts[0]) == GUARD_OP_END,
               "every operation of the guard is tried with bad arguments");

/* ---- the child */

/* Does the guard end the connection, whatever it says before? */
static bool is_cut_off(int fd)
{
    struct timeval limit = {.tv_sec = WAIT_MS / 1000};
    uint8_t byte;
    ssize_t size;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    do
        size = recv(fd, &byte, 1, 0);
    while (size > 0);
    return size == 0 || errno != EAGAIN;
}

/* The guard's code, which must be a refusal. */
static int try(struct driver *d, enum guard_op op, const struct attempt *attempt)
{
    struct driver crossed = *d;
    struct guard_request request;
    int code;

    request_of(&request, op);
    attempt->fill(&request);
    if (attempt->cut) {
        tell(d, &request);
        code = is_cut_off(d->work) ? -ECONNRESET : 0;
        driver_connect(d);
        return code;
    }
    if (attempt->crossed) {
        crossed.lease = d->work;
        crossed.work = d->lease;
    }
    code = ask(attempt->crossed ? &crossed : d, &request, NULL);
    d->serial = crossed.serial > d->serial ? crossed.serial : d->serial;
    return code;
}

/* The lease thread serves its newest connection only, so the child beats: its beats go on as if
 * nothing had been said. */
static void keep_lease(struct driver *d)
{
    if (!beat(d, MAX_LEASE_MS, NULL))
        _exit(2);
}

static unsigned try_all(struct driver *d)
{
    unsigned n_taken = 0;

    for (int op = 1; op < GUARD_OP_END; op++) {
        if (attempts[op][0].what == NULL) {
            fprintf(stderr, "# %s is not tried at all\n", guard_op_name((enum guard_op)op));
            n_taken++;
        }
        for (int i = 0; i < MAX_TRIES && attempts[op][i].what != NULL; i++) {
            int code;

            printf("# %s: %s\n", guard_op_name((enum guard_op)op), attempts[op][i].what);
            fflush(stdout);
            code = try(d, (enum guard_op)op, &attempts[op][i]);
            keep_lease(d);

            if (code < 0)
                continue;
            fprintf(stderr, "# %s: '%s' was taken\n", guard_op_name((enum guard_op)op),
                    attempts[op][i].what);
            n_taken++;
        }
    }
    return n_taken;
}

/* Acks of stamps that the guard never issued, in a term that would shut the true leader out: the
 * beat after each shows that it moved nothing. */
static void forge_acks(struct driver *d)
{
    for (uint64_t sequence = 0; sequence < 20000; sequence += 1990) {
        struct guard_request request;
        struct guard_reply reply;

        request_of(&request, GUARD_ACK);
        memcpy(request.ack.stamp.boot_nonce, d->hello.boot_nonce, NONCE_SIZE);
        request.ack.stamp.run = d->hello.run + (sequence == 0);
        request.ack.stamp.sequence = 1000000 + sequence;
        request.ack.term = 1000;
        request.ack.lease_ms = MAX_LEASE_MS;
        ask(d, &request, &reply);
        guard_reply_deinit(&reply);
        keep_lease(d);
    }
}

/* A packet of each operation, cut short, ends the connection and no more. */
static unsigned cut_packets(void)
{
    unsigned n_taken = 0;

    for (int op = 1; op < GUARD_OP_END; op++) {
        struct guard_request request;
        struct guard_hello hello;
        static uint8_t bytes[GUARD_PACKET_MAX];
        struct writer w;
        uint8_t byte;
        int fd = guard_connect(GUARD_CONNECTION_WORK, &hello);

        request_of(&request, (enum guard_op)op);
        if (op == GUARD_START || op == GUARD_RESTORE || op == GUARD_PREPARE)
            run_of(&request, (enum guard_op)op, "evil", 20, PORT + 1);
        request.serial = 2;
        writer_init(&w, bytes, sizeof(bytes));
        guard_request_encode(&request, &w);
        if (w.failed || packet_send(fd, bytes, w.size - 1, NULL, 0) < 0 ||
            recv(fd, &byte, 1, 0) > 0) {
            fprintf(stderr, "# a cut packet of %s was answered\n",
                    guard_op_name((enum guard_op)op));
            n_taken++;
        }
        guard_request_deinit(&request);
        close(fd);
    }
    return n_taken;
}

static void harm(void)
{
    struct driver d = {.cluster = 1, .term = 1, .index = 10};
    int pair[2];

    become_skein();
    a_file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    a_directory = open("/", O_RDONLY | O_CLOEXEC);
    if (a_file < 0 || a_directory < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        _exit(3);
    a_socket = pair[0];
    driver_connect(&d);
    forge_acks(&d);
    _exit(try_all(&d) + cut_packets() == 0 ? 0 : 1);
}

/* ---- tests */

void user_skein_can_do_no_harm(void **state)
{
    struct driver d = {0};
    struct guard_report before, after;
    int status = 0;
    pid_t pid;

    (void)state;
    begin_with_a_guest(&d);
    before = report_of(&d, "web");
    pid = fork();
    if (pid == 0)
        harm();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    driver_connect(&d);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    after = report_of(&d, "web");
    assert_memory_equal(&before, &after, sizeof(before));
    assert_true(counts("web"));
    assert_int_equal(report_of(&d, "evil").state, 0);
    assert_int_equal(ask_copy(&d, GUARD_STOP, "web", EPOCH),
                     0); /* a frozen one outlives the room */
    driver_kill(&d, SIGKILL);
}

/* A skeind that means harm: every operation of the guard with bad arguments, by a child that knows
 * the board's key and has become user skein (guard_outsiders.c runs it).
 */
#include "tests/lab/guard_hostile.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guard/packet_posix.h"
#include "tests/lab/guard_attempts.h"

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
    if (!beat(d, GROWN_LEASE_MS, NULL))
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
        request.ack.lease_ms = GROWN_LEASE_MS;
        ask(d, &request, &reply);
        guard_reply_deinit(&reply);
        keep_lease(d);
    }
}

/* A packet of each operation, cut short, ends the connection and no more. (Were the lease over, that
 * would be told there.) */
static unsigned cut_packets(struct driver *d)
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
        keep_lease(d);
    }
    return n_taken;
}

static void harm(void)
{
    struct driver d = {.cluster = 1, .term = 1, .index = 10};

    become_skein();
    if (!attempts_prepare())
        _exit(3);
    driver_connect(&d);
    forge_acks(&d);
    _exit(try_all(&d) + cut_packets(&d) == 0 ? 0 : 1);
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

/* The guard's own process, as root in a room of its own (guard-room), over a fake world: what it
 * refuses, when it freezes, what it remembers. argv[1] is the guard that is linked with fakes.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guard/packet_posix.h"
#include "migrate/look.h"
#include "tests/lab/guard_driver.h"

static const char *guard_program;

/* A guard in a new boot, an image on its disk, one lease granted. */
static int begin(void **state)
{
    struct driver *d = calloc(1, sizeof(*d));
    char root[160];

    d->program = guard_program;
    d->term = 1;
    d->index = 10;
    unlink("/run/skein/boot_nonce");
    put_file("/run/fake/watchdog", "");
    driver_start(d);
    snprintf(root, sizeof(root), "/var/lib/skein/roots/ab%062d", 0);
    mkdir(root, 0755);
    *state = d;
    return 0;
}

static int end(void **state)
{
    struct driver *d = *state;

    driver_kill(d, SIGKILL);
    close(d->lease);
    close(d->work);
    free(d);
    return system("rm -f /run/fake/hold.* /run/fake/fail.* /run/fake/*.count /run/fake/port.*") !=
           0;
}

static int start_guest(struct driver *d, const char *guest, uint64_t epoch, uint16_t port)
{
    struct guard_request request;

    run_of(&request, GUARD_START, guest, epoch, port);
    request.index = d->index;
    return ask(d, &request, NULL);
}

/* ---- the lease */

static void nothing_starts_before_the_first_lease(void **state)
{
    struct driver *d = *state;

    assert_true(d->hello.lapsed);
    assert_int_equal(start_guest(d, "web", 5, 2000), -EKEYEXPIRED);
    assert_int_equal(report_of(d, "web").state, 0);
    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    assert_true(port_is(2000, "up"));
    assert_int_equal(report_of(d, "web").state, GUEST_RUNNING);
    assert_int_equal(d->n_lifted, 1);
}

static void start_below_the_floor_is_refused(void **state)
{
    struct driver *d = *state;

    d->index = 50;
    assert_true(beat(d, L_MS, ""));
    d->index = 49;
    assert_int_equal(start_guest(d, "web", 5, 2000), -ESTALE);
}

/* Also figures: how long before the lease's end the guest's last word was. */
static void lapse_freezes_before_the_end_and_lift_thaws(void **state)
{
    struct driver *d = *state;
    uint64_t last_us = 0, count;
    struct guard_report report;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    sleep_until_us(d->lease_end_us);
    count = count_of("web", &last_us);
    assert_true(last_us < d->lease_end_us);
    print_message("# last word %lld us before the lease's end (F = %d ms)\n",
                  (long long)(d->lease_end_us - last_us), F_MS);
    assert_false(counts("web"));
    assert_true(port_is(2000, "down"));
    report = report_of(d, "web");
    assert_int_equal(report.state, GUEST_FROZEN);
    assert_int_equal(report.frozen_by, FROZEN_BY_LEASE);
    assert_int_equal(d->n_lapsed, 1);
    assert_true(beat(d, L_MS, "web:5"));
    assert_true(counts("web"));
    assert_true(port_is(2000, "up"));
    assert_true(count_of("web", NULL) > count);
    assert_int_equal(report_of(d, "web").pid, report.pid);
}

static void lift_destroys_what_is_not_listed(void **state)
{
    struct driver *d = *state;
    uint64_t count;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    assert_int_equal(start_guest(d, "db", 6, 2001), 0);
    assert_true(counts("web"));
    sleep_until_us(d->lease_end_us);
    count = count_of("web", NULL);
    assert_true(beat(d, L_MS, "web:4 db:6")); /* web only of an older epoch */
    assert_true(counts("db"));
    assert_int_equal(await_state(d, "web", 0).state, 0);
    assert_int_equal(count_of("web", NULL), count); /* not one instruction more */
    assert_true(port_is(2000, NULL));
    assert_true(access("/run/skein/guard/web", F_OK) != 0);
    assert_int_equal(start_guest(d, "web", 9, 2000), 0);
    assert_true(counts("web"));
}

static void guest_that_stays_is_not_frozen(void **state)
{
    struct driver *d = *state;
    struct guard_request request;

    assert_true(beat(d, L_MS, ""));
    run_of(&request, GUARD_START, "edge", 5, 2000);
    request.run.spec.failover = FAILOVER_STAY;
    request.index = d->index;
    assert_int_equal(ask(d, &request, NULL), 0);
    sleep_until_us(d->lease_end_us);
    assert_true(counts("edge"));
    assert_true(port_is(2000, "up"));
    assert_int_equal(report_of(d, "edge").frozen_by, 0);
}

/* The lease ends between the check and the guest's first instruction. */
static void start_that_the_lapse_overtakes_is_frozen(void **state)
{
    struct driver *d = *state;
    struct guard_request request;
    struct guard_reply reply;
    uint32_t serial;

    put_file("/run/fake/hold.start", "");
    assert_true(beat(d, L_MS, ""));
    run_of(&request, GUARD_START, "web", 5, 2000);
    request.index = d->index;
    serial = tell(d, &request);
    sleep_until_us(d->lease_end_us);
    unlink("/run/fake/hold.start");
    assert_false(counts("web"));
    assert_int_equal(count_of("web", NULL), 0);
    assert_true(beat(d, L_MS, "web:5"));
    assert_int_equal(answer_to(d, serial, &reply), 0);
    assert_true(counts("web"));
    assert_true(port_is(2000, "up"));
}

static void user_and_lease_freeze_by_themselves(void **state)
{
    struct driver *d = *state;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    assert_int_equal(ask_copy(d, GUARD_FREEZE, "web", 5), 0);
    assert_false(counts("web"));
    assert_true(port_is(2000, "up"));
    sleep_until_us(d->lease_end_us);
    assert_int_equal(await_state(d, "web", GUEST_FROZEN).frozen_by,
                     FROZEN_BY_LEASE | FROZEN_BY_USER);
    assert_true(beat(d, MAX_LEASE_MS, "web:5"));
    assert_false(counts("web"));
    assert_int_equal(ask_copy(d, GUARD_THAW, "web", 4), -ESTALE);
    assert_int_equal(ask_copy(d, GUARD_THAW, "web", 5), 0);
    assert_true(counts("web"));
}

/* ---- the guard's own death */

/* A zombie lives no more; in a room nobody but us could reap it. */
static bool lives(uint32_t pid)
{
    char path[32], text[256] = "";
    int fd;

    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
        return false;
    close(fd);
    return strstr(text, ") Z ") == NULL;
}

static void killed_guard_is_followed_by_one_that_adopts(void **state)
{
    struct driver *d = *state;
    struct guard_hello before = d->hello;
    struct guard_report report;
    uint64_t count;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    report = report_of(d, "web");
    driver_kill(d, SIGKILL);
    driver_start(d);
    assert_memory_equal(d->hello.boot_nonce, before.boot_nonce, NONCE_SIZE);
    assert_int_equal(d->hello.run, before.run + 1);
    assert_true(d->hello.lapsed);
    assert_int_equal(report_of(d, "web").pid, report.pid);
    assert_int_equal(report_of(d, "web").frozen_by, FROZEN_BY_LEASE);
    assert_false(counts("web"));
    assert_true(port_is(2000, "down"));
    count = count_of("web", NULL);
    assert_true(beat(d, L_MS, "web:5"));
    assert_true(counts("web"));
    assert_true(count_of("web", NULL) > count);
    assert_true(port_is(2000, "up"));
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", 5), 0);
    assert_int_equal(report_of(d, "web").state, 0);
}

static void guest_that_ended_meanwhile_is_found_so(void **state)
{
    struct driver *d = *state;
    struct guard_report report;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    report = report_of(d, "web");
    driver_kill(d, SIGKILL);
    kill((pid_t)report.pid, SIGKILL);
    driver_start(d);
    assert_true(beat(d, L_MS, "web:5"));
    report = await_state(d, "web", GUEST_EXITED);
    assert_int_equal(report.state, GUEST_EXITED);
    assert_int_equal(report.exit_status, -1);
}

static void what_no_record_names_is_killed(void **state)
{
    struct driver *d = *state;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    driver_kill(d, SIGKILL);
    unlink("/run/skein/guard/web");
    driver_start(d);
    assert_int_equal(report_of(d, "web").state, 0);
    assert_true(beat(d, L_MS, ""));
    assert_false(counts("web"));
    assert_int_equal(start_guest(d, "web", 6, 2000), 0);
}

static void new_boot_nonce_only_when_nothing_lives(void **state)
{
    struct driver *d = *state;
    struct guard_hello before = d->hello;
    struct guard_report report;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    report = report_of(d, "web");
    driver_kill(d, SIGKILL);
    unlink("/run/skein/boot_nonce");
    driver_start(d);
    assert_memory_not_equal(d->hello.boot_nonce, before.boot_nonce, NONCE_SIZE);
    assert_int_equal(d->hello.run, 1);
    assert_false(lives(report.pid));
    assert_int_equal(report_of(d, "web").state, 0);
}

static void second_guard_does_not_start(void **state)
{
    struct driver *d = *state;
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        int fd = open("/run/fake/second.log", O_WRONLY | O_CREAT, 0644);

        dup2(fd, 2);
        execl(d->program, "skein-guard", (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 1);
    beat(d, L_MS, "");
}

/* ---- guests */

static void end_of_a_guest_is_told_with_its_status(void **state)
{
    struct driver *d = *state;
    struct guard_request request;
    struct guard_report report;

    for (uint32_t n = 1; n <= 2; n++) {
        assert_true(beat(d, L_MS, ""));
        run_of(&request, GUARD_START, "job", 5, 2000);
        free(request.run.spec.argv[0]);
        request.run.spec.argv[0] = strdup("exit");
        request.run.spec.argv[1] = strdup("7");
        request.run.spec.n_argv = 1;
        request.run.spec.argv = realloc(request.run.spec.argv, 3 * sizeof(char *));
        request.run.spec.argv[2] = NULL;
        request.run.spec.n_argv = 2;
        request.index = d->index;
        assert_int_equal(ask(d, &request, NULL), 0);
        report = await_state(d, "job", GUEST_EXITED);
        assert_int_equal(report.state, GUEST_EXITED);
        assert_int_equal(report.exit_status, 7);
        assert_int_equal(report.n_starts, n);
        assert_int_equal(report.pid, 0);
        assert_true(port_is(2000, NULL));
    }
    assert_int_equal(ask_copy(d, GUARD_STOP, "job", 5), 0);
    assert_int_equal(report_of(d, "job").state, 0);
}

static void stop_waits_and_then_kills(void **state)
{
    struct driver *d = *state;
    struct guard_request request;

    assert_true(beat(d, MAX_LEASE_MS, ""));
    run_of(&request, GUARD_START, "web", 5, 2000);
    free(request.run.spec.argv[0]);
    request.run.spec.argv[0] = strdup("stubborn");
    request.index = d->index;
    assert_int_equal(ask(d, &request, NULL), 0);
    assert_true(counts("web"));
    request_of(&request, GUARD_STOP);
    strcpy(request.copy.guest, "web");
    request.copy.epoch = 5;
    request.grace_ms = 100;
    assert_int_equal(ask(d, &request, NULL), 0);
    assert_false(counts("web"));
    assert_int_equal(report_of(d, "web").state, 0);
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", 5), 0); /* nothing of it runs: again */
}

/* A frozen parent holds a killed process on cgroup v1: the stop must work all the same. */
static void stop_works_while_lapsed(void **state)
{
    struct driver *d = *state;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    sleep_until_us(d->lease_end_us);
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", 5), 0);
    assert_int_equal(report_of(d, "web").state, 0);
}

static void start_that_fails_leaves_nothing(void **state)
{
    struct driver *d = *state;

    assert_true(beat(d, L_MS, ""));
    put_file("/run/fake/fail.start", "");
    assert_int_equal(start_guest(d, "web", 5, 2000), -EIO);
    assert_int_equal(report_of(d, "web").state, 0);
    assert_true(port_is(2000, NULL));
    assert_true(access("/run/skein/guard/web", F_OK) != 0);
    unlink("/run/fake/fail.start");
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    assert_int_equal(start_guest(d, "web", 5, 2000), -EEXIST);
    assert_true(counts("web"));
}

static void exec_and_logs_hand_descriptors(void **state)
{
    struct driver *d = *state;
    struct guard_request request;
    struct guard_reply reply;
    uint8_t bytes[LOOK_MAX_BYTES];
    struct look look;
    char text[32] = "";
    ssize_t n;
    int out[2];

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    assert_int_equal(pipe(out), 0);
    request_of(&request, GUARD_EXEC);
    strcpy(request.copy.guest, "web");
    request.copy.epoch = 5;
    request.n_argv = 3;
    request.argv = calloc(4, sizeof(char *));
    request.argv[0] = strdup("sh");
    request.argv[1] = strdup("-c");
    request.argv[2] = strdup("echo hello; exit 3");
    request.fds[0] = request.fds[1] = request.fds[2] = out[1];
    assert_int_equal(ask(d, &request, &reply), 0);
    assert_int_equal(reply.status, 3);
    assert_int_equal(read(out[0], text, sizeof(text)), 6);
    request_of(&request, GUARD_LOOK);
    strcpy(request.copy.guest, "web");
    request.copy.epoch = 5;
    request.fds[0] = out[1];
    assert_int_equal(ask(d, &request, NULL), 0);
    n = read(out[0], bytes, sizeof(bytes));
    assert_int_equal(look_decode(bytes, (size_t)n, &look), 0);
    assert_string_equal(look.reasons[0].code, "device");
    request_of(&request, GUARD_LOGS);
    strcpy(request.copy.guest, "web");
    assert_int_equal(ask(d, &request, &reply), 0);
    assert_int_equal(read(reply.fd, text, sizeof(text)), 10);
    assert_int_equal(write(reply.fd, text, 1), -1);
    close(reply.fd);
    close(out[0]);
    close(out[1]);
}

/* ---- moving */

static uint32_t tell_move(struct driver *d, enum guard_op op, uint64_t epoch, uint64_t migration,
                          int fd)
{
    struct guard_request request;

    request_of(&request, op);
    strcpy(request.copy.guest, "web");
    request.copy.epoch = epoch;
    request.migration = migration;
    request.index = d->index;
    request.fds[0] = fd;
    return tell(d, &request);
}

static int move(struct driver *d, enum guard_op op, uint64_t epoch, uint64_t migration, int fd)
{
    struct guard_reply reply;
    int code = answer_to(d, tell_move(d, op, epoch, migration, fd), &reply);

    guard_reply_deinit(&reply);
    return code;
}

/* The node's own switch shows the state of that index. */
static void show_switch(struct driver *d, uint64_t index)
{
    struct guard_request request;

    request_of(&request, GUARD_FABRIC);
    request.view.index = index;
    assert_int_equal(ask(d, &request, NULL), 0);
}

/* One node plays source and then target: what crosses is kept in a pipe. */
static void guest_moves_and_goes_on(void **state)
{
    struct driver *d = *state;
    struct guard_request request;
    struct guard_reply reply;
    uint32_t serial;
    uint64_t count, limit;
    int stream[2];

    assert_int_equal(pipe2(stream, O_CLOEXEC), 0);
    assert_true(beat(d, MAX_LEASE_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    assert_int_equal(move(d, GUARD_CAPTURE, 5, 20, stream[1]), 0);
    assert_false(counts("web"));
    assert_true(port_is(2000, "down"));
    assert_int_equal(report_of(d, "web").state, GUEST_HANDED_OVER);
    count = count_of("web", NULL);
    /* Nothing but its abort, or the commit's discard, touches it now; not even a restart. */
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", 5), -EBUSY);
    driver_kill(d, SIGKILL);
    driver_start(d);
    assert_true(beat(d, MAX_LEASE_MS, "web:5"));
    assert_int_equal(report_of(d, "web").state, GUEST_HANDED_OVER);
    assert_false(counts("web"));
    assert_true(port_is(2000, "down"));
    assert_int_equal(move(d, GUARD_DISCARD, 5, 19, -1), -ENOENT);
    assert_int_equal(move(d, GUARD_DISCARD, 5, 20, -1), 0);
    assert_int_equal(report_of(d, "web").state, 0);

    run_of(&request, GUARD_PREPARE, "web", 20, 2000);
    request.migration = 20;
    assert_int_equal(ask(d, &request, NULL), 0);
    assert_int_equal(report_of(d, "web").epoch, 0);
    assert_true(port_is(2000, "down"));
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), -EINVAL); /* nothing received yet */
    assert_int_equal(move(d, GUARD_RECEIVE, 0, 21, stream[0]), -ENOENT);
    assert_int_equal(move(d, GUARD_RECEIVE, 0, 20, stream[0]), 0);
    /* It stands, frozen and behind a closed port, until its own switch knows the commit. */
    show_switch(d, 29);
    serial = tell_move(d, GUARD_ACTIVATE, 30, 20, -1);
    limit = now_us() + WAIT_MS * 1000;
    while (report_of(d, "web").frozen_by != FROZEN_BY_MIGRATION && now_us() < limit)
        sleep_until_us(now_us() + 2000);
    assert_false(counts("web"));
    assert_true(port_is(2000, "down"));
    show_switch(d, 30);
    assert_int_equal(answer_to(d, serial, &reply), 0);
    guard_reply_deinit(&reply);
    assert_true(counts("web"));
    assert_true(count_of("web", NULL) > count);
    assert_true(port_is(2000, "up"));
    assert_int_equal(report_of(d, "web").epoch, 30);
    assert_int_equal(report_of(d, "web").migration, 0);
    close(stream[0]);
    close(stream[1]);
}

static void failed_capture_costs_time_only(void **state)
{
    struct driver *d = *state;
    int stream[2];

    assert_int_equal(pipe2(stream, O_CLOEXEC), 0);
    assert_true(beat(d, MAX_LEASE_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    put_file("/run/fake/fail.capture", "");
    assert_int_equal(move(d, GUARD_CAPTURE, 5, 20, stream[1]), -EIO);
    assert_true(counts("web"));
    assert_true(port_is(2000, "up"));
    assert_int_equal(report_of(d, "web").state, GUEST_RUNNING);
    unlink("/run/fake/fail.capture");
    assert_int_equal(move(d, GUARD_CAPTURE, 5, 20, stream[1]), 0);
    assert_int_equal(move(d, GUARD_RESUME, 5, 21, -1), -EINVAL);
    assert_int_equal(move(d, GUARD_RESUME, 5, 20, -1), 0);
    assert_true(counts("web"));
    assert_true(port_is(2000, "up"));
    close(stream[0]);
    close(stream[1]);
}

static void target_comes_to_life_only_under_a_lease(void **state)
{
    struct driver *d = *state;
    struct guard_request request;
    int stream[2];

    assert_int_equal(pipe2(stream, O_CLOEXEC), 0);
    assert_int_equal(write(stream[1], "000000000100 ", 13), 13);
    run_of(&request, GUARD_PREPARE, "web", 20, 2000);
    request.migration = 20;
    assert_int_equal(ask(d, &request, NULL), 0);
    assert_int_equal(move(d, GUARD_RECEIVE, 0, 20, stream[0]), 0);
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), -EKEYEXPIRED);
    assert_int_equal(report_of(d, "web").state, GUEST_RECEIVED);
    assert_true(beat(d, L_MS, "")); /* a target is no copy: it is not destroyed */
    put_file("/run/fake/fail.activate", "");
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), -EIO);
    unlink("/run/fake/fail.activate");
    assert_int_equal(report_of(d, "web").state, GUEST_RECEIVED);
    show_switch(d, 30);
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), 0);
    assert_true(counts("web"));
    close(stream[0]);
    close(stream[1]);
}

/* ---- the switch */

static void rules_come_back_after_the_switch_died(void **state)
{
    struct driver *d = *state;
    uint64_t limit = now_us() + WAIT_MS * 1000;

    show_switch(d, 77);
    assert_int_equal(access("/run/fake/view", F_OK), 0);
    unlink("/run/fake/view");
    unlink("/run/fake/switch");
    while (access("/run/fake/view", F_OK) != 0 && now_us() < limit)
        sleep_until_us(now_us() + 2000);
    assert_int_equal(access("/run/fake/view", F_OK), 0);
    assert_int_equal(access("/run/fake/switch", F_OK), 0);
}

/* ---- a hostile client */

static bool is_cut_off(int fd)
{
    char byte;

    return recv(fd, &byte, 1, 0) <= 0;
}

static void what_is_no_request_ends_the_connection(void **state)
{
    static const uint8_t junk[][8] = {{0}, {1, 1, 0, 0, 0, 99}, {9, 9, 9, 9, 9, 9, 9, 9}};
    struct driver *d = *state;
    struct guard_hello hello;

    for (size_t i = 0; i < 3; i++) {
        int work = guard_connect(GUARD_CONNECTION_WORK, &hello);
        int lease = guard_connect(GUARD_CONNECTION_LEASE, &hello);

        assert_int_equal(packet_send(work, junk[i], sizeof(junk[i]), NULL, 0), 0);
        assert_true(is_cut_off(work));
        assert_int_equal(packet_send(lease, junk[i], sizeof(junk[i]), NULL, 0), 0);
        assert_true(is_cut_off(lease));
        close(work);
        close(lease);
    }
    driver_connect(d);
    assert_true(beat(d, L_MS, ""));
}

static void lease_connection_takes_no_work(void **state)
{
    struct driver *d = *state;
    struct guard_request request;
    struct guard_reply reply;
    int work = d->work;

    run_of(&request, GUARD_START, "web", 5, 2000);
    d->work = d->lease;
    assert_int_equal(ask(d, &request, &reply), -EPERM);
    d->work = work;
    request_of(&request, GUARD_STAMP);
    d->lease = d->work;
    assert_int_equal(ask(d, &request, NULL), -EPERM);
}

static void wrong_arguments_are_refused_and_change_nothing(void **state)
{
    struct driver *d = *state;
    struct guard_request request;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int directory = open("/", O_RDONLY | O_CLOEXEC);

    assert_true(beat(d, MAX_LEASE_MS, ""));
    run_of(&request, GUARD_START, "web", 5, 1999); /* below the guests' ports */
    request.index = d->index;
    assert_int_equal(ask(d, &request, NULL), -EINVAL);
    run_of(&request, GUARD_START, "web", 5, 2000);
    request.index = d->index;
    request.run.spec.memory_mib = 0;
    assert_int_equal(ask(d, &request, NULL), -EINVAL);
    run_of(&request, GUARD_START, "web", 5, 2000);
    request.index = d->index;
    request.run.n_cores = 0; /* it asked for one */
    assert_int_equal(ask(d, &request, NULL), -EINVAL);
    run_of(&request, GUARD_START, "web", 5, 2000);
    request.index = d->index;
    request.run.digest[0] = 0xcd; /* no such image */
    assert_int_equal(ask(d, &request, NULL), -ENOENT);
    run_of(&request, GUARD_START, "web", 5, 2000);
    request.index = d->index;
    request.run.spec.kind = KIND_LXC;
    assert_int_equal(ask(d, &request, NULL), -ENOTSUP);
    run_of(&request, GUARD_START, "web", 5, 2000);
    request.fds[0] = file; /* which nobody asked for */
    assert_int_equal(ask(d, &request, NULL), -EINVAL);
    run_of(&request, GUARD_PREPARE, "web", 20, 2000);
    request.migration = 21; /* not its epoch */
    assert_int_equal(ask(d, &request, NULL), -EINVAL);
    assert_int_equal(ask_copy(d, GUARD_FREEZE, "web", 5), -ENOENT);
    assert_int_equal(ask_copy(d, GUARD_THAW, "web", 5), -ENOENT);
    assert_int_equal(ask_copy(d, GUARD_LOGS, "nobody", 0), -ENOENT);
    assert_int_equal(move(d, GUARD_CAPTURE, 5, 20, file), -EINVAL); /* no stream */
    assert_int_equal(move(d, GUARD_RECEIVE, 0, 20, -1), -EINVAL);
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), -ENOENT);
    assert_int_equal(move(d, GUARD_RESUME, 5, 20, -1), -ENOENT);
    request_of(&request, GUARD_UNPACK);
    request.fds[0] = directory;
    assert_int_equal(ask(d, &request, NULL), -EINVAL);
    request_of(&request, GUARD_EXEC);
    strcpy(request.copy.guest, "web");
    request.n_argv = 1;
    request.argv = calloc(2, sizeof(char *));
    request.argv[0] = strdup("sh");
    request.fds[0] = request.fds[1] = request.fds[2] = file;
    assert_int_equal(ask(d, &request, NULL), -ENOENT);
    assert_int_equal(report_of(d, "web").state, 0);
    assert_int_equal(start_guest(d, "web", 5, 2000), 0); /* and it still serves */
    close(file);
    close(directory);
}

static void stranger_may_not_speak(void **state)
{
    int status = 0;
    pid_t pid;

    (void)state;
    chmod("/run/skein/guard.sock", 0666); /* as if the file's mode had not held him */
    pid = fork();
    if (pid == 0) {
        struct guard_hello hello;
        int fd;

        if (setgid(12345) < 0 || setuid(12345) < 0 || freopen("/dev/null", "w", stdout) == NULL)
            _exit(3);
        fd = guard_connect(GUARD_CONNECTION_WORK, &hello); /* ends the process: it is cut off */
        _exit(fd >= 0 ? 0 : 2);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void orderly_end_leaves_everything_frozen(void **state)
{
    struct driver *d = *state;

    assert_true(beat(d, MAX_LEASE_MS, ""));
    assert_int_equal(start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    driver_kill(d, SIGTERM);
    assert_false(counts("web"));
    driver_start(d);
    assert_true(beat(d, L_MS, "web:5"));
    assert_true(counts("web"));
}

/* The board stays up on a wanted end, and only then: 'V' is the kernel's word for it. */
static void watchdog_is_fed_and_let_go_on_a_wanted_end(void **state)
{
    struct driver *d = *state;
    char fed[64] = "";
    ssize_t size = 0;
    int fd = open("/run/fake/watchdog", O_RDONLY | O_CLOEXEC);

    for (int i = 0; i < 1000 && size == 0; i++) {
        size = pread(fd, fed, sizeof(fed), 0);
        sleep_until_us(now_us() + 2000);
    }
    assert_true(size > 0);
    assert_int_equal(fed[0], 0);
    driver_kill(d, SIGTERM);
    size = pread(fd, fed, sizeof(fed), 0);
    assert_int_equal(fed[size - 1], 'V');
    close(fd);
    driver_start(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_starts_before_the_first_lease),
        TEST(start_below_the_floor_is_refused),
        TEST(lapse_freezes_before_the_end_and_lift_thaws),
        TEST(lift_destroys_what_is_not_listed),
        TEST(guest_that_stays_is_not_frozen),
        TEST(start_that_the_lapse_overtakes_is_frozen),
        TEST(user_and_lease_freeze_by_themselves),
        TEST(killed_guard_is_followed_by_one_that_adopts),
        TEST(guest_that_ended_meanwhile_is_found_so),
        TEST(what_no_record_names_is_killed),
        TEST(new_boot_nonce_only_when_nothing_lives),
        TEST(second_guard_does_not_start),
        TEST(end_of_a_guest_is_told_with_its_status),
        TEST(stop_waits_and_then_kills),
        TEST(stop_works_while_lapsed),
        TEST(start_that_fails_leaves_nothing),
        TEST(exec_and_logs_hand_descriptors),
        TEST(guest_moves_and_goes_on),
        TEST(failed_capture_costs_time_only),
        TEST(target_comes_to_life_only_under_a_lease),
        TEST(rules_come_back_after_the_switch_died),
        TEST(what_is_no_request_ends_the_connection),
        TEST(lease_connection_takes_no_work),
        TEST(wrong_arguments_are_refused_and_change_nothing),
        TEST(stranger_may_not_speak),
        TEST(orderly_end_leaves_everything_frozen),
        TEST(watchdog_is_fed_and_let_go_on_a_wanted_end),
    };

    if (argc != 2 || geteuid() != 0)
        return 2;
    guard_program = argv[1];
    mkdir("/run/fake", 0777);
    chmod("/run/fake", 0777);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

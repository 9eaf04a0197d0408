/* The guard's part in a migration, as source and as target (guard_process.c runs them). */
#include "tests/lab/guard_tests.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

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
    assert_true(beat(d, GROWN_LEASE_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    assert_int_equal(move(d, GUARD_CAPTURE, 5, 20, stream[1]), 0);
    assert_true(stands_still("web"));
    assert_true(port_is(2000, "down"));
    assert_int_equal(report_of(d, "web").state, GUEST_HANDED_OVER);
    count = count_of("web", NULL);
    /* Nothing but its abort, or the commit's discard, touches it now; not even a restart. */
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", 5), -EBUSY);
    driver_kill(d, SIGKILL);
    driver_start(d);
    assert_true(beat(d, GROWN_LEASE_MS, "web:5"));
    assert_int_equal(report_of(d, "web").state, GUEST_HANDED_OVER);
    assert_true(stands_still("web"));
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
    assert_int_equal(show_switch(d, 29), 0);
    serial = tell_move(d, GUARD_ACTIVATE, 30, 20, -1);
    limit = now_us() + WAIT_MS * 1000;
    while (report_of(d, "web").frozen_by != FROZEN_BY_MIGRATION && now_us() < limit)
        sleep_until_us(now_us() + 2000);
    assert_true(stands_still("web"));
    assert_true(port_is(2000, "down"));
    assert_int_equal(show_switch(d, 30), 0);
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
    assert_true(beat(d, GROWN_LEASE_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
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

/* Migration 20 is to bring "web", which counted to 100, out of the new stream. */
static void prepare_target(struct driver *d, int ret_stream[2])
{
    struct guard_request request;

    assert_int_equal(pipe2(ret_stream, O_CLOEXEC), 0);
    assert_int_equal(write(ret_stream[1], "000000000100 ", 13), 13);
    run_of(&request, GUARD_PREPARE, "web", 20, 2000);
    request.migration = 20;
    assert_int_equal(ask(d, &request, NULL), 0);
}

static void target_comes_to_life_only_under_a_lease(void **state)
{
    struct driver *d = *state;
    int stream[2];

    prepare_target(d, stream);
    assert_int_equal(move(d, GUARD_RECEIVE, 0, 20, stream[0]), 0);
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), -EKEYEXPIRED);
    assert_int_equal(report_of(d, "web").state, GUEST_RECEIVED);
    assert_true(beat(d, L_MS, "")); /* a target is no copy: it is not destroyed */
    put_file("/run/fake/fail.activate", "");
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), -EIO);
    unlink("/run/fake/fail.activate");
    assert_int_equal(report_of(d, "web").state, GUEST_RECEIVED);
    assert_int_equal(show_switch(d, 30), 0);
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), 0);
    assert_true(counts("web"));
    close(stream[0]);
    close(stream[1]);
}

/* What was received is said to be so only by a node whose switch lives: else it goes back. */
static void received_behind_a_dead_switch_is_refused(void **state)
{
    struct driver *d = *state;
    int stream[2];

    assert_true(beat(d, GROWN_LEASE_MS, ""));
    prepare_target(d, stream);
    put_file("/run/fake/fail.probe", "");
    assert_int_equal(move(d, GUARD_RECEIVE, 0, 20, stream[0]), -EIO);
    unlink("/run/fake/fail.probe");
    assert_int_equal(report_of(d, "web").state, GUEST_PREPARED);
    assert_int_equal(move(d, GUARD_DISCARD, 0, 20, -1), 0);
    assert_int_equal(report_of(d, "web").state, 0);
    close(stream[0]);
    close(stream[1]);
}

/* One that is just being started again is waited for, without a word from outside. */
static void received_while_the_switch_starts_again_is_taken(void **state)
{
    struct driver *d = *state;
    struct guard_reply reply;
    uint32_t serial;
    int stream[2];

    assert_true(beat(d, GROWN_LEASE_MS, ""));
    prepare_target(d, stream);
    put_file("/run/fake/fail.setup", "");
    unlink("/run/fake/switch");
    for (uint64_t limit = now_us() + WAIT_MS * 1000; now_us() < limit;) {
        if (access("/run/fake/switch", F_OK) == 0)
            break; /* it was tried, and refused */
        sleep_until_us(now_us() + 2000);
    }
    serial = tell_move(d, GUARD_RECEIVE, 0, 20, stream[0]);
    sleep_until_us(now_us() + 100000);
    assert_int_equal(report_of(d, "web").state, GUEST_PREPARED);
    unlink("/run/fake/fail.setup");
    assert_int_equal(answer_to(d, serial, &reply), 0);
    guard_reply_deinit(&reply);
    assert_int_equal(report_of(d, "web").state, GUEST_RECEIVED);
    close(stream[0]);
    close(stream[1]);
}

/* The commit's rules never come: the guest goes back to what was received, and can be tried again.
 */
static void activation_does_not_wait_for_ever(void **state)
{
    struct driver *d = *state;
    int stream[2];

    assert_true(beat(d, GROWN_LEASE_MS, ""));
    prepare_target(d, stream);
    assert_int_equal(move(d, GUARD_RECEIVE, 0, 20, stream[0]), 0);
    assert_true(beat(d, GROWN_LEASE_MS, NULL));
    assert_int_equal(show_switch(d, 29), 0);
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), -ETIMEDOUT);
    assert_int_equal(report_of(d, "web").state, GUEST_RECEIVED);
    assert_true(stands_still("web"));
    assert_int_equal(show_switch(d, 30), 0);
    assert_true(beat(d, GROWN_LEASE_MS, ""));
    assert_int_equal(move(d, GUARD_ACTIVATE, 30, 20, -1), 0);
    assert_true(counts("web"));
    close(stream[0]);
    close(stream[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_begin, driver_end)

static const struct CMUnitTest tests[] = {
    TEST(guest_moves_and_goes_on),
    TEST(failed_capture_costs_time_only),
    TEST(target_comes_to_life_only_under_a_lease),
    TEST(received_behind_a_dead_switch_is_refused),
    TEST(received_while_the_switch_starts_again_is_taken),
    TEST(activation_does_not_wait_for_ever),
};

const struct guard_tests move_tests = {tests, sizeof(tests) / sizeof(tests[0])};

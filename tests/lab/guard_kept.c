/* Checkpoints: a guest that is kept and goes on, and a start out of one (guard_process.c runs
 * them). */
#include "tests/lab/guard_tests.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int restore(struct driver *d, const char *path, uint8_t digest)
{
    struct guard_request request;
    int code, fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    run_of(&request, GUARD_RESTORE, "web", 30, 2000);
    request.index = d->index;
    request.digest[0] = digest;
    request.fds[0] = fd;
    code = ask(d, &request, NULL);
    close(fd);
    return code;
}

static void guest_is_kept_and_goes_on(void **state)
{
    struct driver *d = *state;
    struct guard_request request;
    struct guard_reply reply;
    char text[32] = "";
    int stream[2];

    assert_int_equal(pipe2(stream, O_CLOEXEC), 0);
    assert_true(beat(d, GROWN_LEASE_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    request_of(&request, GUARD_CHECKPOINT);
    strcpy(request.copy.guest, "web");
    request.copy.epoch = 5;
    assert_int_equal(ask(d, &request, &reply), 0);
    assert_true(reply.frozen_us > 0 && reply.handed_over_us >= reply.frozen_us);
    assert_true(counts("web"));
    assert_true(port_is(2000, "up"));
    request_of(&request, GUARD_SEND);
    strcpy(request.copy.guest, "web");
    request.copy.epoch = 5;
    request.fds[0] = stream[1];
    assert_int_equal(ask(d, &request, &reply), 0);
    assert_int_equal(reply.bytes, 13);
    assert_int_equal(read(stream[0], text, sizeof(text)), 13);
    assert_int_equal(reply.mode, 0);
    request_of(&request, GUARD_CHECKPOINT); /* what it may continue, and what that is */
    strcpy(request.copy.guest, "web");
    request.copy.epoch = 5;
    request.since_us = 77;
    assert_int_equal(ask(d, &request, &reply), 0);
    assert_int_equal(reply.mode, MOVE_PRE);
    request_of(&request, GUARD_SEND);
    strcpy(request.copy.guest, "web");
    request.copy.epoch = 5;
    request.fds[0] = stream[1];
    request.digest[0] = 3;
    assert_int_equal(ask(d, &request, &reply), 0);
    assert_int_equal(reply.bytes, 13 + 3);
    assert_int_equal(read(stream[0], text, sizeof(text)), 13);
    put_file("/run/fake/fail.checkpoint", "");
    assert_int_equal(ask_copy(d, GUARD_CHECKPOINT, "web", 5), -EIO);
    unlink("/run/fake/fail.checkpoint");
    assert_true(counts("web"));
    assert_int_equal(ask_copy(d, GUARD_FREEZE, "web", 5), 0);
    assert_int_equal(ask_copy(d, GUARD_CHECKPOINT, "web", 5), -EAGAIN);
    assert_true(stands_still("web")); /* it does not thaw what it did not freeze */
    close(stream[0]);
    close(stream[1]);
}

/* A start like any other: no lease, or an old decision, and nothing runs. */
static void a_checkpoint_comes_to_life_only_under_a_lease(void **state)
{
    struct driver *d = *state;

    put_file("/run/fake/kept", "000000000100\n");
    assert_int_equal(restore(d, "/run/fake/kept", 1), -EKEYEXPIRED);
    assert_int_equal(report_of(d, "web").state, 0);
    assert_true(beat(d, L_MS, ""));
    d->index--;
    assert_int_equal(restore(d, "/run/fake/kept", 1), -ESTALE);
    d->index++;
    assert_int_equal(restore(d, "/run/fake/kept", 0xbb), -EBADMSG);
    assert_int_equal(report_of(d, "web").state, 0);
    put_file("/run/fake/fail.activate", "");
    assert_int_equal(restore(d, "/run/fake/kept", 1), -EIO);
    unlink("/run/fake/fail.activate");
    assert_int_equal(report_of(d, "web").state, 0);
    assert_int_equal(restore(d, "/run/fake/kept", 1), 0);
    assert_true(counts("web"));
    assert_true(count_of("web", NULL) > 100);
    assert_true(port_is(2000, "up"));
    assert_int_equal(report_of(d, "web").epoch, 30);
    assert_int_equal(restore(d, "/run/fake/kept", 1), -EEXIST);
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", 30), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_begin, driver_end)

static const struct CMUnitTest tests[] = {
    TEST(guest_is_kept_and_goes_on),
    TEST(a_checkpoint_comes_to_life_only_under_a_lease),
};

const struct guard_tests kept_tests = {tests, sizeof(tests) / sizeof(tests[0])};

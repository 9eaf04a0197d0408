/* Guests under the guard: their start, their end, what is asked of them, and the switch
 * (guard_process.c runs them).
 */
#include "tests/lab/guard_tests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/tree_posix.h"
#include "migrate/look.h"

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

    assert_true(beat(d, GROWN_LEASE_MS, ""));
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
    assert_true(stands_still("web"));
    assert_int_equal(report_of(d, "web").state, 0);
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", 5), 0); /* nothing of it runs: again */
}

/* A frozen parent holds a killed process on cgroup v1: the stop must work all the same. */
static void stop_works_while_lapsed(void **state)
{
    struct driver *d = *state;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    sleep_until_us(d->lease_end_us);
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", 5), 0);
    assert_int_equal(report_of(d, "web").state, 0);
}

static void start_that_fails_leaves_nothing(void **state)
{
    struct driver *d = *state;

    assert_true(beat(d, L_MS, ""));
    put_file("/run/fake/fail.start", "");
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), -EIO);
    assert_int_equal(report_of(d, "web").state, 0);
    assert_true(port_is(2000, NULL));
    assert_true(access("/run/skein/guard/web", F_OK) != 0);
    unlink("/run/fake/fail.start");
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), -EEXIST);
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
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
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

/* ---- volumes */

static int start_with_a_volume(struct driver *d)
{
    struct guard_request request;

    run_of(&request, GUARD_START, "web", 5, 2000);
    request.index = d->index;
    request.run.created = 4;
    request.run.spec.n_volumes = 1;
    request.run.spec.volumes = calloc(1, sizeof(struct volume));
    request.run.spec.volumes[0] = (struct volume){"data", "/var/lib/data"};
    return ask(d, &request, NULL);
}

/* `name`: the only volumes that stay; NULL: none do. */
static int keep(struct driver *d, const char *name)
{
    struct guard_request request;

    request_of(&request, GUARD_KEEP_VOLUMES);
    request.index = d->index;
    request.keeps = calloc(1, sizeof(*request.keeps));
    request.n_keeps = name != NULL;
    if (name != NULL)
        snprintf(request.keeps[0], sizeof(request.keeps[0]), "%s", name);
    return ask(d, &request, NULL);
}

static bool is_there(const char *volumes)
{
    char path[128];

    snprintf(path, sizeof(path), GUEST_VOLUMES "/%s/data/file", volumes);
    return access(path, F_OK) == 0;
}

static void make_volumes(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), GUEST_VOLUMES "/%s/data", name);
    assert_int_equal(tree_make(path, 0755, NULL), 0);
    strcat(path, "/file");
    put_file(path, "");
}

static void volumes_go_when_they_are_not_named(void **state)
{
    struct driver *d = *state;

    make_volumes("web.4");
    assert_int_equal(keep(d, NULL), -EKEYEXPIRED);
    assert_true(beat(d, GROWN_LEASE_MS, ""));
    assert_int_equal(start_with_a_volume(d), 0);
    make_volumes("web.3");
    make_volumes("web.3.new");
    make_volumes("web.4.new");
    assert_int_equal(symlink("/run/fake", GUEST_VOLUMES "/link"), 0);
    assert_int_equal(keep(d, NULL), -EBUSY); /* it runs */
    assert_int_equal(keep(d, "web.3"), -EBUSY); /* those of an earlier guest of its name */
    assert_true(is_there("web.4") && is_there("web.3"));
    assert_int_equal(keep(d, "web.4"), 0);
    assert_true(is_there("web.4") && is_there("web.4.new"));
    assert_false(is_there("web.3") || is_there("web.3.new"));
    assert_int_equal(access("/run/fake", F_OK), 0); /* a link goes, not what it leads to */
    assert_int_not_equal(access(GUEST_VOLUMES "/link", F_OK), 0);
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", 5), 0);
    assert_true(is_there("web.4"));
    assert_int_equal(keep(d, "../../../run/fake"), 0); /* it is compared, and is no path */
    assert_false(is_there("web.4") || is_there("web.4.new"));
    assert_int_equal(access("/run/fake", F_OK), 0);
    assert_int_equal(rmdir(GUEST_VOLUMES), 0); /* nothing is left */
    assert_int_equal(mkdir(GUEST_VOLUMES, 0700), 0);
}

/* ---- the switch */

static void rules_come_back_after_the_switch_died(void **state)
{
    struct driver *d = *state;
    uint64_t limit = now_us() + WAIT_MS * 1000;

    assert_int_equal(show_switch(d, 77), 0);
    assert_int_equal(access("/run/fake/view", F_OK), 0);
    unlink("/run/fake/view");
    unlink("/run/fake/switch");
    while (access("/run/fake/view", F_OK) != 0 && now_us() < limit)
        sleep_until_us(now_us() + 2000);
    assert_int_equal(access("/run/fake/view", F_OK), 0);
    assert_int_equal(access("/run/fake/switch", F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_begin, driver_end)

static const struct CMUnitTest tests[] = {
    TEST(end_of_a_guest_is_told_with_its_status),
    TEST(stop_waits_and_then_kills),
    TEST(stop_works_while_lapsed),
    TEST(start_that_fails_leaves_nothing),
    TEST(exec_and_logs_hand_descriptors),
    TEST(volumes_go_when_they_are_not_named),
    TEST(rules_come_back_after_the_switch_died),
};

const struct guard_tests guest_tests = {tests, sizeof(tests) / sizeof(tests[0])};

/* The guard's lease and its own end: when it freezes, what it thaws and destroys, what a successor
 * takes up (guard_process.c runs them).
 */
#include "tests/lab/guard_tests.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the lease */

static void nothing_starts_before_the_first_lease(void **state)
{
    struct driver *d = *state;

    assert_true(d->hello.lapsed);
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), -EKEYEXPIRED);
    assert_int_equal(report_of(d, "web").state, 0);
    assert_true(beat(d, L_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    assert_true(port_is(2000, "up"));
    assert_int_equal(report_of(d, "web").state, GUEST_RUNNING);
    assert_true(sees(d, &d->n_lifted, 1));
}

static void start_below_the_floor_is_refused(void **state)
{
    struct driver *d = *state;

    d->index = 50;
    assert_true(beat(d, L_MS, ""));
    d->index = 49;
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), -ESTALE);
}

/* Also figures: how long before the lease's end the guest's last word was. */
static void lapse_freezes_before_the_end_and_lift_thaws(void **state)
{
    struct driver *d = *state;
    uint64_t last_us = 0, count;
    struct guard_report report;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    sleep_until_us(d->lease_end_us);
    count = count_of("web", &last_us);
    assert_true(last_us < d->lease_end_us);
    print_message("# last word %lld us before the lease's end (F = %d ms)\n",
                  (long long)(d->lease_end_us - last_us), F_MS);
    assert_true(stands_still("web"));
    assert_true(port_is(2000, "down"));
    report = report_of(d, "web");
    assert_int_equal(report.state, GUEST_FROZEN);
    assert_int_equal(report.frozen_by, FROZEN_BY_LEASE);
    assert_true(sees(d, &d->n_lapsed, 1));
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
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    assert_int_equal(driver_start_guest(d, "db", 6, 2001), 0);
    assert_true(counts("web"));
    sleep_until_us(d->lease_end_us);
    count = count_of("web", NULL);
    assert_true(beat(d, L_MS, "web:4 db:6")); /* web only of an older epoch */
    assert_true(counts("db"));
    assert_int_equal(await_state(d, "web", 0).state, 0);
    assert_int_equal(count_of("web", NULL), count); /* not one instruction more */
    assert_true(port_is(2000, NULL));
    assert_true(access("/run/skein/guard/web", F_OK) != 0);
    assert_int_equal(driver_start_guest(d, "web", 9, 2000), 0);
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
    assert_true(stands_still("web"));
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
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    assert_int_equal(ask_copy(d, GUARD_FREEZE, "web", 5), 0);
    assert_true(stands_still("web"));
    assert_true(port_is(2000, "up"));
    sleep_until_us(d->lease_end_us);
    assert_int_equal(await_state(d, "web", GUEST_FROZEN).frozen_by,
                     FROZEN_BY_LEASE | FROZEN_BY_USER);
    assert_true(beat(d, GROWN_LEASE_MS, "web:5"));
    assert_true(stands_still("web"));
    assert_int_equal(ask_copy(d, GUARD_THAW, "web", 4), -ESTALE);
    assert_int_equal(ask_copy(d, GUARD_THAW, "web", 5), 0);
    assert_true(counts("web"));
}

/* A board that left one cluster for another: its terms, indexes and epochs begin anew, and nothing
 * of the first is taken for something of the second, whatever it is called. */
static void another_cluster_is_heard_once_the_lease_is_over(void **state)
{
    struct driver *d = *state;
    struct guard_request request;
    uint64_t end_us;
    uint32_t pid;

    d->term = 90;
    d->index = 900;
    assert_true(beat(d, GROWN_LEASE_MS / 2, ""));
    end_us = d->lease_end_us;
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    run_of(&request, GUARD_PREPARE, "db", 800, 2001);
    request.migration = 800;
    assert_int_equal(ask(d, &request, NULL), 0);
    assert_true(counts("web"));
    pid = report_of(d, "web").pid;
    d->cluster = 2;
    d->term = 1;
    d->index = 7;
    assert_true(beat(d, GROWN_LEASE_MS, "web:5")); /* too early: it moves nothing */
    sleep_until_us(end_us);
    assert_int_equal(report_of(d, "web").frozen_by, FROZEN_BY_LEASE);
    assert_true(beat(d, GROWN_LEASE_MS, "web:5"));
    assert_int_equal(await_state(d, "web", 0).state, 0);
    assert_int_equal(await_state(d, "db", 0).state, 0);
    assert_true(port_is(2000, NULL));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    assert_int_not_equal(report_of(d, "web").pid, pid);
}

/* It is written down whose a copy is. */
static void restarted_guard_knows_whose_its_guests_are(void **state)
{
    struct driver *d = *state;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    driver_kill(d, SIGKILL);
    driver_start(d);
    assert_true(beat(d, L_MS, "web:5"));
    assert_true(counts("web"));
    driver_kill(d, SIGKILL);
    driver_start(d);
    d->cluster = 2;
    assert_true(beat(d, GROWN_LEASE_MS, "web:5"));
    assert_int_equal(await_state(d, "web", 0).state, 0);
    assert_true(stands_still("web"));
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

/* Its cgroup does not count one any more that is about to become a zombie. */
static bool dies(uint32_t pid)
{
    uint64_t end = now_us() + WAIT_MS * 1000;

    while (lives(pid) && now_us() < end)
        sleep_until_us(now_us() + 1000);
    return !lives(pid);
}

static void killed_guard_is_followed_by_one_that_adopts(void **state)
{
    struct driver *d = *state;
    struct guard_hello before = d->hello;
    struct guard_report report;
    uint64_t count;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    report = report_of(d, "web");
    driver_kill(d, SIGKILL);
    driver_start(d);
    assert_memory_equal(d->hello.boot_nonce, before.boot_nonce, NONCE_SIZE);
    assert_int_equal(d->hello.run, before.run + 1);
    assert_true(d->hello.lapsed);
    assert_int_equal(report_of(d, "web").pid, report.pid);
    assert_int_equal(report_of(d, "web").frozen_by, FROZEN_BY_LEASE);
    assert_true(stands_still("web"));
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
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
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
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    driver_kill(d, SIGKILL);
    unlink("/run/skein/guard/web");
    driver_start(d);
    assert_int_equal(report_of(d, "web").state, 0);
    assert_true(beat(d, L_MS, ""));
    assert_true(stands_still("web"));
    assert_int_equal(driver_start_guest(d, "web", 6, 2000), 0);
}

static void new_boot_nonce_only_when_nothing_lives(void **state)
{
    struct driver *d = *state;
    struct guard_hello before = d->hello;
    struct guard_report report;

    assert_true(beat(d, L_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    report = report_of(d, "web");
    driver_kill(d, SIGKILL);
    unlink("/run/skein/boot_nonce");
    driver_start(d);
    assert_memory_not_equal(d->hello.boot_nonce, before.boot_nonce, NONCE_SIZE);
    assert_int_equal(d->hello.run, 1);
    assert_true(dies(report.pid));
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
        execl(driver_program, "skein-guard", (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 1);
    beat(d, L_MS, "");
}

static void orderly_end_leaves_everything_frozen(void **state)
{
    struct driver *d = *state;

    assert_true(beat(d, GROWN_LEASE_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0);
    assert_true(counts("web"));
    driver_kill(d, SIGTERM);
    assert_true(stands_still("web"));
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

    for (uint64_t end = now_us() + WAIT_MS * 1000; size == 0 && now_us() < end;) {
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_begin, driver_end)

static const struct CMUnitTest tests[] = {
    TEST(nothing_starts_before_the_first_lease),
    TEST(start_below_the_floor_is_refused),
    TEST(lapse_freezes_before_the_end_and_lift_thaws),
    TEST(lift_destroys_what_is_not_listed),
    TEST(guest_that_stays_is_not_frozen),
    TEST(start_that_the_lapse_overtakes_is_frozen),
    TEST(user_and_lease_freeze_by_themselves),
    TEST(another_cluster_is_heard_once_the_lease_is_over),
    TEST(restarted_guard_knows_whose_its_guests_are),
    TEST(killed_guard_is_followed_by_one_that_adopts),
    TEST(guest_that_ended_meanwhile_is_found_so),
    TEST(what_no_record_names_is_killed),
    TEST(new_boot_nonce_only_when_nothing_lives),
    TEST(second_guard_does_not_start),
    TEST(orderly_end_leaves_everything_frozen),
    TEST(watchdog_is_fed_and_let_go_on_a_wanted_end),
};

const struct guard_tests lease_tests = {tests, sizeof(tests) / sizeof(tests[0])};

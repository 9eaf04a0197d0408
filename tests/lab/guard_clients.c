/* What the guard takes from its clients, and what not (guard_process.c runs them). */
#include "tests/lab/guard_tests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guard/packet_posix.h"

/* ---- a hostile client */

static bool is_cut_off(int fd)
{
    char byte;

    return recv(fd, &byte, 1, 0) <= 0;
}

static void what_is_no_request_ends_the_connection(void **state)
{
    static const uint8_t junk[][8] = {{0}, {2, 1, 0, 0, 0, 99}, {9, 9, 9, 9, 9, 9, 9, 9}};
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

    assert_true(beat(d, GROWN_LEASE_MS, ""));
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
    assert_int_equal(driver_start_guest(d, "web", 5, 2000), 0); /* and it still serves */
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, driver_begin, driver_end)

static const struct CMUnitTest tests[] = {
    TEST(what_is_no_request_ends_the_connection),
    TEST(lease_connection_takes_no_work),
    TEST(wrong_arguments_are_refused_and_change_nothing),
    TEST(stranger_may_not_speak),
};

const struct guard_tests client_tests = {tests, sizeof(tests) / sizeof(tests[0])};

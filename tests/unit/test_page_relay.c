/* Bytes between two sockets, real ones. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "migrate/relay_posix.h"

/* The relay in the middle; the test is both ends. */
struct bench {
    int program, node; /* the test's ends */
    int stop[2];
    struct relay relay;
    pthread_t thread;
    enum relay_end end;
};

static void *run(void *argument)
{
    struct bench *b = argument;

    b->end = relay_run(&b->relay);
    return NULL;
}

static void begin(struct bench *b)
{
    int near[2], far[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, near), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, far), 0);
    assert_int_equal(pipe2(b->stop, O_CLOEXEC), 0);
    b->program = near[0];
    b->node = far[0];
    b->relay.near = near[1];
    b->relay.far = far[1];
    b->relay.stop = b->stop[0];
    assert_int_equal(pthread_create(&b->thread, NULL, run, b), 0);
}

static enum relay_end end(struct bench *b)
{
    pthread_join(b->thread, NULL);
    close(b->relay.near);
    close(b->relay.far);
    close(b->program);
    close(b->node);
    close(b->stop[0]);
    close(b->stop[1]);
    return b->end;
}

static void says(int from, int to, const char *text)
{
    char back[64] = "";
    size_t size = strlen(text), n = 0;

    assert_int_equal(write(from, text, size), size);
    while (n < size) {
        ssize_t got = read(to, back + n, size - n);

        assert_true(got > 0);
        n += (size_t)got;
    }
    assert_string_equal(back, text);
}

static void both_ways_until_the_program_ends(void **unused)
{
    struct bench b = {0};
    char rest[16];

    (void)unused;
    begin(&b);
    says(b.program, b.node, "give me page 7");
    says(b.node, b.program, "here it is");
    assert_int_equal(write(b.program, "bye", 3), 3);
    shutdown(b.program, SHUT_RDWR);
    assert_int_equal(read(b.node, rest, sizeof(rest)), 3); /* the last words arrive */
    assert_int_equal(end(&b), RELAY_NEAR_ENDED);
    assert_int_equal(b.relay.n_out, 17);
    assert_int_equal(b.relay.n_in, 10);
}

static void the_program_does_not_see_the_stream_end(void **unused)
{
    struct bench b = {0};
    char byte;

    (void)unused;
    begin(&b);
    says(b.program, b.node, "give me page 7");
    shutdown(b.node, SHUT_RDWR);
    pthread_join(b.thread, NULL);
    assert_int_equal(b.end, RELAY_FAR_ENDED);
    assert_int_equal(recv(b.program, &byte, 1, MSG_DONTWAIT), -1); /* open, and silent */
    assert_int_equal(errno, EAGAIN);
    b.thread = 0;
    close(b.relay.near), close(b.relay.far), close(b.program), close(b.node);
    close(b.stop[0]), close(b.stop[1]);
}

static void it_stops_when_it_is_told_to(void **unused)
{
    struct bench b = {0};

    (void)unused;
    begin(&b);
    says(b.program, b.node, "give me page 7");
    assert_int_equal(write(b.stop[1], "", 1), 1);
    assert_int_equal(end(&b), RELAY_STOPPED);
}

static void silence_counts_from_the_question(void **unused)
{
    struct bench b = {.relay = {.silence_ms = 50}};

    (void)unused;
    begin(&b);
    says(b.program, b.node, "give me page 7"); /* and no answer ever */
    assert_int_equal(end(&b), RELAY_SILENT);
}

static void the_rate_is_kept(void **unused)
{
    enum { KIB = 256 };
    struct bench b = {.relay = {.rate_kbps = 8000}}; /* 1 MB/s: 256 KiB take at least 190 ms */
    struct timespec began, ended;
    size_t n = 0;
    char *data = calloc(KIB, 1024);
    pid_t writer;

    (void)unused;
    clock_gettime(CLOCK_MONOTONIC, &began);
    begin(&b);
    writer = fork();
    if (writer == 0) {
        for (size_t at = 0; at < KIB * 1024;) {
            ssize_t written = write(b.program, data + at, KIB * 1024 - at);

            if (written <= 0)
                _exit(1);
            at += (size_t)written;
        }
        _exit(0);
    }
    while (n < KIB * 1024) {
        ssize_t got = read(b.node, data, 64 * 1024);

        assert_true(got > 0);
        n += (size_t)got;
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    waitpid(writer, NULL, 0);
    shutdown(b.program, SHUT_RDWR);
    assert_int_equal(end(&b), RELAY_NEAR_ENDED);
    assert_true((ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000 >=
                190);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_until_the_program_ends),
        cmocka_unit_test(the_program_does_not_see_the_stream_end),
        cmocka_unit_test(it_stops_when_it_is_told_to),
        cmocka_unit_test(silence_counts_from_the_question),
        cmocka_unit_test(the_rate_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

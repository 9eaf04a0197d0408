/* What is left of a source's tunnel that came to nothing: QEMU's state goes nowhere, unbroken. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "migrate/tunnel_spill_posix.h"

enum { MUCH = 4 * 1024 * 1024 };

static char directory[] = "/tmp/test-spill-XXXXXX";
static char paths[TUNNEL_N_DOORS][64];
static struct tunnel_end near_end;

static int knock(enum tunnel_door door)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", paths[door]);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void serve_end(void)
{
    struct pollfd fds[TUNNEL_FDS];
    struct err err;

    tunnel_end_poll(&near_end, fds);
    poll(fds, TUNNEL_FDS, 10);
    assert_int_equal(tunnel_end_serve(&near_end, fds, &err), 0);
}

/* All of it is taken, whatever is in the way. */
static void write_much(struct tunnel_spill *spill, int fd)
{
    static const char bytes[64 * 1024];
    size_t sent = 0;

    while (sent < MUCH) {
        struct pollfd fds[TUNNEL_SPILL_FDS];
        ssize_t n = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);

        assert_true(n > 0 || errno == EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
        tunnel_spill_poll(spill, fds);
        assert_true(poll(fds, TUNNEL_SPILL_FDS, 1000) > 0);
        tunnel_spill_serve(spill, fds);
    }
}

static void state_goes_nowhere_unbroken(void **unused)
{
    const char *doors[TUNNEL_N_DOORS];
    int rpc, first, second, third, pair[2];
    struct tunnel_spill spill;
    struct err err;
    char byte;

    (void)unused;
    for (int i = 0; i < TUNNEL_N_DOORS; i++)
        doors[i] = paths[i];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(tunnel_end_init(&near_end, true, pair[0], doors, &err), 0);
    rpc = knock(TUNNEL_RPC);
    first = knock(TUNNEL_MEMORY);
    second = knock(TUNNEL_MEMORY);
    for (int i = 0; i < 8; i++)
        serve_end();

    tunnel_spill_begin(&spill, &near_end);
    tunnel_end_deinit(&near_end);
    assert_int_equal(read(rpc, &byte, 1), 0); /* libvirt's line is over */
    write_much(&spill, first);
    write_much(&spill, second);
    third = knock(TUNNEL_MEMORY); /* QEMU was not through with its connections */
    write_much(&spill, third);
    assert_int_equal(read(first, &byte, 1), -1);
    assert_int_equal(errno, EAGAIN);

    close(second);
    for (int i = 0; i < 8; i++) {
        struct pollfd fds[TUNNEL_SPILL_FDS];

        tunnel_spill_poll(&spill, fds);
        poll(fds, TUNNEL_SPILL_FDS, 1);
        tunnel_spill_serve(&spill, fds);
    }
    write_much(&spill, first);
    tunnel_spill_end(&spill);
    assert_int_equal(send(first, "x", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(access(paths[TUNNEL_MEMORY], F_OK), -1);
    close(rpc);
    close(first);
    close(third);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(state_goes_nowhere_unbroken)};
    int rc;

    if (mkdtemp(directory) == NULL)
        return 1;
    for (int i = 0; i < TUNNEL_N_DOORS; i++)
        snprintf(paths[i], sizeof(paths[i]), "%s/%d", directory, i);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(directory);
    return rc;
}

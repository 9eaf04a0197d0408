#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clean.h"
#include "migrate/backlog_linux.h"

enum { OTHERS_MS = 5000 }; /* programs that run beside this one have accepted theirs */

static int listener(struct sockaddr_in *ret)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(*ret);

    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &size), 0);
    return fd;
}

static void what_is_not_accepted_waits(void **state)
{
    cleanup_close int diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    struct sockaddr_in address;
    cleanup_close int server = listener(&address);
    cleanup_close int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cleanup_close int taken = -1;

    (void)state;
    assert_true(backlog_drain(diag, OTHERS_MS));
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_false(backlog_drain(diag, 2));
    taken = accept(server, NULL, NULL);
    assert_true(taken >= 0);
    assert_true(backlog_drain(diag, OTHERS_MS));
}

static void who_cannot_be_asked_waits_for_nobody(void **state)
{
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)state;
    assert_true(backlog_drain(null, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_accepted_waits),
        cmocka_unit_test(who_cannot_be_asked_waits_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

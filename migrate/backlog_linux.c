#include "migrate/backlog_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"

/* The kernel tells nobody that a queue is empty. */
enum { LOOK_EVERY_US = 200 };

int backlog_open(const char *netns, struct err *err)
{
    cleanup_close int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    cleanup_close int its = open(netns, O_RDONLY | O_CLOEXEC);
    int fd;

    if (own < 0 || its < 0 || setns(its, CLONE_NEWNET) < 0)
        return err_set(err, -errno, "cannot enter %s: %s", netns, strerror(errno));
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        err_set(err, -errno, "cannot open a socket in %s: %s", netns, strerror(errno));
    if (setns(own, CLONE_NEWNET) == 0)
        return fd < 0 ? -errno : fd;
    if (fd >= 0)
        close(fd);
    return err_set(err, -errno, "cannot leave %s: %s", netns, strerror(errno));
}

static bool ask(int fd, uint8_t family)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 listening;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .listening = {.sdiag_family = family,
                      .sdiag_protocol = IPPROTO_TCP,
                      .idiag_states = 1u << TCP_LISTEN},
    };

    return send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request);
}

/* 1: go on reading. Adds to *n. */
static int count(const uint8_t *answer, size_t size, uint32_t *n)
{
    const struct nlmsghdr *message = (const void *)answer;

    for (; NLMSG_OK(message, size); message = NLMSG_NEXT(message, size)) {
        const struct inet_diag_msg *socket = NLMSG_DATA(message);

        if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
            message->nlmsg_len < NLMSG_LENGTH(sizeof(*socket)))
            return 0;
        *n += socket->idiag_rqueue; /* of one that listens: those that wait */
    }
    return 1;
}

static uint32_t waiting(int fd, uint8_t family)
{
    _Alignas(struct nlmsghdr) uint8_t answer[16384];
    uint32_t n = 0;
    ssize_t size;

    if (!ask(fd, family))
        return 0;
    do
        size = recv(fd, answer, sizeof(answer), 0);
    while (size > 0 && count(answer, (size_t)size, &n));
    return n;
}

bool backlog_drain(int fd, int limit_ms)
{
    const struct timespec a_moment = {.tv_nsec = LOOK_EVERY_US * 1000};
    int n_looks = 1 + limit_ms * 1000 / LOOK_EVERY_US;

    while (waiting(fd, AF_INET) + waiting(fd, AF_INET6) > 0) {
        if (--n_looks <= 0)
            return false;
        nanosleep(&a_moment, NULL);
    }
    return true;
}

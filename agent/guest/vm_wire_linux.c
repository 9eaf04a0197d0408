#include "agent/guest/vm_wire_linux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/guest/keeper_posix.h"
#include "base/clean.h"
#include "netfabric/flows.h"

enum { FRAME_MAX = 65536, NEWS_MAX = 8192 };

struct wire {
    int tap, far; /* far -1 = not there yet */
    int news;     /* of the namespace's interfaces */
    struct virtio_net_hdr header;
    uint8_t frame[FRAME_MAX];
};

static int open_tap(const struct guest_run *run)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    cleanup_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    port_name(run->port, request.ifr_name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
        return -errno;
    return steal_fd(&fd);
}

static int hear_news(void)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return steal_fd(&fd);
}

/* The kernel itself says nothing there. */
static void be_silent(void)
{
    cleanup_close int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);

    if (fd >= 0)
        (void)!write(fd, "1", 1);
}

static int open_far(void)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)if_nametoindex(VM_WIRE_FAR)};
    cleanup_close int fd = -1;
    int on = 1;

    if (address.sll_ifindex == 0)
        return -ENODEV;
    fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return steal_fd(&fd);
}

static void look_for_far(struct wire *w)
{
    uint8_t news[NEWS_MAX];

    while (recv(w->news, news, sizeof(news), 0) > 0)
        ;
    if (w->far < 0)
        w->far = open_far();
}

/* The guest leaves sums to a card that there is none of (RFC 1071). */
static void complete_sum(const struct virtio_net_hdr *header, uint8_t *frame, size_t size)
{
    size_t start = header->csum_start, at = start + header->csum_offset;
    uint32_t sum = 0;

    if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 || at + 2 > size)
        return;
    for (size_t i = start; i < size; i += 2)
        sum += (uint32_t)frame[i] << 8 | (i + 1 < size ? frame[i + 1] : 0);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    sum = ~sum & 0xffff;
    frame[at] = (uint8_t)(sum >> 8);
    frame[at + 1] = (uint8_t)sum;
}

/* A packet that does not fit is lost, as on any wire. */
static bool from_guest(struct wire *w)
{
    struct iovec parts[2] = {{&w->header, sizeof(w->header)}, {w->frame, sizeof(w->frame)}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = recvmsg(w->far, &message, 0);

    if (n < (ssize_t)sizeof(w->header))
        return n >= 0 || errno == EAGAIN || errno == ENETDOWN;
    n -= (ssize_t)sizeof(w->header);
    complete_sum(&w->header, w->frame, (size_t)n);
    (void)!write(w->tap, w->frame, (size_t)n);
    return true;
}

static void to_guest(struct wire *w)
{
    struct virtio_net_hdr none = {0};
    struct iovec parts[2] = {{&none, sizeof(none)}, {w->frame, 0}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = read(w->tap, w->frame, sizeof(w->frame));

    if (n <= 0 || w->far < 0)
        return;
    parts[1].iov_len = (size_t)n;
    (void)sendmsg(w->far, &message, 0);
}

static void carry(struct wire *w)
{
    struct pollfd fds[3];

    for (;;) {
        fds[0] = (struct pollfd){.fd = w->tap, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = w->far, .events = POLLIN};
        fds[2] = (struct pollfd){.fd = w->news, .events = POLLIN};
        if (poll(fds, 3, -1) < 0)
            continue;
        if (fds[2].revents != 0)
            look_for_far(w);
        if (fds[0].revents != 0)
            to_guest(w);
        if (fds[1].revents != 0 && !from_guest(w))
            return;
    }
}

int vm_wire_start(const struct guest_run *run, pid_t *ret_pid, struct err *err)
{
    static struct wire w = {.far = -1};
    int ready[2];
    char byte;
    pid_t pid;

    if (pipe2(ready, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(KEEPER_RUN); /* whoever started the guest reads what is said to its end */
        close(KEEPER_STATUS);
        close(ready[0]);
        w.tap = open_tap(run);
        if (w.tap < 0 || unshare(CLONE_NEWNET) < 0 || (w.news = hear_news()) < 0)
            _exit(1);
        be_silent();
        (void)!write(ready[1], "", 1);
        close(ready[1]);
        carry(&w);
        _exit(1);
    }
    close(ready[1]);
    if (pid < 0 || read(ready[0], &byte, 1) != 1)
        err_set(err, -EIO, "its wire to the switch cannot be made");
    else
        err->code = 0;
    close(ready[0]);
    *ret_pid = pid;
    return err->code;
}

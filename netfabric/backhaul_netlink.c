#include "netfabric/backhaul_netlink.h"

#include <errno.h>
#include <linux/gen_stats.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clean.h"

enum { ANSWER_SIZE = 32 * 1024, LIMIT_MS = 200 };

static int open_socket(struct err *err)
{
    struct timeval limit = {.tv_usec = LIMIT_MS * 1000};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0)
        return err_set(err, -errno, "no netlink socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

/* The attribute of that type; its payload and size. */
static const void *attribute(const void *first, size_t size, unsigned type, size_t *ret_size)
{
    size_t left = size;

    for (const struct rtattr *a = first; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if ((a->rta_type & NLA_TYPE_MASK) != type)
            continue;
        *ret_size = RTA_PAYLOAD(a);
        return RTA_DATA(a);
    }
    return NULL;
}

/* Copies what the kernel has of a struct: an older one has less of it. */
static bool copy_attribute(const void *first, size_t size, unsigned type, void *ret,
                           size_t ret_size)
{
    size_t n = 0;
    const void *data = attribute(first, size, type, &n);

    memset(ret, 0, ret_size);
    if (data == NULL)
        return false;
    memcpy(ret, data, n < ret_size ? n : ret_size);
    return true;
}

static void take_link(const struct nlmsghdr *header, struct backhaul *ret)
{
    const struct ifinfomsg *info = NLMSG_DATA(header);
    struct rtnl_link_stats64 stats;

    if (header->nlmsg_type != RTM_NEWLINK ||
        !copy_attribute(IFLA_RTA(info), IFLA_PAYLOAD(header), IFLA_STATS64, &stats, sizeof(stats)))
        return;
    ret->out.bytes = stats.tx_bytes;
    ret->out.packets = stats.tx_packets;
    ret->out.drops += stats.tx_dropped;
    ret->in.bytes = stats.rx_bytes;
    ret->in.packets = stats.rx_packets;
    ret->in.drops = stats.rx_dropped;
}

static void take_queue(const struct nlmsghdr *header, struct backhaul *ret)
{
    const struct tcmsg *info = NLMSG_DATA(header);
    struct gnet_stats_basic basic;
    struct gnet_stats_queue queue;
    size_t size = 0;
    const void *stats;

    if (header->nlmsg_type != RTM_NEWTCLASS)
        return;
    stats = attribute(TCA_RTA(info), TCA_PAYLOAD(header), TCA_STATS2, &size);
    for (int i = 0; stats != NULL && i < BACKHAUL_N_CLASSES; i++) {
        struct backhaul_queue *q = &ret->queues[i];

        if (info->tcm_handle != TC_H_MAKE(1u << 16, BACKHAUL_MINOR(i)))
            continue;
        copy_attribute(stats, size, TCA_STATS_BASIC, &basic, sizeof(basic));
        copy_attribute(stats, size, TCA_STATS_QUEUE, &queue, sizeof(queue));
        *q = (struct backhaul_queue){.bytes = basic.bytes,
                                     .packets = basic.packets,
                                     .drops = queue.drops,
                                     .backlog_bytes = queue.backlog};
        ret->out.drops += queue.drops;
        ret->has_queues = true;
    }
}

typedef void take_fn(const struct nlmsghdr *header, struct backhaul *ret);

/* Reads answers until the last; 0 or negative errno. */
static int receive(int fd, take_fn *take, bool is_dump, struct backhaul *ret)
{
    _Alignas(struct nlmsghdr) char answer[ANSWER_SIZE];

    for (;;) {
        ssize_t n = recv(fd, answer, sizeof(answer), 0);
        size_t left = n > 0 ? (size_t)n : 0;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        for (struct nlmsghdr *h = (struct nlmsghdr *)answer; NLMSG_OK(h, left);
             h = NLMSG_NEXT(h, left)) {
            if (h->nlmsg_type == NLMSG_ERROR)
                return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
            if (h->nlmsg_type == NLMSG_DONE)
                return 0;
            take(h, ret);
            if (!is_dump)
                return 0;
        }
    }
}

static int ask(int fd, int index, bool is_dump, take_fn *take, struct backhaul *ret)
{
    struct {
        struct nlmsghdr header;
        union {
            struct ifinfomsg link;
            struct tcmsg class;
        };
    } request = {.header = {.nlmsg_flags = NLM_F_REQUEST}};

    if (is_dump) {
        request.header.nlmsg_type = RTM_GETTCLASS;
        request.header.nlmsg_flags |= NLM_F_DUMP;
        request.header.nlmsg_len = NLMSG_LENGTH(sizeof(request.class));
        request.class.tcm_ifindex = index;
    } else {
        request.header.nlmsg_type = RTM_GETLINK;
        request.header.nlmsg_len = NLMSG_LENGTH(sizeof(request.link));
        request.link.ifi_index = index;
    }
    if (send(fd, &request, request.header.nlmsg_len, 0) < 0)
        return -errno;
    return receive(fd, take, is_dump, ret);
}

int backhaul_read(const char *interface, struct backhaul *ret, struct err *err)
{
    int index = (int)if_nametoindex(interface);
    cleanup_close int fd = -1;
    struct backhaul b = {0};
    int rc;

    if (index == 0)
        return err_set(err, -ENODEV, "there is no interface %s", interface);
    fd = open_socket(err);
    if (fd < 0)
        return fd;
    rc = ask(fd, index, false, take_link, &b);
    if (rc == 0)
        rc = ask(fd, index, true, take_queue, &b);
    if (rc < 0)
        return err_set(err, rc, "counters of %s: %s", interface, strerror(-rc));
    *ret = b;
    return 0;
}

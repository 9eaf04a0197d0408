/* cable_netlink: see the header. A request is a tree of attributes; a nested one begins with its
 * own header, whose length is filled in when it ends.
 */
#include "netfabric/cable_netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clean.h"

enum { REQUEST_SIZE = 512 };

struct request {
    union {
        struct nlmsghdr header;
        uint8_t bytes[REQUEST_SIZE];
    };
};

static void *grow(struct request *r, size_t size)
{
    void *at = &r->bytes[NLMSG_ALIGN(r->header.nlmsg_len)];

    r->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->header.nlmsg_len) + size);
    return at; /* names are short and bounded: a request is at most half of REQUEST_SIZE */
}

static void begin(struct request *r, uint16_t type, uint16_t flags)
{
    *r = (struct request){.header = {.nlmsg_len = NLMSG_HDRLEN,
                                     .nlmsg_type = type,
                                     .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags}};
    grow(r, sizeof(struct ifinfomsg));
}

static void put(struct request *r, uint16_t type, const void *data, size_t size)
{
    struct rtattr *attribute = grow(r, RTA_LENGTH(size));

    attribute->rta_type = type;
    attribute->rta_len = (uint16_t)RTA_LENGTH(size);
    memcpy(RTA_DATA(attribute), data, size);
}

static void put_text(struct request *r, uint16_t type, const char *text)
{
    put(r, type, text, strlen(text) + 1);
}

static struct rtattr *begin_nest(struct request *r, uint16_t type)
{
    struct rtattr *attribute = grow(r, RTA_LENGTH(0));

    attribute->rta_type = type;
    return attribute;
}

static void end_nest(struct request *r, struct rtattr *nest)
{
    nest->rta_len = (uint16_t)(&r->bytes[r->header.nlmsg_len] - (uint8_t *)nest);
}

/* Sends it and reads the acknowledgement: 0 or the kernel's negative errno. */
static int execute(struct request *r)
{
    cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    union {
        struct nlmsghdr header;
        uint8_t bytes[4096];
    } reply;
    ssize_t size;

    if (fd < 0 || send(fd, r->bytes, r->header.nlmsg_len, 0) < 0)
        return -errno;
    size = recv(fd, &reply, sizeof(reply), 0);
    if (size < 0)
        return -errno;
    if (!NLMSG_OK(&reply.header, (size_t)size) || reply.header.nlmsg_type != NLMSG_ERROR)
        return -EPROTO;
    return ((struct nlmsgerr *)NLMSG_DATA(&reply.header))->error;
}

static void put_peer(struct request *r, int netns, const uint8_t mac[MAC_SIZE], uint32_t mtu)
{
    uint32_t fd = (uint32_t)netns;
    struct rtattr *info = begin_nest(r, IFLA_LINKINFO), *data, *peer;

    put_text(r, IFLA_INFO_KIND, "veth");
    data = begin_nest(r, IFLA_INFO_DATA);
    peer = begin_nest(r, VETH_INFO_PEER);
    grow(r, sizeof(struct ifinfomsg));
    put_text(r, IFLA_IFNAME, "eth0");
    put(r, IFLA_ADDRESS, mac, MAC_SIZE);
    put(r, IFLA_MTU, &mtu, sizeof(mtu));
    put(r, IFLA_NET_NS_FD, &fd, sizeof(fd));
    end_nest(r, peer);
    end_nest(r, data);
    end_nest(r, info);
}

int cable_make(const char *name, const char *netns, const uint8_t mac[MAC_SIZE], unsigned mtu,
               struct err *err)
{
    cleanup_close int fd = open(netns, O_RDONLY | O_CLOEXEC);
    uint32_t size = mtu;
    struct request r;
    int code = fd < 0 ? -errno : 0;

    if (code == 0) {
        begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
        put_text(&r, IFLA_IFNAME, name);
        put(&r, IFLA_MTU, &size, sizeof(size));
        put_peer(&r, fd, mac, size);
        code = execute(&r);
    }
    return code < 0 ? err_set(err, code, "cannot make %s, a cable into %s: %s", name, netns,
                              strerror(-code))
                    : 0;
}

int cable_remove(const char *name, struct err *err)
{
    struct request r;
    int code;

    begin(&r, RTM_DELLINK, 0);
    put_text(&r, IFLA_IFNAME, name);
    code = execute(&r);
    return code < 0 && code != -ENODEV
               ? err_set(err, code, "cannot remove %s: %s", name, strerror(-code))
               : 0;
}

#include "agent/guest/vm_dhcp_linux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clean.h"
#include "netfabric/flows.h"

enum { GUEST_MTU = 1500, AT_ONCE = 8 };

/* UDP over IPv4 to the server's port, no later fragment: all else stays in the kernel. */
static struct sock_filter questions[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 8),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 6),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
    BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14),
    BPF_STMT(BPF_LD | BPF_H | BPF_IND, 16),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DHCP_SERVER_PORT, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, DHCP_FRAME_MAX),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

static int listen_at(const char *tap)
{
    const struct sock_fprog filter = {.len = sizeof(questions) / sizeof(questions[0]),
                                      .filter = questions};
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_IP),
                                  .sll_ifindex = (int)if_nametoindex(tap)};
    cleanup_close int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0 || address.sll_ifindex == 0 ||
        setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return steal_fd(&fd);
}

int vm_dhcp_open(struct vm_dhcp *d, const struct guest_run *run, struct err *err)
{
    char tap[PORT_NAME_SIZE];

    *d = (struct vm_dhcp){.fd = -1};
    if (run->vni == 0)
        return 0;
    d->lease = (struct dhcp_lease){.ip = run->ip,
                                   .prefix = run->prefix,
                                   .server = (run->ip & UINT32_MAX << (32 - run->prefix)) + 1,
                                   .mtu = GUEST_MTU,
                                   .host_name = run->spec.name};
    mac_of_guest(run->ip, d->lease.mac);
    port_name(run->port, tap);
    d->fd = listen_at(tap);
    if (d->fd >= 0)
        return 0;
    err_set(err, d->fd, "cannot listen at %s: %s", tap, strerror(-d->fd));
    d->fd = -1;
    return err->code;
}

void vm_dhcp_poll(const struct vm_dhcp *d, struct pollfd *ret)
{
    *ret = (struct pollfd){.fd = d->fd, .events = POLLIN};
}

/* A machine that asks too often is heard again later. A port that is down is no error to last. */
void vm_dhcp_serve(struct vm_dhcp *d, const struct pollfd *fd)
{
    uint8_t frame[DHCP_FRAME_MAX], answer[DHCP_ANSWER_MAX];

    for (int i = 0; fd->revents != 0 && i < AT_ONCE; i++) {
        ssize_t n = recv(d->fd, frame, sizeof(frame), 0);
        size_t size = n <= 0 ? 0 : dhcp_answer(&d->lease, frame, (size_t)n, answer);

        if (n < 0)
            return;
        if (size > 0)
            (void)!send(d->fd, answer, size, 0);
    }
}

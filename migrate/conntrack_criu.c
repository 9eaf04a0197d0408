/* conntrack_criu: part of the library that is preloaded into `criu dump` (with sockopt_criu.c).
 *
 * CRIU writes down what the kernel tracks of a network namespace's connections, also of one that is
 * external to the dump (dump_net_ns in its criu/net.c, 4.2). For that the kernel walks a table that
 * all namespaces share: 262144 buckets are 15 to 120 ms on the tests' machine, of a small guest's
 * standing still the largest part. A cell's namespace has no such entries: only rules make them, and
 * without CAP_NET_ADMIN it has none. So the question gets its answer here: a socket that takes any
 * words and has nothing to say.
 */
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The other end stays open, until the process that asks (CRIU forks one for it) ends. */
static int silent_socket(void)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    shutdown(pair[1], SHUT_WR);
    return pair[0];
}

__attribute__((visibility("default"))) int socket(int domain, int type, int protocol)
{
    if (domain == AF_NETLINK && protocol == NETLINK_NETFILTER)
        return silent_socket();
    return (int)syscall(SYS_socket, domain, type, protocol);
}

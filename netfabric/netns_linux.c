/* netns_linux: see the header. What happens inside a namespace happens in a child process, which
 * makes system calls only: the caller's threads never leave their own namespace.
 */
#include "netfabric/netns_linux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/ethtool.h>
#include <linux/magic.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clean.h"

/* ---- ioctls on a socket, which stands for the namespace that it was made in */

static int control_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

static struct ifreq request_for(const char *name)
{
    struct ifreq request = {0};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    return request;
}

static int set_flags(int fd, const char *name, bool is_up)
{
    struct ifreq request = request_for(name);

    if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return -errno;
    if (((request.ifr_flags & IFF_UP) != 0) == is_up)
        return 0;
    request.ifr_flags = (short)(is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int set_inet(int fd, const char *name, unsigned long what, uint32_t value)
{
    struct ifreq request = request_for(name);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(value)};

    memcpy(&request.ifr_addr, &address, sizeof(address));
    return ioctl(fd, what, &request) < 0 ? -errno : 0;
}

static int set_address(int fd, const char *name, uint32_t ip, uint8_t prefix)
{
    int code = set_inet(fd, name, SIOCSIFADDR, ip);

    return code < 0 ? code : set_inet(fd, name, SIOCSIFNETMASK, UINT32_MAX << (32 - prefix));
}

/* A user-space switch must see whole packets with checksums, or TCP hangs. */
static void disable_offloads(int fd, const char *name)
{
    static const uint32_t offloads[] = {ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO};

    for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++) {
        struct ethtool_value value = {.cmd = offloads[i]};
        struct ifreq request = request_for(name);

        request.ifr_data = (char *)&value;
        ioctl(fd, SIOCETHTOOL, &request); /* one that it has not got is off */
    }
}

static void write_file(const char *path, const char *text)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd >= 0 && write(fd, text, strlen(text)) < 0)
        return; /* no IPv6 in this kernel: nothing to disable */
}

void interface_disable_ipv6(const char *name)
{
    char path[96];

    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    write_file(path, "1");
}

/* Also called where a system call filter leaves Unix sockets only: for flags any socket will do. */
int interface_set_up(const char *name, bool is_up, struct err *err)
{
    cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int code = fd < 0 ? -errno : set_flags(fd, name, is_up);

    if (code < 0)
        return err_set(err, code, "cannot set %s %s: %s", name, is_up ? "up" : "down",
                       strerror(-code));
    return 0;
}

int interface_set_address(const char *name, uint32_t ip, uint8_t prefix, int mtu, struct err *err)
{
    cleanup_close int fd = control_socket();
    struct ifreq request = request_for(name);
    int code = fd < 0 ? fd : set_address(fd, name, ip, prefix);

    request.ifr_mtu = mtu;
    if (code == 0 && ioctl(fd, SIOCSIFMTU, &request) < 0)
        code = -errno;
    if (code == 0)
        code = set_flags(fd, name, true);
    if (code < 0)
        return err_set(err, code, "cannot give %s its address: %s", name, strerror(-code));
    return 0;
}

/* ---- named namespaces */

static bool is_namespace(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

/* Runs `work` in a child; its result, 0 or a negative errno, is the child's exit code. */
static int in_child(int (*work)(const char *path, const void *argument), const char *path,
                    const void *argument)
{
    pid_t pid = fork();
    int status;

    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(-work(path, argument) & 255);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static int unshare_and_bind(const char *path, const void *unused)
{
    (void)unused;
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    return mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

static void make_parents(const char *path)
{
    char directory[128];

    snprintf(directory, sizeof(directory), "%s", path);
    for (char *slash = strchr(directory + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(directory, 0755);
        *slash = '/';
    }
}

int netns_make(const char *path, struct err *err)
{
    cleanup_close int fd = -1;
    int code;

    if (is_namespace(path))
        return 0;
    make_parents(path);
    fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0444);
    code = fd < 0 ? -errno : in_child(unshare_and_bind, path, NULL);
    if (code < 0)
        return err_set(err, code, "cannot make the network namespace %s: %s", path,
                       strerror(-code));
    return 0;
}

int netns_remove(const char *path, struct err *err)
{
    while (is_namespace(path))
        if (umount2(path, MNT_DETACH) < 0)
            return err_set(err, -errno, "cannot unbind %s: %s", path, strerror(errno));
    if (unlink(path) < 0 && errno != ENOENT)
        return err_set(err, -errno, "cannot remove %s: %s", path, strerror(errno));
    return 0;
}

static int enter(const char *path)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

/* The index of a cable's other end, where that is, as RTM_GETLINK says it; 0 when there is none. */
static int link_of(const char *name)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } request = {.header = {.nlmsg_len = sizeof(request),
                            .nlmsg_type = RTM_GETLINK,
                            .nlmsg_flags = NLM_F_REQUEST},
                 .link = {.ifi_index = (int)if_nametoindex(name)}};
    union {
        struct nlmsghdr header;
        char bytes[8192];
    } reply;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), index = 0;
    ssize_t size = -1;
    struct rtattr *attribute;

    if (fd >= 0 && send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request))
        size = recv(fd, &reply, sizeof(reply), 0);
    if (fd >= 0)
        close(fd);
    if (size <= 0 || !NLMSG_OK(&reply.header, (size_t)size) ||
        reply.header.nlmsg_type != RTM_NEWLINK)
        return 0;
    size = (ssize_t)IFLA_PAYLOAD(&reply.header);
    attribute = IFLA_RTA(NLMSG_DATA(&reply.header));
    for (; RTA_OK(attribute, size); attribute = RTA_NEXT(attribute, size))
        if (attribute->rta_type == IFLA_LINK)
            memcpy(&index, RTA_DATA(attribute), sizeof(index));
    return index;
}

struct expectation {
    const uint8_t *mac; /* or NULL */
    int peer;           /* index in the host's namespace */
};

static int check_inside(const char *path, const void *argument)
{
    const struct expectation *expected = argument;
    struct ifreq request = request_for("eth0");
    int fd;

    if (enter(path) < 0 || link_of("eth0") != expected->peer)
        return -ENODEV;
    fd = control_socket();
    if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
        return -ENODEV;
    if (expected->mac != NULL && memcmp(request.ifr_hwaddr.sa_data, expected->mac, MAC_SIZE) != 0)
        return -ENODEV;
    return 0;
}

bool netns_holds(const char *path, const struct netns_interface *interface, const char *peer)
{
    struct expectation expected = {.mac = interface == NULL ? NULL : interface->mac,
                                   .peer = (int)if_nametoindex(peer)};

    return expected.peer != 0 && is_namespace(path) && in_child(check_inside, path, &expected) == 0;
}

/* ARP is answered by the node's own switch, at once or, while the port is down or the switch
 * restarts, not at all. So ask again soon (the default second would be added to every blackout),
 * and give up after as long as ever. */
static void ask_again_soon(void)
{
    static const char *const settings[][2] = {
        {"/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms", "20"},
        {"/proc/sys/net/ipv4/neigh/eth0/mcast_solicit", "150"},
        {"/proc/sys/net/ipv4/neigh/eth0/ucast_solicit", "150"},
    };

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        write_file(settings[i][0], settings[i][1]);
}

static int configure_inside(const char *path, const void *argument)
{
    const struct netns_interface *interface = argument;
    int code = enter(path), fd = code < 0 ? code : control_socket();

    if (fd < 0)
        return fd;
    interface_disable_ipv6("all");
    interface_disable_ipv6("default");
    ask_again_soon();
    disable_offloads(fd, "eth0");
    code = set_flags(fd, "lo", true);
    if (code == 0)
        code = set_address(fd, "eth0", interface->ip, interface->prefix);
    return code < 0 ? code : set_flags(fd, "eth0", true);
}

int netns_configure(const char *path, const struct netns_interface *interface, struct err *err)
{
    int code = in_child(configure_inside, path, interface);

    if (code < 0)
        return err_set(err, code, "cannot configure eth0 in %s: %s", path, strerror(-code));
    return 0;
}

bool interface_count(const char *name, uint64_t *ret_in, uint64_t *ret_out)
{
    FILE *f = fopen("/proc/self/net/dev", "re");
    char line[512], word[IFNAMSIZ + 1];
    uint64_t in, out;
    bool found = false;

    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
        found = sscanf(line, " %16[^:]: %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, word,
                       &in, &out) == 3 &&
                strcmp(word, name) == 0;
    if (f != NULL)
        fclose(f);
    if (found) {
        *ret_in = in;
        *ret_out = out;
    }
    return found;
}

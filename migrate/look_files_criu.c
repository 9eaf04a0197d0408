/* What the processes of a cell hold: descriptors, sockets, mappings; see look_criu.h. The lists
 * follow what CRIU 4.1 dumps. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clean.h"
#include "migrate/look_criu.h"
#include "migrate/proc_criu.h"

/* A descriptor as it is looked at. */
struct held {
    pid_t pid;
    int number;
    char who[64];
    char link[256];
    struct stat status;
};

/* ---- sockets */

static void remember(struct look_sockets *sockets, ino_t inode)
{
    if (sockets->n == sockets->capacity) {
        size_t capacity = sockets->capacity == 0 ? 64 : 2 * sockets->capacity;
        ino_t *inodes = realloc(sockets->inodes, capacity * sizeof(*inodes));

        if (inodes == NULL)
            return;
        sockets->inodes = inodes;
        sockets->capacity = capacity;
    }
    sockets->inodes[sockets->n++] = inode;
}

static bool is_held(const struct look_sockets *sockets, ino_t inode)
{
    for (size_t i = 0; i < sockets->n; i++) {
        if (sockets->inodes[i] == inode)
            return true;
    }
    return false;
}

static int take_copy(const struct held *held)
{
    cleanup_close int process = (int)syscall(SYS_pidfd_open, held->pid, 0);

    return process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, held->number, 0);
}

static bool inet_moves(int protocol)
{
    return protocol == IPPROTO_IP || protocol == IPPROTO_TCP || protocol == IPPROTO_UDP ||
           protocol == IPPROTO_UDPLITE;
}

static bool socket_moves(int domain, int type, int protocol)
{
    switch (domain) {
    case AF_UNIX:
    case AF_NETLINK:
    case AF_PACKET:
        return true;
    case AF_INET:
    case AF_INET6:
        return type == SOCK_RAW || inet_moves(protocol);
    default:
        return false;
    }
}

static const char *socket_name(int domain, int type, int protocol, char *ret, size_t size)
{
    bool is_inet = domain == AF_INET || domain == AF_INET6;

    if (is_inet && protocol == IPPROTO_SCTP)
        return "SCTP";
    if (is_inet && protocol == IPPROTO_MPTCP)
        return "MPTCP";
    if (is_inet && (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6))
        return "ICMP (ping)";
    snprintf(ret, size, "kind %d/%d/%d (family, type, protocol)", domain, type, protocol);
    return ret;
}

static void look_at_socket(const struct held *held, struct look_sockets *sockets, struct look *look)
{
    cleanup_close int fd = take_copy(held);
    int domain = 0, type = 0, protocol = 0;
    socklen_t size = sizeof(int);
    char name[64];

    remember(sockets, held->status.st_ino);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0)
        return; /* closed meanwhile */
    if (!socket_moves(domain, type, protocol))
        look_add(look, "socket", true, "%s has a socket (descriptor %d) of %s", held->who,
                 held->number, socket_name(domain, type, protocol, name, sizeof(name)));
}

/* ---- other descriptors */

static bool is_terminal(dev_t device)
{
    unsigned int kind = major(device);

    return (kind == 5 && minor(device) != 1) || (kind >= 136 && kind <= 143);
}

static void look_at_device(const struct held *held, struct look *look)
{
    enum { MEMORY_DEVICES = 1 }; /* null, zero, random, … */
    dev_t device = held->status.st_rdev;

    if (S_ISCHR(held->status.st_mode) && (major(device) == MEMORY_DEVICES || is_terminal(device)))
        return;
    look_add(look, "device", true, "%s has the device %.80s open (descriptor %d)", held->who,
             held->link, held->number);
}

/* True: it watches something on the file system that is the guest's root. That is an overlay, which
 * opens nothing by its handle: CRIU cannot tell what is watched. */
static bool watches_root(const struct held *held)
{
    enum { KERNEL_MINOR_BITS = 20 };
    char path[64], line[512];
    unsigned int device;
    struct stat root;
    bool does = false;
    FILE *info;

    snprintf(path, sizeof(path), "/proc/%d/root/", held->pid);
    if (stat(path, &root) < 0)
        return false; /* ended meanwhile */
    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", held->pid, held->number);
    info = fopen(path, "re");
    while (!does && info != NULL && fgets(line, sizeof(line), info) != NULL) {
        const char *at = strstr(line, " sdev:");

        does = at != NULL && sscanf(at, " sdev:%x", &device) == 1 &&
               device == (major(root.st_dev) << KERNEL_MINOR_BITS | minor(root.st_dev));
    }
    if (info != NULL)
        fclose(info);
    return does;
}

static void look_at_anonymous(const struct held *held, struct look *look)
{
    static const char *const known[] = {"[eventfd]",  "[eventpoll]", "inotify", "[fanotify]",
                                        "[signalfd]", "[timerfd]",   "[pidfd]", "bpf-map"};
    static const struct {
        const char *name, *code;
    } named[] = {{"[io_uring]", "io-uring"}, {"bpf", "bpf"}};
    const char *name = held->link + strlen("anon_inode:");
    const char *code = "descriptor";

    if (strstr(name, "notify") != NULL && watches_root(held))
        look_add(look, "watch", true,
                 "%s watches files of its root with %.80s (descriptor %d); on /dev/shm it could",
                 held->who, name, held->number);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i]) == 0)
            return;
    }
    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        if (strncmp(name, named[i].name, strlen(named[i].name)) == 0)
            code = named[i].code;
    }
    look_add(look, code, true, "%s has %.80s open (descriptor %d)", held->who, name, held->number);
}

/* The name that it was opened by is gone, another one is not: the image has no way to it. */
static bool has_lost_its_name(const struct held *held)
{
    static const char gone[] = " (deleted)";
    size_t size = strlen(held->link);

    return S_ISREG(held->status.st_mode) && held->status.st_nlink > 0 && size >= sizeof(gone) &&
           strcmp(held->link + size - strlen(gone), gone) == 0;
}

/* What looks like a file and is none that CRIU knows. */
static void look_at_file(const struct held *held, const char *path, struct look *look)
{
    enum { MESSAGE_QUEUE = 0x19800202, SECRET_MEMORY = 0x5345434d }; /* file system's magic */
    struct statfs place;

    if (statfs(path, &place) < 0)
        return;
    if (place.f_type == MESSAGE_QUEUE)
        look_add(look, "message-queue", true, "%s has a POSIX message queue open (descriptor %d)",
                 held->who, held->number);
    else if (place.f_type == SECRET_MEMORY)
        look_add(look, "secret-memory", true, "%s has secret memory (descriptor %d)", held->who,
                 held->number);
    else if (has_lost_its_name(held))
        look_add(look, "deleted-link", true,
                 "%s has %.80s open (descriptor %d), which has another name yet", held->who,
                 held->link, held->number);
}

static void look_at_descriptor(struct held *held, struct look_sockets *sockets, struct look *look)
{
    char path[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", held->pid, held->number);
    n = readlink(path, held->link, sizeof(held->link) - 1);
    if (n < 0 || stat(path, &held->status) < 0)
        return; /* closed meanwhile */
    held->link[n] = '\0';
    if (S_ISSOCK(held->status.st_mode) && strncmp(held->link, "socket:", 7) == 0)
        look_at_socket(held, sockets, look);
    else if (S_ISCHR(held->status.st_mode) || S_ISBLK(held->status.st_mode))
        look_at_device(held, look);
    else if (strncmp(held->link, "anon_inode:", 11) == 0)
        look_at_anonymous(held, look);
    else
        look_at_file(held, path, look);
}

/* ---- mappings: a device's memory stays where the device is */

static void look_at_mappings(const char *who, pid_t pid, struct look *look)
{
    char path[64], line[512], file[256];
    FILE *maps;

    snprintf(path, sizeof(path), "/proc/%d/maps", pid);
    maps = fopen(path, "re");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%*s %*s %*s %*s %*s %255s", file) == 1 &&
            strncmp(file, "/dev/", 5) == 0 && strncmp(file, "/dev/shm/", 9) != 0 &&
            strcmp(file, "/dev/zero") != 0)
            look_add(look, "device", true, "%s has the device %.80s mapped", who, file);
    }
    if (maps != NULL)
        fclose(maps);
}

void look_at_files(pid_t pid, struct look_sockets *sockets, struct look *look)
{
    struct held held = {.pid = pid};
    struct dirent *entry;
    char path[64], name[32];
    DIR *fds;

    proc_name(pid, name);
    snprintf(held.who, sizeof(held.who), "process %llu (%s)", proc_number(pid, "status", "NSpid"),
             name);
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    fds = opendir(path);
    while (fds != NULL && (entry = readdir(fds)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        held.number = atoi(entry->d_name);
        look_at_descriptor(&held, sockets, look);
    }
    if (fds != NULL)
        closedir(fds);
    look_at_mappings(held.who, pid, look);
}

/* ---- Unix sockets: both ends have to move */

/* Of the guest's network namespace; -1: not to be had. */
static int open_diag(const char *netns)
{
    cleanup_close int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    cleanup_close int theirs = open(netns, O_RDONLY | O_CLOEXEC);
    int fd = -1;

    if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) < 0)
        return -1;
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (setns(own, CLONE_NEWNET) < 0)
        _exit(1); /* in the guest's network: nothing of this process may go on there */
    return fd;
}

static bool ask_diag(int fd)
{
    struct {
        struct nlmsghdr header;
        struct unix_diag_req body;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = AF_UNIX, .udiag_states = ~0U, .udiag_show = UDIAG_SHOW_PEER},
    };

    return send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request);
}

/* The inode of the other end; 0: none. */
static uint32_t peer_of(const struct nlmsghdr *header)
{
    const struct unix_diag_msg *message = NLMSG_DATA(header);
    size_t left = header->nlmsg_len - NLMSG_LENGTH(sizeof(*message));
    const struct nlattr *attribute = (const void *)(message + 1);
    uint32_t peer = 0;

    while (left >= sizeof(*attribute) && attribute->nla_len >= sizeof(*attribute) &&
           attribute->nla_len <= left) {
        size_t step = NLMSG_ALIGN(attribute->nla_len);

        if (attribute->nla_type == UNIX_DIAG_PEER &&
            attribute->nla_len >= NLA_HDRLEN + sizeof(peer))
            memcpy(&peer, (const char *)attribute + NLA_HDRLEN, sizeof(peer));
        if (step >= left)
            break;
        left -= step;
        attribute = (const void *)((const char *)attribute + step);
    }
    return peer;
}

/* False: that was the last. */
static bool take_answer(const struct nlmsghdr *header, const struct look_sockets *sockets,
                        struct look *look)
{
    const struct unix_diag_msg *message = NLMSG_DATA(header);
    uint32_t peer;

    if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        header->nlmsg_len < NLMSG_LENGTH(sizeof(*message)))
        return false;
    peer = peer_of(header);
    if (peer != 0 && is_held(sockets, message->udiag_ino) && !is_held(sockets, peer))
        look_add(look, "external-unix", true,
                 "a Unix socket of it (inode %u) leads to a process outside", message->udiag_ino);
    return true;
}

void look_at_unix(const struct mover_guest *guest, const struct look_sockets *sockets,
                  struct look *look)
{
    cleanup_close int fd = open_diag(guest->netns);
    _Alignas(struct nlmsghdr) char buffer[16384];
    bool goes_on = fd >= 0 && ask_diag(fd);

    while (goes_on) {
        ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
        const struct nlmsghdr *header = (const void *)buffer;

        goes_on = n > 0;
        for (; goes_on && NLMSG_OK(header, n); header = NLMSG_NEXT(header, n))
            goes_on = take_answer(header, sockets, look);
    }
}

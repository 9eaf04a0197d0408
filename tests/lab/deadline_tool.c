/* deadline-tool: drives the deadline filter by hand, a process a step:
 *
 *   deadline-tool set MS | never       MS from now; a negative one is over already
 *   deadline-tool left                 prints the milliseconds left, or "never"
 *   deadline-tool port IF | gone IF    filters a port; forgets it
 *   deadline-tool uplink IF | uplink-tc IF     the second as on a kernel without TCX
 *   deadline-tool exempt VNI IP on|off
 *   deadline-tool try HEX              prints what the uplink's program does with the frame
 *   deadline-tool count IF | vxlan IF  "ready", then how many frames (of VXLAN) came in on IF
 *                                      until the input ended
 *
 * It counts as a user-space switch reads, by AF_PACKET.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/guard/deadline_bpf.h"
#include "agent/guard/deadline_code_bpf.h"
#include "base/limits.h"

enum { MAX_FRAME = 512, RECEIVE_BUFFER = 4 * 1024 * 1024 };

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "deadline-tool: %s%s%s\n", what, err == NULL ? "" : ": ",
            err == NULL ? "" : err->text);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void set(const struct deadline *d, const char *when)
{
    if (strcmp(when, "never") == 0)
        deadline_clear(d);
    else
        deadline_set(d, (uint64_t)(now_ns() + strtoll(when, NULL, 10) * 1000000));
}

static void print_left(const struct deadline *d)
{
    if (*d->at_ns == UINT64_MAX)
        puts("never");
    else
        printf("%lld\n", (long long)((int64_t)*d->at_ns - now_ns()) / 1000000);
}

static int exempt(const struct deadline *d, char **argv, struct err *err)
{
    uint8_t mac[MAC_SIZE];
    uint32_t ip;

    if (ipv4_parse(argv[1], &ip, err) < 0)
        return err->code;
    mac_of_guest(ip, mac);
    return deadline_exempt(d, (uint32_t)strtoul(argv[0], NULL, 10), mac, strcmp(argv[2], "on") == 0,
                           err);
}

static void try(const struct deadline *d, const char *hex)
{
    uint8_t frame[MAX_FRAME];
    union bpf_attr attr = {
        .test = {.prog_fd = (uint32_t)d->uplink_fd, .data_in = (uintptr_t)frame}};
    unsigned byte;

    for (; attr.test.data_size_in < MAX_FRAME && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        frame[attr.test.data_size_in++] = (uint8_t)byte;
    if (bpf_call(BPF_PROG_TEST_RUN, &attr) < 0)
        die("the kernel does not try it", NULL);
    puts(attr.test.retval == TC_ACT_SHOT ? "drop" : "pass");
}

static int open_reader(const char *interface)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)if_nametoindex(interface)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), size = RECEIVE_BUFFER;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("cannot read packets", NULL);
    return fd;
}

static bool is_vxlan(const uint8_t *frame)
{
    return memcmp(frame + 12, "\x08\x00\x45", 3) == 0 && frame[23] == IPPROTO_UDP &&
           (frame[36] << 8 | frame[37]) == PORT_VXLAN;
}

static void count(const char *interface, bool is_only_vxlan)
{
    int fd = open_reader(interface);
    struct sockaddr_ll from;
    socklen_t size = sizeof(from);
    uint8_t frame[MAX_FRAME] = {0};
    char byte;
    unsigned n = 0;

    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    for (; recvfrom(fd, frame, sizeof(frame), MSG_DONTWAIT, (struct sockaddr *)&from, &size) >= 0;
         size = sizeof(from))
        n += from.sll_pkttype != PACKET_OUTGOING && (!is_only_vxlan || is_vxlan(frame));
    printf("%u\n", n);
    close(fd);
}

static int run(struct deadline *d, int argc, char **argv, struct err *err)
{
    const char *verb = argv[0], *what = argc > 1 ? argv[1] : "";

    if (strcmp(verb, "set") == 0)
        set(d, what);
    else if (strcmp(verb, "left") == 0)
        print_left(d);
    else if (strcmp(verb, "try") == 0)
        try(d, what);
    else if (strcmp(verb, "count") == 0 || strcmp(verb, "vxlan") == 0)
        count(what, verb[0] == 'v');
    else if (strcmp(verb, "port") == 0)
        return deadline_attach_port(d, what, err);
    else if (strcmp(verb, "gone") == 0)
        return deadline_detach_port(d, what, err);
    else if (strcmp(verb, "exempt") == 0 && argc == 4)
        return exempt(d, argv + 1, err);
    else if (strncmp(verb, "uplink", strlen("uplink")) == 0) {
        d->is_without_tcx = strcmp(verb, "uplink-tc") == 0;
        return deadline_attach_uplink(d, what, err);
    } else
        die("unknown verb", NULL);
    return 0;
}

int main(int argc, char **argv)
{
    struct deadline d;
    struct err err = {0};

    if (argc < 2)
        die("which verb?", NULL);
    if (deadline_open(&d, DEADLINE_DIRECTORY, &err) < 0)
        die("no deadline filter", &err);
    if (run(&d, argc - 1, argv + 1, &err) < 0)
        die(argv[1], &err);
    deadline_close(&d);
    return 0;
}

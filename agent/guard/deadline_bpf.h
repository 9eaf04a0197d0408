/* deadline: packets of guests stop by themselves when the lease is over (DESIGN 6.9; shell:
 * bpf(2)).
 *
 * The guard writes the end of its lease into memory that it shares with the kernel. Two small
 * programs in the kernel drop packets once CLOCK_BOOTTIME is past it, whatever has become of the
 * guard by then: "port" everything that a guest sends, "uplink" what leaves in VXLAN.
 *
 * Where they sit, and why:
 *   port    on the host's side of the guest's cable, as an XDP program in the generic mode: the one
 *           place that the guest cannot go round (a guest may send raw packets past the qdiscs of
 *           its own side, and so past a program there), and that is ahead of AF_PACKET readers,
 *           which is how the user-space switch takes packets (tc's and TCX's ingress come behind
 *           them), and of the kernel's switch. What goes towards the guest is let through: that
 *           harms nobody.
 *   uplink  on the egress of the uplink, by TCX, or by clsact on a kernel before 6.6. Control
 *           traffic never meets the deadline. What is in the queues behind it was sent in time.
 *
 * A guest that stays when the lease is over has no program on its port, and is named to the one on
 * the uplink by its slice and MAC.
 *
 * Maps and links are pinned below `directory`: they outlive the guard, its successor finds them
 * there, and the old deadline counts meanwhile. A new map holds a deadline that is over. The
 * filters are for IPv4 underlays and live as long as the interface.
 */
#ifndef SKEIN_AGENT_GUARD_DEADLINE_BPF_H
#define SKEIN_AGENT_GUARD_DEADLINE_BPF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

#define DEADLINE_DIRECTORY "/sys/fs/bpf/skein"

enum { DEADLINE_DIRECTORY_SIZE = 64 };

/* Zeroed, it is one that is not open: every call below then does nothing and returns 0. */
struct deadline {
    volatile uint64_t *at_ns; /* shared with the kernel; NULL = not open; a child has it not */
    int deadline_fd, exempt_fd, port_fd, uplink_fd;
    bool is_without_tcx; /* as on an older kernel (tests) */
    char directory[DEADLINE_DIRECTORY_SIZE];
};

/* Needs a bpf file system at /sys/fs/bpf, and CAP_BPF and CAP_NET_ADMIN. Links that are pinned
 * there get this process's programs. On failure `d` is not open, and `err` says why. */
int deadline_open(struct deadline *d, const char *directory, struct err *err);
/* The filters stay, and count on. */
void deadline_close(struct deadline *d);

/* Packets pass until CLOCK_BOOTTIME is past `boottime_ns`. One store to memory: it cannot wait. */
void deadline_set(const struct deadline *d, uint64_t boottime_ns);
/* There is no deadline until the next deadline_set(). */
void deadline_clear(const struct deadline *d);

/* Filters what the host receives on the interface; asked twice, finds its work done. */
int deadline_attach_port(const struct deadline *d, const char *interface, struct err *err);
/* Forgets an interface that is going away, or that is a port without a deadline now. */
int deadline_detach_port(const struct deadline *d, const char *interface, struct err *err);
int deadline_attach_uplink(const struct deadline *d, const char *interface, struct err *err);
/* The uplink lets the guest with this MAC in the slice `vni` pass after the deadline, or no more.
 */
int deadline_exempt(const struct deadline *d, uint32_t vni, const uint8_t mac[MAC_SIZE],
                    bool is_exempt, struct err *err);

#endif

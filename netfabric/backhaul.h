/* backhaul: what crosses a node's uplink, by its classes (pure; backhaul_netlink.c reads it).
 *
 * Counters are the kernel's, since the interface and its queues were made; rates are over the time
 * between two readings.
 */
#ifndef SKEIN_NETFABRIC_BACKHAUL_H
#define SKEIN_NETFABRIC_BACKHAUL_H

#include "base/bytes.h"

/* The queues of qos_tc.h, in the order of their priority. */
enum backhaul_class {
    BACKHAUL_CONTROL = 0,
    BACKHAUL_SLICES,
    BACKHAUL_DEFAULT,
    BACKHAUL_BULK,
    BACKHAUL_N_CLASSES
};

/* The class's own number in the kernel, 1:10 to 1:40 (which the kernel counts in hexadecimal). */
#define BACKHAUL_MINOR(class) (((unsigned)(class) + 1) * 0x10)

struct backhaul_queue {
    uint64_t bytes, packets; /* that left */
    uint64_t drops;          /* packets for which there was no room */
    uint32_t backlog_bytes;  /* that wait now */
    uint32_t kbps;
};

struct backhaul_way {
    uint64_t bytes, packets, drops;
    uint32_t kbps;
};

/* Bulk streams that may be held back for the control class. */
struct backhaul_streams {
    uint32_t n;            /* that send now */
    uint32_t allowed_kbps; /* together */
    uint32_t delay_us;     /* of the control class above its usual; the worst of their ways */
    bool is_held;          /* for that delay, within the last second */
};

struct backhaul {
    uint32_t capacity_kbps; /* as the node's configuration says; 0 = not known */
    struct backhaul_way out, in;
    bool has_queues; /* false: none were set up, `queues` is zero */
    struct backhaul_queue queues[BACKHAUL_N_CLASSES];
    struct backhaul_streams streams; /* not the kernel's: the node adds it */
};

/* "control", "slices", "default", "bulk". */
const char *backhaul_class_name(enum backhaul_class class);
/* Fills the rates of `now`, read `us` after `before`. A counter that went back began anew. */
void backhaul_measure(struct backhaul *now, const struct backhaul *before, uint64_t us);
/* Use of the busier direction, 0 … 1000; 0 where the capacity is not known. */
uint32_t backhaul_use_permille(const struct backhaul *b);

void backhaul_encode(const struct backhaul *b, struct writer *w);
void backhaul_decode(struct reader *r, struct backhaul *ret); /* marks the reader on failure */

#endif

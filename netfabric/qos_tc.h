/* qos_tc: the queues of a node's uplink (HTB of the kernel, set up by `tc`).
 *
 * The uplink is shaped a little below its real rate, so that the queue stands here, where classes
 * have a meaning, and not in a modem or a switch:
 *
 *   control  CS6, and ARP of the underlay: beats, acks, Raft. First; half of the rate is its own
 *   slices   VXLAN: what guests send to each other
 *   default  everything unmarked
 *   bulk     CS1: migration and image streams. Last
 *
 * A guest cannot get into another class by marking its packets: VXLAN carries a mark of its own.
 */
#ifndef SKEIN_NETFABRIC_QOS_TC_H
#define SKEIN_NETFABRIC_QOS_TC_H

#include <stdint.h>

#include "base/err.h"

enum {
    QOS_DSCP_CONTROL = 0xc0, /* CS6, as ToS byte */
    QOS_DSCP_SLICES = 0x48,  /* AF21 */
    QOS_DSCP_BULK = 0x20,    /* CS1 */
};

/* Idempotent; on a second call the queues keep their packets. */
int qos_setup_uplink(const char *interface, uint32_t rate_kbps, struct err *err);

#endif

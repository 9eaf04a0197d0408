/* flows_wire: rules and meters as messages of OpenFlow 1.4 (pure codec; OpenFlow Switch
 * Specification 1.4.0, sections 7.2 and 7.3; Nicira's register move for the answer to ARP).
 *
 * Network byte order, unlike our own formats. Each function appends one whole message.
 */
#ifndef SKEIN_NETFABRIC_FLOWS_WIRE_H
#define SKEIN_NETFABRIC_FLOWS_WIRE_H

#include "base/bytes.h"
#include "netfabric/flows.h"

enum {
    OPENFLOW_VERSION = 5, /* 1.4 */
    OPENFLOW_HEADER_SIZE = 8,
    OPENFLOW_MAX_MESSAGE = 65535,
};

enum openflow_type {
    OPENFLOW_HELLO = 0,
    OPENFLOW_ERROR = 1,
    OPENFLOW_ECHO_REQUEST = 2,
    OPENFLOW_ECHO_REPLY = 3,
    OPENFLOW_FLOW_MOD = 14,
    OPENFLOW_BARRIER_REQUEST = 20,
    OPENFLOW_BARRIER_REPLY = 21,
    OPENFLOW_METER_MOD = 29,
    OPENFLOW_BUNDLE_CONTROL = 33,
    OPENFLOW_BUNDLE_ADD = 34,
};

enum openflow_bundle_step {
    OPENFLOW_BUNDLE_OPEN = 0,
    OPENFLOW_BUNDLE_OPENED = 1,
    OPENFLOW_BUNDLE_COMMIT = 4,
    OPENFLOW_BUNDLE_COMMITTED = 5,
};

/* What an OPENFLOW_ERROR says. */
enum { OPENFLOW_ERROR_METER_MOD = 12, OPENFLOW_ERROR_METER_EXISTS = 1 };

struct openflow_header {
    uint8_t version, type;
    uint16_t size; /* of the whole message */
    uint32_t xid;
};

void openflow_header_read(const uint8_t bytes[OPENFLOW_HEADER_SIZE], struct openflow_header *ret);
/* HELLO, BARRIER_REQUEST: nothing but a header. */
void openflow_plain_write(struct writer *w, enum openflow_type type, uint32_t xid);
void openflow_meter_write(struct writer *w, const struct meter *meter, bool is_new, uint32_t xid);
/* Bundles are atomic, and keep the order. */
void openflow_bundle_write(struct writer *w, enum openflow_bundle_step step, uint32_t bundle,
                           uint32_t xid);
/* In a bundle: one change, or the removal of every rule of every table. */
void openflow_change_write(struct writer *w, const struct rule_change *change, uint32_t bundle,
                           uint32_t xid);
void openflow_clear_write(struct writer *w, uint32_t bundle, uint32_t xid);

#endif

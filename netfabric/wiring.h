/* wiring: the contract between the guard and whatever switches packets (implemented over Open
 * vSwitch by wiring_ovs.c; fakes in tests). All calls block and run in the fabric executor, one at
 * a time. They are idempotent: asked twice, the second call finds its work done.
 *
 * A wiring holds the sockets to the switch, and remembers what it made the switch hold, so that a
 * change costs what it changes. Nothing depends on that memory: one that was just made does the
 * same.
 */
#ifndef SKEIN_NETFABRIC_WIRING_H
#define SKEIN_NETFABRIC_WIRING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "netfabric/flows.h"

struct wiring_config {
    char uplink[16];    /* "eth0": carries control plane and underlay; queues go here; "" = none */
    char vtep_port[16]; /* "phy0": port of br-phy with the user-space datapath; "" = kernel owns the
                           VTEP */
    char datapath[16];  /* "netdev" or "system" */
    uint32_t vtep;      /* IPv4 */
    uint8_t vtep_prefix;
    uint32_t backhaul_kbps; /* rate that the uplink is shaped to; 0 = no queues */
};

/* A guest's port, and what its other end is. */
struct wiring_port {
    char guest[NAME_SIZE];
    uint16_t port; /* OpenFlow port number */
    uint32_t ip;
    uint8_t prefix; /* of the slice's subnet */
    uint8_t mac[MAC_SIZE];
    bool is_tap; /* a virtual machine's: no namespace */
    bool is_up;  /* false: everything stands, the port is down (a migration's target) */
};

struct wiring;

/* Copies the configuration; connects to nothing yet. -ENOMEM. */
int wiring_new(const struct wiring_config *config, struct wiring **ret, struct err *err);
void wiring_free(struct wiring *wiring); /* NULL is fine */
/* Bridges, tunnel port, uplink queues (control class CS6 first, then slices, bulk last). */
int wiring_setup(struct wiring *wiring, struct err *err);
/* Makes the rules equal to the view, in one bundle. */
int wiring_apply(struct wiring *wiring, const struct fabric_view *view, struct err *err);
/* Done when the switch answers, within seconds. Changes nothing. */
int wiring_probe(struct wiring *wiring, struct err *err);
/* Makes the guest's namespace (named, /run/skein/netns/GUEST), its veth (host side "g" and the port
 * number), addresses, and the port on br-int; or a tap of that name, which the guest's emulator
 * opens. */
int wiring_plug(struct wiring *wiring, const struct wiring_port *port, struct err *err);
/* Takes the port away and the namespace with it; nothing there is no error. */
int wiring_unplug(struct wiring *wiring, const char *guest, uint16_t port, struct err *err);
/* Host side up or down; async-signal-free, one ioctl: also called by the lease thread. */
int wiring_set_up(uint16_t port, bool is_up, struct err *err);
/* Blocks until the switch that was set up dies (0; also when it is gone already, or another one
 * runs in its place) or `stop_fd` is readable (1). After a death: wiring_setup(), then
 * wiring_apply(). */
int wiring_wait_for_death(int stop_fd, struct err *err);
/* Path of the guest's network namespace. */
void wiring_netns_path(const char *guest, char *ret, unsigned long size);

#endif

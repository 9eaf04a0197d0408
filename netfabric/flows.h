/* flows: what the switch of a node shall hold, as a function of the state (pure).
 *
 * fabric_view_of() cuts the node's view out of the state; flows_of() makes the switch's rules of
 * it. The view crosses from skeind to skein-guard, which checks it.
 *
 * A view shows the slices that have a port on the node, and of those every guest; a node needs no
 * rule for a slice that it does not carry.
 */
#ifndef SKEIN_NETFABRIC_FLOWS_H
#define SKEIN_NETFABRIC_FLOWS_H

#include "base/bytes.h"
#include "base/err.h"
#include "consensus/state.h"
#include "netfabric/rule.h"

enum {
    FABRIC_MAX_ENDPOINTS = MAX_GUESTS,
    FABRIC_TUNNEL_PORT = 1000,
    FABRIC_FIRST_PORT = 2000,
    FABRIC_LAST_PORT = FABRIC_FIRST_PORT + MAX_GUESTS - 1,
    PORT_NAME_SIZE = 16,
};

/* One guest in a slice, seen from one node. */
struct endpoint {
    char guest[NAME_SIZE];
    uint32_t vni;
    uint32_t ip;
    uint32_t rate_kbps;  /* the slice's, 0 = none */
    uint32_t vtep;       /* where its traffic goes: the owner's VTEP; 0 = it has no place */
    uint32_t other_vtep; /* from where it is accepted too, while it migrates; 0 = none */
    uint16_t port;       /* OpenFlow port where this node owns or prepares it; 0 = remote */
    bool is_owner; /* traffic for it ends at `port`; else, with a port: prepared, not chosen */
    bool has_left; /* with a port: its migration away is committed; stragglers follow it */
};

struct fabric_view {
    uint64_t index; /* of the state that it shows */
    uint32_t vtep;  /* this node's own */
    uint32_t n_peers;
    uint32_t *peers; /* VTEPs of all other nodes, ascending; heap, owned */
    uint32_t n_endpoints;
    struct endpoint *endpoints; /* by guest name; heap, owned */
};

/* The OpenFlow port of a guest: the same on every node, known before it starts, unique in the
 * cluster and unchanged until the guest is removed, because the state gives each guest a slot. */
uint16_t fabric_port_of(const struct state *state, const struct guest *guest);

/* The interface of a port, on every node. */
void port_name(uint16_t port, char ret[PORT_NAME_SIZE]);

/* The view of `node` (an id). `ret` must hold nothing. 0; -ENOENT for an unknown node; -ENOMEM. */
int fabric_view_of(const struct state *state, uint64_t node, struct fabric_view *ret);
void fabric_view_deinit(struct fabric_view *view);
void fabric_view_encode(const struct fabric_view *view, struct writer *w);
/* Reads a view and checks that it is one that fabric_view_of() could have made: -EBADMSG if not,
 * -ENOMEM; `ret` is empty then. */
int fabric_view_decode(struct reader *r, struct fabric_view *ret);

/* The whole rule set of br-int; `ret` must hold nothing. 0; -ENOMEM. */
int flows_of(const struct fabric_view *view, struct rules *ret);

/* The same as text, one rule a line, as ovs-ofctl takes and shows it: for people and tests; heap,
 * the caller frees. NULL without memory. */
char *flows_render(const struct fabric_view *view);

/* One slice of a view that has a rate. Its guests on this node share one OpenFlow meter, whose id
 * is the VNI; it counts what they send into tunnels. */
struct meter {
    uint32_t vni;
    uint32_t rate_kbps;
};

/* The meters that the rules name, ascending; heap, the caller frees. 0; -ENOMEM.
 */
int meters_of(const struct fabric_view *view, struct meter **ret, uint32_t *ret_n);

#endif

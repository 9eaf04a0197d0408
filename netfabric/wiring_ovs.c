/* wiring_ovs: the wiring over Open vSwitch: bridges by its command line tool, once; rules and ports
 * over kept sockets.
 *
 *   br-int  secure; guests' ports and the tunnel port `vx`. Its rules are flows.c's, replaced as
 * one bundle. br-phy  only with the user-space datapath: holds the port to the underlay, and the
 * VTEP's address on its own interface, because that switch does not send tunnel packets through the
 * kernel. With datapath=system the kernel owns the VTEP's address, and br-phy is not made. (That
 * variant runs on no machine of the tests.)
 *
 * What a crash of ovs-vswitchd takes away: all rules, br-phy's interface with its address, and the
 * tunnel neighbours. wiring_apply() puts all of them back, since the OpenFlow connection is a new
 * one then. The ports stand in the database.
 *
 * Neighbours: openflow_ovs.c (rules), ovsdb_jansson.c (ports), cable_netlink.c, netns_linux.c,
 * qos_tc.c, switch_ovs.c (the switch as a process).
 */
#include "netfabric/wiring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clean.h"
#include "netfabric/cable_netlink.h"
#include "netfabric/netns_linux.h"
#include "netfabric/openflow_ovs.h"
#include "netfabric/ovsdb_jansson.h"
#include "netfabric/qos_tc.h"
#include "netfabric/run_posix.h"
#include "netfabric/switch_ovs.h"

enum { UNDERLAY_MTU = 1600, GUEST_MTU = 1500, NETNS_PATH_SIZE = 128, PORTS_TEXT_SIZE = 65536 };

struct wiring {
    struct wiring_config config;
    struct ovsdb db;
    struct openflow openflow;
    uint32_t n_peers;
    uint32_t *peers; /* whose neighbours the switch knows; heap */
};

int wiring_new(const struct wiring_config *config, struct wiring **ret, struct err *err)
{
    struct wiring *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return err_set(err, -ENOMEM, "no memory for the wiring");
    w->config = *config;
    ovsdb_init(&w->db);
    openflow_init(&w->openflow);
    *ret = w;
    return 0;
}

void wiring_free(struct wiring *w)
{
    if (w == NULL)
        return;
    ovsdb_deinit(&w->db);
    openflow_deinit(&w->openflow);
    free(w->peers);
    free(w);
}

void wiring_netns_path(const char *guest, char *ret, unsigned long size)
{
    snprintf(ret, size, "/run/skein/netns/%s", guest);
}

/* ---- set-up */

static bool has_vtep_bridge(const struct wiring_config *config)
{
    return config->vtep_port[0] != '\0';
}

static int make_vtep_bridge(const struct wiring_config *config, struct err *err)
{
    char hwaddr[64], mac[MAC_TEXT_SIZE], mtu[32];
    uint8_t bytes[MAC_SIZE];
    const char *const argv[] = {"ovs-vsctl",
                                "--timeout=10",
                                "--retry",
                                "--",
                                "--may-exist",
                                "add-br",
                                "br-phy",
                                "--",
                                "set",
                                "bridge",
                                "br-phy",
                                "datapath_type=netdev",
                                "fail_mode=standalone",
                                hwaddr,
                                "--",
                                "set",
                                "interface",
                                "br-phy",
                                mtu,
                                "--",
                                "--may-exist",
                                "add-port",
                                "br-phy",
                                config->vtep_port,
                                NULL};

    mac_of_vtep(config->vtep, bytes);
    snprintf(hwaddr, sizeof(hwaddr), "other-config:hwaddr=\"%s\"", mac_format(bytes, mac));
    snprintf(mtu, sizeof(mtu), "mtu_request=%d", UNDERLAY_MTU);
    return run_program(argv, NULL, NULL, 0, err);
}

static int make_integration_bridge(const struct wiring_config *config, struct err *err)
{
    char datapath[40], local_ip[48], tos[32], request[32], ip[IPV4_TEXT_SIZE];
    const char *const argv[] = {"ovs-vsctl",
                                "--timeout=10",
                                "--retry",
                                "--",
                                "--may-exist",
                                "add-br",
                                "br-int",
                                "--",
                                "set",
                                "bridge",
                                "br-int",
                                datapath,
                                "fail_mode=secure",
                                "protocols=OpenFlow10,OpenFlow13,OpenFlow14",
                                "--",
                                "--may-exist",
                                "add-port",
                                "br-int",
                                "vx",
                                "--",
                                "set",
                                "interface",
                                "vx",
                                "type=vxlan",
                                "options:key=flow",
                                "options:remote_ip=flow",
                                local_ip,
                                tos,
                                request,
                                NULL};

    snprintf(datapath, sizeof(datapath), "datapath_type=%s", config->datapath);
    snprintf(local_ip, sizeof(local_ip), "options:local_ip=%s", ipv4_format(config->vtep, ip));
    snprintf(tos, sizeof(tos), "options:tos=0x%x", QOS_DSCP_SLICES);
    snprintf(request, sizeof(request), "ofport_request=%d", FABRIC_TUNNEL_PORT);
    return run_program(argv, NULL, NULL, 0, err);
}

/* The switch's own interface comes up without an address whenever the switch starts. */
static int give_vtep_its_address(const struct wiring_config *config, struct err *err)
{
    if (!has_vtep_bridge(config))
        return 0;
    interface_disable_ipv6("br-phy");
    return interface_set_address("br-phy", config->vtep, config->vtep_prefix, UNDERLAY_MTU, err);
}

static bool is_guests(const char *port)
{
    return port[0] == 'g' && port[1] != '\0' && port[1 + strspn(port + 1, "0123456789")] == '\0';
}

/* The database outlives a boot, guests' cables and taps do not: ports without one go. */
static int drop_dead_ports(struct wiring *w, struct err *err)
{
    static const char *const list[] = {"ovs-vsctl", "--timeout=10", "list-ports", "br-int", NULL};
    cleanup_free char *names = malloc(PORTS_TEXT_SIZE);
    char path[64], *rest = NULL;
    int code;

    if (names == NULL)
        return err_set(err, -ENOMEM, "no memory for the switch's ports");
    code = run_program(list, NULL, names, PORTS_TEXT_SIZE, err);
    for (char *name = code < 0 ? NULL : strtok_r(names, "\n", &rest); code == 0 && name != NULL;
         name = strtok_r(NULL, "\n", &rest)) {
        snprintf(path, sizeof(path), "/sys/class/net/%s", name);
        if (is_guests(name) && access(path, F_OK) < 0)
            code = ovsdb_remove_port(&w->db, name, err);
    }
    return code;
}

int wiring_setup(struct wiring *w, struct err *err)
{
    const struct wiring_config *config = &w->config;
    int code = 0;

    openflow_deinit(&w->openflow);
    if (config->uplink[0] != '\0' && config->backhaul_kbps != 0)
        code = qos_setup_uplink(config->uplink, config->backhaul_kbps, err);
    if (code == 0 && has_vtep_bridge(config)) {
        code = make_vtep_bridge(config, err);
        if (code == 0)
            code = interface_set_up(config->vtep_port, true, err);
    }
    if (code == 0)
        code = make_integration_bridge(config, err);
    if (code == 0)
        code = drop_dead_ports(w, err);
    if (code == 0)
        code = give_vtep_its_address(config, err);
    return code < 0 ? code : switch_remember(err);
}

/* ---- rules */

static bool knows_peers(const struct wiring *w, const struct fabric_view *view)
{
    return w->peers != NULL && w->n_peers == view->n_peers &&
           (view->n_peers == 0 ||
            memcmp(w->peers, view->peers, view->n_peers * sizeof(*view->peers)) == 0);
}

static int remember_peers(struct wiring *w, const struct fabric_view *view, struct err *err)
{
    uint32_t *peers = malloc((view->n_peers + 1) * sizeof(*peers));

    if (peers == NULL)
        return err_set(err, -ENOMEM, "no memory for the neighbours");
    if (view->n_peers > 0)
        memcpy(peers, view->peers, view->n_peers * sizeof(*peers));
    free(w->peers);
    w->peers = peers;
    w->n_peers = view->n_peers;
    return 0;
}

/* What the switch loses with its process and does not keep as rules. */
static int apply_tunnels(struct wiring *w, const struct fabric_view *view, bool is_new,
                         struct err *err)
{
    int code = 0;

    if (is_new)
        code = give_vtep_its_address(&w->config, err);
    if (code < 0 || !has_vtep_bridge(&w->config) || (!is_new && knows_peers(w, view)))
        return code;
    code = switch_set_neighbours(view->peers, view->n_peers, err);
    return code < 0 ? code : remember_peers(w, view, err);
}

static int apply_rules(struct wiring *w, const struct fabric_view *view, struct err *err)
{
    cleanup_free struct meter *meters = NULL;
    struct rules rules = {0};
    uint32_t n_meters = 0;
    int code = meters_of(view, &meters, &n_meters);

    if (code == 0)
        code = flows_of(view, &rules);
    if (code == 0)
        code = rules_sort(&rules);
    if (code < 0) {
        rules_deinit(&rules);
        return err_set(err, code, "no memory for the rules");
    }
    return openflow_apply(&w->openflow, meters, n_meters, &rules, err);
}

int wiring_apply(struct wiring *w, const struct fabric_view *view, struct err *err)
{
    bool is_new;
    int code = openflow_connect(&w->openflow, &is_new, err);

    if (code == 0)
        code = apply_tunnels(w, view, is_new, err);
    if (code == 0)
        code = apply_rules(w, view, err);
    if (code < 0)
        openflow_deinit(&w->openflow); /* all of it again next time */
    return code;
}

int wiring_probe(struct wiring *w, struct err *err)
{
    bool is_new;
    int code = openflow_connect(&w->openflow, &is_new, err);

    if (code == 0)
        code = openflow_probe(&w->openflow, err);
    if (is_new) /* wiring_apply() must know that it begins with nothing */
        openflow_deinit(&w->openflow);
    return code;
}

/* ---- guests' ports */

/* Namespace and cable, new unless both stand as they should. */
static int make_namespace(const struct wiring_port *port, const char *name, const char *path,
                          struct err *err)
{
    struct netns_interface interface = {.ip = port->ip, .prefix = port->prefix};
    int code = 0;

    memcpy(interface.mac, port->mac, MAC_SIZE);
    if (!netns_holds(path, &interface, name)) {
        code = cable_remove(name, err);
        if (code == 0)
            code = netns_remove(path, err);
        if (code == 0)
            code = netns_make(path, err);
        if (code == 0)
            code = cable_make(name, path, port->mac, GUEST_MTU, err);
        if (code == 0)
            interface_disable_ipv6(name);
    }
    return code < 0 ? code : netns_configure(path, &interface, err);
}

/* A tap bears its guest's name as its alias. */
static bool is_tap_of(const char *name, const char *guest)
{
    char path[64], alias[NAME_SIZE + 1] = "";
    FILE *f;

    snprintf(path, sizeof(path), "/sys/class/net/%s/tun_flags", name);
    if (access(path, F_OK) < 0)
        return false;
    snprintf(path, sizeof(path), "/sys/class/net/%s/ifalias", name);
    f = fopen(path, "re");
    if (f != NULL && fgets(alias, sizeof(alias), f) != NULL)
        alias[strcspn(alias, "\n")] = '\0';
    if (f != NULL)
        fclose(f);
    return strcmp(alias, guest) == 0;
}

static int make_tap(const struct wiring_port *port, const char *name, struct err *err)
{
    char mtu[8];
    const char *const add[] = {"ip", "tuntap", "add", "dev", name, "mode", "tap", NULL};
    const char *const set[] = {"ip", "link", "set", name, "alias", port->guest, "mtu", mtu, NULL};
    int code;

    if (is_tap_of(name, port->guest))
        return 0;
    snprintf(mtu, sizeof(mtu), "%d", GUEST_MTU);
    code = cable_remove(name, err);
    if (code == 0)
        code = run_program(add, NULL, NULL, 0, err);
    if (code == 0)
        code = run_program(set, NULL, NULL, 0, err);
    if (code == 0)
        interface_disable_ipv6(name);
    return code;
}

int wiring_plug(struct wiring *w, const struct wiring_port *port, struct err *err)
{
    char name[PORT_NAME_SIZE], path[NETNS_PATH_SIZE];
    int code;

    port_name(port->port, name);
    wiring_netns_path(port->guest, path, sizeof(path));
    code = port->is_tap ? make_tap(port, name, err) : make_namespace(port, name, path, err);
    if (code == 0)
        code = ovsdb_add_port(&w->db, name, port->port, err);
    if (code == 0)
        code = interface_set_up(name, port->is_up, err);
    return code < 0 ? err_prefix(err, "port of %s", port->guest) : 0;
}

/* A port number is used again once its guest is removed: the port is taken away only while it is
 * the far end of this guest's cable, or its tap. */
int wiring_unplug(struct wiring *w, const char *guest, uint16_t port, struct err *err)
{
    char name[PORT_NAME_SIZE], path[NETNS_PATH_SIZE];
    int code = 0, rc;

    port_name(port, name);
    wiring_netns_path(guest, path, sizeof(path));
    if (netns_holds(path, NULL, name) || is_tap_of(name, guest)) {
        code = ovsdb_remove_port(&w->db, name, err);
        rc = cable_remove(name, code < 0 ? NULL : err); /* also when the switch hangs */
        code = code < 0 ? code : rc;
    }
    rc = netns_remove(path, code < 0 ? NULL : err);
    code = code < 0 ? code : rc;
    return code < 0 ? err_prefix(err, "port of %s", guest) : 0;
}

int wiring_set_up(uint16_t port, bool is_up, struct err *err)
{
    char name[PORT_NAME_SIZE];

    port_name(port, name);
    return interface_set_up(name, is_up, err);
}

int wiring_wait_for_death(int stop_fd, struct err *err)
{
    return switch_wait_for_death(stop_fd, err);
}

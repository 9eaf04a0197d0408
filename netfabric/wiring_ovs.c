/* wiring_ovs: the wiring over Open vSwitch, driven by its command line tools.
 *
 *   br-int  secure; guests' ports and the tunnel port `vx`. Its rules are flows.c's, replaced as
 * one bundle. br-phy  only with the user-space datapath: holds the port to the underlay, and the
 * VTEP's address on its own interface, because that switch does not send tunnel packets through the
 * kernel. With datapath=system the kernel owns the VTEP's address, and br-phy is not made. (That
 * variant runs on no machine of the tests.)
 *
 * What a crash of ovs-vswitchd takes away: all rules, br-phy's interface with its address, and the
 * tunnel neighbours. wiring_apply() puts all of them back. The ports stand in the database.
 *
 * Neighbours: netns_linux.c, qos_tc.c, switch_ovs.c (the switch as a process).
 */
#include "netfabric/wiring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clean.h"
#include "netfabric/netns_linux.h"
#include "netfabric/qos_tc.h"
#include "netfabric/run_posix.h"
#include "netfabric/switch_ovs.h"

enum { UNDERLAY_MTU = 1600, GUEST_MTU = 1500, NETNS_PATH_SIZE = 128, PORT_NAME_SIZE = 16 };

static void port_name(uint16_t port, char ret[PORT_NAME_SIZE])
{
    snprintf(ret, PORT_NAME_SIZE, "g%u", port);
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

int wiring_setup(const struct wiring_config *config, struct err *err)
{
    int code = 0;

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
        code = give_vtep_its_address(config, err);
    return code < 0 ? code : switch_remember(err);
}

/* ---- rules */

/* The rate of meter `vni` in what `ovs-ofctl dump-meters` printed; 0 = there is none. */
static uint32_t present_rate(const char *dump, uint32_t vni)
{
    char key[24];
    const char *at, *rate;

    snprintf(key, sizeof(key), "meter=%u ", vni);
    at = strstr(dump, key);
    rate = at == NULL ? NULL : strstr(at, "rate=");
    return rate == NULL ? 0 : (uint32_t)strtoul(rate + strlen("rate="), NULL, 10);
}

static int set_meter(const struct meter *meter, bool is_new, struct err *err)
{
    char text[96];
    const char *const argv[] = {"ovs-ofctl", "-O", "OpenFlow14", is_new ? "add-meter" : "mod-meter",
                                "br-int",    text, NULL};

    /* A bucket of 250 ms at the rate lets TCP have nearly all of it (of 100 ms: half). Ten full
     * frames are the least. */
    snprintf(text, sizeof(text), "meter=%u,kbps,burst,stats,bands=type=drop,rate=%u,burst_size=%u",
             meter->vni, meter->rate_kbps, meter->rate_kbps / 4 < 120 ? 120 : meter->rate_kbps / 4);
    return run_program(argv, NULL, NULL, 0, err);
}

/* Meters are not part of a bundle: they are made before the rules that name them. One that no rule
 * names any more does nothing, and stays until the switch restarts. */
static int apply_meters(const struct fabric_view *view, struct err *err)
{
    static const size_t dump_size = 1024 * 1024;
    const char *const argv[] = {"ovs-ofctl", "-O", "OpenFlow14", "dump-meters", "br-int", NULL};
    cleanup_free struct meter *meters = NULL;
    cleanup_free char *dump = NULL;
    uint32_t n;
    int code = meters_of(view, &meters, &n);

    if (code < 0)
        return err_set(err, code, "no memory for the meters");
    if (n == 0)
        return 0;
    dump = malloc(dump_size);
    if (dump == NULL)
        return err_set(err, -ENOMEM, "no memory for the meters");
    code = run_program(argv, NULL, dump, dump_size, err);
    for (uint32_t i = 0; code == 0 && i < n; i++) {
        uint32_t present = present_rate(dump, meters[i].vni);

        if (present != meters[i].rate_kbps)
            code = set_meter(&meters[i], present == 0, err);
    }
    return code;
}

static int apply_rules(const struct fabric_view *view, struct err *err)
{
    const char *const argv[] = {"ovs-ofctl",     "-O",     "OpenFlow14", "--bundle",
                                "replace-flows", "br-int", "-",          NULL};
    cleanup_free char *text = flows_render(view);

    if (text == NULL)
        return err_set(err, -ENOMEM, "no memory for the rules");
    return run_program(argv, text, NULL, 0, err);
}

int wiring_apply(const struct wiring_config *config, const struct fabric_view *view,
                 struct err *err)
{
    int code = give_vtep_its_address(config, err);

    if (code == 0 && has_vtep_bridge(config))
        code = switch_set_neighbours(view->peers, view->n_peers, err);
    if (code == 0)
        code = apply_meters(view, err);
    return code < 0 ? code : apply_rules(view, err);
}

/* ---- guests' ports */

static void delete_interface(const char *name)
{
    const char *const argv[] = {"ip", "link", "del", name, NULL};

    run_program(argv, NULL, NULL, 0, NULL);
}

static int make_cable(const struct wiring_port *port, const char *name, const char *netns,
                      struct err *err)
{
    char mac[MAC_TEXT_SIZE], mtu[8];
    const char *const argv[] = {"ip",   "link",    "add",  name,    "mtu",  mtu,
                                "type", "veth",    "peer", "name",  "eth0", "mtu",
                                mtu,    "address", mac,    "netns", netns,  NULL};

    snprintf(mtu, sizeof(mtu), "%d", GUEST_MTU);
    mac_format(port->mac, mac);
    return run_program(argv, NULL, NULL, 0, err);
}

static int add_switch_port(const char *name, uint16_t port, struct err *err)
{
    char request[32];
    const char *const argv[] = {"ovs-vsctl", "--timeout=5", "--", "--may-exist", "add-port",
                                "br-int",    name,          "--", "set",         "interface",
                                name,        request,       NULL};

    snprintf(request, sizeof(request), "ofport_request=%u", port);
    return run_program(argv, NULL, NULL, 0, err);
}

/* Namespace and cable, new unless both stand as they should. */
static int make_namespace(const struct wiring_port *port, const char *name, const char *path,
                          struct err *err)
{
    struct netns_interface interface = {.ip = port->ip, .prefix = port->prefix};
    int code = 0;

    memcpy(interface.mac, port->mac, MAC_SIZE);
    if (!netns_holds(path, &interface, name)) {
        delete_interface(name);
        code = netns_remove(path, err);
        if (code == 0)
            code = netns_make(path, err);
        if (code == 0)
            code = make_cable(port, name, path, err);
        if (code == 0)
            interface_disable_ipv6(name);
    }
    return code < 0 ? code : netns_configure(path, &interface, err);
}

int wiring_plug(const struct wiring_port *port, struct err *err)
{
    char name[PORT_NAME_SIZE], path[NETNS_PATH_SIZE];
    int code;

    port_name(port->port, name);
    wiring_netns_path(port->guest, path, sizeof(path));
    code = make_namespace(port, name, path, err);
    if (code == 0)
        code = add_switch_port(name, port->port, err);
    if (code == 0)
        code = interface_set_up(name, port->is_up, err);
    return code < 0 ? err_prefix(err, "port of %s", port->guest) : 0;
}

/* A port number is used again once its guest is removed: the port is taken away only while it is
 * the far end of this guest's cable. */
int wiring_unplug(const char *guest, uint16_t port, struct err *err)
{
    char name[PORT_NAME_SIZE], path[NETNS_PATH_SIZE];
    const char *const argv[] = {"ovs-vsctl", "--timeout=5", "--if-exists", "del-port",
                                "br-int",    name,          NULL};
    int code = 0;

    port_name(port, name);
    wiring_netns_path(guest, path, sizeof(path));
    if (netns_holds(path, NULL, name)) {
        code = run_program(argv, NULL, NULL, 0, err);
        delete_interface(name);
    }
    if (code == 0)
        code = netns_remove(path, err);
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

/* links_uv: measures the uplink once a second. Reading the kernel's counters needs no
 * privilege, so it is not the guard's: its list stays short, and a dead switch, which its fabric
 * executor may wait for, hides nothing. */
#include <string.h>

#include "agent/skeind/skeind_uv.h"
#include "base/log.h"
#include "netfabric/backhaul_netlink.h"

enum { LINKS_EVERY_US = 1000000 };

void skeind_stream_flows(void *context, const struct pace_flow *flows, uint32_t n)
{
    struct core_event event = {.type = CORE_STREAMS, .n_flows = n, .flows = flows};

    skeind_event(context, &event);
}

void skeind_sweep_links(struct skeind *s)
{
    struct core_event event = {.type = CORE_LINKS};
    struct err err = {0};
    uint64_t now = now_us();
    int rc;

    if (s->config.uplink[0] == '\0' || now < s->links_us + LINKS_EVERY_US)
        return;
    rc = backhaul_read(s->config.uplink, &event.links, &err);
    if (rc < 0 && rc != s->links_error)
        log_warn("the uplink is not measured: %s", err.text);
    s->links_error = rc;
    if (rc < 0)
        return;
    event.links.capacity_kbps = s->config.backhaul_kbps;
    if (s->links_us != 0) {
        backhaul_measure(&event.links, &s->links, now - s->links_us);
        skeind_event(s, &event);
    }
    s->links = event.links;
    s->links_us = now;
}

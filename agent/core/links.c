/* links: what crosses the uplink of each node: the node tells the leader once in a while, in a
 * message of its own, so that beats stay small; see core/internal.h.
 *
 * The scheduler takes the use of an uplink from here (core_telemetry()), everything else is for
 * people. */
#include "agent/core/internal.h"

void core_links_measured(struct core *core, const struct backhaul *links)
{
    struct message message = {.type = MESSAGE_LINKS, .links = *links};
    uint64_t leader = core_node_leader(core);

    core_pace_learn(core);
    message.links.streams = core_pace_view(core);
    core->node.links = message.links;
    core->node.links_us = core->now;
    core->node.backhaul_permille = backhaul_use_permille(links);
    if (leader == core->config.id)
        core_lead_links(core, leader, &message.links);
    else if (leader != 0)
        core_send(core, leader, &message);
}

void core_lead_links(struct core *core, uint64_t from, const struct backhaul *links)
{
    struct peer *peer = core->raft_leads ? core_peer(core, from) : NULL;

    if (peer == NULL) /* before its first beat */
        return;
    peer->links = *links;
    peer->links_us = core->now;
}

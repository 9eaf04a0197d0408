/* buddy: the leader's part in protecting guests: which node their checkpoints go to, which
 * checkpoints the state names, and where a guest resumes; see core/internal.h.
 *
 * A buddy is a node that could run the guest as it is now. It keeps no room: when it has none any
 * more, another one is chosen, and the next checkpoint goes there whole.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/internal.h"
#include "consensus/capacity.h"

enum { BUDDY_CHECK_MS = 1000 };

const struct protection *core_protection_at(const struct core *core, uint64_t node,
                                            const char *guest, uint64_t epoch)
{
    const struct peer *peer = core_peer(core, node);

    for (uint32_t i = 0; peer != NULL && i < peer->report.n_protections; i++) {
        const struct protection *p = &peer->report.protections[i];

        if (p->epoch == epoch && strcmp(p->guest, guest) == 0)
            return p;
    }
    return NULL;
}

/* A place for the guest on this node and no other. */
static bool place_on(const struct core *core, const struct guest *guest, const struct node *node,
                     uint64_t move_from, struct placement *ret)
{
    struct guest_spec spec = guest->spec; /* borrowed */
    struct err err;

    memset(spec.on, 0, sizeof(spec.on));
    memcpy(spec.on, node->name, sizeof(spec.on));
    return core_place_in(core, &core->state, &spec, move_from, ret, NULL, &err) == 0;
}

/* ---- buddies */

/* Of one that is silent nothing is known: soon it is heard again, or lost. */
static bool is_fit(const struct core *core, const struct guest *guest)
{
    const struct node *buddy = state_node(&core->state, guest->buddy);
    struct placement at;

    if (buddy == NULL || buddy->id == guest->placement.node || buddy->state != NODE_UP)
        return false;
    return !detector_is_present(&core->lead.detector, buddy->id, core->now) ||
           place_on(core, guest, buddy, guest->placement.node, &at);
}

/* One that has no room any more is better than none, while it lives. */
static void choose(struct core *core, const struct guest *guest)
{
    struct command command = {.type = COMMAND_GUEST_BUDDY};
    struct placement at;
    struct err err;

    if (is_fit(core, guest) || core_is_proposed(core, PROPOSAL_BUDDY, 0, guest->spec.name) ||
        core_place(core, &guest->spec, guest->placement.node, &at, NULL, &err) < 0 ||
        at.node == guest->buddy)
        return;
    memcpy(command.guest_buddy.name, guest->spec.name, NAME_SIZE);
    command.guest_buddy.node = at.node;
    core_propose(core, &command, PROPOSAL_BUDDY, at.node, guest->spec.name);
}

/* ---- checkpoints */

/* Its node says that the buddy has a newer one than the state names. */
static void name_checkpoint(struct core *core, const struct guest *guest)
{
    struct command command = {.type = COMMAND_GUEST_CHECKPOINT};
    struct checkpoint *checkpoint = &command.guest_checkpoint.checkpoint;
    const struct peer *peer = core_peer(core, guest->placement.node);
    const struct protection *p =
        core_protection_at(core, guest->placement.node, guest->spec.name, guest->placement.epoch);

    if (p == NULL || p->node == 0 || p->node != guest->buddy ||
        (guest->checkpoints[0].node == p->node &&
         memcmp(guest->checkpoints[0].digest, p->digest, DIGEST_SIZE) == 0) ||
        core_is_proposed(core, PROPOSAL_CHECKPOINT, 0, guest->spec.name))
        return;
    memcpy(command.guest_checkpoint.name, guest->spec.name, NAME_SIZE);
    command.guest_checkpoint.epoch = p->epoch;
    checkpoint->node = p->node;
    memcpy(checkpoint->digest, p->digest, DIGEST_SIZE);
    checkpoint->size = p->size;
    checkpoint->sent = p->sent;
    checkpoint->n_increments = p->n_increments;
    checkpoint->frozen_us = p->frozen_us;
    command.guest_checkpoint.age_ms = p->age_ms + (uint32_t)((core->now - peer->report_us) / 1000);
    core_propose(core, &command, PROPOSAL_CHECKPOINT, p->node, guest->spec.name);
}

void core_buddies_run(struct core *core)
{
    for (size_t i = 0; i < core->state.n_guests; i++) {
        const struct guest *guest = &core->state.guests[i];

        if (guest->spec.protect_ms == 0 || guest->placement.node == 0 ||
            guest->desired != DESIRED_RUNNING)
            continue;
        core_wake_at(&core->lead.wake_us, core->now + (uint64_t)BUDDY_CHECK_MS * 1000);
        choose(core, guest);
        name_checkpoint(core, guest);
    }
}

/* ---- resuming */

int core_buddy_place(struct core *core, const struct guest *guest, struct placement *ret)
{
    for (size_t i = 0; i < MAX_CHECKPOINTS && guest->checkpoints[i].index != 0; i++) {
        const struct node *node = state_node(&core->state, guest->checkpoints[i].node);

        if (node == NULL || node->state != NODE_UP)
            continue;
        if (!detector_is_present(&core->lead.detector, node->id, core->now))
            return -EAGAIN;
        if (place_on(core, guest, node, 0, ret))
            return 1;
    }
    return 0;
}

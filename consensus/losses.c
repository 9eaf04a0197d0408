#include "consensus/losses.h"

#include <stddef.h>

static const char *const event_names[LOSS_EVENT_END] = {[LOSS_MOVE] = "move",
                                                        [LOSS_RESTART] = "restart",
                                                        [LOSS_STOP] = "stop",
                                                        [LOSS_REBOOT] = "reboot",
                                                        [LOSS_NODE_LOSS] = "node_loss"};

unsigned int guest_losses(const struct guest_spec *spec, enum loss_event event)
{
    unsigned int volumes = spec->n_volumes > 0 ? LOSES_VOLUMES : 0;

    switch (event) {
    case LOSS_RESTART:
        return LOSES_MEMORY;
    case LOSS_STOP: /* it goes where its volumes are; without any it may start elsewhere */
        return volumes != 0 ? LOSES_MEMORY : LOSES_MEMORY | LOSES_FILES;
    case LOSS_REBOOT:
        if (spec->failover == FAILOVER_RESTORE)
            return LOSES_SINCE_CHECKPOINT;
        return LOSES_MEMORY | LOSES_FILES;
    case LOSS_NODE_LOSS:
        if (spec->failover == FAILOVER_RESTORE)
            return LOSES_SINCE_CHECKPOINT;
        if (spec->failover == FAILOVER_STAY) /* it waits for its node, and perhaps ran on there */
            return 0;
        return LOSES_MEMORY | LOSES_FILES | volumes;
    case LOSS_MOVE:
    case LOSS_EVENT_END:
        break;
    }
    return 0;
}

const char *loss_event_name(enum loss_event event)
{
    return event_names[event];
}

const char *loss_name(enum loss loss)
{
    switch (loss) {
    case LOSES_MEMORY:
        return "memory";
    case LOSES_FILES:
        return "files";
    case LOSES_VOLUMES:
        return "volumes";
    case LOSES_SINCE_CHECKPOINT:
        return "since_checkpoint";
    }
    return NULL;
}

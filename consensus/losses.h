/* losses: what of a guest is gone after what may happen to it (pure). It says what the rest of the
 * code does: movers carry everything along (migrate/mover.h), a start in place and one after a stop
 * on the same node keep what the guest wrote (agent/guard/job_run_posix.c), a boot of the node and
 * another node begin with the image and, on the same node, with the volumes (core/volumes.c).
 */
#ifndef SKEIN_CONSENSUS_LOSSES_H
#define SKEIN_CONSENSUS_LOSSES_H

#include "consensus/types.h"

enum loss_event {
    LOSS_MOVE = 0,  /* it is moved while it runs, also by a drain */
    LOSS_RESTART,   /* it ends, or fails its health check, and starts again in place */
    LOSS_STOP,      /* it is stopped, and started later */
    LOSS_REBOOT,    /* its node boots anew */
    LOSS_NODE_LOSS, /* its node is lost */
    LOSS_EVENT_END
};

enum loss {
    LOSES_MEMORY = 1 << 0,
    LOSES_FILES = 1 << 1,            /* what it wrote outside its volumes */
    LOSES_VOLUMES = 1 << 2,          /* what is in them; only of a guest that has some */
    LOSES_SINCE_CHECKPOINT = 1 << 3, /* all three, back to how they were at its newest checkpoint */
};

/* The losses, as a set of enum loss; 0 = nothing. */
unsigned int guest_losses(const struct guest_spec *spec, enum loss_event event);
const char *loss_event_name(enum loss_event event); /* "move", "node_loss" */
const char *loss_name(enum loss loss);              /* "memory"; NULL: no such loss */

#endif

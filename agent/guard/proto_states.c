#include "agent/guard/proto.h"

static const char *const names[GUEST_STATE_LAST + 1] = {
    [GUEST_STARTING] = "starting",   [GUEST_RUNNING] = "running",
    [GUEST_FROZEN] = "frozen",       [GUEST_STOPPING] = "stopping",
    [GUEST_EXITED] = "exited",       [GUEST_PREPARED] = "prepared",
    [GUEST_RECEIVED] = "received",   [GUEST_HANDED_OVER] = "handed-over",
    [GUEST_RESTORING] = "restoring",
};

const char *guard_guest_state_name(enum guard_guest_state state)
{
    return state >= GUEST_STARTING && state <= GUEST_STATE_LAST ? names[state] : "unknown";
}

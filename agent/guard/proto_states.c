#include "agent/guard/proto.h"

static const char *const state_names[] = {
    [GUEST_STARTING] = "starting",   [GUEST_RUNNING] = "running",
    [GUEST_FROZEN] = "frozen",       [GUEST_STOPPING] = "stopping",
    [GUEST_EXITED] = "exited",       [GUEST_PREPARED] = "prepared",
    [GUEST_RECEIVED] = "received",   [GUEST_HANDED_OVER] = "handed-over",
    [GUEST_RESTORING] = "restoring",
};

static const size_t n_states = sizeof(state_names) / sizeof(state_names[0]);

const char *guard_guest_state_name(enum guard_guest_state state)
{
    return state >= GUEST_STARTING && (size_t)state < n_states ? state_names[state] : "unknown";
}

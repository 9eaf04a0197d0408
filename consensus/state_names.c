/* state_names: the enums' names for people and JSON; see state.h. */
#include <errno.h>
#include <string.h>

#include "consensus/state.h"

static const char *const node_states[] = {NULL, "up", "lost"};
static const char *const raft_roles[] = {NULL, "voter", "standby", "spare"};
static const char *const guest_kinds[] = {NULL, "cell", "lxc", "vm"};
static const char *const image_formats[] = {NULL, "tar", "squashfs", "qcow2", "raw"};
static const char *const restart_policies[] = {NULL, "always", "on-failure", "never"};
static const char *const failover_policies[] = {NULL, "restart", "stay", "restore"};
static const char *const desired_states[] = {NULL, "running", "stopped"};
static const char *const migration_phases[] = {NULL, "reserved", "committed", "handover"};

#define COUNT(names) (sizeof(names) / sizeof((names)[0]))

static const char *name_of(const char *const *names, size_t n, unsigned v)
{
    return v >= 1 && v < n ? names[v] : "unknown";
}

static int value_of(const char *const *names, size_t n, const char *text)
{
    for (size_t i = 1; i < n; i++) {
        if (strcmp(names[i], text) == 0)
            return (int)i;
    }
    return -EINVAL;
}

const char *node_state_name(enum node_state v)
{
    return name_of(node_states, COUNT(node_states), v);
}

const char *raft_role_name(enum raft_role v)
{
    return name_of(raft_roles, COUNT(raft_roles), v);
}

const char *guest_kind_name(enum guest_kind v)
{
    return name_of(guest_kinds, COUNT(guest_kinds), v);
}

const char *image_format_name(enum image_format v)
{
    return name_of(image_formats, COUNT(image_formats), v);
}

const char *restart_policy_name(enum restart_policy v)
{
    return name_of(restart_policies, COUNT(restart_policies), v);
}

const char *failover_policy_name(enum failover_policy v)
{
    return name_of(failover_policies, COUNT(failover_policies), v);
}

const char *preempt_policy_name(enum preempt_policy v)
{
    static const char *const names[] = {"cluster", "on", "off"};

    return (unsigned)v < COUNT(names) ? names[v] : "unknown";
}

const char *desired_state_name(enum desired_state v)
{
    return name_of(desired_states, COUNT(desired_states), v);
}

const char *migration_phase_name(enum migration_phase v)
{
    return name_of(migration_phases, COUNT(migration_phases), v);
}

int guest_kind_parse(const char *text, enum guest_kind *ret)
{
    int v = value_of(guest_kinds, COUNT(guest_kinds), text);

    if (v < 0)
        return v;
    *ret = (enum guest_kind)v;
    return 0;
}

int image_format_parse(const char *text, enum image_format *ret)
{
    int v = value_of(image_formats, COUNT(image_formats), text);

    if (v < 0)
        return v;
    *ret = (enum image_format)v;
    return 0;
}

int restart_policy_parse(const char *text, enum restart_policy *ret)
{
    int v = value_of(restart_policies, COUNT(restart_policies), text);

    if (v < 0)
        return v;
    *ret = (enum restart_policy)v;
    return 0;
}

int failover_policy_parse(const char *text, enum failover_policy *ret)
{
    int v = value_of(failover_policies, COUNT(failover_policies), text);

    if (v < 0)
        return v;
    *ret = (enum failover_policy)v;
    return 0;
}

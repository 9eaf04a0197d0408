#include "consensus/capacity.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int reason_set(char reason[REASON_SIZE], int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reason, REASON_SIZE, format, args);
    va_end(args);
    return code;
}

const struct core_info *capacity_core(const struct node_facts *facts, uint16_t id)
{
    for (uint32_t i = 0; i < facts->n_cores; i++) {
        if (facts->cores[i].id == id)
            return &facts->cores[i];
    }
    return NULL;
}

static void mark(const struct placement *placement, uint64_t node, bool used[MAX_CORES])
{
    if (placement->node != node)
        return;
    for (uint32_t i = 0; i < placement->n_cores; i++)
        used[placement->cores[i]] = true;
}

static bool is_except(const char *name, const char *except)
{
    return except != NULL && strcmp(name, except) == 0;
}

void capacity_mark_cores(const struct state *state, uint64_t node, const char *except,
                         bool used[MAX_CORES])
{
    for (size_t i = 0; i < state->n_guests; i++) {
        if (!is_except(state->guests[i].spec.name, except))
            mark(&state->guests[i].placement, node, used);
    }
    for (size_t i = 0; i < state->n_migrations; i++) {
        if (is_except(state->migrations[i].guest, except))
            continue;
        mark(&state->migrations[i].source, node, used);
        mark(&state->migrations[i].target, node, used);
    }
}

bool capacity_core_is_free(const struct node_facts *facts, const struct core_info *core,
                           const bool used[MAX_CORES])
{
    if (!core->isolated || used[core->id])
        return false;
    for (uint32_t i = 0; i < facts->n_cores; i++) {
        if (facts->cores[i].sibling == core->sibling && used[facts->cores[i].id])
            return false;
    }
    return true;
}

uint32_t capacity_guest_mib(const struct guest_spec *spec)
{
    uint32_t overhead = spec->kind == KIND_VM ? VM_OVERHEAD_MIB : 0;

    return spec->memory_mib <= UINT32_MAX - overhead ? spec->memory_mib + overhead : UINT32_MAX;
}

uint64_t capacity_memory_used_mib(const struct state *state, uint64_t node, const char *except)
{
    uint64_t used = 0;

    for (size_t i = 0; i < state->n_guests; i++) {
        const struct guest *guest = &state->guests[i];

        if (guest->placement.node == node && !is_except(guest->spec.name, except))
            used += capacity_guest_mib(&guest->spec);
    }
    for (size_t i = 0; i < state->n_migrations; i++) {
        const struct migration *m = &state->migrations[i];
        const struct guest *guest = state_guest(state, m->guest);
        uint64_t other_end = m->phase == MIGRATION_RESERVED ? m->to : m->from;

        if (other_end == node && guest != NULL && !is_except(m->guest, except))
            used += capacity_guest_mib(&guest->spec);
    }
    return used;
}

static const char *label_of(const struct node_facts *facts, const char *key)
{
    for (uint32_t i = 0; i < facts->n_labels; i++) {
        if (strcmp(facts->labels[i].key, key) == 0)
            return facts->labels[i].value;
    }
    return NULL;
}

static int check_labels(const struct node *node, const struct guest_spec *spec,
                        char reason[REASON_SIZE])
{
    for (uint32_t i = 0; i < spec->n_constraints; i++) {
        const struct label *want = &spec->constraints[i];
        const char *have = label_of(&node->facts, want->key);

        if (have == NULL)
            return reason_set(reason, -ESTALE, "label %s=%s wanted, has none", want->key,
                              want->value);
        if (strcmp(have, want->value) != 0)
            return reason_set(reason, -ESTALE, "label %s=%s wanted, has %s=%s", want->key,
                              want->value, want->key, have);
    }
    return 0;
}

int capacity_node_takes(const struct node *node, const struct guest_spec *spec,
                        char reason[REASON_SIZE])
{
    if (spec->on[0] != '\0' && strcmp(spec->on, node->name) != 0)
        return reason_set(reason, -EINVAL, "the guest must run on %s", spec->on);
    if (node->state != NODE_UP)
        return reason_set(reason, -ESTALE, "lost");
    if (node->facts.witness)
        return reason_set(reason, -EINVAL, "a witness, takes no guests");
    if (node->draining)
        return reason_set(reason, -ESTALE, "draining");
    if (node->cordoned)
        return reason_set(reason, -ESTALE, "cordoned");
    if ((node->facts.kinds & KIND_BIT(spec->kind)) == 0)
        return reason_set(reason, -EINVAL, "cannot run guests of kind %s",
                          guest_kind_name(spec->kind));
    return check_labels(node, spec, reason);
}

int capacity_check_memory(const struct state *state, const struct node *node, uint32_t memory_mib,
                          const char *except, char reason[REASON_SIZE])
{
    uint64_t total = node->facts.memory_mib;
    uint64_t used = capacity_memory_used_mib(state, node->id, except);
    uint64_t n_free = used < total ? total - used : 0;

    if (memory_mib <= n_free)
        return 0;
    return reason_set(reason, -ESTALE, "%llum of %llum memory free, %um wanted",
                      (unsigned long long)n_free, (unsigned long long)total, memory_mib);
}

static int check_cores(const struct state *state, const struct node *node,
                       const struct guest_spec *spec, const struct placement *placement,
                       char reason[REASON_SIZE])
{
    bool used[MAX_CORES] = {false};

    if (placement->n_cores != spec->n_cores)
        return reason_set(reason, -EINVAL, "%u cores given, %u wanted", placement->n_cores,
                          spec->n_cores);
    capacity_mark_cores(state, node->id, NULL, used);
    for (uint32_t i = 0; i < placement->n_cores; i++) {
        uint16_t id = placement->cores[i];
        const struct core_info *core = capacity_core(&node->facts, id);

        if (i > 0 && id <= placement->cores[i - 1])
            return reason_set(reason, -EINVAL, "cores are not in ascending order");
        if (core == NULL || !core->isolated)
            return reason_set(reason, -EINVAL, "core %u is not an isolated core", id);
        if (used[id])
            return reason_set(reason, -ESTALE, "core %u is taken", id);
        if (!capacity_core_is_free(&node->facts, core, used))
            return reason_set(reason, -ESTALE, "core %u shares a physical core with another guest",
                              id);
    }
    return 0;
}

int capacity_check_placement(const struct state *state, const struct guest_spec *spec,
                             const struct placement *placement, char reason[REASON_SIZE])
{
    const struct node *node = state_node(state, placement->node);
    char why[REASON_SIZE];
    int code;

    if (placement->node == 0)
        return reason_set(reason, -EINVAL, "guest %s: no node is given", spec->name);
    if (node == NULL)
        return reason_set(reason, -ENOENT, "guest %s: node %llu is unknown", spec->name,
                          (unsigned long long)placement->node);
    code = capacity_node_takes(node, spec, why);
    if (code == 0)
        code = check_cores(state, node, spec, placement, why);
    if (code == 0)
        code = capacity_check_memory(state, node, capacity_guest_mib(spec), NULL, why);
    return code == 0 ? 0 : reason_set(reason, code, "node %s: %s", node->name, why);
}

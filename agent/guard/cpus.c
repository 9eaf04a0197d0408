#include "agent/guard/cpus.h"

#include <errno.h>
#include <stdio.h>

static bool is_real(const struct cpus *cpus, uint16_t core)
{
    for (uint32_t i = 0; i < cpus->n_real; i++) {
        if (cpus->real[i] == core)
            return true;
    }
    return false;
}

static bool is_shared(const struct cpus *cpus, uint16_t core)
{
    for (uint32_t i = 0; i < cpus->n_shared; i++) {
        if (cpus->shared[i] == core)
            return true;
    }
    return false;
}

int cpus_list(const struct cpus *cpus, const uint16_t *cores, uint32_t n, char ret[CPUS_TEXT_SIZE],
              struct err *err)
{
    bool wanted[MAX_CORES] = {false};
    size_t used = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (!cpus->has_none_to_share && is_shared(cpus, cores[i]))
            return err_set(err, -EINVAL, "core %u is the node's own; no guest has it to itself",
                           cores[i]);
    }
    if (n == 0) {
        cores = cpus->shared;
        n = cpus->n_shared;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint16_t cpu = cpus->is_folded ? cpus->real[cores[i] % cpus->n_real] : cores[i];

        if (!is_real(cpus, cpu) || cpu >= MAX_CORES)
            return err_set(err, -EINVAL, "this machine has no core %u", cores[i]);
        wanted[cpu] = true;
    }
    ret[0] = '\0';
    for (int cpu = 0; cpu < MAX_CORES; cpu++) {
        if (wanted[cpu])
            used += (size_t)snprintf(ret + used, CPUS_TEXT_SIZE - used, "%s%d", used > 0 ? "," : "",
                                     cpu);
    }
    return used > 0 ? 0 : err_set(err, -EINVAL, "no core to run on");
}

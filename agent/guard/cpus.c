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

static int add(const struct cpus *cpus, const uint16_t *cores, uint32_t n, bool wanted[MAX_CORES],
               struct err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        uint16_t cpu = cpus_real(cpus, cores[i]);

        if (!is_real(cpus, cpu) || cpu >= MAX_CORES)
            return err_set(err, -EINVAL, "this machine has no core %u", cores[i]);
        wanted[cpu] = true;
    }
    return 0;
}

uint16_t cpus_real(const struct cpus *cpus, uint16_t core)
{
    return cpus->is_folded ? cpus->real[core % cpus->n_real] : core;
}

static int write_list(const bool wanted[MAX_CORES], char ret[CPUS_TEXT_SIZE], struct err *err)
{
    size_t used = 0;

    ret[0] = '\0';
    for (int cpu = 0; cpu < MAX_CORES; cpu++) {
        if (wanted[cpu])
            used += (size_t)snprintf(ret + used, CPUS_TEXT_SIZE - used, "%s%d", used > 0 ? "," : "",
                                     cpu);
    }
    return used > 0 ? 0 : err_set(err, -EINVAL, "no core to run on");
}

int cpus_list(const struct cpus *cpus, const uint16_t *cores, uint32_t n, bool with_shared,
              char ret[CPUS_TEXT_SIZE], struct err *err)
{
    bool wanted[MAX_CORES] = {false};
    int rc;

    for (uint32_t i = 0; i < n; i++) {
        if (!cpus->has_none_to_share && is_shared(cpus, cores[i]))
            return err_set(err, -EINVAL, "core %u is the node's own; no guest has it to itself",
                           cores[i]);
    }
    rc = add(cpus, cores, n, wanted, err);
    if (rc == 0 && (n == 0 || with_shared))
        rc = add(cpus, cpus->shared, cpus->n_shared, wanted, err);
    if (rc < 0)
        return rc;
    return write_list(wanted, ret, err);
}

int cpus_list_machines(const struct cpus *cpus, char ret[CPUS_TEXT_SIZE], struct err *err)
{
    bool wanted[MAX_CORES] = {false};

    if (cpus->n_beyond == 0)
        return cpus_list(cpus, NULL, 0, false, ret, err);
    for (uint32_t i = 0; i < cpus->n_beyond; i++)
        wanted[cpus->beyond[i]] = true;
    return write_list(wanted, ret, err);
}

#include "agent/skeind/facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

const char *facts_name(const struct config *config, const struct machine *machine)
{
    if (config->name[0] != '\0')
        return config->name;
    return name_is_valid(machine->host_name) ? machine->host_name : "";
}

static bool is_isolated(const struct config *config, uint16_t core)
{
    return config->has_isolated_cores ? config->isolated[core] : core != 0;
}

/* Declared cores take the topology of the machine's as far as they exist there. */
static int make_cores(const struct config *config, const struct machine *machine,
                      struct node_facts *ret)
{
    uint32_t n = config->n_cores != 0 ? config->n_cores : machine->n_cores;

    ret->cores = calloc(n > 0 ? n : 1, sizeof(*ret->cores));
    if (ret->cores == NULL)
        return -ENOMEM;
    ret->n_cores = n;
    for (uint32_t i = 0; i < n; i++) {
        struct core_info *core = &ret->cores[i];

        if (config->n_cores == 0)
            *core = machine->cores[i];
        else
            *core = (struct core_info){.id = (uint16_t)i, .sibling = (uint16_t)i};
        core->isolated = is_isolated(config, core->id);
    }
    return 0;
}

static enum vm_driver driver_of(const struct machine *machine)
{
    if (!machine->has_guard || !machine->has_vm)
        return VM_DRIVER_NONE;
    return machine->is_xen ? VM_DRIVER_XEN : machine->has_kvm ? VM_DRIVER_KVM : VM_DRIVER_TCG;
}

int facts_make(const struct config *config, const struct machine *machine, struct node_facts *ret,
               struct err *err)
{
    *ret = (struct node_facts){0};
    ret->address = config->address != 0 ? config->address : machine->uplink_address;
    if (ret->address == 0)
        return err_set(err, -EINVAL,
                       "this node's address is not known: set 'address' in %s or say --address",
                       CONFIG_DEFAULT_FILE);
    ret->vtep = config->vtep != 0 ? config->vtep : ret->address;
    ret->n_labels = config->n_labels;
    memcpy(ret->labels, config->labels, sizeof(ret->labels));
    ret->memory_mib =
        config->memory_mib != 0 ? config->memory_mib : (uint32_t)(machine->memory_mib / 4 * 3);
    ret->kinds = machine->has_guard ? KIND_BIT(KIND_CELL) : 0;
    ret->vm_driver = driver_of(machine);
    if (ret->vm_driver != VM_DRIVER_NONE)
        ret->kinds |= KIND_BIT(KIND_VM);
    if (machine->has_guard && machine->has_lxc)
        ret->kinds |= KIND_BIT(KIND_LXC);
    memcpy(ret->arch, machine->arch, sizeof(ret->arch));
    ret->arch[sizeof(ret->arch) - 1] = '\0';
    ret->backhaul_kbps = config->backhaul_kbps;
    ret->isolation_simulated = config->isolation_simulated;
    ret->can_track_dirty = machine->can_track_dirty;
    ret->can_lazy = machine->can_lazy;
    ret->witness = config->witness;
    ret->images_mib = config->image_disk_mib;
    return make_cores(config, machine, ret);
}

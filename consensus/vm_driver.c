#include "consensus/vm_driver.h"

#include <stddef.h>
#include <stdint.h>

#define BIT(ability) (1u << (ability))

enum { ALL = BIT(VM_ABILITY_END) - 1 };

static const struct {
    const char *name;
    uint32_t abilities;
} drivers[VM_DRIVER_END] = {
    [VM_DRIVER_TCG] = {"qemu-tcg", ALL},
    [VM_DRIVER_KVM] = {"qemu-kvm", ALL},
    [VM_DRIVER_XEN] = {"xen", ALL & ~(BIT(VM_CAN_FIRMWARE) | BIT(VM_CAN_REBOOT) |
                                      BIT(VM_CAN_STOP_AND_COPY) | BIT(VM_CAN_PRE_COPY) |
                                      BIT(VM_CAN_POST_COPY))},
};

static const char *const abilities[VM_ABILITY_END] = {
    [VM_CAN_START] = "start",
    [VM_CAN_STOP] = "stop",
    [VM_CAN_CONSOLE] = "console",
    [VM_CAN_SEED] = "seed",
    [VM_CAN_DHCP] = "dhcp",
    [VM_CAN_FREEZE] = "freeze",
    [VM_CAN_ADOPT] = "adopt",
    [VM_CAN_STATS] = "stats",
    [VM_CAN_FIRMWARE] = "firmware",
    [VM_CAN_REBOOT] = "reboot",
    [VM_CAN_STOP_AND_COPY] = "stop-and-copy",
    [VM_CAN_PRE_COPY] = "pre-copy",
    [VM_CAN_POST_COPY] = "post-copy",
};

const char *vm_driver_name(enum vm_driver driver)
{
    return driver < VM_DRIVER_END ? drivers[driver].name : NULL;
}

const char *vm_ability_name(enum vm_ability ability)
{
    return ability < VM_ABILITY_END ? abilities[ability] : NULL;
}

bool vm_driver_can(enum vm_driver driver, enum vm_ability ability)
{
    return driver < VM_DRIVER_END && (drivers[driver].abilities & BIT(ability)) != 0;
}

bool vm_driver_moves(enum vm_driver driver)
{
    return vm_driver_can(driver, VM_CAN_STOP_AND_COPY) || vm_driver_can(driver, VM_CAN_PRE_COPY) ||
           vm_driver_can(driver, VM_CAN_POST_COPY);
}

/* show_machines: what runs a node's virtual machines, and what it can and cannot do with one; see
 * show_jansson.h. */
#include "agent/api/show_jansson.h"

static json_t *abilities_of(enum vm_driver driver, bool can)
{
    json_t *list = json_array();

    for (int i = 0; driver != VM_DRIVER_NONE && i < VM_ABILITY_END; i++) {
        if (vm_driver_can(driver, (enum vm_ability)i) == can)
            json_array_append_new(list, json_string(vm_ability_name((enum vm_ability)i)));
    }
    return list;
}

void show_machines(const struct node_facts *facts, json_t *ret)
{
    const char *name = vm_driver_name(facts->vm_driver);

    json_object_set_new(ret, "vm_driver", name != NULL ? json_string(name) : json_null());
    json_object_set_new(ret, "vm_can", abilities_of(facts->vm_driver, true));
    json_object_set_new(ret, "vm_cannot", abilities_of(facts->vm_driver, false));
}

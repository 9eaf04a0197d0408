#include "agent/api/volumes_jansson.h"

#include <errno.h>
#include <stdlib.h>

#include "consensus/losses.h"
#include "consensus/state.h"

int volumes_of_json(const json_t *params, struct guest_spec *ret, struct err *err)
{
    const json_t *list = json_object_get(params, "volume");
    size_t n = json_array_size(list);

    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return err_set(err, -EINVAL, "volume: must be a list of texts");
    if (n > MAX_VOLUMES)
        return err_set(err, -EINVAL, "volume: a guest has at most %d", MAX_VOLUMES);
    if (n == 0)
        return 0;
    if (guest_spec_boots(ret))
        return err_set(err, -EINVAL, "volume: a %s has none; a cell and an lxc can have some",
                       guest_kind_name(ret->kind));
    ret->volumes = calloc(n, sizeof(*ret->volumes));
    if (ret->volumes == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (volume_parse(text != NULL ? text : "", &ret->volumes[i], err) < 0)
            return err_prefix(err, "volume");
        ret->n_volumes = (uint32_t)i + 1;
    }
    return volumes_check(ret->volumes, ret->n_volumes, err) < 0 ? err_prefix(err, "volume") : 0;
}

json_t *show_volumes(const struct guest_spec *spec, const char *node)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < spec->n_volumes; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", spec->volumes[i].name,
                                              "path", spec->volumes[i].path, "node",
                                              node != NULL ? json_string(node) : json_null()));
    return list;
}

static json_t *list_losses(unsigned int losses)
{
    json_t *list = json_array();

    for (unsigned int loss = 1; loss_name((enum loss)loss) != NULL; loss <<= 1) {
        if (losses & loss)
            json_array_append_new(list, json_string(loss_name((enum loss)loss)));
    }
    return list;
}

json_t *show_losses(const struct guest_spec *spec)
{
    json_t *ret = json_object();

    for (int e = 0; e < LOSS_EVENT_END; e++) {
        enum loss_event event = (enum loss_event)e;

        json_object_set_new(ret, loss_event_name(event), list_losses(guest_losses(spec, event)));
    }
    return ret;
}

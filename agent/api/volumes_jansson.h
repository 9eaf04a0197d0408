/* volumes_jansson: a guest's volumes, and what of it is lost when (docs/api.md), to and from JSON.
 */
#ifndef SKEIN_AGENT_API_VOLUMES_JANSSON_H
#define SKEIN_AGENT_API_VOLUMES_JANSSON_H

#include <jansson.h>

#include "base/err.h"
#include "consensus/types.h"

/* Reads "volume" of the parameters into `ret`, whose kind is set. -EINVAL or -ENOMEM with words. */
int volumes_of_json(const json_t *params, struct guest_spec *ret, struct err *err);

/* `node`: name of the one that has them, or NULL. */
json_t *show_volumes(const struct guest_spec *spec, const char *node);
/* For each event what is lost by it; null: it does not happen to a guest of its kind. */
json_t *show_losses(const struct guest_spec *spec);

#endif

/* image_defaults: what a guest takes from its image where it was not told itself (pure). */
#ifndef SKEIN_AGENT_CORE_IMAGE_DEFAULTS_H
#define SKEIN_AGENT_CORE_IMAGE_DEFAULTS_H

#include "base/err.h"
#include "consensus/types.h"

/* As container engines do: the entrypoint goes before the guest's arguments, the image's command
 * takes their place when there are none, variables are added that the guest does not set itself,
 * and directory and user are the image's. An lxc guest that nobody names a command for runs
 * /sbin/init. 0; -EINVAL with words when there is nothing to run, or more arguments or variables
 * than MAX_ARGUMENTS; -ENOMEM. On failure `spec` is untouched. */
int image_defaults_apply(const struct image *image, struct guest_spec *spec, struct err *err);

#endif

/* config_timers: what the configuration says of the cluster's timers; see base/timers.h. */
#include "agent/config.h"

static const struct timers nothing;

struct timers config_timers_wanted(const struct config *config)
{
    const struct timers *profile = timers_of_profile(config->profile);

    return timers_overlay(&config->timers, profile != NULL ? profile : &nothing);
}

struct timers config_timers(const struct config *config)
{
    struct timers wanted = config_timers_wanted(config);

    return timers_overlay(&wanted, timers_of_profile("default"));
}

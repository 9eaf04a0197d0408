/* commands: everything that `skein` can be told, as one table (pure data). */
#ifndef SKEIN_AGENT_CLI_COMMANDS_H
#define SKEIN_AGENT_CLI_COMMANDS_H

#include "agent/cli/args.h"

/* Ends with a zeroed entry. */
extern const struct command_spec commands[];

#endif

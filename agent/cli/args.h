/* args: reads the command line of `skein` after a table of commands (pure).
 *
 * A command is one or two words (noun and verb), then operands and flags in any order; what follows
 * `--` is a guest's own command line. The table says the type of every value, so that a wrong one
 * is refused here, with words, before anything is asked of skeind.
 */
#ifndef SKEIN_AGENT_CLI_ARGS_H
#define SKEIN_AGENT_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

enum value_type {
    VALUE_END = 0, /* ends a list of flags or operands */
    VALUE_SET,     /* a flag without a value */
    VALUE_TEXT,
    VALUE_NAME,     /* of a node, guest, slice or image */
    VALUE_NUMBER,   /* 0 … 2^32-1 */
    VALUE_MEMORY,   /* "64m" -> MiB */
    VALUE_RATE,     /* "20mbit" -> kbit/s */
    VALUE_SECONDS,  /* "1h" -> s */
    VALUE_MS,       /* "300ms" -> ms */
    VALUE_PERIOD,   /* likewise, or "off" -> 0 */
    VALUE_ADDRESS,  /* IPv4 */
    VALUE_SUBNET,   /* a.b.c.d/p */
    VALUE_LABEL,    /* key=value */
    VALUE_ENV,      /* KEY=VALUE */
    VALUE_FORMAT,   /* table, json, yaml, csv */
    VALUE_RESTART,  /* always, on-failure, never */
    VALUE_FAILOVER, /* restart, stay, restore */
    VALUE_PROFILE,  /* default, fast, wan, slow */
    VALUE_ON_OFF,   /* on or off -> true or false */
    VALUE_KIND,     /* cell, vm */
    VALUE_MODE,     /* auto, stop, pre, post */
    VALUE_COPIES,   /* all, or 1 … -> 0, or that number */
    VALUE_PARALLEL, /* 1 … MOVE_CONNECTIONS_MAX */
    VALUE_FILE,     /* a text file, whose content is sent */
    VALUE_VOLUME,   /* NAME:/path */
};

/* A flag (`--name`, or `-letter`) or an operand (its name is for the usage line). */
struct value_spec {
    enum value_type type;
    const char *name;  /* "memory" */
    const char *param; /* key of the request's parameters; NULL = not sent */
    const char *metavar, *help;
    char letter;
    bool repeats, required;
};

struct command_spec {
    const char *noun, *verb; /* verb NULL: one word */
    const char *method;      /* of the API */
    const char *help;
    const struct value_spec *operands; /* ends with VALUE_END; NULL = none */
    const struct value_spec *flags;
    bool takes_rest; /* CMD ARGS after -- */
    bool needs_rest;
};

enum { ARGS_MAX_VALUES = 64 };

struct arg_value {
    const struct value_spec *spec;
    const char *text; /* as written; borrowed from argv */
    uint64_t number;  /* of the numeric types, in base units */
};

struct args {
    const struct command_spec *command;
    size_t n_values;
    struct arg_value values[ARGS_MAX_VALUES];
    int n_rest;
    char *const *rest; /* borrowed from argv */
};

enum args_outcome {
    ARGS_HELP = 1, /* help was asked for: of ret->command, or of everything when that is NULL */
};

/* The flags that every command takes. */
extern const struct value_spec args_common[];

/* `commands` ends with a zeroed entry. 0, ARGS_HELP, or -EINVAL with words (exit 2). */
int args_parse(const struct command_spec *commands, int argc, char *const argv[], struct args *ret,
               struct err *err);

/* The (last) value of a flag or operand, or NULL. */
const struct arg_value *args_find(const struct args *args, const char *name);

/* What skeind says of a parameter ("downtime_ms: ..."), with the name under which it was typed
 * ("--downtime: ..."); any other text as it is. Cut when too long. */
void args_name_refusal(const struct args *args, const char *text, char *ret, size_t size);

/* Usage of one command, or the list of all (`command` NULL), into `ret`; cut when too long. */
void args_help(const struct command_spec *commands, const struct command_spec *command, char *ret,
               size_t size);

#endif

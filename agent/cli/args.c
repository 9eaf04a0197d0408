#include "agent/cli/args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/move.h"
#include "base/timers.h"
#include "base/units.h"
#include "base/volume.h"

const struct value_spec args_common[] = {
    {VALUE_FORMAT, "format", NULL, "FORMAT",
     "table, json, yaml or csv: how to print the answer (table)", 'f', false,
     false},
    {VALUE_MS, "timeout", NULL, "TIME", "how long to wait for it, such as 10s", 0, false, false},
    {VALUE_TEXT, "socket", NULL, "PATH", "skeind's socket (/run/skein/api.sock)", 0, false, false},
    {VALUE_SET, "help", NULL, NULL, "this text", 'h', false, false},
    {VALUE_END, NULL, NULL, NULL, NULL, 0, false, false},
};

static int one_of(const char *text, const char *const *words, const char *list, struct err *err)
{
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0)
            return 0;
    }
    return err_set(err, -EINVAL, "'%s' is none of %s", text, list);
}

static int check_pair(const char *text, size_t max_key, size_t max_value, struct err *err)
{
    const char *equals = strchr(text, '=');

    if (equals == NULL || equals == text || (size_t)(equals - text) > max_key ||
        strlen(equals + 1) > max_value)
        return err_set(err, -EINVAL, "'%s' is not of the form key=value", text);
    return 0;
}

static int check_value(struct arg_value *value, struct err *err)
{
    static const char *const formats[] = {"table", "json", "yaml", "csv", NULL};
    static const char *const restarts[] = {"always", "on-failure", "never", NULL};
    static const char *const kinds[] = {"cell", "lxc", "vm", NULL};
    static const char *const modes[] = {"auto", "stop", "pre", "post", NULL};
    static const char *const switches[] = {"on", "off", NULL};
    static const char *const failovers[] = {"restart", "stay", "restore", NULL};
    const char *text = value->text;
    struct subnet subnet;
    struct volume volume;
    uint32_t small = 0;
    int rc = 0;

    switch (value->spec->type) {
    case VALUE_END:
    case VALUE_SET:
    case VALUE_TEXT:
        return 0;
    case VALUE_NAME:
        return name_is_valid(text) ? 0
                                   : err_set(err, -EINVAL,
                                             "'%s' is no name: 1 to %d of a-z 0-9 -, beginning "
                                             "with a letter",
                                             text, NAME_MAX_LENGTH);
    case VALUE_NUMBER:
        return parse_number(text, 0, UINT32_MAX, &value->number, err);
    case VALUE_MEMORY:
        rc = parse_memory_mib(text, &small, err);
        break;
    case VALUE_RATE:
        rc = parse_rate_kbps(text, &small, err);
        break;
    case VALUE_PERIOD:
        if (strcmp(text, "off") == 0)
            return 0;
        rc = parse_duration_ms(text, &value->number, err);
        if (rc == 0 && value->number == 0)
            rc = err_set(err, -EINVAL, "'%s' is no period; say off for none", text);
        return rc;
    case VALUE_SECONDS:
    case VALUE_MS:
        rc = parse_duration_ms(text, &value->number, err);
        if (rc == 0 && value->spec->type == VALUE_SECONDS)
            value->number = (value->number + 999) / 1000;
        return rc;
    case VALUE_ADDRESS:
        rc = ipv4_parse(text, &small, err);
        break;
    case VALUE_SUBNET:
        return subnet_parse(text, &subnet, err);
    case VALUE_LABEL:
        return check_pair(text, LABEL_KEY_SIZE - 1, LABEL_VALUE_SIZE - 1, err);
    case VALUE_ENV:
        return check_pair(text, ARGUMENT_SIZE - 2, ARGUMENT_SIZE - 2, err);
    case VALUE_FORMAT:
        return one_of(text, formats, "table, json, yaml, csv", err);
    case VALUE_RESTART:
        return one_of(text, restarts, "always, on-failure, never", err);
    case VALUE_FAILOVER:
        return one_of(text, failovers, "restart, stay, restore", err);
    case VALUE_PROFILE:
        return timers_of_profile(text) != NULL
                   ? 0
                   : err_set(err, -EINVAL, "'%.40s' is none of default, fast, wan, slow", text);
    case VALUE_ON_OFF:
        return one_of(text, switches, "on, off", err);
    case VALUE_KIND:
        return one_of(text, kinds, "cell, lxc, vm", err);
    case VALUE_MODE:
        return one_of(text, modes, "auto, stop, pre, post", err);
    case VALUE_COPIES:
        value->number = 0;
        return strcmp(text, "all") == 0 ? 0
                                        : parse_number(text, 1, MAX_NODES, &value->number, err);
    case VALUE_PARALLEL:
        return parse_number(text, 1, MOVE_CONNECTIONS_MAX, &value->number, err);
    case VALUE_FILE:
        return text[0] != '\0' ? 0 : err_set(err, -EINVAL, "it is empty");
    case VALUE_VOLUME:
        return volume_parse(text, &volume, err);
    }
    value->number = small;
    return rc;
}

/* Before the name of a flag; an operand has none. */
static const char *dashes_of(const struct value_spec *spec)
{
    return spec->type == VALUE_SET || spec->letter != 0 || spec->metavar != NULL ? "--" : "";
}

static int add_value(struct args *args, const struct value_spec *spec, const char *text,
                     struct err *err)
{
    struct arg_value *value;

    if (!spec->repeats && args_find(args, spec->name) != NULL)
        return err_set(err, -EINVAL, "--%s is given twice", spec->name);
    if (args->n_values == ARGS_MAX_VALUES)
        return err_set(err, -EINVAL, "more than %d flags and operands", ARGS_MAX_VALUES);
    value = &args->values[args->n_values];
    *value = (struct arg_value){.spec = spec, .text = text};
    if (check_value(value, err) < 0)
        return err_prefix(err, "%s%s", dashes_of(spec), spec->name);
    args->n_values++;
    return 0;
}

static const struct value_spec *find_flag(const struct value_spec *flags, const char *name,
                                          size_t size, char letter)
{
    for (; flags != NULL && flags->type != VALUE_END; flags++) {
        if (letter != 0 ? flags->letter == letter
                        : strlen(flags->name) == size && memcmp(flags->name, name, size) == 0)
            return flags;
    }
    return NULL;
}

/* Reads the flag at argv[*at] and moves past it. */
static int parse_flag(struct args *args, int argc, char *const argv[], int *at, struct err *err)
{
    const char *word = argv[*at], *name = word + 1, *value = NULL;
    char letter = word[1];
    size_t size = 1;
    const struct value_spec *spec;

    if (word[1] == '-') {
        name = word + 2;
        letter = 0;
        size = strcspn(name, "=");
    }
    spec = find_flag(args->command->flags, name, size, letter);
    if (spec == NULL)
        spec = find_flag(args_common, name, size, letter);
    if (spec == NULL)
        return err_set(err, -EINVAL, "unknown flag '%s'", word);
    (*at)++;
    if (name[size] == '=')
        value = name + size + 1;
    else if (letter != 0 && name[1] != '\0')
        value = name + 1;
    if (spec->type == VALUE_SET) {
        if (value != NULL)
            return err_set(err, -EINVAL, "--%s takes no value", spec->name);
        return spec->letter == 'h' ? ARGS_HELP : add_value(args, spec, "", err);
    }
    if (value == NULL && *at < argc)
        value = argv[(*at)++];
    if (value == NULL)
        return err_set(err, -EINVAL, "--%s: a value is missing (%s)", spec->name, spec->metavar);
    return add_value(args, spec, value, err);
}

static int check_complete(const struct args *args, struct err *err)
{
    const struct command_spec *command = args->command;
    const struct value_spec *lists[] = {command->operands, command->flags};

    for (size_t i = 0; i < 2; i++) {
        for (const struct value_spec *s = lists[i]; s != NULL && s->type != VALUE_END; s++) {
            if (s->required && args_find(args, s->name) == NULL)
                return err_set(err, -EINVAL, i == 0 ? "%s is missing" : "--%s is missing", s->name);
        }
    }
    if (command->needs_rest && args->n_rest == 0)
        return err_set(err, -EINVAL, "what is to run is missing: write -- CMD ARGS at the end");
    return 0;
}

static const struct command_spec *find_command(const struct command_spec *commands, int argc,
                                               char *const argv[], int *at)
{
    for (; commands->noun != NULL; commands++) {
        if (strcmp(commands->noun, argv[*at]) != 0)
            continue;
        if (commands->verb == NULL) {
            *at += 1;
            return commands;
        }
        if (*at + 1 < argc && strcmp(commands->verb, argv[*at + 1]) == 0) {
            *at += 2;
            return commands;
        }
    }
    return NULL;
}

static bool is_noun(const struct command_spec *commands, const char *word)
{
    for (; commands->noun != NULL; commands++) {
        if (strcmp(commands->noun, word) == 0)
            return true;
    }
    return false;
}

static bool is_help(const char *word)
{
    return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "help") == 0;
}

static int parse_words(struct args *args, int argc, char *const argv[], int at, struct err *err)
{
    const struct value_spec *operand = args->command->operands;
    int rc;

    while (at < argc) {
        const char *word = argv[at];

        if (strcmp(word, "--") == 0 && args->command->takes_rest) {
            args->n_rest = argc - at - 1;
            args->rest = argv + at + 1;
            break;
        }
        if (word[0] == '-' && word[1] != '\0') {
            rc = parse_flag(args, argc, argv, &at, err);
        } else if (operand != NULL && operand->type != VALUE_END) {
            rc = add_value(args, operand, word, err);
            operand += operand->repeats ? 0 : 1;
            at++;
        } else {
            rc = err_set(err, -EINVAL, "'%s' is one word too many", word);
        }
        if (rc != 0)
            return rc;
    }
    return check_complete(args, err);
}

int args_parse(const struct command_spec *commands, int argc, char *const argv[], struct args *ret,
               struct err *err)
{
    int at = 1;

    *ret = (struct args){0};
    if (argc < 2)
        return err_set(err, -EINVAL, "a command is missing; skein -h lists them");
    if (is_help(argv[1]))
        return ARGS_HELP;
    ret->command = find_command(commands, argc, argv, &at);
    if (ret->command == NULL && is_noun(commands, argv[1])) {
        if (argc == 2 || is_help(argv[2]))
            return ARGS_HELP;
        return err_set(err, -EINVAL, "there is no '%s %s'; skein -h lists what there is", argv[1],
                       argv[2]);
    }
    if (ret->command == NULL)
        return err_set(err, -EINVAL, "there is no command '%s'; skein -h lists them", argv[1]);
    return parse_words(ret, argc, argv, at, err);
}

const struct arg_value *args_find(const struct args *args, const char *name)
{
    for (size_t i = args->n_values; i-- > 0;) {
        if (strcmp(args->values[i].spec->name, name) == 0)
            return &args->values[i];
    }
    return NULL;
}

struct text {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= t->left)
        n = t->left > 0 ? (int)t->left - 1 : 0;
    t->at += n;
    t->left -= (size_t)n;
}

void args_name_refusal(const struct args *args, const char *text, char *ret, size_t size)
{
    const char *words = strstr(text, ": ");
    size_t length = words != NULL ? (size_t)(words - text) : 0;

    for (size_t i = 0; length > 0 && i < args->n_values; i++) {
        const struct value_spec *spec = args->values[i].spec;

        if (spec->param == NULL || strlen(spec->param) != length ||
            memcmp(spec->param, text, length) != 0)
            continue;
        snprintf(ret, size, "%s%s%s", dashes_of(spec), spec->name, words);
        return;
    }
    snprintf(ret, size, "%s", text);
}

static void add_usage(struct text *t, const struct command_spec *command)
{
    text_add(t, "skein %s%s%s", command->noun, command->verb != NULL ? " " : "",
             command->verb != NULL ? command->verb : "");
    for (const struct value_spec *s = command->operands; s != NULL && s->type != VALUE_END; s++)
        text_add(t, s->required ? " %s" : " [%s]", s->name);
    if (command->takes_rest)
        text_add(t, command->needs_rest ? " -- CMD ARGS" : " [-- CMD ARGS]");
}

static void add_flags(struct text *t, const struct value_spec *flags)
{
    for (; flags != NULL && flags->type != VALUE_END; flags++) {
        char left[64], letter[8] = "    ";

        if (flags->letter != 0)
            snprintf(letter, sizeof(letter), "-%c, ", flags->letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, flags->name,
                 flags->metavar != NULL ? " " : "", flags->metavar != NULL ? flags->metavar : "");
        text_add(t, "  %-32s %s%s\n", left, flags->help, flags->required ? " (needed)" : "");
    }
}

void args_help(const struct command_spec *commands, const struct command_spec *command, char *ret,
               size_t size)
{
    struct text t = {ret, size};

    if (command != NULL) {
        text_add(&t, "usage: ");
        add_usage(&t, command);
        text_add(&t, " [flags]\n\n%s\n\nflags:\n", command->help);
        add_flags(&t, command->flags);
        add_flags(&t, args_common);
        return;
    }
    text_add(&t, "usage: skein COMMAND [flags]     (skein COMMAND -h says more)\n\n");
    for (; commands->noun != NULL; commands++) {
        char usage[128];
        struct text u = {usage, sizeof(usage)};

        add_usage(&u, commands);
        text_add(&t, "  %-40s %.*s\n", usage, (int)strcspn(commands->help, "\n"), commands->help);
    }
    text_add(&t,
             "\nexit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 no place for it, 4 not "
             "now (no quorum)\n");
}

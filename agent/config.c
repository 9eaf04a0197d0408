#include "agent/config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"

enum { LINE_SIZE = 512 };

struct key {
    const char *name;
    int (*set)(struct config *config, const struct key *key, const char *value, struct err *err);
    size_t offset, size; /* of the field, where the setter is a common one */
    uint64_t min, max;   /* of numbers */
};

#define FIELD(config, key) ((void *)((char *)(config) + (key)->offset))

static int set_name(struct config *config, const struct key *key, const char *value,
                    struct err *err)
{
    (void)key;
    if (!name_is_valid(value))
        return err_set(err, -EINVAL,
                       "'%s' is no name; use 1 to %d of a-z 0-9 -, beginning with a letter", value,
                       NAME_MAX_LENGTH);
    snprintf(config->name, sizeof(config->name), "%s", value);
    return 0;
}

static int set_text(struct config *config, const struct key *key, const char *value,
                    struct err *err)
{
    if (strlen(value) >= key->size)
        return err_set(err, -EINVAL, "'%.40s…' is longer than %zu bytes", value, key->size - 1);
    memset(FIELD(config, key), 0, key->size);
    memcpy(FIELD(config, key), value, strlen(value));
    return 0;
}

static int set_directory(struct config *config, const struct key *key, const char *value,
                         struct err *err)
{
    if (value[0] != '/')
        return err_set(err, -EINVAL, "'%s' is no absolute path", value);
    return set_text(config, key, value, err);
}

static int set_number(struct config *config, const struct key *key, const char *value,
                      struct err *err)
{
    uint64_t v;
    int rc = parse_number(value, key->min, key->max, &v, err);

    if (rc < 0)
        return rc;
    *(uint32_t *)FIELD(config, key) = (uint32_t)v;
    return 0;
}

static int set_bool(struct config *config, const struct key *key, const char *value,
                    struct err *err)
{
    bool yes = strcmp(value, "yes") == 0 || strcmp(value, "true") == 0;

    if (!yes && strcmp(value, "no") != 0 && strcmp(value, "false") != 0)
        return err_set(err, -EINVAL, "'%s' is neither yes nor no", value);
    *(bool *)FIELD(config, key) = yes;
    return 0;
}

static int set_address(struct config *config, const struct key *key, const char *value,
                       struct err *err)
{
    return ipv4_parse(value, FIELD(config, key), err);
}

static int set_memory(struct config *config, const struct key *key, const char *value,
                      struct err *err)
{
    return parse_memory_mib(value, FIELD(config, key), err);
}

static int set_rate(struct config *config, const struct key *key, const char *value,
                    struct err *err)
{
    return parse_rate_kbps(value, FIELD(config, key), err);
}

static int set_vtep(struct config *config, const struct key *key, const char *value,
                    struct err *err)
{
    char address[IPV4_TEXT_SIZE];
    const char *slash = strchr(value, '/');
    uint64_t prefix;
    uint32_t vtep;

    (void)key;
    if (slash == NULL || (size_t)(slash - value) >= sizeof(address))
        return err_set(err, -EINVAL, "'%s' is no address with a prefix; write 10.1.0.1/24", value);
    memcpy(address, value, (size_t)(slash - value));
    address[slash - value] = '\0';
    if (ipv4_parse(address, &vtep, err) < 0 || parse_number(slash + 1, 1, 32, &prefix, err) < 0)
        return err_set(err, -EINVAL, "'%s' is no address with a prefix; write 10.1.0.1/24", value);
    config->vtep = vtep;
    config->vtep_prefix = (uint8_t)prefix;
    return 0;
}

static int set_label(struct config *config, const struct key *key, const char *value,
                     struct err *err)
{
    const char *equals = strchr(value, '=');
    size_t key_size = equals != NULL ? (size_t)(equals - value) : 0;
    struct label label = {0};
    uint32_t at = 0;

    (void)key;
    if (key_size == 0 || key_size >= LABEL_KEY_SIZE || value[strcspn(value, " \t")] != '\0' ||
        strlen(equals + 1) >= LABEL_VALUE_SIZE)
        return err_set(err, -EINVAL,
                       "'%s' is no label; write key=value, up to %d and %d characters", value,
                       LABEL_KEY_SIZE - 1, LABEL_VALUE_SIZE - 1);
    memcpy(label.key, value, key_size);
    memcpy(label.value, equals + 1, strlen(equals + 1));
    while (at < config->n_labels && strcmp(config->labels[at].key, label.key) != 0)
        at++;
    if (at == MAX_LABELS)
        return err_set(err, -EINVAL, "more than %d labels", MAX_LABELS);
    config->labels[at] = label;
    if (at == config->n_labels)
        config->n_labels++;
    return 0;
}

/* "1-3,5" */
static int set_isolated(struct config *config, const struct key *key, const char *value,
                        struct err *err)
{
    bool isolated[MAX_CORES] = {0};
    const char *p = value;
    unsigned first, last;
    int n;

    (void)key;
    while (*p != '\0') {
        if (sscanf(p, "%3u-%3u%n", &first, &last, &n) != 2) {
            if (sscanf(p, "%3u%n", &first, &n) != 1)
                break;
            last = first;
        }
        if (first > last || last >= MAX_CORES || (p[n] != ',' && p[n] != '\0'))
            break;
        for (unsigned i = first; i <= last; i++)
            isolated[i] = true;
        p += n;
        if (*p == ',' && isdigit((unsigned char)p[1]))
            p++;
    }
    if (*p != '\0')
        return err_set(err, -EINVAL, "'%s' is no list of cores; write 1-3,5 (highest is %d)", value,
                       MAX_CORES - 1);
    memcpy(config->isolated, isolated, sizeof(isolated));
    config->has_isolated_cores = true;
    return 0;
}

static int set_isolation(struct config *config, const struct key *key, const char *value,
                         struct err *err)
{
    (void)key;
    if (strcmp(value, "real") != 0 && strcmp(value, "simulated") != 0)
        return err_set(err, -EINVAL, "'%s' is neither real nor simulated", value);
    config->isolation_simulated = strcmp(value, "simulated") == 0;
    return 0;
}

static int set_datapath(struct config *config, const struct key *key, const char *value,
                        struct err *err)
{
    if (strcmp(value, "system") != 0 && strcmp(value, "netdev") != 0)
        return err_set(err, -EINVAL, "'%s' is neither system nor netdev", value);
    return set_text(config, key, value, err);
}

static int set_profile(struct config *config, const struct key *key, const char *value,
                       struct err *err)
{
    (void)key;
    if (timers_of_profile(value) == NULL)
        return err_set(err, -EINVAL, "'%s' is none of default, fast, wan, slow", value);
    snprintf(config->profile, sizeof(config->profile), "%s", value);
    return 0;
}

static int set_log_level(struct config *config, const struct key *key, const char *value,
                         struct err *err)
{
    enum log_level level;

    (void)key;
    if (log_parse_level(value, &level) < 0)
        return err_set(err, -EINVAL, "'%s' is none of error, warn, info, debug", value);
    config->log_level = (int)level;
    return 0;
}

#define PLAIN(field, setter)                                                                       \
    {                                                                                              \
#field, setter, offsetof(struct config, field), sizeof(((struct config *)0)->field), 0, 0  \
    }
#define NUMBER(field, min, max)                                                                    \
    {                                                                                              \
#field, set_number, offsetof(struct config, field), 4, min, max                            \
    }

#define TIMER(field, min, max)                                                                     \
    {                                                                                              \
#field, set_number, offsetof(struct config, timers.field), 4, min, max                     \
    }

static const struct key keys[] = {
    PLAIN(name, set_name),
    PLAIN(address, set_address),
    {"label", set_label, 0, 0, 0, 0},
    {"cores", set_number, offsetof(struct config, n_cores), 4, 1, MAX_CORES},
    {"isolated_cores", set_isolated, 0, 0, 0, 0},
    {"isolation", set_isolation, 0, 0, 0, 0},
    {"memory", set_memory, offsetof(struct config, memory_mib), 4, 0, 0},
    {"image_disk", set_memory, offsetof(struct config, image_disk_mib), 4, 0, 0},
    {"backhaul", set_rate, offsetof(struct config, backhaul_kbps), 4, 0, 0},
    PLAIN(uplink, set_text),
    {"vtep", set_vtep, 0, 0, 0, 0},
    PLAIN(vtep_port, set_text),
    PLAIN(datapath, set_datapath),
    PLAIN(witness, set_bool),
    PLAIN(data_dir, set_directory),
    PLAIN(run_dir, set_directory),
    PLAIN(log_dir, set_directory),
    {"log_level", set_log_level, 0, 0, 0, 0},
    {"profile", set_profile, 0, 0, 0, 0},
    TIMER(election_ms, 100, 60000),
    TIMER(heartbeat_ms, 20, 10000),
    TIMER(beat_ms, 10, 10000),
    TIMER(authority_ms, 30, 60000),
    TIMER(lease_ms, 100, MAX_LEASE_MS),
    TIMER(freeze_ms, 1, TIMERS_MAX_FREEZE_MS),
    NUMBER(disk_stall_ms, 100, 600000),
    NUMBER(stream_delay_ms, 0, 1000),
    {"checkpoint_limit", set_memory, offsetof(struct config, checkpoint_limit_mib), 4, 0, 0},
    PLAIN(user, set_text),
    PLAIN(watchdog, set_directory),
};

void config_init(struct config *config)
{
    *config = (struct config){
        .datapath = "system",
        .data_dir = "/var/lib/skein",
        .run_dir = "/run/skein",
        .log_dir = "/var/log/skein",
        .log_level = LOG_LEVEL_INFO,
        .disk_stall_ms = 5000,
        .stream_delay_ms = 25,
        .checkpoint_limit_mib = 1024,
        .user = "skein",
    };
}

/* '-' in a flag stands for '_' in a key. */
static bool key_matches(const char *key, const char *text, size_t size)
{
    if (strlen(key) != size)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (key[i] != text[i] && !(key[i] == '_' && text[i] == '-'))
            return false;
    }
    return true;
}

static int set_sized(struct config *config, const char *name, size_t size, const char *value,
                     struct err *err)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (!key_matches(keys[i].name, name, size))
            continue;
        if (keys[i].set(config, &keys[i], value, err) < 0)
            return err_prefix(err, "%s", keys[i].name);
        return 0;
    }
    return err_set(err, -ENOENT, "unknown key '%.*s'", (int)size, name);
}

int config_set(struct config *config, const char *key, const char *value, struct err *err)
{
    return set_sized(config, key, strlen(key), value, err);
}

static char *trim(char *text)
{
    char *end = text + strlen(text);

    while (end > text && isspace((unsigned char)end[-1]))
        *--end = '\0';
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

/* A line without its line break; changes it. */
static int parse_line(struct config *config, char *line, struct err *err)
{
    char *text, *equals;

    line[strcspn(line, "#")] = '\0';
    text = trim(line);
    if (*text == '\0')
        return 0;
    equals = strchr(text, '=');
    if (equals == NULL)
        return err_set(err, -EINVAL, "'%.60s' is not of the form key = value", text);
    *equals = '\0';
    return config_set(config, trim(text), trim(equals + 1), err);
}

int config_parse(struct config *config, const char *file, const char *text, struct err *err)
{
    char line[LINE_SIZE];
    struct err reason = {0};

    for (unsigned n = 1; *text != '\0'; n++) {
        size_t size = strcspn(text, "\n");

        if (size >= sizeof(line))
            return err_set(err, -EINVAL, "%s:%u: the line is longer than %zu bytes", file, n,
                           sizeof(line) - 1);
        memcpy(line, text, size);
        line[size] = '\0';
        if (parse_line(config, line, &reason) < 0)
            return err_set(err, -EINVAL, "%s:%u: %s", file, n, reason.text);
        text += size + (text[size] == '\n');
    }
    return 0;
}

int config_parse_flags(struct config *config, int argc, char *const argv[], struct err *err)
{
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i], *value;
        size_t size;

        if (strncmp(flag, "--", 2) != 0 || flag[2] == '\0')
            return err_set(err, -EINVAL, "'%s': flags are written --key value", flag);
        flag += 2;
        size = strcspn(flag, "=");
        value = flag[size] == '=' ? flag + size + 1 : ++i < argc ? argv[i] : NULL;
        if (value == NULL)
            return err_set(err, -EINVAL, "--%s: a value is missing", flag);
        if (size == 6 && memcmp(flag, "config", 6) == 0)
            continue;
        if (set_sized(config, flag, size, value, err) < 0)
            return err_prefix(err, "--%.*s", (int)size, flag);
    }
    return 0;
}

int config_check(const struct config *config, struct err *err)
{
    struct timers timers = config_timers(config);
    int rc = timers_check(&timers, err);

    if (rc < 0)
        return rc;
    for (uint32_t i = config->n_cores; config->n_cores != 0 && i < MAX_CORES; i++) {
        if (config->isolated[i])
            return err_set(err, -EINVAL, "isolated_cores names core %u, but there are %u cores", i,
                           config->n_cores);
    }
    return 0;
}

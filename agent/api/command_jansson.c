#include "agent/api/command_jansson.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/volumes_jansson.h"
#include "base/units.h"
#include "consensus/health.h"
#include "consensus/state.h"

enum { DEFAULT_MEMORY_MIB = 64, DEFAULT_PRIORITY = 100, MAX_PRIORITY = 1000000 };

int hex_decode(const char *text, uint8_t *ret, size_t n)
{
    if (text == NULL || strlen(text) != 2 * n || strspn(text, "0123456789abcdef") != 2 * n)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};

        ret[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return 0;
}

const char *hex_encode(const uint8_t *bytes, size_t n, char *ret)
{
    ret[0] = '\0';
    for (size_t i = 0; i < n; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    return ret;
}

int name_of_json(const json_t *params, const char *key, char ret[NAME_SIZE], struct err *err)
{
    const char *text = json_string_value(json_object_get(params, key));

    if (text == NULL)
        return err_set(err, -EINVAL, "'%s' is missing", key);
    if (!name_is_valid(text))
        return err_set(err, -EINVAL,
                       "%s: '%.40s' is no name: 1 to %d of a-z 0-9 -, beginning with a letter", key,
                       text, NAME_MAX_LENGTH);
    memset(ret, 0, NAME_SIZE);
    memcpy(ret, text, strlen(text));
    return 0;
}

static int optional_name(const json_t *params, const char *key, char ret[NAME_SIZE],
                         struct err *err)
{
    const json_t *value = json_object_get(params, key);

    return value == NULL || json_is_null(value) ? 0 : name_of_json(params, key, ret, err);
}

int timers_of_json(const json_t *json, struct timers *ret, struct err *err)
{
    *ret = (struct timers){0};
    for (unsigned i = 0; timers_key(i) != NULL; i++) {
        const json_t *value = json_object_get(json, timers_key(i));

        if (value == NULL || json_is_null(value))
            continue;
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) > UINT32_MAX)
            return err_set(err, -EINVAL, "%s: not a number of ms", timers_key(i));
        *timers_at(ret, i) = (uint32_t)json_integer_value(value);
    }
    return 0;
}

/* A whole number within bounds; absent: `otherwise`. */
static int number(const json_t *params, const char *key, uint64_t otherwise, uint64_t max,
                  uint64_t *ret, struct err *err)
{
    const json_t *value = json_object_get(params, key);

    *ret = otherwise;
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > max)
        return err_set(err, -EINVAL, "%s: must be a whole number from 0 to %llu", key,
                       (unsigned long long)max);
    *ret = (uint64_t)json_integer_value(value);
    return 0;
}

static int number32(const json_t *params, const char *key, uint32_t otherwise, uint32_t max,
                    uint32_t *ret, struct err *err)
{
    uint64_t v;
    int rc = number(params, key, otherwise, max, &v, err);

    *ret = (uint32_t)v;
    return rc;
}

/* An array of texts into a heap array. */
static int texts(const json_t *params, const char *key, uint32_t *ret_n, char ***ret,
                 struct err *err)
{
    const json_t *list = json_object_get(params, key);
    size_t n = json_array_size(list);

    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return err_set(err, -EINVAL, "%s: must be a list of texts", key);
    if (n > MAX_ARGUMENTS)
        return err_set(err, -EINVAL, "%s: more than %d", key, MAX_ARGUMENTS);
    *ret = calloc(n > 0 ? n : 1, sizeof(**ret));
    if (*ret == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (text == NULL || strlen(text) >= ARGUMENT_SIZE)
            return err_set(err, -EINVAL, "%s: each must be a text of at most %d bytes", key,
                           ARGUMENT_SIZE - 1);
        (*ret)[i] = strdup(text);
        if ((*ret)[i] == NULL)
            return err_set(err, -ENOMEM, "out of memory");
        *ret_n = (uint32_t)i + 1;
    }
    return 0;
}

static int labels(const json_t *params, const char *key, uint32_t *ret_n,
                  struct label ret[MAX_LABELS], struct err *err)
{
    json_t *object = json_object_get(params, key), *value;
    const char *name;

    if (object == NULL || json_is_null(object))
        return 0;
    if (!json_is_object(object) || json_object_size(object) > MAX_LABELS)
        return err_set(err, -EINVAL, "%s: must be an object of at most %d texts", key, MAX_LABELS);
    json_object_foreach(object, name, value)
    {
        struct label *label = &ret[*ret_n];
        const char *text = json_string_value(value);

        if (name[0] == '\0' || strlen(name) >= LABEL_KEY_SIZE || text == NULL ||
            strlen(text) >= LABEL_VALUE_SIZE)
            return err_set(err, -EINVAL, "%s: '%.40s' is no label", key, name);
        memcpy(label->key, name, strlen(name));
        memcpy(label->value, text, strlen(text));
        (*ret_n)++;
    }
    return 0;
}

/* "failover" and "protect_ms" go together: each stands for the other where that is not said. */
static int protection(const json_t *params, struct guest_spec *ret, struct err *err)
{
    const json_t *period = json_object_get(params, "protect_ms");
    bool says_failover = json_string_value(json_object_get(params, "failover")) != NULL;
    int rc = number32(params, "protect_ms", 0, UINT32_MAX, &ret->protect_ms, err);

    if (rc < 0)
        return rc;
    if (ret->protect_ms != 0 && says_failover && ret->failover != FAILOVER_RESTORE)
        return err_set(err, -EINVAL, "protect_ms: is for guests that restore, not %s",
                       failover_policy_name(ret->failover));
    if (ret->protect_ms != 0)
        ret->failover = FAILOVER_RESTORE;
    else if (ret->failover == FAILOVER_RESTORE && period != NULL && !json_is_null(period))
        return err_set(err, -EINVAL, "protect_ms: who is to restore needs checkpoints");
    else if (ret->failover == FAILOVER_RESTORE)
        ret->protect_ms = PROTECT_DEFAULT_MS;
    return 0;
}

static int policies(const json_t *params, struct guest_spec *ret, struct err *err)
{
    const char *restart = json_string_value(json_object_get(params, "restart"));
    const char *failover = json_string_value(json_object_get(params, "failover"));
    const char *kind = json_string_value(json_object_get(params, "kind"));
    const json_t *preempt = json_object_get(params, "preempt");

    if (preempt != NULL && !json_is_null(preempt) && !json_is_boolean(preempt))
        return err_set(err, -EINVAL, "preempt: must be true or false");
    if (json_is_boolean(preempt))
        ret->preempt = json_is_true(preempt) ? PREEMPT_ON : PREEMPT_OFF;
    ret->kind = KIND_CELL;
    ret->restart = RESTART_ALWAYS;
    ret->failover = FAILOVER_RESTART;
    if (kind != NULL && guest_kind_parse(kind, &ret->kind) < 0)
        return err_set(err, -EINVAL, "kind: '%.20s' is none of cell, lxc, vm", kind);
    if (restart != NULL && restart_policy_parse(restart, &ret->restart) < 0)
        return err_set(err, -EINVAL, "restart: '%.20s' is none of always, on-failure, never",
                       restart);
    if (failover != NULL && failover_policy_parse(failover, &ret->failover) < 0)
        return err_set(err, -EINVAL, "failover: '%.20s' is none of restart, stay, restore",
                       failover);
    return protection(params, ret, err);
}

static int health(const json_t *params, struct health_check *ret, struct err *err)
{
    static const char *const details[] = {"health_interval_ms", "health_timeout_ms",
                                          "health_retries", "health_start_ms"};
    const json_t *value = json_object_get(params, "health");
    int rc;

    if (value == NULL || json_is_null(value)) {
        for (size_t i = 0; i < sizeof(details) / sizeof(details[0]); i++) {
            if (json_object_get(params, details[i]) != NULL)
                return err_set(err, -EINVAL, "%s: means nothing without 'health'", details[i]);
        }
        return 0;
    }
    if (!json_is_string(value))
        return err_set(err, -EINVAL, "health: must be a text, tcp:PORT or exec:COMMAND");
    rc = health_parse(json_string_value(value), ret, err);
    if (rc == 0)
        rc = number32(params, details[0], HEALTH_INTERVAL_MS, UINT32_MAX, &ret->interval_ms, err);
    if (rc == 0)
        rc = number32(params, details[1], HEALTH_TIMEOUT_MS, UINT32_MAX, &ret->timeout_ms, err);
    if (rc == 0)
        rc = number32(params, details[2], HEALTH_RETRIES, UINT32_MAX, &ret->retries, err);
    if (rc == 0)
        rc = number32(params, details[3], 0, UINT32_MAX, &ret->start_ms, err);
    return rc == 0 ? health_check_bounds(ret, err) : rc;
}

static int read_user_data(const json_t *params, struct guest_spec *ret, struct err *err)
{
    const json_t *value = json_object_get(params, "user_data");

    if (value == NULL || json_is_null(value))
        return 0;
    if (ret->kind != KIND_VM)
        return err_set(err, -EINVAL, "user_data: only a vm takes it (kind: vm)");
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        json_string_length(value) >= USER_DATA_SIZE ||
        strlen(json_string_value(value)) != json_string_length(value))
        return err_set(err, -EINVAL, "user_data: must be a text of 1 to %d bytes",
                       USER_DATA_SIZE - 1);
    ret->user_data = strdup(json_string_value(value));
    return ret->user_data != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int read_spec(const json_t *params, struct guest_spec *ret, struct err *err)
{
    int rc = name_of_json(params, "name", ret->name, err);

    if (rc == 0)
        rc = name_of_json(params, "image", ret->image, err);
    if (rc == 0)
        rc = optional_name(params, "slice", ret->slice, err);
    if (rc == 0)
        rc = optional_name(params, "on", ret->on, err);
    if (rc == 0)
        rc = number32(params, "cores", 0, MAX_GUEST_CORES, &ret->n_cores, err);
    if (rc == 0)
        rc = number32(params, "memory", DEFAULT_MEMORY_MIB, UINT32_MAX, &ret->memory_mib, err);
    if (rc == 0)
        rc = number32(params, "priority", DEFAULT_PRIORITY, MAX_PRIORITY, &ret->priority, err);
    if (rc == 0)
        rc = policies(params, ret, err);
    if (rc == 0)
        rc = health(params, &ret->health, err);
    if (rc == 0)
        rc = labels(params, "label", &ret->n_constraints, ret->constraints, err);
    if (rc == 0)
        rc = texts(params, "env", &ret->n_env, &ret->env, err);
    if (rc == 0)
        rc = texts(params, "argv", &ret->n_argv, &ret->argv, err);
    if (rc == 0)
        rc = read_user_data(params, ret, err);
    if (rc == 0)
        rc = volumes_of_json(params, ret, err);
    if (rc == 0 && ret->memory_mib == 0)
        rc = err_set(err, -EINVAL, "memory: must be at least 1m");
    for (uint32_t i = 0; rc == 0 && i < ret->n_env; i++) {
        if (strchr(ret->env[i], '=') == NULL || ret->env[i][0] == '=')
            rc = err_set(err, -EINVAL, "env: '%.40s' is not of the form KEY=VALUE", ret->env[i]);
    }
    return rc;
}

int guest_spec_of_json(const json_t *params, struct guest_spec *ret, struct err *err)
{
    int rc;

    *ret = (struct guest_spec){0};
    rc = read_spec(params, ret, err);
    if (rc < 0)
        guest_spec_deinit(ret);
    return rc;
}

/* ---- one function a method */

static int slice_create(const json_t *params, struct command *ret, struct err *err)
{
    struct slice *slice = &ret->slice_create.slice;
    const char *subnet = json_string_value(json_object_get(params, "subnet"));
    int rc = name_of_json(params, "name", slice->name, err);

    ret->type = COMMAND_SLICE_CREATE;
    if (rc == 0 && subnet == NULL)
        rc = err_set(err, -EINVAL, "'subnet' is missing");
    if (rc == 0)
        rc = subnet_parse(subnet, &slice->subnet, err);
    if (rc == 0)
        rc = number32(params, "rate", 0, UINT32_MAX, &slice->rate_kbps, err);
    return rc;
}

int image_defaults_of_json(const json_t *params, struct image_defaults *ret, struct err *err)
{
    const json_t *d = json_object_get(params, "defaults");
    const char *directory = json_string_value(json_object_get(d, "directory"));
    int rc = 0;

    if (d == NULL || json_is_null(d))
        return 0;
    if (directory != NULL && directory[0] != '\0') {
        if (directory[0] != '/' || strlen(directory) >= DIRECTORY_SIZE)
            return err_set(err, -EINVAL,
                           "defaults: '%.80s' is no absolute path of at most %d bytes", directory,
                           DIRECTORY_SIZE - 1);
        memcpy(ret->directory, directory, strlen(directory));
    }
    rc = texts(d, "env", &ret->n_env, &ret->env, err);
    if (rc == 0)
        rc = texts(d, "entrypoint", &ret->n_entrypoint, &ret->entrypoint, err);
    if (rc == 0)
        rc = texts(d, "command", &ret->n_command, &ret->command, err);
    if (rc == 0)
        rc = number32(d, "uid", 0, UINT32_MAX - 1, &ret->uid, err);
    if (rc == 0)
        rc = number32(d, "gid", 0, UINT32_MAX - 1, &ret->gid, err);
    for (uint32_t i = 0; rc == 0 && i < ret->n_env; i++) {
        if (strchr(ret->env[i], '=') == NULL || ret->env[i][0] == '=')
            rc = err_set(err, -EINVAL, "defaults: '%.40s' is not of the form KEY=VALUE",
                         ret->env[i]);
    }
    return rc;
}

static int image_add(const json_t *params, struct command *ret, struct err *err)
{
    struct image *image = &ret->image_add.image;
    const char *format = json_string_value(json_object_get(params, "format"));
    int rc = name_of_json(params, "name", image->name, err);
    uint64_t holder = 0;

    ret->type = COMMAND_IMAGE_ADD;
    if (rc == 0)
        rc = number(params, "size_bytes", 0, INT64_MAX, &image->size, err);
    if (rc == 0)
        rc = number(params, "holder", 0, INT64_MAX, &holder, err);
    if (rc == 0 && (image->size == 0 || holder == 0 ||
                    hex_decode(json_string_value(json_object_get(params, "digest")), image->digest,
                               DIGEST_SIZE) < 0))
        rc = err_set(err, -EINVAL, "'digest', 'size_bytes' and 'holder' must say what is stored");
    if (rc == 0 && (format == NULL || image_format_parse(format, &image->format) < 0))
        rc = err_set(err, -EINVAL, "'format' must be tar, squashfs, qcow2 or raw");
    if (rc == 0)
        rc = number32(params, "copies", 0, MAX_NODES, &image->copies, err);
    if (rc == 0)
        rc = image_defaults_of_json(params, &image->defaults, err);
    if (rc < 0)
        return rc;
    image->holders = malloc(sizeof(*image->holders));
    if (image->holders == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    image->holders[0] = holder;
    image->n_holders = 1;
    return 0;
}

static int guest_run(const json_t *params, struct command *ret, struct err *err)
{
    int rc = guest_spec_of_json(params, &ret->guest_create.spec, err);

    ret->type = COMMAND_GUEST_CREATE;
    if (rc == 0 && ret->guest_create.spec.n_argv > 0 && guest_spec_boots(&ret->guest_create.spec))
        rc = err_set(err, -EINVAL, "argv: a vm boots its image and takes no command");
    return rc;
}

static int cluster_set(const json_t *params, enum cluster_setting setting, struct command *ret,
                       struct err *err)
{
    const json_t *on = json_object_get(params, "on");

    ret->type = COMMAND_CLUSTER_SET;
    ret->cluster_set.setting = setting;
    ret->cluster_set.flag = json_is_true(on);
    return json_is_boolean(on) ? 0 : err_set(err, -EINVAL, "'on' must be true or false");
}

int move_terms_of_json(const json_t *params, struct move_terms *ret, struct err *err)
{
    const json_t *mode = json_object_get(params, "mode");
    const json_t *bandwidth = json_object_get(params, "bandwidth");
    int rc;

    *ret = MOVE_TERMS_DEFAULT;
    if (mode != NULL && !json_is_null(mode) &&
        (!json_is_string(mode) || move_mode_parse(json_string_value(mode), &ret->mode) < 0))
        return err_set(err, -EINVAL, "mode: must be auto, stop, pre or post");
    rc = number32(params, "downtime_ms", MOVE_DOWNTIME_MS, MOVE_DOWNTIME_MAX_MS, &ret->downtime_ms,
                  err);
    if (rc == 0 && ret->downtime_ms == 0)
        rc = err_set(err, -EINVAL, "downtime_ms: must be at least 1: every move stops the guest");
    if (rc == 0)
        rc = number32(params, "bandwidth", 0, UINT32_MAX, &ret->bandwidth_kbps, err);
    if (rc == 0 && json_is_integer(bandwidth) && ret->bandwidth_kbps == 0)
        rc = err_set(err, -EINVAL,
                     "bandwidth: must be at least 1 kbit/s; leave it out for no limit");
    return rc;
}

static int guest_set(const json_t *params, struct command *ret, struct err *err)
{
    const json_t *period = json_object_get(params, "protect_ms");
    int rc = name_of_json(params, "name", ret->guest_protect.name, err);

    ret->type = COMMAND_GUEST_PROTECT;
    if (rc == 0 && (period == NULL || json_is_null(period)))
        rc = err_set(err, -EINVAL, "'protect_ms' is missing: what is to be set?");
    if (rc == 0)
        rc = number32(params, "protect_ms", 0, UINT32_MAX, &ret->guest_protect.protect_ms, err);
    return rc;
}

static int guest_migrate(const json_t *params, struct command *ret, struct err *err)
{
    uint64_t node = 0;
    int rc = name_of_json(params, "name", ret->migration_reserve.guest, err);

    ret->type = COMMAND_MIGRATION_RESERVE;
    if (rc == 0)
        rc = number(params, "to_id", 0, INT64_MAX, &node, err);
    ret->migration_reserve.target.node = node;
    return rc < 0 ? rc : move_terms_of_json(params, &ret->migration_reserve.terms, err);
}

static int migration_cancel(const json_t *params, struct command *ret, struct err *err)
{
    ret->type = COMMAND_MIGRATION_ABORT;
    snprintf(ret->migration_step.reason, sizeof(ret->migration_step.reason), "it was cancelled");
    return number(params, "id", 1, INT64_MAX, &ret->migration_step.id, err);
}

int command_of_json(const char *method, const json_t *params, struct command *ret, struct err *err)
{
    static const struct {
        const char *method;
        enum command_type type;
        bool flag;
    } plain[] = {
        {"node.cordon", COMMAND_NODE_CORDON, true},  {"node.uncordon", COMMAND_NODE_CORDON, false},
        {"node.drain", COMMAND_NODE_DRAIN, true},    {"node.undrain", COMMAND_NODE_DRAIN, false},
        {"node.remove", COMMAND_NODE_REMOVE, false}, {"slice.rm", COMMAND_SLICE_REMOVE, false},
        {"image.rm", COMMAND_IMAGE_REMOVE, false},   {"guest.stop", COMMAND_GUEST_STOP, false},
        {"guest.rm", COMMAND_GUEST_REMOVE, false},
    };

    *ret = (struct command){0};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (strcmp(plain[i].method, method) != 0)
            continue;
        ret->type = plain[i].type;
        if (ret->type == COMMAND_NODE_CORDON || ret->type == COMMAND_NODE_DRAIN) {
            ret->node_flag.flag = plain[i].flag;
            return name_of_json(params, "name", ret->node_flag.name, err);
        }
        return name_of_json(params, "name", ret->by_name.name, err);
    }
    if (strcmp(method, "guest.start") == 0) {
        ret->type = COMMAND_GUEST_START;
        return name_of_json(params, "name", ret->guest_place.name, err);
    }
    if (strcmp(method, "cluster.maintenance") == 0)
        return cluster_set(params, SETTING_MAINTENANCE, ret, err);
    if (strcmp(method, "cluster.preemption") == 0)
        return cluster_set(params, SETTING_PREEMPTION, ret, err);
    if (strcmp(method, "slice.create") == 0)
        return slice_create(params, ret, err);
    if (strcmp(method, "image.add") == 0)
        return image_add(params, ret, err);
    if (strcmp(method, "image.gc") == 0) {
        ret->type = COMMAND_IMAGE_RELEASE;
        return json_object_get(params, "name") == NULL
                   ? 0
                   : name_of_json(params, "name", ret->image_release.name, err);
    }
    if (strcmp(method, "guest.run") == 0)
        return guest_run(params, ret, err);
    if (strcmp(method, "guest.set") == 0)
        return guest_set(params, ret, err);
    if (strcmp(method, "guest.migrate") == 0)
        return guest_migrate(params, ret, err);
    if (strcmp(method, "migration.cancel") == 0)
        return migration_cancel(params, ret, err);
    return err_set(err, -ENOENT, "there is no method '%.40s'", method);
}

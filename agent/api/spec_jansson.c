/* spec: a guest as plan and run describe it. */
#include <errno.h>
#include <string.h>

#include "agent/api/command_jansson.h"
#include "agent/api/fields_jansson.h"
#include "agent/api/volumes_jansson.h"
#include "base/units.h"
#include "consensus/health.h"
#include "consensus/state.h"

enum { DEFAULT_MEMORY_MIB = 64, DEFAULT_PRIORITY = 100, MAX_PRIORITY = 1000000 };

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
    int rc = number32_of_json(params, "protect_ms", 0, UINT32_MAX, &ret->protect_ms, err);

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
        rc = number32_of_json(params, details[0], HEALTH_INTERVAL_MS, UINT32_MAX, &ret->interval_ms,
                              err);
    if (rc == 0)
        rc = number32_of_json(params, details[1], HEALTH_TIMEOUT_MS, UINT32_MAX, &ret->timeout_ms,
                              err);
    if (rc == 0)
        rc = number32_of_json(params, details[2], HEALTH_RETRIES, UINT32_MAX, &ret->retries, err);
    if (rc == 0)
        rc = number32_of_json(params, details[3], 0, UINT32_MAX, &ret->start_ms, err);
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
        rc = optional_name_of_json(params, "slice", ret->slice, err);
    if (rc == 0)
        rc = optional_name_of_json(params, "on", ret->on, err);
    if (rc == 0)
        rc = number32_of_json(params, "cores", 0, MAX_GUEST_CORES, &ret->n_cores, err);
    if (rc == 0)
        rc = number32_of_json(params, "memory", DEFAULT_MEMORY_MIB, UINT32_MAX, &ret->memory_mib,
                              err);
    if (rc == 0)
        rc = number32_of_json(params, "priority", DEFAULT_PRIORITY, MAX_PRIORITY, &ret->priority,
                              err);
    if (rc == 0)
        rc = policies(params, ret, err);
    if (rc == 0)
        rc = health(params, &ret->health, err);
    if (rc == 0)
        rc = labels(params, "label", &ret->n_constraints, ret->constraints, err);
    if (rc == 0)
        rc = texts_of_json(params, "env", &ret->n_env, &ret->env, err);
    if (rc == 0)
        rc = texts_of_json(params, "argv", &ret->n_argv, &ret->argv, err);
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

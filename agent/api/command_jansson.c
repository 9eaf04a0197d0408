#include "agent/api/command_jansson.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/fields_jansson.h"
#include "base/units.h"
#include "consensus/state.h"

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
        rc = number32_of_json(params, "rate", 0, UINT32_MAX, &slice->rate_kbps, err);
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
    rc = texts_of_json(d, "env", &ret->n_env, &ret->env, err);
    if (rc == 0)
        rc = texts_of_json(d, "entrypoint", &ret->n_entrypoint, &ret->entrypoint, err);
    if (rc == 0)
        rc = texts_of_json(d, "command", &ret->n_command, &ret->command, err);
    if (rc == 0)
        rc = number32_of_json(d, "uid", 0, UINT32_MAX - 1, &ret->uid, err);
    if (rc == 0)
        rc = number32_of_json(d, "gid", 0, UINT32_MAX - 1, &ret->gid, err);
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
        rc = number_of_json(params, "size_bytes", 0, INT64_MAX, &image->size, err);
    if (rc == 0)
        rc = number_of_json(params, "holder", 0, INT64_MAX, &holder, err);
    if (rc == 0 && (image->size == 0 || holder == 0 ||
                    hex_decode(json_string_value(json_object_get(params, "digest")), image->digest,
                               DIGEST_SIZE) < 0))
        rc = err_set(err, -EINVAL, "'digest', 'size_bytes' and 'holder' must say what is stored");
    if (rc == 0 && (format == NULL || image_format_parse(format, &image->format) < 0))
        rc = err_set(err, -EINVAL, "'format' must be tar, squashfs, qcow2 or raw");
    if (rc == 0)
        rc = number32_of_json(params, "copies", 0, MAX_NODES, &image->copies, err);
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

/* Whether the guest is a machine, the leader knows. */
static int connections_of_json(const json_t *params, struct move_terms *ret, struct err *err)
{
    const json_t *connections = json_object_get(params, "connections");

    ret->connections = 1;
    if (connections == NULL || json_is_null(connections))
        return 0;
    if (!json_is_integer(connections) || json_integer_value(connections) < 1 ||
        json_integer_value(connections) > MOVE_CONNECTIONS_MAX)
        return err_set(err, -EINVAL, "connections: must be a whole number from 1 to %d",
                       MOVE_CONNECTIONS_MAX);
    ret->connections = (uint32_t)json_integer_value(connections);
    if (!move_connections_fit(ret->mode, ret->connections))
        return err_set(err, -EINVAL,
                       "connections: several go with mode pre only, not with %s: QEMU knows no "
                       "post-copy behind them",
                       move_mode_name(ret->mode));
    return 0;
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
    rc = number32_of_json(params, "downtime_ms", MOVE_DOWNTIME_MS, MOVE_DOWNTIME_MAX_MS,
                          &ret->downtime_ms, err);
    if (rc == 0 && ret->downtime_ms == 0)
        rc = err_set(err, -EINVAL, "downtime_ms: must be at least 1: every move stops the guest");
    if (rc == 0)
        rc = number32_of_json(params, "bandwidth", 0, UINT32_MAX, &ret->bandwidth_kbps, err);
    if (rc == 0 && json_is_integer(bandwidth) && ret->bandwidth_kbps == 0)
        rc = err_set(err, -EINVAL,
                     "bandwidth: must be at least 1 kbit/s; leave it out for no limit");
    return rc < 0 ? rc : connections_of_json(params, ret, err);
}

static int guest_set(const json_t *params, struct command *ret, struct err *err)
{
    const json_t *period = json_object_get(params, "protect_ms");
    int rc = name_of_json(params, "name", ret->guest_protect.name, err);

    ret->type = COMMAND_GUEST_PROTECT;
    if (rc == 0 && (period == NULL || json_is_null(period)))
        rc = err_set(err, -EINVAL, "'protect_ms' is missing: what is to be set?");
    if (rc == 0)
        rc = number32_of_json(params, "protect_ms", 0, UINT32_MAX, &ret->guest_protect.protect_ms,
                              err);
    return rc;
}

static int guest_migrate(const json_t *params, struct command *ret, struct err *err)
{
    uint64_t node = 0;
    int rc = name_of_json(params, "name", ret->migration_reserve.guest, err);

    ret->type = COMMAND_MIGRATION_RESERVE;
    if (rc == 0)
        rc = number_of_json(params, "to_id", 0, INT64_MAX, &node, err);
    ret->migration_reserve.target.node = node;
    return rc < 0 ? rc : move_terms_of_json(params, &ret->migration_reserve.terms, err);
}

static int node_drain(const json_t *params, struct command *ret, struct err *err)
{
    int rc = name_of_json(params, "name", ret->node_flag.name, err);

    ret->type = COMMAND_NODE_DRAIN;
    ret->node_flag.flag = true;
    return rc < 0 ? rc
                  : number32_of_json(params, "deadline_ms", 0, DRAIN_MAX_MS,
                                     &ret->node_flag.drain_ms, err);
}

static int migration_cancel(const json_t *params, struct command *ret, struct err *err)
{
    ret->type = COMMAND_MIGRATION_ABORT;
    snprintf(ret->migration_step.reason, sizeof(ret->migration_step.reason), "it was cancelled");
    return number_of_json(params, "id", 1, INT64_MAX, &ret->migration_step.id, err);
}

int command_of_json(const char *method, const json_t *params, struct command *ret, struct err *err)
{
    static const struct {
        const char *method;
        enum command_type type;
        bool flag;
    } plain[] = {
        {"node.cordon", COMMAND_NODE_CORDON, true},  {"node.uncordon", COMMAND_NODE_CORDON, false},
        {"node.undrain", COMMAND_NODE_DRAIN, false}, {"node.remove", COMMAND_NODE_REMOVE, false},
        {"slice.rm", COMMAND_SLICE_REMOVE, false},   {"image.rm", COMMAND_IMAGE_REMOVE, false},
        {"guest.stop", COMMAND_GUEST_STOP, false},   {"guest.rm", COMMAND_GUEST_REMOVE, false},
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
    if (strcmp(method, "node.drain") == 0)
        return node_drain(params, ret, err);
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

/* types_codec: the bytes of facts, specs, placements and their like; see codec.h and command.h. */
#include "consensus/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/command.h"
#include "consensus/health.h"

uint32_t read_enum(struct reader *r, uint32_t last)
{
    uint8_t v = read_u8(r);

    if (v < 1 || v > last)
        reader_fail(r);
    return r->failed ? 0 : v;
}

void write_enum(struct writer *w, uint32_t v)
{
    write_u8(w, (uint8_t)v);
}

/* What no reader would take is not written either. */
static bool within(struct writer *w, uint32_t n, uint32_t max)
{
    if (n > max)
        w->failed = true;
    return !w->failed;
}

static void labels_encode(const struct label *labels, uint32_t n, struct writer *w)
{
    if (!within(w, n, MAX_LABELS))
        return;
    write_u32(w, n);
    for (uint32_t i = 0; i < n; i++) {
        write_string(w, labels[i].key);
        write_string(w, labels[i].value);
    }
}

static uint32_t labels_decode(struct reader *r, struct label *ret)
{
    uint32_t n = read_count(r, MAX_LABELS);

    for (uint32_t i = 0; i < n; i++) {
        read_string(r, ret[i].key, sizeof(ret[i].key));
        read_string(r, ret[i].value, sizeof(ret[i].value));
        if (ret[i].key[0] == '\0')
            reader_fail(r);
    }
    return n;
}

static void strings_encode(char *const *strings, uint32_t n, struct writer *w)
{
    if (!within(w, n, MAX_ARGUMENTS))
        return;
    write_u32(w, n);
    for (uint32_t i = 0; i < n && within(w, (uint32_t)strlen(strings[i]), ARGUMENT_SIZE - 1); i++)
        write_string(w, strings[i]);
}

/* The count goes up with each string, so that a deinit after a failure frees what is there. */
static int strings_decode(struct reader *r, char ***ret, uint32_t *ret_n)
{
    uint32_t n = read_count(r, MAX_ARGUMENTS);
    char text[ARGUMENT_SIZE];

    if (n == 0)
        return 0;
    *ret = calloc(n, sizeof(**ret));
    if (*ret == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < n && !r->failed; i++) {
        read_string(r, text, sizeof(text));
        (*ret)[i] = strdup(text);
        if ((*ret)[i] == NULL)
            return -ENOMEM;
        *ret_n = i + 1;
    }
    return 0;
}

static void core_encode(const struct core_info *core, struct writer *w)
{
    write_u16(w, core->id);
    write_u16(w, core->numa);
    write_u16(w, core->cluster);
    write_u16(w, core->sibling);
    write_bool(w, core->isolated);
}

static void core_decode(struct reader *r, struct core_info *ret)
{
    ret->id = read_u16(r);
    ret->numa = read_u16(r);
    ret->cluster = read_u16(r);
    ret->sibling = read_u16(r);
    ret->isolated = read_bool(r);
    if (ret->id >= MAX_CORES)
        reader_fail(r);
}

static void cores_encode(const struct node_facts *facts, struct writer *w)
{
    if (!within(w, facts->n_cores, MAX_CORES))
        return;
    write_u32(w, facts->n_cores);
    for (uint32_t i = 0; i < facts->n_cores; i++)
        core_encode(&facts->cores[i], w);
}

static int cores_decode(struct reader *r, struct node_facts *ret)
{
    uint32_t n = read_count(r, MAX_CORES);

    if (n == 0)
        return 0;
    ret->cores = calloc(n, sizeof(*ret->cores));
    if (ret->cores == NULL)
        return -ENOMEM;
    ret->n_cores = n;
    for (uint32_t i = 0; i < n && !r->failed; i++) {
        core_decode(r, &ret->cores[i]);
        if (i > 0 && ret->cores[i].id <= ret->cores[i - 1].id)
            reader_fail(r);
    }
    return 0;
}

void node_facts_encode(const struct node_facts *facts, struct writer *w)
{
    write_u32(w, facts->address);
    write_u32(w, facts->vtep);
    write_bytes(w, facts->link_key, sizeof(facts->link_key));
    write_bytes(w, facts->curve_key, sizeof(facts->curve_key));
    labels_encode(facts->labels, facts->n_labels, w);
    cores_encode(facts, w);
    write_u32(w, facts->memory_mib);
    write_u32(w, facts->kinds);
    write_bool(w, facts->can_track_dirty);
    write_bool(w, facts->can_lazy);
    write_string(w, facts->arch);
    write_u32(w, facts->backhaul_kbps);
    write_bool(w, facts->isolation_simulated);
    write_bool(w, facts->witness);
    write_u32(w, facts->images_mib);
    write_u8(w, (uint8_t)facts->vm_driver);
}

int node_facts_decode(struct reader *r, struct node_facts *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->address = read_u32(r);
    ret->vtep = read_u32(r);
    read_bytes(r, ret->link_key, sizeof(ret->link_key));
    read_bytes(r, ret->curve_key, sizeof(ret->curve_key));
    ret->n_labels = labels_decode(r, ret->labels);
    if (cores_decode(r, ret) < 0)
        return -ENOMEM;
    ret->memory_mib = read_u32(r);
    ret->kinds = read_u32(r);
    ret->can_track_dirty = read_bool(r);
    ret->can_lazy = read_bool(r);
    read_string(r, ret->arch, sizeof(ret->arch));
    ret->backhaul_kbps = read_u32(r);
    ret->isolation_simulated = read_bool(r);
    ret->witness = read_bool(r);
    ret->images_mib = read_u32(r);
    ret->vm_driver = (enum vm_driver)read_u8(r);
    if (ret->vm_driver >= VM_DRIVER_END ||
        (ret->vm_driver != VM_DRIVER_NONE) != ((ret->kinds & KIND_BIT(KIND_VM)) != 0))
        reader_fail(r);
    return r->failed ? -EBADMSG : 0;
}

static void health_encode(const struct health_check *health, struct writer *w)
{
    write_u8(w, (uint8_t)health->kind);
    if (health->kind == HEALTH_NONE)
        return;
    write_u16(w, health->port);
    write_u32(w, health->interval_ms);
    write_u32(w, health->timeout_ms);
    write_u32(w, health->retries);
    write_u32(w, health->start_ms);
    strings_encode(health->argv, health->n_argv, w);
}

static int health_decode(struct reader *r, struct health_check *ret)
{
    uint8_t kind = read_u8(r);
    int rc;

    if (kind > HEALTH_EXEC)
        reader_fail(r);
    if (r->failed || kind == HEALTH_NONE)
        return 0;
    ret->kind = (enum health_kind)kind;
    ret->port = read_u16(r);
    ret->interval_ms = read_u32(r);
    ret->timeout_ms = read_u32(r);
    ret->retries = read_u32(r);
    ret->start_ms = read_u32(r);
    rc = strings_decode(r, &ret->argv, &ret->n_argv);
    if (rc == 0 && !health_is_valid(ret))
        reader_fail(r);
    return rc;
}

/* Absolute, or "". */
static void read_directory(struct reader *r, char ret[DIRECTORY_SIZE])
{
    read_string(r, ret, DIRECTORY_SIZE);
    if (ret[0] != '\0' && ret[0] != '/')
        reader_fail(r);
}

/* "" stands for none. */
static void user_data_encode(const char *user_data, struct writer *w)
{
    const char *text = user_data != NULL ? user_data : "";

    if (within(w, (uint32_t)strlen(text), USER_DATA_SIZE - 1))
        write_string(w, text);
}

static int user_data_decode(struct reader *r, char **ret)
{
    char *text = malloc(USER_DATA_SIZE);
    int code = 0;

    if (text == NULL)
        return -ENOMEM;
    read_string(r, text, USER_DATA_SIZE);
    if (text[0] != '\0') {
        *ret = strdup(text);
        code = *ret == NULL ? -ENOMEM : 0;
    }
    free(text);
    return code;
}

static void volumes_encode(const struct volume *volumes, uint32_t n, struct writer *w)
{
    if (!within(w, n, MAX_VOLUMES))
        return;
    write_u32(w, n);
    for (uint32_t i = 0; i < n; i++) {
        write_string(w, volumes[i].name);
        write_string(w, volumes[i].path);
    }
}

static int volumes_decode(struct reader *r, struct guest_spec *ret)
{
    uint32_t n = read_count(r, MAX_VOLUMES);

    if (n == 0)
        return 0;
    ret->volumes = calloc(n, sizeof(*ret->volumes));
    if (ret->volumes == NULL)
        return -ENOMEM;
    ret->n_volumes = n;
    for (uint32_t i = 0; i < n; i++) {
        read_string(r, ret->volumes[i].name, sizeof(ret->volumes[i].name));
        read_string(r, ret->volumes[i].path, sizeof(ret->volumes[i].path));
    }
    if (!r->failed && volumes_check(ret->volumes, n, NULL) < 0)
        reader_fail(r);
    return 0;
}

static enum preempt_policy read_preempt(struct reader *r)
{
    uint8_t v = read_u8(r);

    if (v > PREEMPT_OFF)
        reader_fail(r);
    return r->failed ? PREEMPT_BY_CLUSTER : (enum preempt_policy)v;
}

void guest_spec_encode(const struct guest_spec *spec, struct writer *w)
{
    write_string(w, spec->name);
    write_enum(w, spec->kind);
    write_string(w, spec->image);
    write_string(w, spec->slice);
    write_u32(w, spec->n_cores);
    write_u32(w, spec->memory_mib);
    write_u32(w, spec->priority);
    write_enum(w, spec->restart);
    write_enum(w, spec->failover);
    write_u32(w, spec->protect_ms);
    write_u8(w, (uint8_t)spec->preempt);
    health_encode(&spec->health, w);
    write_string(w, spec->on);
    labels_encode(spec->constraints, spec->n_constraints, w);
    strings_encode(spec->env, spec->n_env, w);
    strings_encode(spec->argv, spec->n_argv, w);
    write_string(w, spec->directory);
    write_u32(w, spec->uid);
    write_u32(w, spec->gid);
    user_data_encode(spec->user_data, w);
    volumes_encode(spec->volumes, spec->n_volumes, w);
}

int guest_spec_decode(struct reader *r, struct guest_spec *ret)
{
    memset(ret, 0, sizeof(*ret));
    read_string(r, ret->name, sizeof(ret->name));
    ret->kind = (enum guest_kind)read_enum(r, KIND_VM);
    read_string(r, ret->image, sizeof(ret->image));
    read_string(r, ret->slice, sizeof(ret->slice));
    ret->n_cores = read_count(r, MAX_GUEST_CORES);
    ret->memory_mib = read_u32(r);
    ret->priority = read_u32(r);
    ret->restart = (enum restart_policy)read_enum(r, RESTART_NEVER);
    ret->failover = (enum failover_policy)read_enum(r, FAILOVER_RESTORE);
    ret->protect_ms = read_u32(r);
    ret->preempt = read_preempt(r);
    if (health_decode(r, &ret->health) < 0)
        return -ENOMEM;
    read_string(r, ret->on, sizeof(ret->on));
    ret->n_constraints = labels_decode(r, ret->constraints);
    if (strings_decode(r, &ret->env, &ret->n_env) < 0 ||
        strings_decode(r, &ret->argv, &ret->n_argv) < 0)
        return -ENOMEM;
    read_directory(r, ret->directory);
    ret->uid = read_u32(r);
    ret->gid = read_u32(r);
    if (user_data_decode(r, &ret->user_data) < 0 || volumes_decode(r, ret) < 0)
        return -ENOMEM;
    return r->failed ? -EBADMSG : 0;
}

void placement_encode(const struct placement *placement, struct writer *w)
{
    if (!within(w, placement->n_cores, MAX_GUEST_CORES))
        return;
    write_u64(w, placement->node);
    write_u64(w, placement->epoch);
    write_u32(w, placement->n_cores);
    for (uint32_t i = 0; i < placement->n_cores; i++)
        write_u16(w, placement->cores[i]);
}

void placement_decode(struct reader *r, struct placement *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->node = read_u64(r);
    ret->epoch = read_u64(r);
    ret->n_cores = read_count(r, MAX_GUEST_CORES);
    for (uint32_t i = 0; i < ret->n_cores; i++) {
        ret->cores[i] = read_u16(r);
        if (ret->cores[i] >= MAX_CORES || (i > 0 && ret->cores[i] <= ret->cores[i - 1]))
            reader_fail(r);
    }
}

void slice_encode(const struct slice *slice, struct writer *w)
{
    write_string(w, slice->name);
    write_u32(w, slice->vni);
    write_u32(w, slice->subnet.network);
    write_u8(w, slice->subnet.prefix);
    write_u32(w, slice->rate_kbps);
}

void slice_decode(struct reader *r, struct slice *ret)
{
    memset(ret, 0, sizeof(*ret));
    read_string(r, ret->name, sizeof(ret->name));
    ret->vni = read_u32(r);
    ret->subnet.network = read_u32(r);
    ret->subnet.prefix = read_u8(r);
    ret->rate_kbps = read_u32(r);
    if (ret->subnet.prefix > 32)
        reader_fail(r);
}

static void defaults_encode(const struct image_defaults *d, struct writer *w)
{
    strings_encode(d->env, d->n_env, w);
    strings_encode(d->entrypoint, d->n_entrypoint, w);
    strings_encode(d->command, d->n_command, w);
    write_string(w, d->directory);
    write_u32(w, d->uid);
    write_u32(w, d->gid);
}

static int defaults_decode(struct reader *r, struct image_defaults *ret)
{
    if (strings_decode(r, &ret->env, &ret->n_env) < 0 ||
        strings_decode(r, &ret->entrypoint, &ret->n_entrypoint) < 0 ||
        strings_decode(r, &ret->command, &ret->n_command) < 0)
        return -ENOMEM;
    read_directory(r, ret->directory);
    ret->uid = read_u32(r);
    ret->gid = read_u32(r);
    return 0;
}

void image_encode(const struct image *image, struct writer *w)
{
    write_string(w, image->name);
    write_enum(w, image->format);
    write_bytes(w, image->digest, sizeof(image->digest));
    write_u64(w, image->size);
    write_u64(w, image->added);
    write_u32(w, image->copies);
    defaults_encode(&image->defaults, w);
    if (!within(w, image->n_holders, MAX_NODES))
        return;
    write_u32(w, image->n_holders);
    for (uint32_t i = 0; i < image->n_holders; i++)
        write_u64(w, image->holders[i]);
}

int image_decode(struct reader *r, struct image *ret)
{
    uint32_t n;

    memset(ret, 0, sizeof(*ret));
    read_string(r, ret->name, sizeof(ret->name));
    ret->format = (enum image_format)read_enum(r, IMAGE_RAW);
    read_bytes(r, ret->digest, sizeof(ret->digest));
    ret->size = read_u64(r);
    ret->added = read_u64(r);
    ret->copies = read_u32(r);
    if (ret->copies > MAX_NODES)
        reader_fail(r);
    if (defaults_decode(r, &ret->defaults) < 0)
        return -ENOMEM;
    n = read_count(r, MAX_NODES);
    ret->holders = n > 0 ? calloc(n, sizeof(*ret->holders)) : NULL;
    if (n > 0 && ret->holders == NULL)
        return -ENOMEM;
    ret->n_holders = n;
    for (uint32_t i = 0; i < n && !r->failed; i++) {
        ret->holders[i] = read_u64(r);
        if (i > 0 && ret->holders[i] <= ret->holders[i - 1])
            reader_fail(r);
    }
    return r->failed ? -EBADMSG : 0;
}

void token_encode(const struct token *token, struct writer *w)
{
    write_bytes(w, token->hash, sizeof(token->hash));
    write_u64(w, token->expires_s);
    write_u32(w, token->uses_left);
}

void token_decode(struct reader *r, struct token *ret)
{
    memset(ret, 0, sizeof(*ret));
    read_bytes(r, ret->hash, sizeof(ret->hash));
    ret->expires_s = read_u64(r);
    ret->uses_left = read_u32(r);
}

#include "consensus/types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void node_facts_deinit(struct node_facts *facts)
{
    free(facts->cores);
    facts->cores = NULL;
    facts->n_cores = 0;
}

static void strings_free(char **strings, uint32_t n)
{
    for (uint32_t i = 0; strings != NULL && i < n; i++)
        free(strings[i]);
    free(strings);
}

void guest_spec_deinit(struct guest_spec *spec)
{
    strings_free(spec->env, spec->n_env);
    strings_free(spec->argv, spec->n_argv);
    free(spec->user_data);
    free(spec->volumes);
    spec->user_data = NULL;
    spec->volumes = NULL;
    strings_free(spec->health.argv, spec->health.n_argv);
    spec->env = spec->argv = spec->health.argv = NULL;
    spec->n_env = spec->n_argv = spec->health.n_argv = spec->n_volumes = 0;
}

static void defaults_deinit(struct image_defaults *d)
{
    strings_free(d->env, d->n_env);
    strings_free(d->entrypoint, d->n_entrypoint);
    strings_free(d->command, d->n_command);
    d->env = d->entrypoint = d->command = NULL;
    d->n_env = d->n_entrypoint = d->n_command = 0;
}

bool guest_spec_boots(const struct guest_spec *spec)
{
    return spec->kind == KIND_VM;
}

void image_deinit(struct image *image)
{
    defaults_deinit(&image->defaults);
    free(image->holders);
    image->holders = NULL;
    image->n_holders = 0;
}

/* A heap copy of n elements; NULL with *failed set when there is no memory, NULL for none. */
static void *copy_array(const void *data, size_t n, size_t size, bool *failed)
{
    void *copy;

    if (n == 0)
        return NULL;
    copy = calloc(n, size);
    if (copy == NULL)
        *failed = true;
    else
        memcpy(copy, data, n * size);
    return copy;
}

static char **copy_strings(char *const *strings, uint32_t n, bool *failed)
{
    char **copy;

    if (n == 0)
        return NULL;
    copy = calloc(n, sizeof(*copy));
    for (uint32_t i = 0; copy != NULL && i < n; i++) {
        copy[i] = strdup(strings[i]);
        if (copy[i] == NULL)
            *failed = true;
    }
    if (copy == NULL)
        *failed = true;
    return copy;
}

int node_facts_copy(struct node_facts *ret, const struct node_facts *facts)
{
    bool failed = false;

    *ret = *facts;
    ret->cores = copy_array(facts->cores, facts->n_cores, sizeof(*facts->cores), &failed);
    if (failed) {
        memset(ret, 0, sizeof(*ret));
        return -ENOMEM;
    }
    return 0;
}

int guest_spec_copy(struct guest_spec *ret, const struct guest_spec *spec)
{
    bool failed = false;

    *ret = *spec;
    ret->env = copy_strings(spec->env, spec->n_env, &failed);
    ret->argv = copy_strings(spec->argv, spec->n_argv, &failed);
    ret->health.argv = copy_strings(spec->health.argv, spec->health.n_argv, &failed);
    ret->volumes = copy_array(spec->volumes, spec->n_volumes, sizeof(*spec->volumes), &failed);
    ret->user_data = spec->user_data != NULL ? strdup(spec->user_data) : NULL;
    failed = failed || (ret->user_data == NULL) != (spec->user_data == NULL);
    if (failed) {
        guest_spec_deinit(ret);
        memset(ret, 0, sizeof(*ret));
        return -ENOMEM;
    }
    return 0;
}

int image_copy(struct image *ret, const struct image *image)
{
    const struct image_defaults *from = &image->defaults;
    bool failed = false;

    *ret = *image;
    ret->holders = copy_array(image->holders, image->n_holders, sizeof(*image->holders), &failed);
    ret->defaults.env = copy_strings(from->env, from->n_env, &failed);
    ret->defaults.entrypoint = copy_strings(from->entrypoint, from->n_entrypoint, &failed);
    ret->defaults.command = copy_strings(from->command, from->n_command, &failed);
    if (failed) {
        image_deinit(ret);
        memset(ret, 0, sizeof(*ret));
        return -ENOMEM;
    }
    return 0;
}

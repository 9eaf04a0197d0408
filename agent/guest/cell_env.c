#include "agent/guest/cell_env.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/guest/cell_init.h"

static const char *const defaults[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "container=skein",
};

/* Compares up to and with the '='. */
static bool sets_the_same(const char *a, const char *b)
{
    const char *end = strchr(b, '=');

    return end != NULL && strncmp(a, b, (size_t)(end - b) + 1) == 0;
}

static bool is_set_by(const struct guest_spec *spec, const char *pair)
{
    for (uint32_t i = 0; i < spec->n_env; i++) {
        if (sets_the_same(spec->env[i], pair))
            return true;
    }
    return false;
}

char **cell_env_new(const struct guest_spec *spec)
{
    size_t n_defaults = sizeof(defaults) / sizeof(defaults[0]), n = 0;
    char **env = calloc(n_defaults + spec->n_env + 1, sizeof(*env));

    if (env == NULL)
        return NULL;
    for (size_t i = 0; i < n_defaults; i++) {
        if (!is_set_by(spec, defaults[i]))
            env[n++] = (char *)defaults[i];
    }
    for (uint32_t i = 0; i < spec->n_env; i++)
        env[n++] = spec->env[i];
    return env;
}

char *cell_ids_format(const struct guest_spec *spec, char *ret)
{
    snprintf(ret, CELL_IDS_SIZE, "%u:%u", spec->uid, spec->gid);
    return ret;
}

const char *cell_directory(const struct guest_spec *spec)
{
    return spec->directory[0] != '\0' ? spec->directory : "/";
}

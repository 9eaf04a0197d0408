#include "agent/core/image_defaults.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct texts {
    char **list; /* heap; the texts are heap too */
    uint32_t n;
    bool failed, overflowed;
};

static void texts_add(struct texts *t, char *const *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (t->n == MAX_ARGUMENTS) {
            t->overflowed = true;
            return;
        }
        t->list[t->n] = strdup(list[i]);
        if (t->list[t->n] == NULL) {
            t->failed = true;
            return;
        }
        t->n++;
    }
}

static void texts_free(char **list, uint32_t n)
{
    for (uint32_t i = 0; list != NULL && i < n; i++)
        free(list[i]);
    free(list);
}

static bool texts_init(struct texts *t)
{
    *t = (struct texts){.list = calloc(MAX_ARGUMENTS, sizeof(char *))};
    return t->list != NULL;
}

static bool is_set(const struct guest_spec *spec, const char *variable)
{
    size_t n = strcspn(variable, "=") + 1;

    for (uint32_t i = 0; i < spec->n_env; i++) {
        if (strncmp(spec->env[i], variable, n) == 0)
            return true;
    }
    return false;
}

static void fill(const struct image_defaults *d, const struct guest_spec *spec, struct texts *argv,
                 struct texts *env)
{
    texts_add(argv, d->entrypoint, d->n_entrypoint);
    if (spec->n_argv > 0)
        texts_add(argv, spec->argv, spec->n_argv);
    else
        texts_add(argv, d->command, d->n_command);
    if (argv->n == 0 && spec->kind == KIND_LXC)
        texts_add(argv, (char *[]){(char *)"/sbin/init"}, 1);
    for (uint32_t i = 0; i < d->n_env; i++) {
        if (!is_set(spec, d->env[i]))
            texts_add(env, &d->env[i], 1);
    }
    texts_add(env, spec->env, spec->n_env);
}

static int judge(const struct image *image, const struct texts *argv, const struct texts *env,
                 struct err *err)
{
    if (argv->failed || env->failed)
        return err_set(err, -ENOMEM, "out of memory");
    if (argv->overflowed || env->overflowed)
        return err_set(err, -EINVAL, "with those of image %s there are more than %d %s",
                       image->name, MAX_ARGUMENTS, argv->overflowed ? "arguments" : "variables");
    if (argv->n == 0)
        return err_set(err, -EINVAL,
                       "image %s has no command of its own: say what is to run, after --",
                       image->name);
    return 0;
}

int image_defaults_apply(const struct image *image, struct guest_spec *spec, struct err *err)
{
    const struct image_defaults *d = &image->defaults;
    struct texts argv = {0}, env = {0};
    int rc = -ENOMEM;

    if (guest_spec_boots(spec))
        return 0; /* they are for a command */
    if (texts_init(&argv) && texts_init(&env)) {
        fill(d, spec, &argv, &env);
        rc = judge(image, &argv, &env, err);
    } else {
        err_set(err, rc, "out of memory");
    }
    if (rc < 0) {
        texts_free(argv.list, argv.n);
        texts_free(env.list, env.n);
        return rc;
    }
    texts_free(spec->argv, spec->n_argv);
    texts_free(spec->env, spec->n_env);
    spec->argv = argv.list;
    spec->n_argv = argv.n;
    spec->env = env.list;
    spec->n_env = env.n;
    memcpy(spec->directory, d->directory, sizeof(spec->directory));
    spec->uid = d->uid;
    spec->gid = d->gid;
    return 0;
}

#include "base/volume.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/units.h"

/* What a guest's root holds already, whatever its image says. */
static const char *const taken[] = {"/dev", "/proc", "/.skein"};

/* `inner` is `outer`, or lies below it. */
static bool is_within(const char *inner, const char *outer)
{
    size_t size = strlen(outer);

    return strncmp(inner, outer, size) == 0 && (inner[size] == '\0' || inner[size] == '/');
}

static bool is_plain(const char *path)
{
    for (; *path != '\0'; path++) {
        if (!isalnum((unsigned char)*path) && strchr("/._-+@", *path) == NULL)
            return false;
    }
    return true;
}

/* A part that is empty, "." or "..", from the slash before it. */
static bool has_odd_part(const char *path)
{
    while (*path == '/') {
        size_t size = strcspn(++path, "/");

        if (size == 0 || (size == 1 && path[0] == '.') ||
            (size == 2 && path[0] == '.' && path[1] == '.'))
            return true;
        path += size;
    }
    return false;
}

static int check_path(const char *path, struct err *err)
{
    if (path[0] != '/')
        return err_set(err, -EINVAL, "'%.80s' is no absolute path: it must begin with /", path);
    if (path[1] == '\0')
        return err_set(err, -EINVAL, "a volume cannot be the root: give a directory below /");
    if (strlen(path) >= DIRECTORY_SIZE)
        return err_set(err, -EINVAL, "a volume's path has at most %d bytes", DIRECTORY_SIZE - 1);
    if (has_odd_part(path))
        return err_set(err, -EINVAL, "'%.80s' must be without '.', '..', '//' and a '/' at its end",
                       path);
    if (!is_plain(path))
        return err_set(err, -EINVAL, "'%.80s' may hold letters, digits and / . _ - + @ only", path);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        if (is_within(path, taken[i]))
            return err_set(err, -EINVAL, "%.80s: a guest's %s is made for it, and holds no volume",
                           path, taken[i]);
    }
    return 0;
}

static int check_volume(const struct volume *volume, struct err *err)
{
    if (!name_is_valid(volume->name))
        return err_set(err, -EINVAL,
                       "'%s' is no name of a volume: 1 to %d of a-z 0-9 -, beginning with a letter",
                       volume->name, NAME_MAX_LENGTH);
    return check_path(volume->path, err);
}

int volume_parse(const char *text, struct volume *ret, struct err *err)
{
    const char *colon = strchr(text, ':');
    struct volume volume = {0};
    int r;

    if (colon == NULL)
        return err_set(err, -EINVAL, "'%.80s' is not of the form NAME:/path", text);
    if ((size_t)(colon - text) >= sizeof(volume.name))
        return err_set(err, -EINVAL, "a volume's name has at most %d letters", NAME_MAX_LENGTH);
    if (strlen(colon + 1) >= sizeof(volume.path))
        return err_set(err, -EINVAL, "a volume's path has at most %d bytes", DIRECTORY_SIZE - 1);
    memcpy(volume.name, text, (size_t)(colon - text));
    memcpy(volume.path, colon + 1, strlen(colon + 1));
    r = check_volume(&volume, err);
    if (r == 0)
        *ret = volume;
    return r;
}

static int check_pair(const struct volume *a, const struct volume *b, struct err *err)
{
    if (strcmp(a->name, b->name) == 0)
        return err_set(err, -EINVAL, "two volumes are named %s", a->name);
    if (strcmp(a->path, b->path) == 0)
        return err_set(err, -EINVAL, "volumes %s and %s are both at %.80s", a->name, b->name,
                       a->path);
    if (is_within(a->path, b->path) || is_within(b->path, a->path))
        return err_set(err, -EINVAL, "volumes %s and %s lie one within the other", a->name,
                       b->name);
    return 0;
}

int volumes_check(const struct volume *volumes, uint32_t n, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < n; i++) {
        r = check_volume(&volumes[i], err);
        for (uint32_t k = 0; r == 0 && k < i; k++)
            r = check_pair(&volumes[k], &volumes[i], err);
    }
    return r;
}

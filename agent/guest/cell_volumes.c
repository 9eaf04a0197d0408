#include "agent/guest/cell_volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"

enum { VOLUME_PATH_SIZE = sizeof(((struct guest_paths *)0)->volumes) + NAME_SIZE + 1 };

static void path_of(const struct guest_paths *paths, const struct volume *volume,
                    char ret[VOLUME_PATH_SIZE])
{
    snprintf(ret, VOLUME_PATH_SIZE, "%s/%s", paths->volumes, volume->name);
}

static int failed(const struct volume *volume, const char *what, struct err *err)
{
    return err_set(err, -errno, "volume %s: cannot %s: %s", volume->name, what, strerror(errno));
}

int cell_volumes_prepare(const struct guest_run *run, const struct guest_paths *paths,
                         struct err *err)
{
    const struct guest_spec *spec = &run->spec;
    int r = spec->n_volumes > 0 ? tree_make(paths->volumes, 0700, err) : 0;

    for (uint32_t i = 0; r == 0 && i < spec->n_volumes; i++) {
        char path[VOLUME_PATH_SIZE];

        path_of(paths, &spec->volumes[i], path);
        if (mkdir(path, 0755) == 0) {
            if (chown(path, spec->uid, spec->gid) < 0)
                r = failed(&spec->volumes[i], "give it to the guest's user", err);
        } else if (errno != EEXIST) {
            r = failed(&spec->volumes[i], "make its directory", err);
        }
    }
    return r;
}

int cell_volumes_open(const struct guest_run *run, const struct guest_paths *paths,
                      int ret[MAX_VOLUMES], struct err *err)
{
    for (int i = 0; i < MAX_VOLUMES; i++)
        ret[i] = -1;
    for (uint32_t i = 0; i < run->spec.n_volumes; i++) {
        char path[VOLUME_PATH_SIZE];

        path_of(paths, &run->spec.volumes[i], path);
        ret[i] =
            open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
        if (ret[i] < 0)
            return failed(&run->spec.volumes[i], "open its directory", err);
    }
    return 0;
}

/* Goes down from the guest's root, part by part. */
static int open_point(const char *root, const char *path)
{
    int at = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

    while (at >= 0 && *path == '/') {
        size_t size = strcspn(++path, "/");
        char part[DIRECTORY_SIZE];
        int next;

        snprintf(part, sizeof(part), "%.*s", (int)size, path);
        path += size;
        (void)mkdirat(at, part, 0755);
        next = openat(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(at);
        at = next;
    }
    return at;
}

static int mount_volume(const struct volume *volume, const char *root, int tree, struct err *err)
{
    struct mount_attr safe = {.attr_set = MOUNT_ATTR_NODEV, .propagation = MS_PRIVATE};
    cleanup_close int point = open_point(root, volume->path);

    if (point < 0)
        return err_set(err, -errno,
                       "volume %s: %s is no plain directory in the guest's image, without links on "
                       "its way (%s)",
                       volume->name, volume->path, strerror(errno));
    if (mount_setattr(tree, "", AT_EMPTY_PATH, &safe, sizeof(safe)) < 0 ||
        move_mount(tree, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return failed(volume, "mount it", err);
    return 0;
}

int cell_volumes_mount(const struct guest_run *run, const char *root,
                       const int volumes[MAX_VOLUMES], struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < run->spec.n_volumes; i++)
        r = mount_volume(&run->spec.volumes[i], root, volumes[i], err);
    return r;
}

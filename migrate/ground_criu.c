#include "migrate/ground_criu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

/* Everything that would tie the upper layer to this node's inodes is off: the upper layer moves. */
int ground_mount_root(const char *image_root, const char *upper, const char *work,
                      const char *merged, struct err *err)
{
    char options[512];
    int n = snprintf(options, sizeof(options),
                     "lowerdir=%s,upperdir=%s,workdir=%s,index=off,metacopy=off,redirect_dir=off",
                     image_root, upper, work);

    if (n >= (int)sizeof(options))
        return err_set(err, -ENAMETOOLONG, "the paths of the guest's layers are too long");
    if (mount("overlay", merged, "overlay", MS_NODEV, options) < 0)
        return err_set(err, -errno, "cannot mount the guest's root over %s: %s", image_root,
                       strerror(errno));
    return 0;
}

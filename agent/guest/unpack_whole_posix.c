#include "agent/guest/unpack_whole_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/digest_sodium.h"
#include "base/tree_posix.h"

#define COPY_SUFFIX ".squashfs"

enum {
    PATH_SIZE = 512,
    COPY_CHUNK = 1 << 30,
    LOOP_TRIES = 16,
    /* Linux, Documentation/admin-guide/devices.txt */
    LOOP_MAJOR_NUMBER = 7,
    MISC_MAJOR_NUMBER = 10,
    LOOP_CONTROL_MINOR = 237,
};

static int path_with(const char *image_root, const char *suffix, char ret[PATH_SIZE],
                     struct err *err)
{
    if (snprintf(ret, PATH_SIZE, "%s%s", image_root, suffix) >= PATH_SIZE)
        return err_set(err, -ENAMETOOLONG, "the path of the image's root is too long");
    return 0;
}

/* All bytes of `from` into a new file; sparse where the file system can. */
static int copy_bytes(int from, int to, struct err *err)
{
    loff_t in = 0, out = 0;
    ssize_t n;

    while ((n = copy_file_range(from, &in, to, &out, COPY_CHUNK, 0)) > 0)
        ;
    return n < 0 ? err_set(err, -errno, "cannot copy the image: %s", strerror(errno)) : 0;
}

/* The digest is taken of the copy: what is checked is what will be used. */
static int check_copy(int fd, const uint8_t digest[DIGEST_SIZE], struct err *err)
{
    uint8_t actual[DIGEST_SIZE];
    uint64_t size;
    int rc = digest_of_file(fd, actual, &size, err);

    if (rc == 0 && memcmp(actual, digest, DIGEST_SIZE) != 0)
        rc = err_set(err, -EBADMSG, "the image's bytes do not match its digest: add it again");
    return rc;
}

static int copy_to(int from, const uint8_t digest[DIGEST_SIZE], const char *path, struct err *err)
{
    char unfinished[PATH_SIZE];
    cleanup_close int to = -1;
    int rc = path_with(path, ".new", unfinished, err);

    if (rc < 0)
        return rc;
    to = open(unfinished, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return err_set(err, -errno, "cannot make %s: %s", unfinished, strerror(errno));
    rc = copy_bytes(from, to, err);
    if (rc == 0)
        rc = check_copy(to, digest, err);
    if (rc == 0 && (fsync(to) < 0 || rename(unfinished, path) < 0))
        rc = err_set(err, -errno, "cannot put the image in place: %s", strerror(errno));
    if (rc < 0)
        unlink(unfinished);
    return rc;
}

int unpack_disk(int fd, const uint8_t digest[DIGEST_SIZE], const char *image_root, struct err *err)
{
    char path[PATH_SIZE];
    int rc = path_with(image_root, "/" UNPACK_DISK_NAME, path, err);

    if (rc < 0 || access(path, F_OK) == 0)
        return rc;
    rc = tree_make(image_root, 0755, err);
    return rc < 0 ? rc : copy_to(fd, digest, path, err);
}

/* ---- squashfs */

/* Where /dev is not the kernel's own, a device may have no node yet. */
static int open_device(const char *path, mode_t type, dev_t number, struct err *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT && mknod(path, type | 0600, number) == 0)
        fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno,
                       "cannot open %s: %s (a squashfs image needs a loop device; a tar.zst needs "
                       "none)",
                       path, strerror(errno));
    return fd;
}

/* Makes the file the content of a free loop device, which goes when nothing uses it any more. 1:
 * somebody else was faster. */
static int loop_try(int control, int file, char ret_path[PATH_SIZE], int *ret_loop, struct err *err)
{
    struct loop_config config = {
        .fd = (unsigned)file,
        .info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
    };
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    cleanup_close int loop = -1;

    if (number < 0)
        return err_set(err, -errno, "there is no free loop device: %s", strerror(errno));
    snprintf(ret_path, PATH_SIZE, "/dev/loop%d", number);
    loop = open_device(ret_path, S_IFBLK, makedev(LOOP_MAJOR_NUMBER, (unsigned)number), err);
    if (loop < 0)
        return loop;
    if (ioctl(loop, LOOP_CONFIGURE, &config) < 0)
        return errno == EBUSY
                   ? 1
                   : err_set(err, -errno, "cannot set up %s: %s", ret_path, strerror(errno));
    *ret_loop = steal_fd(&loop);
    return 0;
}

static int loop_attach(int file, char ret_path[PATH_SIZE], int *ret_loop, struct err *err)
{
    cleanup_close int control = open_device("/dev/loop-control", S_IFCHR,
                                            makedev(MISC_MAJOR_NUMBER, LOOP_CONTROL_MINOR), err);
    int rc = control < 0 ? control : 1;

    for (int i = 0; rc == 1 && i < LOOP_TRIES; i++)
        rc = loop_try(control, file, ret_path, ret_loop, err);
    return rc == 1 ? err_set(err, -EBUSY, "every loop device is taken by others; try again") : rc;
}

static int mount_copy(const char *copy, const char *image_root, struct err *err)
{
    cleanup_close int file = open(copy, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), loop = -1;
    char path[PATH_SIZE];
    int rc;

    if (file < 0)
        return err_set(err, -errno, "cannot open %s: %s", copy, strerror(errno));
    rc = loop_attach(file, path, &loop, err);
    if (rc == 0)
        rc = tree_make(image_root, 0755, err);
    if (rc < 0 || mount(path, image_root, "squashfs", MS_RDONLY | MS_NODEV, NULL) == 0)
        return rc;
    if (errno == ENODEV)
        return err_set(err, -errno, "this node's kernel has no squashfs: pack it as tar.zst");
    return err_set(err, -errno, "cannot mount the squashfs image: %s", strerror(errno));
}

static bool is_mounted(const char *image_root)
{
    struct statfs fs;

    return statfs(image_root, &fs) == 0 && fs.f_type == SQUASHFS_MAGIC;
}

int unpack_squashfs(int fd, const uint8_t digest[DIGEST_SIZE], const char *image_root,
                    struct err *err)
{
    char copy[PATH_SIZE];
    int rc = path_with(image_root, COPY_SUFFIX, copy, err);

    if (rc < 0 || is_mounted(image_root))
        return rc;
    rc = tree_make_above(copy, 0755, err);
    if (rc == 0 && access(copy, F_OK) < 0)
        rc = copy_to(fd, digest, copy, err);
    return rc < 0 ? rc : mount_copy(copy, image_root, err);
}

int unpack_whole_remove(const char *image_root, struct err *err)
{
    char copy[PATH_SIZE], unfinished[PATH_SIZE];
    int rc = path_with(image_root, COPY_SUFFIX, copy, err);

    if (rc == 0)
        rc = path_with(copy, ".new", unfinished, err);
    if (rc < 0)
        return rc;
    if (is_mounted(image_root) && umount2(image_root, MNT_DETACH) < 0)
        return err_set(err, -errno, "cannot unmount %s: %s", image_root, strerror(errno));
    unlink(unfinished);
    if (unlink(copy) < 0 && errno != ENOENT)
        return err_set(err, -errno, "cannot remove %s: %s", copy, strerror(errno));
    return 0;
}

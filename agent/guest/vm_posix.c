/* vm: the guest kind `vm` as the guard sees it (guest_vm_ops): makes the guest's disks, starts
 * skein-vm, which does the rest. See vm.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/console_posix.h"
#include "agent/guest/keeper_posix.h"
#include "agent/guest/unpack_whole_posix.h"
#include "agent/guest/vm.h"
#include "agent/guest/vm_driver_posix.h"
#include "agent/guest/vm_seed_archive.h"
#include "agent/guest/vm_store_xen.h"
#include "agent/streams/image_format.h"
#include "base/clean.h"
#include "base/tree_posix.h"
#include "netfabric/run_posix.h"

/* ---- its disks */

/* Whatever is in an image was its maker's choice: a link in it leads nowhere. */
static bool exists(const char *directory, const char *name, char *ret, size_t size)
{
    struct stat st;

    snprintf(ret, size, "%s/%s", directory, name);
    return lstat(ret, &st) == 0 && S_ISREG(st.st_mode);
}

/* A qcow2 out of an archive is checked here first: it must not name other files. */
static int format_of_disk(const char *path, const char **ret, struct err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint8_t head[IMAGE_HEAD_SIZE];
    ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
    enum image_format format;

    if (n < 0)
        return err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    *ret = "raw";
    if (n < 4 || memcmp(head, "QFI\xfb", 4) != 0)
        return 0;
    *ret = "qcow2";
    return image_format_of(head, (size_t)n, (uint64_t)n, &format, err);
}

/* One that an earlier start left here is gone on with; else `argv` makes it at `new_path`. */
static int make_once(const char *path, const char *new_path, const char *const argv[],
                     struct err *err)
{
    int rc;

    if (access(path, F_OK) == 0)
        return 0;
    rc = run_program(argv, NULL, NULL, 0, err);
    if (rc == 0 && rename(new_path, path) < 0)
        rc = err_set(err, -errno, "cannot make %s: %s", path, strerror(errno));
    return rc;
}

static int make_overlay(const char *path, const char *disk, const char *format, struct err *err)
{
    char new_path[200];
    const char *const argv[] = {"qemu-img", "create", "-q",   "-f",     "qcow2", "-b",
                                disk,       "-F",     format, new_path, NULL};

    snprintf(new_path, sizeof(new_path), "%s.new", path);
    return make_once(path, new_path, argv, err);
}

/* Xen's machines have no QEMU that reads anything but blocks: theirs is a whole disk. */
static int copy_disk(const char *path, const char *disk, const char *format, struct err *err)
{
    char new_path[200];
    const char *const argv[] = {"qemu-img", "convert", "-f",     format, "-O",
                                "raw",      disk,      new_path, NULL};

    snprintf(new_path, sizeof(new_path), "%s.new", path);
    return make_once(path, new_path, argv, err);
}

/* Nothing of Xen's looks for a kernel on a disk. */
static int make_xen_disk(const struct guest_paths *paths, const struct vm_paths *vm,
                         struct err *err)
{
    const char *format = NULL;
    char file[200];
    int rc;

    if (!exists(paths->image_root, VM_KERNEL, file, sizeof(file)))
        return err_set(err, -EINVAL,
                       "its image holds no kernel (" VM_KERNEL
                       "): this node runs machines by Xen, which needs one");
    if (!exists(paths->image_root, UNPACK_DISK_NAME, file, sizeof(file)))
        return 0;
    rc = format_of_disk(file, &format, err);
    return rc < 0 ? rc : copy_disk(vm->disk, file, format, err);
}

static int make_disk(const struct guest_paths *paths, const struct vm_paths *vm, struct err *err)
{
    const char *format = NULL;
    char disk[200];
    int rc;

    if (vm_driver_is_xen())
        return make_xen_disk(paths, vm, err);
    if (exists(paths->image_root, UNPACK_DISK_NAME, disk, sizeof(disk))) {
        rc = format_of_disk(disk, &format, err);
        return rc < 0 ? rc : make_overlay(vm->overlay, disk, format, err);
    }
    if (exists(paths->image_root, VM_KERNEL, disk, sizeof(disk)))
        return 0;
    return err_set(err, -EINVAL,
                   "its image holds neither a disk nor a kernel: a vm cannot boot it");
}

/* ---- whose it is */

static int give(const char *path, uid_t uid, gid_t gid, mode_t mode, struct err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
        return err_set(err, -errno, "cannot give %s to its user: %s", path, strerror(errno));
    return 0;
}

/* QEMU reads the image's files itself. One on a squashfs stays as its maker made it. */
static int let_read(const char *image_root, struct err *err)
{
    static const char *const names[] = {UNPACK_DISK_NAME, VM_KERNEL, VM_INITRD};
    struct stat st;
    char path[200];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!exists(image_root, names[i], path, sizeof(path)))
            continue;
        if (lstat(path, &st) == 0 && (st.st_mode & S_IROTH) == 0 &&
            chmod(path, st.st_mode | S_IRGRP | S_IROTH) < 0)
            return err_set(err, -errno, "nobody but root may read %s of its image", names[i]);
    }
    return 0;
}

static int give_all(const struct guest_run *run, const struct guest_paths *paths,
                    const struct vm_paths *vm, struct err *err)
{
    uid_t uid = vm_uid(run);
    int rc = give(paths->upper, 0, 0, 0711, err);

    if (rc == 0 && access(vm->overlay, F_OK) == 0)
        rc = give(vm->overlay, uid, uid, 0600, err);
    if (rc == 0)
        rc = give(paths->merged, 0, 0, 0711, err);
    if (rc == 0)
        rc = give(vm->seed, uid, uid, 0400, err);
    if (rc == 0)
        rc = tree_make(vm->qemu, 0700, err);
    if (rc == 0)
        rc = give(vm->qemu, uid, uid, 0700, err);
    return rc < 0 ? rc : let_read(paths->image_root, err);
}

static int vm_prepare(const struct guest_run *run, const struct guest_paths *paths, struct err *err)
{
    struct vm_paths vm;
    int rc;

    vm_paths_init(&vm, paths);
    rc = tree_make(paths->upper, 0700, err);
    if (rc == 0)
        rc = tree_make(paths->merged, 0700, err);
    if (rc == 0)
        rc = make_disk(paths, &vm, err);
    if (rc == 0)
        rc = vm_seed_write(run, vm.seed, err);
    return rc < 0 ? rc : give_all(run, paths, &vm, err);
}

/* ---- its life */

static int vm_start(const struct guest_run *run, const struct guest_paths *paths, pid_t *ret_pid,
                    struct err *err)
{
    (void)paths;
    return keeper_start(vm_driver_is_xen() ? VM_XEN_PROGRAM : VM_PROGRAM, "start", run, -1, ret_pid,
                        err);
}

/* The guest's name is that of the directory above `merged`. */
static int forget_domain(const struct guest_paths *paths, struct err *err)
{
    char above[sizeof(paths->merged)];

    snprintf(above, sizeof(above), "%s", paths->merged);
    *strrchr(above, '/') = '\0';
    return vm_store_forget(strrchr(above, '/') + 1, err);
}

static int vm_clean_up(const struct guest_paths *paths, bool keep_upper, struct err *err)
{
    char above[sizeof(paths->upper)];
    int rc = forget_domain(paths, err);

    if (rc == 0)
        rc = tree_remove(paths->merged, err);

    if (rc == 0)
        rc = tree_remove(paths->checkpoint, err); /* of a move that was refused */
    if (rc == 0 && !keep_upper)
        rc = tree_remove(paths->upper, err);
    if (rc == 0 && !keep_upper)
        rc = tree_remove(paths->log, err);
    snprintf(above, sizeof(above), "%s", paths->merged);
    *strrchr(above, '/') = '\0';
    (void)rmdir(above);
    snprintf(above, sizeof(above), "%s", paths->upper);
    *strrchr(above, '/') = '\0';
    (void)rmdir(above);
    return rc;
}

static int vm_console(const struct guest_paths *paths, const int stdio[2], struct err *err)
{
    struct vm_paths vm;

    vm_paths_init(&vm, paths);
    return console_join(vm.clients, stdio, err);
}

const struct guest_kind_ops guest_vm_ops = {
    .kind = KIND_VM,
    .name = "vm",
    .can_console = true,
    .mover = &mover_vm_ops,
    .start = vm_start,
    .prepare = vm_prepare,
    .terminate = keeper_terminate,
    .console = vm_console,
    .clean_up = vm_clean_up,
};

#include "migrate/mover_criu.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>

#include "base/tree_posix.h"
#include "migrate/lazy_criu.h"
#include "migrate/presence_posix.h"
#include "migrate/restore_criu.h"
#include "migrate/standstill_criu.h"

enum { DUMP_END_MS = 10000 };

uint64_t mover_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int join(char *ret, size_t size, const char *path, const char *end)
{
    return snprintf(ret, size, "%s%s", path, end) < (int)size ? 0 : -ENAMETOOLONG;
}

int mover_paths_init(struct mover_paths *paths, const struct mover_guest *guest, struct err *err)
{
    const size_t size = sizeof(paths->images);

    if (join(paths->images, size, guest->checkpoint, "/images") < 0 ||
        join(paths->dev, size, guest->checkpoint, "/dev") < 0 ||
        join(paths->shm, size, guest->checkpoint, "/shm") < 0 ||
        join(paths->stream, size, guest->checkpoint, "/stream") < 0 ||
        join(paths->ahead, size, guest->checkpoint, "/ahead") < 0 ||
        join(paths->pid_file, size, guest->checkpoint, "/pid") < 0 ||
        join(paths->dumper, size, guest->checkpoint, "/dumper") < 0 ||
        join(paths->server, size, guest->checkpoint, "/server") < 0 ||
        join(paths->pager, size, guest->checkpoint, "/pager") < 0 ||
        join(paths->verdict, size, guest->checkpoint, "/verdict") < 0 ||
        join(paths->holder, size, guest->checkpoint, "/holder") < 0 ||
        join(paths->restored, size, guest->checkpoint, MOVER_RESTORED) < 0 ||
        join(paths->let_go, size, guest->checkpoint, "/let-go") < 0 ||
        join(paths->progress, size, guest->checkpoint, MOVER_PROGRESS) < 0 ||
        join(paths->new_upper, size, guest->upper, ".new") < 0 ||
        (guest->n_volumes > 0 &&
         join(paths->new_volumes, size, guest->volumes_directory, ".new") < 0) ||
        join(paths->new_log, size, guest->log, ".new") < 0)
        return err_set(err, -ENAMETOOLONG, "the paths of guest %s are too long", guest->name);
    return 0;
}

int mover_remove_checkpoint(const struct mover_guest *guest, struct err *err)
{
    struct mover_paths paths;
    int r = mover_paths_init(&paths, guest, err);

    if (r == 0)
        r = restore_take_back(&paths, err);
    if (r >= 0)
        r = lazy_end(&paths, err);
    if (r >= 0)
        r = presence_wait(paths.dumper, false, DUMP_END_MS, err);
    if (r >= 0)
        r = standstill_await(guest, err);
    if (r < 0)
        return r;
    umount2(paths.dev, MNT_DETACH | UMOUNT_NOFOLLOW);
    umount2(paths.shm, MNT_DETACH | UMOUNT_NOFOLLOW);
    r = tree_remove(guest->checkpoint, err);
    if (r == 0)
        r = tree_remove(paths.new_upper, err);
    if (r == 0 && guest->n_volumes > 0)
        r = tree_remove(paths.new_volumes, err);
    return r < 0 ? r : tree_remove(paths.new_log, err);
}

int mover_await(const struct mover_guest *guest, struct err *err)
{
    struct mover_paths paths;
    int r = mover_paths_init(&paths, guest, err);

    return r < 0 ? r : lazy_await(&paths, err);
}

/* CRIU locks no network here, and a full dump leaves the guest as it was: what capture made is its
 * files. */
static int resume(const struct mover_guest *guest, struct err *err)
{
    return mover_remove_checkpoint(guest, err);
}

const struct mover_ops mover_criu_ops = {
    .name = "criu",
    .check = mover_check,
    .look = mover_look,
    .measure = mover_measure,
    .ready = mover_ready,
    .copy = mover_copy,
    .capture = mover_capture,
    .stand_by = mover_stand_by,
    .await_restored = mover_await_restored,
    .receive = mover_receive,
    .activate = mover_activate,
    .await = mover_await,
    .resume = resume,
    .checkpoint = mover_checkpoint,
    .send = mover_send,
    .receive_kept = mover_receive_kept,
    .reset_peers = mover_reset_peers,
    .discard = mover_remove_checkpoint,
};

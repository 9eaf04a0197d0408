/* A guest kept as it is now, while it goes on: dumped and copied aside on tmpfs as long as it
 * stands still, sent once it runs again. How long it may stand still is bounded: by what its
 * processes hold before CRIU begins (criu is not ended half way), by the clock for its files. Where
 * the kernel marks what is written, of memory only that is kept (increment_criu.h).
 */
#include "migrate/mover_criu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/kernel_linux.h"
#include "base/tree_posix.h"
#include "migrate/connections.h"
#include "migrate/console_criu.h"
#include "migrate/freezer_cgroup.h"
#include "migrate/ground_criu.h"
#include "migrate/increment_criu.h"
#include "migrate/proc_criu.h"
#include "migrate/run_criu.h"
#include "migrate/tree_archive.h"
#include "migrate/volumes_criu.h"

/* What CRIU writes to tmpfs a second at the least, for the bound. */
enum { DUMP_MIB_A_SECOND = 256 };

int snapshot_parts(const struct mover_guest *guest, struct snapshot_part ret[SNAPSHOT_MAX_PARTS],
                   uint32_t *ret_n, struct err *err)
{
    uint32_t n = 0;
    int r = 0;

    ret[n] = (struct snapshot_part){.tree = STREAM_TREE_UPPER, .name = "upper"};
    snprintf(ret[n++].path, sizeof(ret->path), "%s", guest->upper);
    ret[n] = (struct snapshot_part){.tree = STREAM_TREE_DEV, .name = "dev"};
    snprintf(ret[n++].path, sizeof(ret->path), "/proc/%d/root" GROUND_DEV, guest->pid);
    ret[n] = (struct snapshot_part){.tree = STREAM_TREE_SHM, .name = "shm"};
    snprintf(ret[n++].path, sizeof(ret->path), "/proc/%d/root" GROUND_SHM, guest->pid);
    for (uint32_t i = 0; r == 0 && i < guest->n_volumes; i++) {
        ret[n] = (struct snapshot_part){.tree = (enum stream_tree)(STREAM_TREE_VOLUME + i)};
        snprintf(ret[n].name, sizeof(ret->name), "volume%u", i);
        r = volume_path(guest, i, ret[n++].path, err);
    }
    ret[n] = (struct snapshot_part){.name = "log"};
    snprintf(ret[n++].path, sizeof(ret->path), "%s", guest->log);
    *ret_n = n;
    return r;
}

/* ---- while it stands still */

/* One that is taken. */
struct taking {
    const struct mover_guest *guest;
    char now[SNAPSHOT_PATH_SIZE];
    struct mover_paths paths; /* its images alone */
    bool is_tracked;          /* the kernel marks what is written from here on … */
    bool is_increment;        /* … and only what was written since the base is kept */
    struct increment_chain chain;
};

struct holding {
    const struct mover_guest *guest;
    unsigned long long kib;
};

static bool add_resident(pid_t pid, void *context)
{
    struct holding *h = context;

    if (proc_namespace(pid, "pid") == proc_namespace(h->guest->pid, "pid"))
        h->kib += proc_number(pid, "status", "VmRSS");
    return true;
}

/* Pages that several processes share count for each: the bound errs on the safe side. */
static int check_memory(const struct mover_guest *guest, struct err *err)
{
    const unsigned long long limit_mib = CHECKPOINT_FREEZE_MS / 1000 * DUMP_MIB_A_SECOND;
    struct holding h = {.guest = guest};

    proc_each(add_resident, &h);
    if (h.kib / 1024 <= limit_mib)
        return 0;
    return err_set(err, -EFBIG,
                   "guest %s holds %llu MiB: a checkpoint could stop it for more than %d ms; at "
                   "most %llu MiB can be protected",
                   guest->name, h.kib / 1024, CHECKPOINT_FREEZE_MS, limit_mib);
}

static int dump(const struct taking *t, struct err *err)
{
    const struct mover_guest *guest = t->guest;
    char pid[16], network[64];
    struct volume_words volumes;
    struct console_words console;
    struct stat status;
    struct criu_run run;
    int r;

    if (stat(guest->netns, &status) < 0)
        return err_set(err, -errno, "guest %s has no network namespace %s", guest->name,
                       guest->netns);
    snprintf(pid, sizeof(pid), "%d", guest->pid);
    snprintf(network, sizeof(network), "net[%llu]:net", (unsigned long long)status.st_ino);
    run = (struct criu_run){
        .what = "dump",
        .directory = t->paths.images,
        .inherited = -1,
        .arguments = {"--tree", pid, "--external", network, "--external", "mnt[" GROUND_DEV "]:dev",
                      "--external", "mnt[" GROUND_SHM "]:shm", "--external",
                      "mnt[" GROUND_LOG "]:log", "--manage-cgroups=ignore", "--tcp-close",
                      "--skip-in-flight", "--file-locks", "--network-lock", "skip",
                      "--leave-running", "--freeze-cgroup", guest->freezer},
    };
    if (t->is_tracked)
        criu_add_argument(&run, "--track-mem");
    if (t->is_increment) {
        criu_add_argument(&run, "--prev-images-dir");
        criu_add_argument(&run, INCREMENT_BASE);
    }
    volumes_name_to_dump(guest, &volumes, &run);
    r = console_name_to_dump(guest, &t->paths, &console, &run, err);
    return r < 0 ? r : criu_run(&run, err);
}

static int copy_file(const char *from, int to, struct err *err)
{
    cleanup_close int fd = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    char buffer[16384];
    ssize_t n;

    if (fd < 0)
        return err_set(err, -errno, "cannot read %s: %s", from, strerror(errno));
    while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
        if (write(to, buffer, (size_t)n) != n)
            return err_set(err, -ENOSPC, "no room to copy %s", from);
    }
    return n < 0 ? err_set(err, -errno, "cannot read %s: %s", from, strerror(errno)) : 0;
}

/* Its connections, so that their other ends can be told after a resume: the kernel's own words. */
static int note_connections(const struct mover_guest *guest, int images, struct err *err)
{
    static const char *const tables[] = {"tcp", "tcp6"};
    cleanup_close int fd =
        openat(images, CONNECTIONS_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r = 0;

    if (fd < 0)
        return err_set(err, -errno, "cannot write " CONNECTIONS_FILE ": %s", strerror(errno));
    for (size_t i = 0; r == 0 && i < sizeof(tables) / sizeof(tables[0]); i++) {
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/net/%s", guest->pid, tables[i]);
        r = access(path, R_OK) == 0 ? copy_file(path, fd, err) : 0;
    }
    return r;
}

struct spool {
    int fd;
    uint64_t until_us;
};

static int spool_archive(void *context, const void *data, size_t size, struct err *err)
{
    struct spool *spool = context;

    if (mover_now_us() > spool->until_us)
        return err_set(err, -ETIME,
                       "what it wrote to files alone would stop it for more than %d ms",
                       CHECKPOINT_FREEZE_MS);
    if (write(spool->fd, data, size) != (ssize_t)size)
        return err_set(err, -ENOSPC, "no room for what the guest wrote");
    return 0;
}

static int spool_log(const struct mover_guest *guest, int to, struct err *err)
{
    int r = copy_file(guest->log, to, err);

    if (r == 0)
        console_copy_rest(guest, to);
    return r;
}

static int spool_part(const struct mover_guest *guest, int snapshot,
                      const struct snapshot_part *part, uint64_t until_us, struct err *err)
{
    cleanup_close int directory = -1;
    cleanup_close int fd =
        openat(snapshot, part->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct spool spool = {fd, until_us};

    if (fd < 0)
        return err_set(err, -errno, "cannot write %s: %s", part->name, strerror(errno));
    if (part->tree == 0)
        return spool_log(guest, fd, err);
    directory = open(part->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return err_set(err, -errno, "cannot read %s: %s", part->path, strerror(errno));
    return tree_pack(directory, part->tree == STREAM_TREE_UPPER, spool_archive, &spool, err);
}

static int keep(const struct taking *t, int snapshot, struct err *err)
{
    cleanup_close int images = openat(snapshot, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct snapshot_part parts[SNAPSHOT_MAX_PARTS];
    uint64_t until_us;
    uint32_t n;
    int r;

    if (images < 0)
        return err_set(err, -errno, "cannot read the snapshot: %s", strerror(errno));
    r = snapshot_parts(t->guest, parts, &n, err);
    if (r == 0)
        r = dump(t, err);
    if (r == 0)
        r = note_connections(t->guest, images, err);
    until_us = mover_now_us() + CHECKPOINT_FREEZE_MS * 1000ull;
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = spool_part(t->guest, snapshot, &parts[i], until_us, err);
    return r;
}

static int freeze_and_keep(const struct taking *t, struct mover_report *report, struct err *err)
{
    cleanup_close int snapshot = open(t->now, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *freezer = t->guest->freezer;
    int r, thawed;

    if (snapshot < 0)
        return err_set(err, -errno, "cannot read %s: %s", t->now, strerror(errno));
    report->frozen_us = mover_now_us();
    r = freezer_freeze(freezer, err);
    if (r < 0)
        return r;
    r = keep(t, snapshot, err);
    thawed = freezer_thaw(freezer, r == 0 ? err : NULL);
    report->handed_over_us = mover_now_us();
    return r < 0 ? r : thawed;
}

/* Whose images come to lie in an empty directory. */
static int make_place(struct taking *t, struct err *err)
{
    struct criu_run warming;
    int r = snapshot_path(t->guest, t->now, err);

    snprintf(t->paths.images, sizeof(t->paths.images), "%.*s/images", SNAPSHOT_PATH_SIZE - 8,
             t->now);
    if (r == 0)
        r = tree_remove(t->now, err);
    if (r == 0)
        r = tree_make(t->paths.images, 0700, err);
    return r == 0 && criu_needs_warming(&warming, t->paths.images) ? criu_run(&warming, err) : r;
}

/* While it runs again. */
static int note(struct taking *t, uint64_t taken_us, struct err *err)
{
    cleanup_close int images = open(t->paths.images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (images < 0)
        return err_set(err, -errno, "cannot read the snapshot: %s", strerror(errno));
    return increment_note(t->guest, images, t->is_increment, taken_us, &t->chain, err);
}

int mover_checkpoint(const struct mover_guest *guest, uint64_t since_us, struct mover_report *ret,
                     struct err *err)
{
    struct mover_report report = {.mode = MOVE_STOP};
    struct taking t = {.guest = guest, .is_tracked = kernel_tracks_dirty()};
    int r = mover_check(guest, err);

    if (r == 0)
        r = check_memory(guest, err);
    if (r < 0)
        return r;
    r = make_place(&t, err);
    if (r == 0)
        t.is_increment = increment_begin(guest, t.is_tracked ? since_us : 0, &t.chain);
    if (r == 0)
        r = freeze_and_keep(&t, &report, err);
    if (r == 0 && t.is_tracked)
        r = note(&t, report.frozen_us, err);
    if (r < 0) {
        (void)tree_remove(guest->snapshot, NULL);
        return r;
    }
    if (t.is_increment)
        report.mode = MOVE_PRE;
    *ret = report;
    return 0;
}

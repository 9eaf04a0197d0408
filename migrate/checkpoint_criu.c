/* A guest kept as it is now, while it goes on: dumped and copied aside on tmpfs as long as it
 * stands still, sent once it runs again. How long it may stand still is bounded: by what its
 * processes hold before CRIU begins, and by the clock for all of it, from the order to freeze on
 * (standstill_criu.h). What would take longer is given up. Where the kernel marks what is written,
 * of memory only that is kept (increment_criu.h).
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
#include "migrate/dump_criu.h"
#include "migrate/freezer_cgroup.h"
#include "migrate/ground_criu.h"
#include "migrate/increment_criu.h"
#include "migrate/proc_criu.h"
#include "migrate/run_criu.h"
#include "migrate/standstill_criu.h"
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
    uint64_t until_us; /* it runs again then, CLOCK_BOOTTIME */
    struct standstill standstill;
    /* Its dump, and what its arguments point into. */
    struct criu_run run;
    bool is_dumping;
    int go, ready; /* its gate's; -1: closed */
    struct dump_words words;
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

/* Up to its gate, where it looks at the guest's freezer: until then the guest runs. */
static int start_dump(struct taking *t, struct err *err)
{
    char byte;
    int r = dump_init(t->guest, &t->paths, &t->words, &t->run, err);

    if (r < 0)
        return r;
    criu_add_argument(&t->run, "--tcp-close");
    criu_add_argument(&t->run, "--skip-in-flight");
    if (t->is_tracked)
        criu_add_argument(&t->run, "--track-mem");
    if (t->is_increment) {
        criu_add_argument(&t->run, "--prev-images-dir");
        criu_add_argument(&t->run, INCREMENT_BASE);
    }
    r = standstill_prepare(&t->standstill, t->guest, &t->run, err);
    if (r < 0)
        return r;
    r = criu_start_at_gate(&t->run, &t->ready, &t->go, err);
    if (r < 0) {
        close(t->run.presence);
        return r;
    }
    t->is_dumping = true;
    r = standstill_watch(&t->standstill, t->guest, &t->run, err);
    if (r == 0 && read(t->ready, &byte, 1) != 1)
        r = err_set(err, -EIO, "criu does not wait for the guest to stand still");
    return r;
}

/* One that has not passed its gate ends there. */
static int end_dump(struct taking *t, struct err *err)
{
    if (t->go >= 0)
        close(steal_fd(&t->go));
    if (t->ready >= 0)
        close(steal_fd(&t->ready));
    if (!t->is_dumping)
        return 0;
    t->is_dumping = false;
    return criu_finish(&t->run, err);
}

static int dump(struct taking *t, struct err *err)
{
    char words[1 + sizeof(t->until_us)] = "\n";

    memcpy(words + 1, &t->until_us, sizeof(t->until_us));
    (void)!write(t->go, words, sizeof(words));
    return end_dump(t, err);
}

static bool is_late(const struct taking *t)
{
    return mover_now_us() >= t->until_us;
}

static int is_too_late(struct err *err)
{
    return err_set(err, -ETIME, "it would stand still for too long");
}

static int copy_file(const struct taking *t, const char *from, int to, struct err *err)
{
    cleanup_close int fd = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    char buffer[16384];
    ssize_t n;

    if (fd < 0)
        return err_set(err, -errno, "cannot read %s: %s", from, strerror(errno));
    while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
        if (is_late(t))
            return is_too_late(err);
        if (write(to, buffer, (size_t)n) != n)
            return err_set(err, -ENOSPC, "no room to copy %s", from);
    }
    return n < 0 ? err_set(err, -errno, "cannot read %s: %s", from, strerror(errno)) : 0;
}

/* Its connections, so that their other ends can be told after a resume: the kernel's own words. */
static int note_connections(const struct taking *t, int images, struct err *err)
{
    static const char *const tables[] = {"tcp", "tcp6"};
    cleanup_close int fd =
        openat(images, CONNECTIONS_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r = 0;

    if (fd < 0)
        return err_set(err, -errno, "cannot write " CONNECTIONS_FILE ": %s", strerror(errno));
    for (size_t i = 0; r == 0 && i < sizeof(tables) / sizeof(tables[0]); i++) {
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/net/%s", t->guest->pid, tables[i]);
        r = access(path, R_OK) == 0 ? copy_file(t, path, fd, err) : 0;
    }
    return r;
}

struct spool {
    const struct taking *t;
    int fd;
};

static int spool_archive(void *context, const void *data, size_t size, struct err *err)
{
    struct spool *spool = context;

    if (is_late(spool->t))
        return is_too_late(err);
    if (write(spool->fd, data, size) != (ssize_t)size)
        return err_set(err, -ENOSPC, "no room for what the guest wrote");
    return 0;
}

static int spool_log(const struct taking *t, int to, struct err *err)
{
    int r = copy_file(t, t->guest->log, to, err);

    if (r == 0)
        console_copy_rest(t->guest, to);
    return r;
}

static int spool_part(const struct taking *t, int snapshot, const struct snapshot_part *part,
                      struct err *err)
{
    cleanup_close int directory = -1;
    cleanup_close int fd =
        openat(snapshot, part->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct spool spool = {t, fd};

    if (fd < 0)
        return err_set(err, -errno, "cannot write %s: %s", part->name, strerror(errno));
    if (part->tree == 0)
        return spool_log(t, fd, err);
    directory = open(part->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return err_set(err, -errno, "cannot read %s: %s", part->path, strerror(errno));
    return tree_pack(directory, part->tree == STREAM_TREE_UPPER, spool_archive, &spool, err);
}

/* What is whole in time is whole: it has not been thawed until then. */
static int keep(struct taking *t, int snapshot, struct err *err)
{
    cleanup_close int images = openat(snapshot, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct snapshot_part parts[SNAPSHOT_MAX_PARTS];
    uint32_t n;
    int r;

    if (images < 0)
        return err_set(err, -errno, "cannot read the snapshot: %s", strerror(errno));
    r = snapshot_parts(t->guest, parts, &n, err);
    if (r == 0)
        r = dump(t, err);
    if (r == 0)
        r = note_connections(t, images, err);
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = spool_part(t, snapshot, &parts[i], err);
    return r == 0 && is_late(t) ? is_too_late(err) : r;
}

/* Frozen by us, thawed by us or, at the latest then, by who watches. */
static int freeze_and_keep(struct taking *t, int snapshot, struct mover_report *report,
                           struct err *err)
{
    const char *freezer = t->guest->freezer;
    uint64_t thawed_us;
    int r, thawed = 0;

    report->frozen_us = mover_now_us();
    t->until_us = report->frozen_us + CHECKPOINT_FREEZE_MS * 1000ull;
    standstill_begins(&t->standstill, t->until_us);
    r = freezer_freeze_within(freezer, CHECKPOINT_FREEZE_MS, err);
    if (r == 0) {
        r = keep(t, snapshot, err);
        (void)end_dump(t, NULL);
        thawed = freezer_thaw(freezer, r == 0 ? err : NULL);
    }
    report->handed_over_us = mover_now_us();
    (void)end_dump(t, NULL);
    thawed_us = standstill_end(&t->standstill);
    if (thawed_us != 0 && thawed_us < report->handed_over_us)
        report->handed_over_us = thawed_us;
    if (r < 0 && report->handed_over_us >= t->until_us)
        return err_set(err, -ETIME, "given up: it stood still for %llu ms, of %d at most",
                       (unsigned long long)(report->handed_over_us - report->frozen_us) / 1000,
                       CHECKPOINT_FREEZE_MS);
    return r < 0 ? r : thawed;
}

static int take(struct taking *t, struct mover_report *report, struct err *err)
{
    cleanup_close int snapshot = open(t->now, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r;

    if (snapshot < 0)
        return err_set(err, -errno, "cannot read %s: %s", t->now, strerror(errno));
    r = start_dump(t, err);
    if (r == 0)
        return freeze_and_keep(t, snapshot, report, err);
    (void)end_dump(t, NULL);
    (void)standstill_end(&t->standstill);
    return r;
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
    struct taking t = {.guest = guest,
                       .is_tracked = kernel_tracks_dirty(),
                       .standstill.watched = -1,
                       .go = -1,
                       .ready = -1};
    int r = mover_check(guest, err);

    if (r == 0)
        r = check_memory(guest, err);
    if (r < 0)
        return r;
    r = make_place(&t, err);
    if (r == 0)
        t.is_increment = increment_begin(guest, t.is_tracked ? since_us : 0, &t.chain);
    if (r == 0)
        r = take(&t, &report, err);
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

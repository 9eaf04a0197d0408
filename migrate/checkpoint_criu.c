/* A guest kept as it is now, while it goes on: dumped and copied aside on tmpfs as long as it
 * stands still, sent once it runs again. How long it may stand still is bounded: by what its
 * processes hold before CRIU begins (criu is not ended half way), by the clock for its files.
 */
#include "migrate/mover_criu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/digest_sodium.h"
#include "base/tree_posix.h"
#include "migrate/connections.h"
#include "migrate/console_criu.h"
#include "migrate/freezer_cgroup.h"
#include "migrate/ground_criu.h"
#include "migrate/proc_criu.h"
#include "migrate/reset_linux.h"
#include "migrate/run_criu.h"
#include "migrate/stream_sodium.h"
#include "migrate/tree_archive.h"
#include "migrate/volumes_criu.h"

/* What CRIU writes to tmpfs a second at the least, for the bound. */
enum { DUMP_MIB_A_SECOND = 256 };

/* A part of a snapshot that is no image file. */
struct part {
    enum stream_tree tree; /* 0: the log */
    char name[24];         /* in the snapshot */
    char path[300];        /* of what is kept so */
};
enum { MAX_PARTS = 4 + MAX_VOLUMES };

static int list_parts(const struct mover_guest *guest, struct part ret[MAX_PARTS], uint32_t *ret_n,
                      struct err *err)
{
    uint32_t n = 0;
    int r = 0;

    ret[n] = (struct part){.tree = STREAM_TREE_UPPER, .name = "upper"};
    snprintf(ret[n++].path, sizeof(ret->path), "%s", guest->upper);
    ret[n] = (struct part){.tree = STREAM_TREE_DEV, .name = "dev"};
    snprintf(ret[n++].path, sizeof(ret->path), "/proc/%d/root" GROUND_DEV, guest->pid);
    ret[n] = (struct part){.tree = STREAM_TREE_SHM, .name = "shm"};
    snprintf(ret[n++].path, sizeof(ret->path), "/proc/%d/root" GROUND_SHM, guest->pid);
    for (uint32_t i = 0; r == 0 && i < guest->n_volumes; i++) {
        ret[n] = (struct part){.tree = (enum stream_tree)(STREAM_TREE_VOLUME + i)};
        snprintf(ret[n].name, sizeof(ret->name), "volume%u", i);
        r = volume_path(guest, i, ret[n++].path, err);
    }
    ret[n] = (struct part){.name = "log"};
    snprintf(ret[n++].path, sizeof(ret->path), "%s", guest->log);
    *ret_n = n;
    return r;
}

/* ---- while it stands still */

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

static int dump(const struct mover_guest *guest, const struct mover_paths *paths, struct err *err)
{
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
        .directory = paths->images,
        .inherited = -1,
        .arguments = {"--tree", pid, "--external", network, "--external", "mnt[" GROUND_DEV "]:dev",
                      "--external", "mnt[" GROUND_SHM "]:shm", "--external",
                      "mnt[" GROUND_LOG "]:log", "--manage-cgroups=ignore", "--tcp-close",
                      "--skip-in-flight", "--file-locks", "--network-lock", "skip",
                      "--leave-running", "--freeze-cgroup", guest->freezer},
    };
    volumes_name_to_dump(guest, &volumes, &run);
    r = console_name_to_dump(guest, paths, &console, &run, err);
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

static int spool_part(const struct mover_guest *guest, int snapshot, const struct part *part,
                      uint64_t until_us, struct err *err)
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

static int keep(const struct mover_guest *guest, int snapshot, struct err *err)
{
    cleanup_close int images = openat(snapshot, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct part parts[MAX_PARTS];
    struct mover_paths paths;
    uint64_t until_us;
    uint32_t n;
    int r;

    if (images < 0)
        return err_set(err, -errno, "cannot read the snapshot: %s", strerror(errno));
    snprintf(paths.images, sizeof(paths.images), "%s/images", guest->snapshot);
    r = list_parts(guest, parts, &n, err);
    if (r == 0)
        r = dump(guest, &paths, err);
    if (r == 0)
        r = note_connections(guest, images, err);
    until_us = mover_now_us() + CHECKPOINT_FREEZE_MS * 1000ull;
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = spool_part(guest, snapshot, &parts[i], until_us, err);
    return r;
}

static int freeze_and_keep(const struct mover_guest *guest, struct mover_report *report,
                           struct err *err)
{
    cleanup_close int snapshot = open(guest->snapshot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r, thawed;

    if (snapshot < 0)
        return err_set(err, -errno, "cannot read %s: %s", guest->snapshot, strerror(errno));
    report->frozen_us = mover_now_us();
    r = freezer_freeze(guest->freezer, err);
    if (r < 0)
        return r;
    r = keep(guest, snapshot, err);
    thawed = freezer_thaw(guest->freezer, r == 0 ? err : NULL);
    report->handed_over_us = mover_now_us();
    return r < 0 ? r : thawed;
}

int mover_checkpoint(const struct mover_guest *guest, struct mover_report *ret, struct err *err)
{
    struct mover_report report = {.mode = MOVE_STOP};
    struct criu_run warming;
    char images[256];
    int r = mover_check(guest, err);

    if (r == 0)
        r = check_memory(guest, err);
    if (r == 0)
        r = tree_remove(guest->snapshot, err);
    snprintf(images, sizeof(images), "%s/images", guest->snapshot);
    if (r == 0)
        r = tree_make(images, 0700, err);
    if (r == 0 && criu_needs_warming(&warming, images))
        r = criu_run(&warming, err);
    if (r == 0)
        r = freeze_and_keep(guest, &report, err);
    if (r < 0) {
        (void)tree_remove(guest->snapshot, NULL);
        return r;
    }
    *ret = report;
    return 0;
}

/* ---- while it runs again */

static int send_content(struct stream_out *out, int directory, const char *name, struct err *err)
{
    cleanup_close int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    void *content;
    int r;

    if (fd < 0 || fstat(fd, &status) < 0)
        return err_set(err, -errno, "cannot read %s: %s", name, strerror(errno));
    if (status.st_size == 0)
        return 0;
    content = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (content == MAP_FAILED)
        return err_set(err, -errno, "cannot map %s: %s", name, strerror(errno));
    r = stream_out_data(out, content, (size_t)status.st_size, err);
    munmap(content, (size_t)status.st_size);
    return r;
}

static bool is_image(const char *name)
{
    size_t size = strlen(name);

    return size > 4 && strcmp(name + size - 4, ".img") == 0;
}

static int send_images(struct stream_out *out, int snapshot, struct err *err)
{
    int fd = openat(snapshot, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *images = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int r = 0;

    if (images == NULL) {
        r = err_set(err, -errno, "cannot read the snapshot: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    while (r == 0 && (entry = readdir(images)) != NULL) {
        if (!is_image(entry->d_name))
            continue;
        r = stream_out_file(out, entry->d_name, err);
        if (r == 0)
            r = send_content(out, dirfd(images), entry->d_name, err);
    }
    closedir(images);
    return r;
}

static int send_parts(struct stream_out *out, const struct mover_guest *guest, int snapshot,
                      struct err *err)
{
    struct part parts[MAX_PARTS];
    uint32_t n;
    int r = list_parts(guest, parts, &n, err);

    for (uint32_t i = 0; r == 0 && i < n; i++) {
        r = parts[i].tree == 0 ? stream_out_log(out, err)
                               : stream_out_tree(out, parts[i].tree, err);
        if (r == 0)
            r = send_content(out, snapshot, parts[i].name, err);
    }
    return r;
}

/* It takes memory: it goes whether it was sent or not, unless a newer one stands in its place. */
static void remove_snapshot(const struct mover_guest *guest, int snapshot)
{
    struct stat opened, there;

    if (fstat(snapshot, &opened) == 0 && stat(guest->snapshot, &there) == 0 &&
        opened.st_ino == there.st_ino && opened.st_dev == there.st_dev)
        (void)tree_remove(guest->snapshot, NULL);
}

/* Everything is named below a descriptor of the snapshot: when a newer one takes its place
 * meanwhile, nothing is found any more, rather than the parts of another moment. */
int mover_send(const struct mover_guest *guest, int fd, struct mover_report *ret, struct err *err)
{
    cleanup_close int snapshot = open(guest->snapshot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_free struct stream_out *out = malloc(sizeof(*out));
    int r;

    if (snapshot < 0)
        return err_set(err, -errno, "guest %s has no snapshot to send", guest->name);
    if (out == NULL)
        return err_set(err, -ENOMEM, "no memory to send guest %s", guest->name);
    r = stream_out_start(out, fd, 0, guest->name, err);
    if (r == 0)
        r = send_images(out, snapshot, err);
    if (r == 0)
        r = send_parts(out, guest, snapshot, err);
    if (r == 0)
        r = stream_out_end(out, err);
    remove_snapshot(guest, snapshot);
    if (r == 0)
        *ret = (struct mover_report){.bytes = out->n_bytes, .mode = MOVE_STOP};
    return r;
}

/* ---- coming back */

static int check_digest(int fd, const uint8_t digest[DIGEST_SIZE], struct err *err)
{
    uint8_t actual[DIGEST_SIZE];
    int r = digest_of_file(fd, actual, NULL, err);

    if (r == 0 && memcmp(actual, digest, DIGEST_SIZE) != 0)
        r = err_set(err, -EBADMSG, "the checkpoint is damaged: it is not the one that was kept");
    return r;
}

int mover_receive_kept(const struct mover_guest *guest, int fd, const uint8_t digest[DIGEST_SIZE],
                       struct mover_report *ret, struct err *err)
{
    int r = check_digest(fd, digest, err);

    return r < 0 ? r : mover_receive(guest, fd, ret, err);
}

int mover_reset_peers(const struct mover_guest *guest, struct err *err)
{
    char path[256];

    if (guest->ip == 0)
        return 0;
    if (snprintf(path, sizeof(path), "%s/images/" CONNECTIONS_FILE, guest->checkpoint) >=
        (int)sizeof(path))
        return err_set(err, -ENAMETOOLONG, "the paths of guest %s are too long", guest->name);
    return reset_peers(guest->netns, guest->ip, path, err);
}

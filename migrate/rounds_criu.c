#include "migrate/rounds_criu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"
#include "migrate/ahead_criu.h"
#include "migrate/images_criu.h"
#include "migrate/lazy_criu.h"
#include "migrate/mode.h"
#include "migrate/presence_posix.h"
#include "migrate/run_criu.h"

enum { SPARE_MIB = 16 }; /* of the tmpfs, beside a round */

void rounds_path(const struct mover_paths *paths, uint32_t round, char ret[ROUND_PATH_SIZE])
{
    if (round == 0)
        snprintf(ret, ROUND_PATH_SIZE, "%s", paths->images);
    else
        snprintf(ret, ROUND_PATH_SIZE, "%s/round%u", paths->images, round);
}

void rounds_parent(uint32_t of, uint32_t n_rounds, char ret[ROUND_NAME_SIZE + 4])
{
    if (of == 0)
        snprintf(ret, ROUND_NAME_SIZE + 4, "round%u", n_rounds);
    else
        snprintf(ret, ROUND_NAME_SIZE + 4, "../round%u", of - 1);
}

uint32_t rounds_count(const struct mover_paths *paths)
{
    char path[ROUND_PATH_SIZE];
    uint32_t n = 0;

    do
        rounds_path(paths, n + 1, path);
    while (access(path, F_OK) == 0 && ++n < MODE_MAX_ROUNDS);
    return n;
}

int rounds_begin(const struct mover_paths *paths, uint32_t round, uint32_t before, struct err *err)
{
    char path[ROUND_PATH_SIZE], link[ROUND_PATH_SIZE + 8], parent[ROUND_NAME_SIZE + 4];
    int r;

    rounds_path(paths, round, path);
    r = round != 0 ? tree_make(path, 0700, err) : 0;
    if (r < 0 || before == 0)
        return r;
    rounds_parent(round, before, parent);
    snprintf(link, sizeof(link), "%s/parent", path);
    return symlink(parent, link) < 0
               ? err_set(err, -errno, "cannot make %s: %s", link, strerror(errno))
               : 0;
}

/* ---- source */

struct copying {
    const struct mover_guest *guest;
    const struct mover_paths *paths;
    struct stream_out *out;
    struct progress progress;
    uint64_t memory_bytes;
    struct mode_rounds rounds;
};

static int check_room(const struct copying *c, struct err *err)
{
    struct statvfs status;
    uint64_t free_bytes;

    if (statvfs(c->paths->images, &status) < 0)
        return err_set(err, -errno, "cannot look at %s: %s", c->paths->images, strerror(errno));
    free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    if (free_bytes >= c->memory_bytes + ((uint64_t)SPARE_MIB << 20))
        return 0;
    return err_set(err, -ENOSPC,
                   "guest %s holds %llu MiB, and %llu MiB are free for a round of pre-copy",
                   c->guest->name, (unsigned long long)c->memory_bytes >> 20,
                   (unsigned long long)free_bytes >> 20);
}

static int start_pre_dump(const struct copying *c, const char *directory, uint32_t round,
                          struct criu_run *run, struct err *err)
{
    char pid[16], parent[ROUND_NAME_SIZE + 4];
    int r;

    snprintf(pid, sizeof(pid), "%d", c->guest->pid);
    *run = (struct criu_run){
        .what = "pre-dump",
        .directory = directory,
        .inherited = -1,
        .arguments = {"--tree", pid, "--track-mem", "--manage-cgroups=ignore", "--freeze-cgroup",
                      c->guest->freezer},
    };
    if (round > 1) {
        rounds_parent(round, round - 1, parent);
        criu_add_argument(run, "--prev-images-dir");
        criu_add_argument(run, parent);
    }
    run->presence = presence_begin(c->paths->dumper, err);
    if (run->presence < 0)
        return run->presence;
    r = criu_start(run, err);
    close(run->presence);
    return r;
}

/* Their length stays, as CRIU opens them once more. */
static void give_back(int directory, const struct pages *pages)
{
    char name[STREAM_NAME_SIZE];
    struct stat status;

    for (uint32_t number = 1; number < pages->next; number++) {
        cleanup_close int fd = -1;

        pages_name(number, name);
        fd = openat(directory, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0)
            (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, status.st_size);
    }
}

static int send_round(struct copying *c, DIR *directory, struct criu_run *run, struct err *err)
{
    struct err failure;
    struct pages pages;
    int r = pages_send(&pages, dirfd(directory), run, -1, c->out, &c->progress, err), dumped;

    dumped = criu_finish(run, &failure);
    (void)unlink(c->paths->dumper); /* the next one makes its own */
    if (dumped < 0)
        r = err_set(err, dumped, "%s", failure.text);
    if (r == 0)
        r = images_send_small(c->out, directory, &pages, err);
    if (r == 0)
        r = stream_out_flush(c->out, err);
    give_back(dirfd(directory), &pages);
    return r;
}

static int copy_round(struct copying *c, uint32_t round, struct err *err)
{
    uint64_t began_us = mover_now_us(), before = c->out->n_data;
    char path[ROUND_PATH_SIZE];
    struct criu_run run;
    DIR *directory;
    int r;

    rounds_path(c->paths, round, path);
    r = tree_make(path, 0700, err);
    if (r == 0)
        r = stream_out_round(c->out, round, err);
    if (r < 0)
        return r;
    directory = opendir(path);
    if (directory == NULL)
        return err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    r = start_pre_dump(c, path, round, &run, err);
    if (r == 0)
        r = send_round(c, directory, &run, err);
    closedir(directory);
    if (r == 0)
        mode_round_over(&c->rounds, c->out->n_data - before, mover_now_us() - began_us,
                        mover_written(c->guest));
    return r;
}

/* What the next round will carry, or the guest that stands still, and what it would stand still for
 * now. */
static void tell_next(struct copying *c, enum mode_next next)
{
    if (c->rounds.n > 0)
        c->progress.value.blackout_ms = mode_rounds_expected_ms(&c->rounds, next);
    c->progress.value.round = c->rounds.n + 1;
    c->progress.value.total_bytes =
        c->out->n_data + (c->rounds.n == 0 ? c->memory_bytes : c->rounds.left_bytes);
    progress_tell(&c->progress, c->out->n_data);
}

static int copy_rounds(struct copying *c, const struct mover_order *order, enum move_mode *ret,
                       struct err *err)
{
    enum mode_next next = MODE_AGAIN;
    int r = check_room(c, err);

    while (r == 0 && next == MODE_AGAIN) {
        tell_next(c, next);
        r = copy_round(c, c->rounds.n + 1, err);
        if (r == 0)
            next = mode_next(&c->rounds, c->memory_bytes, order->last_round_ms, order->post_after);
    }
    if (r < 0)
        return r;
    tell_next(c, next);
    *ret = next == MODE_FOLLOW ? MOVE_POST : MOVE_PRE;
    return stream_out_leave(c->out, c->paths->stream, err);
}

/* Its files first: memory changes faster. */
static int copy_all(struct copying *c, const struct mover_order *order, enum move_mode *ret,
                    struct err *err)
{
    int r = 0;

    *ret = order->mode;
    if (order->mode != MOVE_PRE || ahead_is_wanted(c->guest, order->link_kbps))
        r = ahead_copy(c->guest, c->paths, c->out, &c->progress, order->link_kbps, err);
    if (r == 0 && order->mode == MOVE_PRE)
        return copy_rounds(c, order, ret, err);
    c->progress.value.total_bytes = c->memory_bytes; /* of what comes next */
    progress_tell(&c->progress, 0);
    return r < 0 ? r : stream_out_leave(c->out, c->paths->stream, err);
}

int mover_copy(const struct mover_guest *guest, int fd, const struct mover_order *order,
               struct mover_report *ret, struct err *err)
{
    cleanup_free struct stream_out *out = malloc(sizeof(*out));
    struct mover_report report = {0};
    struct mover_paths paths;
    struct copying copying = {.guest = guest, .paths = &paths, .out = out, .progress = {.fd = -1}};
    void (*old)(int);
    int r = mover_paths_init(&paths, guest, err);

    if (r == 0 && out == NULL)
        r = err_set(err, -ENOMEM, "no memory to send guest %s", guest->name);
    if (r < 0)
        return r;
    progress_go_on(&copying.progress, paths.progress);
    copying.memory_bytes = copying.progress.value.total_bytes;
    (void)lazy_make_room(NULL); /* the memory of a round passes through pipes as well */
    old = signal(SIGPIPE, SIG_IGN);
    r = stream_out_start(out, fd, order->rate_kbps, guest->name, err);
    if (r == 0)
        r = copy_all(&copying, order, &report.mode, err);
    progress_end(&copying.progress);
    signal(SIGPIPE, old);
    if (r < 0) {
        (void)mover_remove_checkpoint(guest, NULL);
        return r;
    }
    report.total_bytes = copying.memory_bytes;
    report.bytes = out->n_bytes;
    *ret = report;
    return 0;
}

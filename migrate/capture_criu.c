/* Source of a migration: freeze, dump, send. */
#include "migrate/mover_criu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"
#include "migrate/ahead_criu.h"
#include "migrate/backlog_linux.h"
#include "migrate/console_criu.h"
#include "migrate/dump_criu.h"
#include "migrate/freezer_cgroup.h"
#include "migrate/ground_criu.h"
#include "migrate/images_criu.h"
#include "migrate/increment_criu.h"
#include "migrate/lazy_criu.h"
#include "migrate/neighbours_linux.h"
#include "migrate/presence_posix.h"
#include "migrate/rounds_criu.h"
#include "migrate/run_criu.h"
#include "migrate/stream_sodium.h"
#include "migrate/tree_archive.h"

/* Of a deleted file that is open: criu's own limit of 1 MiB is for those who keep its images. */
#define GHOST_LIMIT "1G"

enum { ACCEPTED_MS = 10 }; /* a guest that takes its connections has done so within */

/* A dump under way, and what its arguments point into. */
struct dump {
    struct criu_run run;
    char parent[ROUND_NAME_SIZE + 4];
    int go;     /* a byte lets it pass its gate; -1: it did */
    int ready;  /* it says that it is at its gate; POST: and when all but the memory is written */
    int socket; /* POST: that is given out here. Else -1 */
    struct progress progress;
    struct ahead ahead;
    struct dump_words words;
};

/* Starts it with our end of a socket kept. */
static int start_lazy(struct dump *d, struct err *err)
{
    static const char *const lazily[] = {"--lazy-pages", "--ps-socket", "3", "--status-fd", "4"};
    int pair[2], r = lazy_make_room(err);

    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "cannot make a socket pair: %s", strerror(errno));
    d->socket = pair[0];
    d->run.inherited = pair[1];
    for (size_t i = 0; i < sizeof(lazily) / sizeof(lazily[0]); i++)
        criu_add_argument(&d->run, lazily[i]);
    r = criu_start_at_gate(&d->run, &d->ready, &d->go, err);
    close(pair[1]);
    return r;
}

static void dump_deinit(struct dump *d)
{
    if (d->socket >= 0)
        close(steal_fd(&d->socket));
    if (d->ready >= 0)
        close(steal_fd(&d->ready));
    if (d->go >= 0)
        close(steal_fd(&d->go));
    progress_end(&d->progress);
    ahead_deinit(&d->ahead);
}

/* What went wrong with the dump is the better reason. Its socket's end ends a lazy one. */
static int finish_dump(struct dump *d, int r, struct err *err)
{
    struct err failure;
    int dumped;

    dump_deinit(d);
    dumped = criu_finish(&d->run, &failure);
    return dumped < 0 ? err_set(err, dumped, "%s", failure.text) : r;
}

/* One that has not passed its gate: that it ends is no failure of its own. */
static int finish_undone(struct dump *d, int r)
{
    (void)finish_dump(d, r, NULL);
    return r;
}

/* Behind rounds of pre-copy only what was written since. */
static void name_parent(struct dump *d, uint32_t n_rounds)
{
    if (n_rounds == 0)
        return;
    rounds_parent(0, n_rounds, d->parent);
    criu_add_argument(&d->run, "--track-mem");
    criu_add_argument(&d->run, "--prev-images-dir");
    criu_add_argument(&d->run, d->parent);
}

/* Up to its gate, where it looks at the guest's freezer: until then the guest runs. */
static int start_dump(struct dump *d, const struct mover_guest *guest,
                      const struct mover_paths *paths, bool is_lazy, struct err *err)
{
    char byte;
    int r = dump_init(guest, paths, &d->words, &d->run, err);

    if (r < 0)
        return r;
    criu_add_argument(&d->run, "--tcp-established");
    criu_add_argument(&d->run, "--ghost-limit");
    criu_add_argument(&d->run, GHOST_LIMIT);
    name_parent(d, rounds_count(paths));
    d->run.presence = presence_begin(paths->dumper, err);
    if (d->run.presence < 0)
        return d->run.presence;
    r = is_lazy ? start_lazy(d, err) : criu_start_at_gate(&d->run, &d->ready, &d->go, err);
    close(d->run.presence);
    if (r == 0 && read(d->ready, &byte, 1) != 1)
        r = finish_dump(d, err_set(err, -EIO, "criu does not wait for the guest to stand still"),
                        err);
    return r;
}

/* /dev and /dev/shm are mounts of the cell's own: nothing of it can stand in their place, so the
 * way to them follows no link of its making. */
static int send_inner_tree(struct stream_out *out, const struct mover_guest *guest,
                           enum stream_tree tree, const char *inside, struct err *err)
{
    cleanup_close int directory = -1;
    char path[64];
    int r;

    snprintf(path, sizeof(path), "/proc/%d/root%s", guest->pid, inside);
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    r = stream_out_tree(out, tree, err);
    return r < 0 ? r : tree_pack(directory, false, stream_out_write, out, err);
}

static int send_log(struct stream_out *out, const struct mover_guest *guest, struct err *err)
{
    cleanup_close int fd = open(guest->log, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    int r;

    console_save_rest(guest);
    if (fd < 0 || fstat(fd, &status) < 0)
        return err_set(err, -errno, "cannot read %s: %s", guest->log, strerror(errno));
    r = stream_out_log(out, err);
    return r < 0 ? r : images_send_content(out, fd, (size_t)status.st_size, err);
}

/* What it wrote to files, beside the dump: it stands still, and criu changes none of them. */
static int send_trees(struct dump *d, struct stream_out *out, const struct mover_guest *guest,
                      struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < ahead_n_trees(guest); i++)
        r = ahead_send_rest(&d->ahead, guest, i, out, err);
    if (r == 0)
        r = send_inner_tree(out, guest, STREAM_TREE_DEV, GROUND_DEV, err);
    if (r == 0)
        r = send_inner_tree(out, guest, STREAM_TREE_SHM, GROUND_SHM, err);
    if (r == 0)
        r = send_log(out, guest, err);
    return r < 0 ? r : stream_out_flush(out, err); /* to be unpacked meanwhile */
}

/* Out of reach, and then still. Checked once more: who came into it from outside meanwhile would
 * stay behind. */
static int freeze(const struct mover_guest *guest, const struct mover_order *order,
                  struct mover_report *report, struct err *err)
{
    cleanup_close int backlog = order->close_port != NULL ? backlog_open(guest->netns, err) : -1;
    int r = 0;

    report->frozen_us = mover_now_us();
    if (order->close_port != NULL)
        r = backlog < 0 ? backlog : order->close_port(order->context, err);
    if (r == 0 && order->close_port != NULL)
        (void)backlog_drain(backlog, ACCEPTED_MS); /* else criu says so */
    if (r == 0)
        r = freezer_freeze(guest->freezer, err);
    return r < 0 ? r : mover_check(guest, err);
}

/* Files while it is dumped, memory as it comes, the rest when the dump is done, or as far as it
 * goes before it is asked for memory: then it is left running in `d`, else it was waited for. */
static int dump_and_send(struct dump *d, struct stream_out *out, const struct mover_guest *guest,
                         DIR *images, bool is_lazy, struct err *err)
{
    int ready = is_lazy ? d->ready : -1, r;
    struct pages pages;

    (void)!write(d->go, "\n", 1);
    close(steal_fd(&d->go));
    r = send_trees(d, out, guest, err);
    if (r == 0)
        r = pages_send(&pages, dirfd(images), &d->run, ready, out, &d->progress, err);
    if (r < 0 || !is_lazy || !criu_is_ready(ready))
        r = finish_dump(d, r, err);
    return r < 0 ? r : images_send_small(out, images, &pages, err);
}

static int send_all(struct dump *d, struct stream_out *out, const struct mover_guest *guest,
                    const struct mover_paths *paths, const struct mover_order *order,
                    struct mover_report *report, struct err *err)
{
    bool is_lazy = order->mode == MOVE_POST;
    DIR *images = opendir(paths->images);
    int r;

    if (images == NULL)
        return err_set(err, -errno, "cannot read %s: %s", paths->images, strerror(errno));
    r = start_dump(d, guest, paths, is_lazy, err);
    if (r == 0) {
        r = freeze(guest, order, report, err);
        r = r < 0 ? finish_undone(d, r) : dump_and_send(d, out, guest, images, is_lazy, err);
    }
    closedir(images);
    return r < 0 ? r : stream_out_end(out, err);
}

/* Where copy left it, if it was begun by that. */
static int enter_stream(struct stream_out *out, const struct mover_guest *guest,
                        const struct mover_paths *paths, int fd, const struct mover_order *order,
                        struct err *err)
{
    int r;

    if (order->mode != MOVE_PRE && access(paths->stream, F_OK) < 0)
        return stream_out_start(out, fd, order->rate_kbps, guest->name, err);
    r = stream_out_go_on(out, fd, order->rate_kbps, paths->stream, err);
    return r < 0 || rounds_count(paths) == 0 ? r : stream_out_round(out, 0, err);
}

/* The target hears that memory follows while the guest still runs: its criu is started for that. */
static int begin_stream(struct stream_out *out, const struct mover_guest *guest,
                        const struct mover_paths *paths, int fd, const struct mover_order *order,
                        struct err *err)
{
    int r = enter_stream(out, guest, paths, fd, order, err);

    if (r < 0 || order->mode != MOVE_POST)
        return r;
    r = stream_out_lazy(out, err);
    return r < 0 ? r : stream_out_flush(out, err);
}

static int send_guest(const struct mover_guest *guest, const struct mover_paths *paths, int fd,
                      const struct mover_order *order, struct mover_report *report, struct err *err)
{
    cleanup_free struct stream_out *out = malloc(sizeof(*out));
    void (*old)(int) = signal(SIGPIPE, SIG_IGN);
    struct dump dump = {.ready = -1, .go = -1, .socket = -1, .progress = {.fd = -1}};
    int r = -ENOMEM;

    progress_go_on(&dump.progress, paths->progress);
    if (out == NULL)
        err_set(err, r, "no memory to send guest %s", guest->name);
    else
        r = begin_stream(out, guest, paths, fd, order, err);
    if (order->mode != MOVE_PRE) /* which counts from the beginning */
        dump.progress.before_bytes = r == 0 ? out->n_data : 0;
    if (r == 0)
        r = ahead_load(paths, &dump.ahead, err);
    if (r == 0)
        r = send_all(&dump, out, guest, paths, order, report, err);
    if (r == 0 && dump.socket >= 0)
        r = lazy_serve(guest, paths, dump.socket, fd, order->rate_kbps, &dump.progress, err);
    if (r < 0 && dump.socket >= 0)
        (void)finish_dump(&dump, r, NULL);
    dump_deinit(&dump);
    signal(SIGPIPE, old);
    if (r == 0) {
        report->bytes = out->n_bytes;
        report->handed_over_us = mover_now_us();
    }
    return r;
}

/* What is counted here is told by capture: while the guest stands still it would cost time. */
int mover_ready(const struct mover_guest *guest, uint32_t link_kbps, struct err *err)
{
    struct progress progress = {.fd = -1};
    struct mover_paths paths;
    struct criu_run warming;
    int r = mover_check(guest, err);

    if (r == 0)
        r = mover_paths_init(&paths, guest, err);
    if (r == 0)
        r = mover_remove_checkpoint(guest, err);
    if (r == 0)
        r = tree_make(paths.images, 0700, err);
    if (r == 0 && criu_needs_warming(&warming, paths.images))
        r = criu_run(&warming, err);
    if (r < 0)
        return r;
    increment_forget(guest); /* rounds clear the marks that the next one would go by */
    neighbours_keep(guest->pid, paths.images);
    progress_begin(&progress, paths.progress, mover_memory(guest));
    progress_end(&progress);
    return ahead_is_wanted(guest, link_kbps) ? 1 : 0;
}

int mover_capture(const struct mover_guest *guest, int fd, const struct mover_order *order,
                  struct mover_report *ret, struct err *err)
{
    struct mover_report report = {.mode = order->mode};
    struct move_progress counted = {0};
    struct mover_paths paths;
    bool was_frozen;
    int r = mover_paths_init(&paths, guest, err);

    if (r == 0)
        r = freezer_is_frozen(guest->freezer, &was_frozen, err);
    if (r < 0)
        return r;
    (void)progress_read(paths.progress, &counted);
    report.total_bytes = counted.total_bytes;
    report.round = counted.round;
    r = send_guest(guest, &paths, fd, order, &report, err);
    if (r < 0) {
        if (!was_frozen)
            (void)freezer_thaw(guest->freezer, NULL);
        (void)mover_remove_checkpoint(guest, NULL);
        return r;
    }
    *ret = report;
    return 0;
}

/* Target of a migration: receive and verify. */
#include "migrate/mover_criu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"
#include "migrate/console_criu.h"
#include "migrate/ground_criu.h"
#include "migrate/lazy_criu.h"
#include "migrate/neighbours_linux.h"
#include "migrate/restore_criu.h"
#include "migrate/rounds_criu.h"
#include "migrate/run_criu.h"
#include "migrate/stream_sodium.h"
#include "migrate/tree_archive.h"
#include "migrate/volumes_criu.h"

struct receiving {
    const struct mover_guest *guest;
    struct mover_paths paths;
    uint32_t round;             /* of pre-copy that image files are of; 0 = of none */
    int file;                   /* that DATA goes to; -1 */
    struct tree_unpacking tree; /* or this */
    struct lazy_fetcher fetcher;
    struct stream_in in;
};

/* Ends what is open; a tree says only now whether it is whole. */
static int close_item(struct receiving *r, struct err *err)
{
    if (r->file >= 0)
        close(steal_fd(&r->file));
    return tree_unpacking_finish(&r->tree, err);
}

static int open_file(struct receiving *r, const char *path, mode_t mode, struct err *err)
{
    r->file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (r->file < 0)
        return err_set(err, -errno, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

static int begin_image(struct receiving *r, uint32_t size, struct err *err)
{
    char directory[ROUND_PATH_SIZE], path[sizeof(directory) + STREAM_NAME_SIZE];

    rounds_path(&r->paths, r->round, directory);
    snprintf(path, sizeof(path), "%s/%.*s", directory, (int)size, r->in.payload);
    return open_file(r, path, 0600, err);
}

static int begin_round(struct receiving *r, struct err *err)
{
    uint32_t before = r->round;

    r->round = r->in.payload[0];
    return rounds_begin(&r->paths, r->round, before, err);
}

/* The one that was named last; what came of it before is changed. */
static int start_tree(struct receiving *r, const char *path, struct err *err)
{
    uint8_t tree = r->in.payload[0];

    return tree_unpacking_start(&r->tree,
                                &(struct tree_order){
                                    .directory = path,
                                    .keeps_whiteouts = tree == STREAM_TREE_UPPER,
                                    .is_edited = stream_has_tree(&r->in.grammar, tree),
                                },
                                err);
}

static int begin_volume(struct receiving *r, uint32_t i, struct err *err)
{
    char path[sizeof(r->paths.new_volumes) + NAME_SIZE + 1];
    int result;

    if (i >= r->guest->n_volumes)
        return err_set(err, -EBADMSG, "the migration stream holds more volumes than guest %s has",
                       r->guest->name);
    snprintf(path, sizeof(path), "%s/%s", r->paths.new_volumes, r->guest->volumes[i].name);
    result = tree_make(path, 0755, err);
    return result < 0 ? result : start_tree(r, path, err);
}

static int begin_tree(struct receiving *r, struct err *err)
{
    switch (r->in.payload[0]) {
    case STREAM_TREE_UPPER:
        return start_tree(r, r->paths.new_upper, err);
    case STREAM_TREE_DEV:
        return start_tree(r, r->paths.dev, err);
    case STREAM_TREE_SHM:
        return start_tree(r, r->paths.shm, err);
    default:
        return begin_volume(r, r->in.payload[0] - STREAM_TREE_VOLUME, err);
    }
}

static int take_data(struct receiving *r, uint32_t size, struct err *err)
{
    const uint8_t *at = r->in.payload;

    if (r->file < 0)
        return tree_unpacking_feed(&r->tree, at, size, err);
    while (size > 0) {
        ssize_t n = write(r->file, at, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, -errno, "cannot write the guest's image: %s", strerror(errno));
        at += n;
        size -= (uint32_t)n;
    }
    return 0;
}

static int check_name(struct receiving *r, uint32_t size, struct err *err)
{
    const char *name = r->guest->name;

    if (size != strlen(name) || memcmp(r->in.payload, name, size) != 0)
        return err_set(err, -EBADMSG, "the migration stream holds another guest than %s", name);
    return 0;
}

static int take_record(struct receiving *r, const struct stream_record *record, struct err *err)
{
    int closed = record->type != STREAM_DATA ? close_item(r, err) : 0;

    if (closed < 0)
        return closed;
    switch (record->type) {
    case STREAM_GUEST:
        return check_name(r, record->size, err);
    case STREAM_FILE:
        return begin_image(r, record->size, err);
    case STREAM_TREE:
        return begin_tree(r, err);
    case STREAM_LOG:
        return open_file(r, r->paths.new_log, 0640, err);
    case STREAM_ROUND:
        return begin_round(r, err);
    case STREAM_DATA:
        return take_data(r, record->size, err);
    case STREAM_LAZY:
        restore_expect_memory(&r->paths);
        return lazy_stand_by(r->guest, &r->paths, r->in.fd, &r->fetcher, err);
    case STREAM_SINCE:
        return err_set(err, -EBADMSG,
                       "the stream holds only what was written since another checkpoint");
    case STREAM_PACKED: /* came as DATA */
    case STREAM_AHEAD:
    case STREAM_END:
        return 0;
    }
    return 0;
}

/* The trees that a guest cannot do without. */
static int check_trees(const struct receiving *r, struct err *err)
{
    uint32_t trees = r->in.grammar.trees;

    if ((trees & (1u << STREAM_TREE_UPPER)) == 0)
        return err_set(err, -EBADMSG, "the migration stream holds no upper layer");
    for (uint32_t i = 0; i < r->guest->n_volumes; i++) {
        if ((trees & (1u << (STREAM_TREE_VOLUME + i))) == 0)
            return err_set(err, -EBADMSG, "the migration stream lacks volume %s",
                           r->guest->volumes[i].name);
    }
    return 0;
}

static int receive_all(struct receiving *r, int fd, struct err *err)
{
    struct stream_record record = {0};
    int result = stream_in_start(&r->in, fd, err);

    while (result == 0 && record.type != STREAM_END) {
        result = stream_in_next(&r->in, &record, err);
        if (result == 0)
            result = take_record(r, &record, err);
    }
    return result < 0 ? result : check_trees(r, err);
}

int receive_make_places(const struct mover_guest *guest, const struct mover_paths *paths,
                        struct err *err)
{
    int result = mover_remove_checkpoint(guest, err);

    if (result == 0)
        result = tree_make(paths->images, 0700, err);
    if (result == 0)
        result = tree_make(paths->dev, 0755, err);
    if (result == 0)
        result = tree_make(paths->shm, 0755, err);
    if (result == 0)
        result = tree_make(paths->new_upper, 0755, err);
    if (result == 0 && guest->n_volumes > 0)
        result = tree_make(paths->new_volumes, 0700, err);
    if (result == 0)
        result = tree_make_above(paths->new_log, 0755, err);
    if (result == 0)
        result = ground_mount_dev(paths->dev, err);
    if (result == 0 && guest->has_console)
        result = console_make_points(paths->dev, err);
    return result < 0 ? result : ground_mount_shm(paths->shm, err);
}

static int put_tree_in_place(const char *from, const char *to, struct err *err)
{
    int result = tree_remove(to, err);

    if (result == 0 && rename(from, to) < 0)
        result = err_set(err, -errno, "cannot put the guest's files in place: %s", strerror(errno));
    return result;
}

static int put_in_place(const struct receiving *r, struct err *err)
{
    int result = put_tree_in_place(r->paths.new_upper, r->guest->upper, err);

    if (result == 0 && r->guest->n_volumes > 0)
        result = put_tree_in_place(r->paths.new_volumes, r->guest->volumes_directory, err);
    if (result == 0 && rename(r->paths.new_log, r->guest->log) < 0 && errno != ENOENT)
        result = err_set(err, -errno, "cannot put the guest's log in place: %s", strerror(errno));
    return result;
}

int mover_receive(const struct mover_guest *guest, int fd, struct mover_report *ret,
                  struct err *err)
{
    cleanup_free struct receiving *r = calloc(1, sizeof(*r));
    struct criu_run warming;
    bool is_warming = false;
    void (*old)(int);
    int result;

    if (r == NULL)
        return err_set(err, -ENOMEM, "no memory to receive guest %s", guest->name);
    r->guest = guest;
    r->file = -1;
    r->fetcher = (struct lazy_fetcher){-1, -1};
    result = mover_paths_init(&r->paths, guest, err);
    if (result < 0)
        return result;
    old = signal(SIGPIPE, SIG_IGN);
    if (!restore_stands_by(&r->paths)) /* else whoever does has made them */
        result = receive_make_places(guest, &r->paths, err);
    if (result == 0 && criu_needs_warming(&warming, r->paths.images))
        is_warming = criu_start(&warming, NULL) == 0;
    if (result == 0)
        result = receive_all(r, fd, err);
    if (is_warming) /* what it finds, activate finds again */
        (void)criu_finish(&warming, NULL);
    if (result == 0)
        result = put_in_place(r, err);
    if (result == 0 && r->in.grammar.is_lazy)
        result = lazy_fetch(&r->fetcher, err);
    lazy_cancel(&r->fetcher);
    signal(SIGPIPE, old);
    if (r->file >= 0)
        close(r->file);
    tree_unpacking_cancel(&r->tree);
    if (result < 0) {
        (void)mover_remove_checkpoint(guest, NULL);
        return result;
    }
    restore_begin(&r->paths);
    neighbours_know(guest->netns, r->paths.images);
    *ret = (struct mover_report){.bytes = r->in.n_bytes,
                                 .handed_over_us = mover_now_us(),
                                 .mode = r->in.grammar.is_lazy ? MOVE_POST : MOVE_STOP};
    return 0;
}

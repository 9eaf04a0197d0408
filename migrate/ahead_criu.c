#include "migrate/ahead_criu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "migrate/ahead.h"
#include "migrate/tree_changes_archive.h"
#include "migrate/tree_walk_posix.h"
#include "migrate/volumes_criu.h"

void ahead_deinit(struct ahead *ahead)
{
    for (uint32_t i = 0; i < AHEAD_MAX_TREES; i++)
        tree_index_deinit(&ahead->trees[i].index);
    *ahead = (struct ahead){0};
}

uint32_t ahead_n_trees(const struct mover_guest *guest)
{
    return 1 + guest->n_volumes;
}

enum stream_tree ahead_tree_of(uint32_t i)
{
    return i == 0 ? STREAM_TREE_UPPER : (enum stream_tree)(STREAM_TREE_VOLUME + i - 1);
}

static int open_tree(const struct mover_guest *guest, uint32_t i, struct err *err)
{
    char path[VOLUME_PATH_SIZE];
    int r = i == 0 ? 0 : volume_path(guest, i - 1, path, err), fd;

    if (r < 0)
        return r;
    fd = open(i == 0 ? guest->upper : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_set(err, -errno, "cannot read %s: %s", i == 0 ? guest->upper : path,
                            strerror(errno))
                  : fd;
}

/* ---- before it is begun */

bool ahead_is_wanted(const struct mover_guest *guest, uint32_t link_kbps)
{
    struct ahead_size size = {0};

    for (uint32_t i = 0; i < ahead_n_trees(guest) && !ahead_is_worth(&size, link_kbps); i++) {
        cleanup_close int fd = open_tree(guest, i, NULL);

        if (fd >= 0 && tree_stamps_mappings(fd))
            tree_measure(fd, link_kbps, &size);
    }
    return ahead_is_worth(&size, link_kbps);
}

/* ---- the passes */

struct copying {
    const struct mover_guest *guest;
    struct stream_out *out;
    struct progress *progress;
    uint32_t link_kbps;
    struct ahead ahead;                     /* the target has it */
    struct tree_index now[AHEAD_MAX_TREES]; /* of those, as they were just now */
    struct tree_change change[AHEAD_MAX_TREES];
    struct ahead_size left;
    struct ahead_passes passes;
    uint64_t looked_us;
};

static int send_archive(void *context, const void *data, size_t size, struct err *err)
{
    struct copying *c = context;
    int r = stream_out_data(c->out, data, size, err);

    progress_tell(c->progress, c->out->n_data - c->progress->before_bytes);
    return r;
}

/* Every tree that can be, against what the target has of it. */
static int look(struct copying *c, struct err *err)
{
    int r = 0;

    c->left = (struct ahead_size){0};
    c->looked_us = mover_now_us();
    for (uint32_t i = 0; r == 0 && i < ahead_n_trees(c->guest); i++) {
        struct ahead_tree *tree = &c->ahead.trees[i];
        cleanup_close int fd = open_tree(c->guest, i, err);

        tree_index_deinit(&c->now[i]);
        if (fd < 0)
            return fd;
        if (!tree->is_there && (c->passes.n > 0 || !tree_stamps_mappings(fd)))
            continue;
        r = tree_walk(fd, i == 0, &c->now[i], err);
        if (r == -E2BIG || r == -ENAMETOOLONG) { /* it goes when the guest stands still */
            r = 0;
            continue;
        }
        tree_index_compare(&tree->index, &c->now[i], &c->change[i]);
        c->left.bytes += c->change[i].bytes;
        c->left.n += c->change[i].n;
    }
    return r;
}

static int send_tree(struct copying *c, uint32_t i, struct err *err)
{
    struct ahead_tree *tree = &c->ahead.trees[i];
    cleanup_close int fd = open_tree(c->guest, i, err);
    int r = fd < 0 ? fd : stream_out_tree(c->out, ahead_tree_of(i), err);

    if (r == 0)
        r = tree_pack_changes(fd, tree->is_there ? &tree->index : NULL, &c->now[i], true,
                              send_archive, c, err);
    tree_index_deinit(&tree->index);
    tree->index = c->now[i];
    tree->is_there = true;
    c->now[i] = (struct tree_index){0};
    return r;
}

/* What was found by look(). */
static int send_pass(struct copying *c, struct err *err)
{
    uint64_t began_us = mover_now_us();
    struct ahead_size size = c->left;
    int r = stream_out_ahead(c->out, c->passes.n + 1, err);

    c->progress->value.total_bytes =
        c->out->n_data - c->progress->before_bytes + (size.bytes != 0 ? size.bytes : 1);
    progress_tell(c->progress, c->out->n_data - c->progress->before_bytes);
    for (uint32_t i = 0; r == 0 && i < ahead_n_trees(c->guest); i++) {
        if (c->now[i].n > 0 && (!c->ahead.trees[i].is_there || c->change[i].n > 0))
            r = send_tree(c, i, err);
    }
    if (r == 0)
        r = stream_out_flush(c->out, err);
    if (r == 0)
        ahead_pass_over(&c->passes, &size, mover_now_us() - began_us);
    return r;
}

/* What was unsettled when it was looked at would go once more, changed or not: unless that is
 * little, the next look waits until it shows. */
static int settle(const struct copying *c, struct err *err)
{
    uint64_t until_us = c->looked_us + TREE_SETTLED_MS * 1000ull, now_us = mover_now_us();
    struct pollfd stream = {.fd = c->out->fd};
    struct ahead_size size = {0};

    for (uint32_t i = 0; i < ahead_n_trees(c->guest); i++)
        size.bytes += tree_index_unsettled(&c->ahead.trees[i].index);
    if (now_us >= until_us || ahead_ms(&size, c->link_kbps) <= AHEAD_REST_MS)
        return 0;
    if (poll(&stream, 1, (int)((until_us - now_us) / 1000) + 1) > 0)
        return err_set(err, -EPIPE, "cannot send the guest: its stream has ended");
    return 0;
}

static int send_passes(struct copying *c, struct err *err)
{
    int r;

    do {
        r = send_pass(c, err);
        if (r == 0)
            r = settle(c, err);
        if (r == 0)
            r = look(c, err);
    } while (r == 0 && ahead_goes_on(&c->passes, &c->left, c->link_kbps));
    return r < 0 ? r : stream_out_ahead(c->out, 0, err);
}

static int leave(const struct ahead *ahead, const char *path, struct err *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    cleanup_free uint8_t *bytes = NULL;
    struct writer w;
    size_t size, at = 0;
    ssize_t n = 0;

    writer_init_growing(&w, TREE_INDEX_MAX_SIZE);
    for (uint32_t i = 0; i < AHEAD_MAX_TREES; i++) {
        write_bool(&w, ahead->trees[i].is_there);
        tree_index_encode(&ahead->trees[i].index, &w);
    }
    bytes = writer_steal(&w, &size);
    if (bytes == NULL)
        return err_set(err, -ENOMEM, "no memory to remember the guest's files");
    while (fd >= 0 && at < size && (n = write(fd, bytes + at, size - at)) > 0)
        at += (size_t)n;
    return fd < 0 || at < size
               ? err_set(err, fd < 0 || n < 0 ? -errno : -EIO, "cannot write %s", path)
               : 0;
}

int ahead_copy(const struct mover_guest *guest, const struct mover_paths *paths,
               struct stream_out *out, struct progress *progress, uint32_t link_kbps,
               struct err *err)
{
    struct copying c = {.guest = guest, .out = out, .progress = progress, .link_kbps = link_kbps};
    int r = look(&c, err);

    progress->value.is_files = true;
    if (r == 0)
        r = send_passes(&c, err);
    if (r == 0)
        r = leave(&c.ahead, paths->ahead, err);
    progress->value.is_files = false;
    ahead_deinit(&c.ahead);
    for (uint32_t i = 0; i < AHEAD_MAX_TREES; i++)
        tree_index_deinit(&c.now[i]);
    return r;
}

/* ---- the rest */

static int load(struct reader *r, struct ahead *ret)
{
    int result = 0;

    for (uint32_t i = 0; result == 0 && i < AHEAD_MAX_TREES; i++) {
        ret->trees[i].is_there = read_bool(r);
        result = tree_index_decode(r, &ret->trees[i].index);
    }
    return result < 0 ? result : reader_done(r) ? 0 : -EBADMSG;
}

int ahead_load(const struct mover_paths *paths, struct ahead *ret, struct err *err)
{
    cleanup_close int fd = open(paths->ahead, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    struct reader r;
    void *bytes;
    int result;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &status) < 0)
        return err_set(err, -errno, "cannot read %s: %s", paths->ahead, strerror(errno));
    bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return err_set(err, -errno, "cannot read %s: %s", paths->ahead, strerror(errno));
    reader_init(&r, bytes, (size_t)status.st_size);
    result = load(&r, ret);
    munmap(bytes, (size_t)status.st_size);
    return result < 0 ? err_set(err, result, "%s is broken", paths->ahead) : 0;
}

int ahead_send_rest(struct ahead *ahead, const struct mover_guest *guest, uint32_t i,
                    struct stream_out *out, struct err *err)
{
    struct ahead_tree *tree = &ahead->trees[i];
    struct tree_index now = {0};
    struct tree_change change;
    cleanup_close int fd = open_tree(guest, i, err);
    int r = fd < 0 ? fd : stream_out_tree(out, ahead_tree_of(i), err);

    if (r < 0)
        return r;
    if (!tree->is_there)
        return tree_pack(fd, i == 0, stream_out_write, out, err);
    r = tree_walk(fd, i == 0, &now, err);
    if (r == -E2BIG || r == -ENAMETOOLONG)
        return tree_pack_anew(fd, i == 0, stream_out_write, out, err);
    if (r < 0)
        return r;
    tree_index_compare(&tree->index, &now, &change);
    r = tree_pack_changes(fd, &tree->index, &now, false, stream_out_write, out, err);
    tree_index_deinit(&now);
    return r;
}

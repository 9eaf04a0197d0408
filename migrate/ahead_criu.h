/* ahead_criu: a moving guest's files, upper layer and volumes, copied in passes while it runs, as
 * the beginning of its stream; once it stands still only what changed since follows.
 *
 * The passes and the rest are two processes' (mover_copy, mover_capture): what has been copied goes
 * from one to the other by a file on tmpfs. A tree on a file system that keeps its files in memory
 * is not copied ahead, nor one that is too large to be remembered.
 */
#ifndef SKEIN_MIGRATE_AHEAD_CRIU_H
#define SKEIN_MIGRATE_AHEAD_CRIU_H

#include "migrate/mover_criu.h"
#include "migrate/progress_posix.h"
#include "migrate/stream_sodium.h"
#include "migrate/tree_index.h"

enum { AHEAD_MAX_TREES = 1 + MAX_VOLUMES };

/* What the target has of a tree. */
struct ahead_tree {
    bool is_there;
    struct tree_index index;
};

/* Starts as zeroes. */
struct ahead {
    struct ahead_tree trees[AHEAD_MAX_TREES]; /* the upper layer, volumes */
};

void ahead_deinit(struct ahead *ahead);

/* Whether it would stand still for long for its files, which cross at that rate. Looks no further
 * than it has to. */
bool ahead_is_wanted(const struct mover_guest *guest, uint32_t link_kbps);

/* The passes: the guest runs. What came across is left at paths->ahead. */
int ahead_copy(const struct mover_guest *guest, const struct mover_paths *paths,
               struct stream_out *out, struct progress *progress, uint32_t link_kbps,
               struct err *err);

/* What ahead_copy left; nothing, if there was none. Before the guest stands still, as it takes its
 * time. */
int ahead_load(const struct mover_paths *paths, struct ahead *ret, struct err *err);

/* How many trees a guest has, and which tree of a stream each of them is. */
uint32_t ahead_n_trees(const struct mover_guest *guest);
enum stream_tree ahead_tree_of(uint32_t i);

/* One of them, of a guest that stands still: all of it, or what changed. */
int ahead_send_rest(struct ahead *ahead, const struct mover_guest *guest, uint32_t i,
                    struct stream_out *out, struct err *err);

#endif

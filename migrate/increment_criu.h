/* increment_criu: what stays at a guest's node of its newest checkpoint once that was sent, so that
 * the next one carries only what was written since (increment.h).
 *
 *     SNAPSHOT/now    a checkpoint: being taken, waiting to be sent, being sent
 *     SNAPSHOT/dumper somebody dumps the guest for one, or watches that (standstill_criu.h)
 *     SNAPSHOT/base   of the one before only what CRIU asks of it: which pages it had
 *
 * Each has its chain in a file among the images, which is there only as long as the kernel's marks
 * of written pages count from that checkpoint on: whoever clears them (another checkpoint, a round
 * of pre-copy) forgets it first.
 */
#ifndef SKEIN_MIGRATE_INCREMENT_CRIU_H
#define SKEIN_MIGRATE_INCREMENT_CRIU_H

#include "migrate/increment.h"
#include "migrate/mover_criu.h"
#include "migrate/stream.h"

/* As seen from the images of the one that is taken. */
#define INCREMENT_BASE "../../base"

enum { SNAPSHOT_PATH_SIZE = 256, SNAPSHOT_MAX_PARTS = 4 + MAX_VOLUMES };

/* A part of a snapshot that is no image file. */
struct snapshot_part {
    enum stream_tree tree; /* 0: the log */
    char name[24];         /* in the snapshot */
    char path[300];        /* of what is kept so */
};

int snapshot_parts(const struct mover_guest *guest, struct snapshot_part ret[SNAPSHOT_MAX_PARTS],
                   uint32_t *ret_n, struct err *err); /* checkpoint_criu.c */

/* SNAPSHOT/now. */
int snapshot_path(const struct mover_guest *guest, char ret[SNAPSHOT_PATH_SIZE], struct err *err);

/* Before a dump that clears the marks: true when it is to be an increment, of the base's chain. */
bool increment_begin(const struct mover_guest *guest, uint64_t since_us,
                     struct increment_chain *ret);

/* After the dump, of the guest that stood still at `taken_us`: notes among its images which chain
 * it is part of. `chain` is that before, and after. */
int increment_note(const struct mover_guest *guest, int images, bool is_increment,
                   uint64_t taken_us, struct increment_chain *chain, struct err *err);

/* Of images: CRIU was told of those before them. */
bool increment_is(int images);

/* It was sent: what `now` (a descriptor of it) holds becomes the base, if it was not forgotten
 * meanwhile. */
void increment_become_base(const struct mover_guest *guest, int now);

/* The marks of written pages are about to be cleared, or the guest goes elsewhere. */
void increment_forget(const struct mover_guest *guest);

#endif

/* rounds_criu: a guest's memory copied in rounds while it runs (pre-copy), by `criu pre-dump`.
 *
 * Each round is a directory below the images' own that holds what was written since the round
 * before, which CRIU finds through a link named `parent`; the last link is that of the guest that
 * stands still. At the source a round's pages are given back as soon as they are sent: of an
 * earlier round CRIU only asks which pages it had.
 */
#ifndef SKEIN_MIGRATE_ROUNDS_CRIU_H
#define SKEIN_MIGRATE_ROUNDS_CRIU_H

#include <stdint.h>

#include "migrate/mover_criu.h"

enum { ROUND_NAME_SIZE = 16, ROUND_PATH_SIZE = 256 + ROUND_NAME_SIZE };

/* The directory of a round below the images; of round 0 the images themselves. */
void rounds_path(const struct mover_paths *paths, uint32_t round, char ret[ROUND_PATH_SIZE]);

/* As seen from round `of` (0: from the images): where the round before it lies. */
void rounds_parent(uint32_t of, uint32_t n_rounds, char ret[ROUND_NAME_SIZE + 4]);

/* Source: how many there are. */
uint32_t rounds_count(const struct mover_paths *paths);

/* Target: makes the directory of a round, behind `before` of them (round 0: links the images to
 * the last). */
int rounds_begin(const struct mover_paths *paths, uint32_t round, uint32_t before, struct err *err);

#endif

/* volumes_criu: a moving guest's volumes: directories of the node that are mounted into it. To CRIU
 * they are external mounts, and their content travels as trees of the stream.
 */
#ifndef SKEIN_MIGRATE_VOLUMES_CRIU_H
#define SKEIN_MIGRATE_VOLUMES_CRIU_H

#include "migrate/mover.h"
#include "migrate/run_criu.h"

enum { VOLUME_PATH_SIZE = 256 };

/* What criu's arguments point into. */
struct volume_words {
    char text[MAX_VOLUMES][DIRECTORY_SIZE + VOLUME_PATH_SIZE];
};

/* The directory of its `i`th volume. -ENAMETOOLONG. */
int volume_path(const struct mover_guest *guest, uint32_t i, char ret[VOLUME_PATH_SIZE],
                struct err *err);

/* Names them to a dump (by their places in the guest), or to a restore (by their directories). */
void volumes_name_to_dump(const struct mover_guest *guest, struct volume_words *words,
                          struct criu_run *run);
int volumes_name_to_restore(const struct mover_guest *guest, struct volume_words *words,
                            struct criu_run *run, struct err *err);

#endif

/* dump_criu: what a move's and a checkpoint's dump say to criu alike. */
#ifndef SKEIN_MIGRATE_DUMP_CRIU_H
#define SKEIN_MIGRATE_DUMP_CRIU_H

#include "migrate/console_criu.h"
#include "migrate/mover_criu.h"
#include "migrate/run_criu.h"
#include "migrate/volumes_criu.h"

/* What criu's arguments point into. */
struct dump_words {
    char pid[16], network[64], gate[256];
    struct volume_words volumes;
    struct console_words console;
};

/* `ret` becomes a dump into paths->images of a guest that runs on, up to the gate where criu looks
 * at its freezer: until then it is not stopped. criu_add_argument says the rest, as what becomes of
 * its connections. `words` is kept as long as it runs. */
int dump_init(const struct mover_guest *guest, const struct mover_paths *paths,
              struct dump_words *words, struct criu_run *ret, struct err *err);

#endif

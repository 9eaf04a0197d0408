/* pages_criu: sends the memory of a guest while CRIU is still writing it.
 *
 * CRIU's pages-N.img only grow, one after the other; they are nearly all that a migration has to
 * carry. Each is sent as far as it is there.
 */
#ifndef SKEIN_MIGRATE_PAGES_CRIU_H
#define SKEIN_MIGRATE_PAGES_CRIU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/progress_posix.h"
#include "migrate/run_criu.h"
#include "migrate/stream_sodium.h"

struct pages {
    int directory; /* borrowed */
    int fd;        /* of the file that is being sent; -1 */
    uint32_t next; /* its number, or that of the next one */
    uint64_t at;   /* bytes of it that are sent */
    uint8_t *chunk;
};

/* Until `run` has ended, or has said so on `ready` (-1: it does not), or the stream fails. */
int pages_send(struct pages *pages, int directory, struct criu_run *run, int ready,
               struct stream_out *out, struct progress *progress, struct err *err);

/* CRIU's name of that file. */
void pages_name(uint32_t number, char ret[STREAM_NAME_SIZE]);

/* Did pages_send send the file of this name? */
bool pages_has_sent(const struct pages *pages, const char *name);

#endif

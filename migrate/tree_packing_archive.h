/* tree_packing: what both packers of trees share: a pax archive being written, with its links
 * (tree_archive.c: all that lies in a tree; tree_changes_archive.c: what differs).
 */
#ifndef SKEIN_MIGRATE_TREE_PACKING_ARCHIVE_H
#define SKEIN_MIGRATE_TREE_PACKING_ARCHIVE_H

#include <archive.h>
#include <archive_entry.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/tree_archive.h"

enum { TREE_CHUNK = 64 * 1024 };

struct packing {
    struct archive *in, *out;
    struct archive_entry_linkresolver *links;
    tree_write write;
    void *context;
    struct err *err; /* the caller's */
    int failure;     /* of `write` */
};

/* Makes what is needed and opens the archive, its reader but for what is to be read. Needs
 * packing_end in any case. */
int packing_begin(struct packing *p, tree_write write, void *context, struct err *err);
/* Writes what says of an entry what it is, which takes it from the caller's pointer when it is one
 * more name of what has gone before: then nothing further is to come. */
int packing_header(struct packing *p, struct archive_entry *entry, bool *ret_is_link);
/* The archive wants a file's bytes without gaps; it leaves holes out again by itself. */
int packing_data(struct packing *p, const char *path, const void *data, size_t size);
int packing_zeroes(struct packing *p, const char *path, int64_t size);
/* Of a packing that came to `r`. */
int packing_end(struct packing *p, int r);

/* What an archive says of its last failure. */
int tree_broken(struct archive *archive, const char *what, const char *path, struct err *err);

#endif

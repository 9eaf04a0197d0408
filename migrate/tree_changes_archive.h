/* tree_changes: what differs between a tree and an earlier look at it, packed for whoever has it as
 * it was then: edits (tree_edit_posix.h) and a pax archive behind them. The tree may change
 * meanwhile.
 */
#ifndef SKEIN_MIGRATE_TREE_CHANGES_ARCHIVE_H
#define SKEIN_MIGRATE_TREE_CHANGES_ARCHIVE_H

#include <stdbool.h>

#include "migrate/tree_archive.h"
#include "migrate/tree_index.h"

/* Packs what goes by tree_index_compare(before, now), below `directory`. `before` NULL: nobody has
 * anything, all of `now` goes, and no edits. `is_live`: what is another by now than the index says
 * is left out and marked as missing in `now`, or goes as it is by now; else that is -ESTALE.
 */
int tree_pack_changes(int directory, const struct tree_index *before, struct tree_index *now,
                      bool is_live, tree_write write, void *context, struct err *err);

/* All of it, in the place of whatever they have. */
int tree_pack_anew(int directory, bool keeps_whiteouts, tree_write write, void *context,
                   struct err *err);

#endif

/* tree_edit: what goes before an archive of changes: names that go away, and directories that stay
 * and get their attributes anew.
 *
 *     (edit (u8) | path (u16 length, bytes))… | TREE_EDIT_END (u8)
 */
#ifndef SKEIN_MIGRATE_TREE_EDIT_POSIX_H
#define SKEIN_MIGRATE_TREE_EDIT_POSIX_H

#include "base/err.h"
#include "migrate/tree_index.h"

enum tree_edit {
    TREE_EDIT_END = 0,
    TREE_EDIT_DROP,       /* what is there goes away, with all below it */
    TREE_EDIT_CLEAR,      /* a directory loses its extended attributes; its path may be empty */
    TREE_EDIT_EMPTY,      /* of the root, whose path is empty: all below it goes away */
    TREE_EDIT_HEADER = 3, /* bytes of one before its path */
};

void tree_edit_encode(enum tree_edit edit, const char *path, struct writer *w);

/* Reads edits from `fd`, not a byte further, and does them in the working directory. What is to go
 * and is not there has gone. -EBADMSG: none of these, or a way out. */
int tree_edit_here(int fd, struct err *err);

#endif

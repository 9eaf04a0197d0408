/* tree_index: what lies in a directory tree at one moment, and what has to reach whoever has it as
 * it was at an earlier one (pure).
 *
 * Every change of an inode, of its names too, stamps its ctime. What was changed shortly before it
 * was looked at is unsettled: its times may not tell a further change (a stamp of a coarse clock, a
 * write that was stamped when it began), so it counts as changed at the next look.
 */
#ifndef SKEIN_MIGRATE_TREE_INDEX_H
#define SKEIN_MIGRATE_TREE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    TREE_MAX_ENTRIES = 500000,
    TREE_PATH_SIZE = 4096 - 8, /* of a path from the tree's root, NUL included */
    TREE_SETTLED_MS = 1000,    /* after its last change; file systems with times of seconds exist */
    TREE_INDEX_MAX_SIZE = 256 * 1024 * 1024, /* encoded */
};

enum tree_kind { TREE_DIRECTORY = 1, TREE_FILE, TREE_LINK, TREE_OTHER };

/* What tree_index_compare makes of an entry. */
enum tree_deed {
    TREE_KEEP = 0,
    TREE_SEND,  /* of the later index: it goes, of a directory only what is its own */
    TREE_DROP,  /* of the earlier one: it goes away, with all below it */
    TREE_UNDER, /* likewise, with what it is below */
    TREE_CLEAR, /* likewise: a directory whose attributes come anew */
};

struct tree_entry {
    char *path; /* from the tree's root, whose own is "" */
    enum tree_kind kind;
    bool is_unsettled;
    bool is_missing; /* it could not be sent: it goes again, and may not be there yet */
    uint32_t mode;
    uint64_t inode, n_links;
    uint64_t size, held; /* bytes: as it says, and on the disk */
    int64_t mtime_ns, ctime_ns;
    enum tree_deed deed;
};

/* Starts as zeroes. */
struct tree_index {
    struct tree_entry *entries; /* by their paths once it is sorted */
    size_t n, capacity;
};

/* What differs. */
struct tree_change {
    uint64_t bytes; /* that files hold which go */
    size_t n;       /* entries that go, or go away */
};

void tree_index_deinit(struct tree_index *index);
/* Copies the path. -ENOMEM; -E2BIG: more than TREE_MAX_ENTRIES. */
int tree_index_add(struct tree_index *index, const struct tree_entry *entry, const char *path);
void tree_index_sort(struct tree_index *index);
/* Of a sorted one; NULL: not there. */
struct tree_entry *tree_index_find(const struct tree_index *index, const char *path);

/* Both sorted; sets every deed. All names of an inode go together, and a directory goes when
 * anything right below it does, for its times. */
void tree_index_compare(struct tree_index *before, struct tree_index *now, struct tree_change *ret);

/* Bytes that unsettled files hold. */
uint64_t tree_index_unsettled(const struct tree_index *index);

/* Of what was changed last at ctime_ns and is looked at `now_ns`, by the same clock. */
bool tree_is_unsettled(int64_t ctime_ns, int64_t now_ns);

/* A path that stays below the root: no empty part, no "." and "..". */
bool tree_path_is_valid(const char *path);

void tree_index_encode(const struct tree_index *index, struct writer *w);
/* Adds to an empty one; sorted as it was. -EBADMSG, -ENOMEM. */
int tree_index_decode(struct reader *r, struct tree_index *ret);

#endif

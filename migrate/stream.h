/* stream: what a moving guest looks like between two nodes (pure: grammar and codec).
 *
 *     magic | record… | digest
 *
 * A record is a type (u8), a size (u32) and that many bytes. STREAM_GUEST comes first and
 * STREAM_END last; in between, things begin (a file, a tree, the log) and DATA records carry their
 * bytes, or PACKED records the same bytes made smaller. After STREAM_END comes the BLAKE2b-256 of
 * all bytes before it, the magic included. Nothing of a stream is put in place before that was
 * compared.
 */
#ifndef SKEIN_MIGRATE_STREAM_H
#define SKEIN_MIGRATE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

enum {
    STREAM_MAGIC_SIZE = 8,
    STREAM_HEADER_SIZE = 5,
    STREAM_DATA_MAX = 256 * 1024, /* bytes of a record, packed or not */
    STREAM_PACKED_HEADER = 4,
    STREAM_HEAD_SIZE = STREAM_MAGIC_SIZE + 2 * STREAM_HEADER_SIZE + NAME_SIZE + DIGEST_SIZE,
    STREAM_NAME_SIZE = 64, /* of a file, NUL included */
    STREAM_MAX_FILES = 4096,
    STREAM_MAX_ROUNDS = 32,
    STREAM_MAX_PASSES = 32,
};

extern const char stream_magic[STREAM_MAGIC_SIZE];

enum stream_type {
    STREAM_GUEST = 1, /* its name */
    STREAM_FILE,      /* an image file of the mover's begins: its name */
    STREAM_TREE,      /* a directory tree begins, as a pax archive: enum stream_tree (u8) */
    STREAM_LOG,       /* the guest's log begins; no content */
    STREAM_DATA,      /* bytes of what began last */
    STREAM_LAZY,   /* no content: the guest's memory follows behind the end, when it is asked for.
                      Said before it stands still, as who restores it has to know */
    STREAM_PACKED, /* such bytes, packed: how many they are (u32), a zstd frame */
    STREAM_END,    /* how many bytes all DATA and PACKED records stand for together (u64) */
    STREAM_ROUND,  /* image files of this round of pre-copy follow: 1, 2, and so on (u8), at last 0:
                      those of the guest that stands still, which are all without pre-copy */
    STREAM_AHEAD,  /* trees of this pass over the files of the guest, which runs, follow: 1, 2, and
                      so on (u8), at last 0: its files from here on are what they are. A tree that
                      came in an earlier pass holds changes (tree_changes_archive.h) */
    STREAM_SINCE,  /* right behind GUEST, of a checkpoint: its memory is only what was written since
                      the one whose stream has this digest, which it stands for itself only behind
                      (merge_sodium.h) */
};

enum stream_tree {
    STREAM_TREE_UPPER = 1, /* what the guest wrote */
    STREAM_TREE_DEV,       /* what it made in /dev beyond what stands there */
    STREAM_TREE_SHM,       /* /dev/shm */
    STREAM_TREE_VOLUME,    /* and further: its volumes, in the order of its spec */
    STREAM_TREE_LAST = STREAM_TREE_VOLUME + MAX_VOLUMES - 1,
};

struct stream_record {
    enum stream_type type;
    uint32_t size; /* bytes that follow the header */
};

/* Where in the grammar a stream is; starts as zeroes. */
struct stream_grammar {
    bool has_guest, has_log, is_lazy, is_open, has_ended;
    bool is_increment; /* SINCE came */
    uint8_t n_rounds;  /* of pre-copy that have begun */
    bool is_round;     /* and the last of them is not followed by the rest yet */
    uint8_t n_passes;  /* likewise, over its files */
    bool is_ahead;
    uint32_t trees;       /* bit 1 << tree; of this pass, at last of the guest that stands still */
    uint32_t ahead_trees; /* likewise, that came in an earlier pass */
    uint32_t n_files;
    uint64_t n_data; /* bytes */
};

void stream_record_encode(const struct stream_record *record, uint8_t ret[STREAM_HEADER_SIZE]);
/* -EBADMSG: no such record, or one that is too large. */
int stream_record_decode(const uint8_t header[STREAM_HEADER_SIZE], struct stream_record *ret);

/* Takes the next record with its payload. -EBADMSG: it must not come here, or says what it must
 * not. */
int stream_accept(struct stream_grammar *grammar, const struct stream_record *record,
                  const uint8_t *payload, struct err *err);

/* Of a STREAM_PACKED record: how many bytes it stands for; 0: it is wrong. */
uint32_t stream_packed_size(const struct stream_record *record, const uint8_t *payload);

/* Of the tree that begins: it holds changes of what came before. */
bool stream_has_tree(const struct stream_grammar *grammar, uint8_t tree);

/* True when the first bytes of a stream, at least STREAM_HEAD_SIZE of them or all, say SINCE. */
bool stream_head_since(const uint8_t *head, size_t size, uint8_t ret[DIGEST_SIZE]);

/* Letters, digits and . _ - only, no leading dot: a plain file in a directory. */
bool stream_file_name_is_valid(const char *name);

#endif

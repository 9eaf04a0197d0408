/* oci_merge: which entries of an OCI image's layers its root is made of (pure).
 *
 * Layers are told from the lowest up, their entries in order; a later one hides an earlier one of
 * the same path, a whiteout hides what lies below it (OCI image specification, layer.md,
 * "Whiteouts"). Afterwards oci_merge_path says for each entry under which paths its content is
 * there: a file that an upper layer hid under its first name may live on under a hard link.
 */
#ifndef SKEIN_AGENT_CLI_OCI_MERGE_H
#define SKEIN_AGENT_CLI_OCI_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { OCI_LAYERS_MAX = 128, OCI_ENTRIES_MAX = 1000000, OCI_PATH_SIZE = 4096 };

enum oci_entry_kind { OCI_DIRECTORY = 1, OCI_FILE, OCI_LINK /* a hard link */ };

struct oci_merge;

struct oci_merge *oci_merge_new(void); /* NULL: no memory */
void oci_merge_free(struct oci_merge *merge);

/* The next entry of `layer` (ascending from 0); `entry` is its number within the layer. `target` is
 * the path that a hard link names. 0; -EBADMSG with words: a path that reaches out of the root, a
 * link to nothing; -EFBIG; -ENOMEM. */
int oci_merge_add(struct oci_merge *merge, uint32_t layer, uint32_t entry, enum oci_entry_kind kind,
                  const char *path, const char *target, struct err *err);

/* No more entries come. */
void oci_merge_finish(struct oci_merge *merge);

/* After oci_merge_finish: under how many paths the content of that entry is there (0: it is
 * hidden), and the i-th of them, without a leading "./"; borrowed. */
size_t oci_merge_n_paths(const struct oci_merge *merge, uint32_t layer, uint32_t entry);
const char *oci_merge_path(const struct oci_merge *merge, uint32_t layer, uint32_t entry, size_t i);

#endif

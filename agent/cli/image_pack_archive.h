/* image_pack_archive: a directory, or the layers of an OCI image, as one tar.zst (libarchive). */
#ifndef SKEIN_AGENT_CLI_IMAGE_PACK_ARCHIVE_H
#define SKEIN_AGENT_CLI_IMAGE_PACK_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { PACK_CAPTURE_MAX = 256 * 1024 };

/* Takes the next bytes; a negative value ends the packing with it. */
typedef int pack_sink(void *context, const void *data, size_t size);

/* A file of the packed root that the caller wants to see; zeroed before, freed by him. */
struct pack_capture {
    const char *path; /* without a leading "./" */
    char *content;    /* heap, NUL-terminated; NULL: there is none, or it exceeds the limit */
};

/* Packs the directory; owners, modes, links and extended attributes are kept, sockets are left out,
 * other file systems mounted within it too. The working directory becomes `directory`. */
int pack_directory(const char *directory, pack_sink *sink, void *context, struct err *err);

/* Packs what the layers (tar, plain or compressed with gzip or zstd; from the lowest up) make
 * together. -EBADMSG with words when a layer cannot be read or contradicts itself. */
int pack_layers(const int *layers, uint32_t n_layers, struct pack_capture *captures,
                size_t n_captures, pack_sink *sink, void *context, struct err *err);

#endif

/* images_criu: what CRIU wrote of a guest, into its stream. */
#ifndef SKEIN_MIGRATE_IMAGES_CRIU_H
#define SKEIN_MIGRATE_IMAGES_CRIU_H

#include <dirent.h>
#include <stddef.h>

#include "migrate/pages_criu.h"

/* A whole file's content, as of what began last. */
int images_send_content(struct stream_out *out, int fd, size_t size, struct err *err);

/* Each image of the directory, but those that pages_send sent. */
int images_send_small(struct stream_out *out, DIR *images, const struct pages *pages,
                      struct err *err);

#endif

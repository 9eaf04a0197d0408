/* image_store: images on this node's disk, named by the digest of their bytes (shell).
 *
 * A file is there whole or not at all: it is written aside, checked, synced, and renamed. Opening
 * and reading are safe from any thread; uploads belong to one thread each.
 */
#ifndef SKEIN_AGENT_STREAMS_IMAGE_STORE_H
#define SKEIN_AGENT_STREAMS_IMAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

struct image_store;
struct image_upload;

enum { IMAGE_UPLOADS_MAX = 16 };
#define IMAGE_SIZE_MAX ((uint64_t)16 << 30) /* bytes */

/* Opens (makes) the directory and clears away what unfinished uploads left; what image_upload_pause
 * kept stays. */
int image_store_open(const char *directory, struct image_store **ret, struct err *err);
void image_store_close(struct image_store *store);

/* -EBUSY when IMAGE_UPLOADS_MAX are under way. */
int image_store_begin(struct image_store *store, struct image_upload **ret, struct err *err);
/* Begins to take an image from another node, or goes on where that was interrupted: what is here
 * already is read again, which may block for long. At most one a digest at a time. */
int image_store_resume(struct image_store *store, const uint8_t digest[DIGEST_SIZE],
                       struct image_upload **ret, struct err *err);
uint64_t image_upload_size(const struct image_upload *upload); /* bytes that are here */
/* Ends one of image_store_resume() and keeps what it has for the next; NULL is fine. */
void image_upload_pause(struct image_upload *upload);
/* A failure (a full disk) leaves only image_upload_abort to be called. */
int image_upload_write(struct image_upload *upload, const void *data, size_t size, struct err *err);
/* Ends the upload whatever happens. `expected` may be NULL; -EBADMSG when the digest is another,
 * -ENODATA for no bytes. What is there already is no error. */
int image_upload_finish(struct image_upload *upload, const uint8_t expected[DIGEST_SIZE],
                        uint8_t ret_digest[DIGEST_SIZE], uint64_t *ret_size, struct err *err);
void image_upload_abort(struct image_upload *upload); /* NULL is fine */

/* A read-only descriptor, the caller's; -ENOENT. ret_size may be NULL. */
int image_store_read(const struct image_store *store, const uint8_t digest[DIGEST_SIZE],
                     uint64_t *ret_size);
/* Calls `each` for every image that is there. */
int image_store_list(const struct image_store *store,
                     void (*each)(void *context, const uint8_t digest[DIGEST_SIZE]), void *context,
                     struct err *err);
/* Drops also what image_upload_pause kept of it. What is not there is no error. */
int image_store_drop(struct image_store *store, const uint8_t digest[DIGEST_SIZE], struct err *err);

#endif

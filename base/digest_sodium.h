/* digest: BLAKE2b-256 of bytes, of a stream, of a file (over libsodium).
 *
 * Names images and ends migration streams. Not keyed: it finds damage, who sent it is the seal's
 * business.
 */
#ifndef SKEIN_BASE_DIGEST_SODIUM_H
#define SKEIN_BASE_DIGEST_SODIUM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

enum { DIGEST_TEXT_SIZE = 2 * DIGEST_SIZE + 1 };

/* A digest under way; plain memory, nothing to free. */
struct digest {
    _Alignas(64) unsigned char opaque[384];
};

void digest_init(struct digest *digest);
void digest_update(struct digest *digest, const void *data, size_t size);
void digest_final(struct digest *digest, uint8_t ret[DIGEST_SIZE]);

void digest_of(const void *data, size_t size, uint8_t ret[DIGEST_SIZE]);
/* Of a regular file's bytes from its beginning; its offset is left alone. ret_size may be NULL.
 * Negative errno when it cannot be read. */
int digest_of_file(int fd, uint8_t ret[DIGEST_SIZE], uint64_t *ret_size, struct err *err);
/* Lower-case hex. */
const char *digest_format(const uint8_t digest[DIGEST_SIZE], char ret[DIGEST_TEXT_SIZE]);

#endif

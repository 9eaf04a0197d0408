#include "base/digest_sodium.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clean.h"

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(((struct digest *)0)->opaque),
               "the state of a digest fits");

enum { FILE_CHUNK = 256 * 1024 };

static crypto_generichash_state *state_of(struct digest *digest)
{
    return (crypto_generichash_state *)(void *)digest->opaque;
}

void digest_init(struct digest *digest)
{
    int ready = sodium_init(); /* picks the fast implementation; harmless when called again */

    assert(ready >= 0);
    (void)ready;
    crypto_generichash_init(state_of(digest), NULL, 0, DIGEST_SIZE);
}

void digest_update(struct digest *digest, const void *data, size_t size)
{
    crypto_generichash_update(state_of(digest), data, size);
}

void digest_final(struct digest *digest, uint8_t ret[DIGEST_SIZE])
{
    crypto_generichash_final(state_of(digest), ret, DIGEST_SIZE);
}

void digest_of(const void *data, size_t size, uint8_t ret[DIGEST_SIZE])
{
    struct digest digest;

    digest_init(&digest);
    digest_update(&digest, data, size);
    digest_final(&digest, ret);
}

int digest_of_file(int fd, uint8_t ret[DIGEST_SIZE], uint64_t *ret_size, struct err *err)
{
    cleanup_free uint8_t *chunk = malloc(FILE_CHUNK);
    struct digest digest;
    uint64_t size = 0;
    ssize_t n;

    if (chunk == NULL)
        return err_set(err, -ENOMEM, "no memory to read a file");
    digest_init(&digest);
    while ((n = pread(fd, chunk, FILE_CHUNK, (off_t)size)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, -errno, "cannot read the file: %s", strerror(errno));
        digest_update(&digest, chunk, (size_t)n);
        size += (uint64_t)n;
    }
    digest_final(&digest, ret);
    if (ret_size != NULL)
        *ret_size = size;
    return 0;
}

const char *digest_format(const uint8_t digest[DIGEST_SIZE], char ret[DIGEST_TEXT_SIZE])
{
    return sodium_bin2hex(ret, DIGEST_TEXT_SIZE, digest, DIGEST_SIZE);
}

/* identity_sodium: a node's one long-term secret and the key pairs that come from it.
 *
 * A seed of 32 random bytes is made once and kept in the data directory ("identity", 0600). Both
 * key pairs are derived from it with crypto_kdf, so that a node that is known by one of its keys is
 * known by both. */
#ifndef SKEIN_CONSENSUS_IDENTITY_SODIUM_H
#define SKEIN_CONSENSUS_IDENTITY_SODIUM_H

#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

struct identity {
    uint8_t seed[KEY_SIZE];
    uint8_t link_public[KEY_SIZE]; /* X25519, static key of the sealed links */
    uint8_t link_secret[KEY_SIZE];
    uint8_t curve_public[KEY_SIZE]; /* X25519, of CURVE (binary; Z85 is made where it is used) */
    uint8_t curve_secret[KEY_SIZE];
};

/* The key pairs of a given seed. -EIO when libsodium cannot be initialised. */
int identity_from_seed(const uint8_t seed[KEY_SIZE], struct identity *ret);

/* A new identity that is kept nowhere (clients, tests). */
int identity_generate(struct identity *ret);

/* Loads the identity of a data directory, and makes it when there is none. -EBADMSG: the file is
 * damaged; -EPERM: others may read it. Never replaces a file that exists. */
int identity_load_or_create(const char *directory, struct identity *ret, struct err *err);

/* Wipes it. Safe on zeroes and safe twice. */
void identity_deinit(struct identity *identity);

#endif

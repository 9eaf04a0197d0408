/* token_sodium: join tokens, the text that an operator carries from a cluster to a new board.
 *
 * "skein1-" and base64url of the fields and a checksum. The cluster stores only the secret's hash;
 * the rest lets the new board find a member and be sure that it is one. */
#ifndef SKEIN_CONSENSUS_TOKEN_SODIUM_H
#define SKEIN_CONSENSUS_TOKEN_SODIUM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

enum { JOIN_TOKEN_MAX_ENDPOINTS = 3, JOIN_TOKEN_SECRET_SIZE = 32, JOIN_TOKEN_TEXT_SIZE = 320 };

struct join_endpoint {
    uint32_t address;
    uint16_t port;
};

struct join_token {
    uint8_t cluster[NONCE_SIZE];
    uint8_t n_endpoints; /* 1… */
    struct join_endpoint
        endpoints[JOIN_TOKEN_MAX_ENDPOINTS]; /* API of members, the issuer's first */
    uint8_t curve_key[KEY_SIZE];             /* the issuer's */
    uint8_t link_key[KEY_SIZE];              /* the issuer's */
    uint8_t secret[JOIN_TOKEN_SECRET_SIZE];
    uint64_t expires_s; /* seconds since 1970; the decoder does not judge it */
};

/* Fills the secret with random bytes. -EIO when libsodium cannot be initialised. */
int join_token_make_secret(struct join_token *token);

int join_token_encode(const struct join_token *token, char ret[JOIN_TOKEN_TEXT_SIZE],
                      struct err *err);

/* -EPROTONOSUPPORT: a token of another version of Skein; -EBADMSG: mangled, or no token at all. */
int join_token_decode(const char *text, struct join_token *ret, struct err *err);

/* What the state keeps of a secret: BLAKE2b-256. */
void token_hash(const uint8_t secret[JOIN_TOKEN_SECRET_SIZE], uint8_t ret[DIGEST_SIZE]);

#endif

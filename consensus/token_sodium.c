#include "consensus/token_sodium.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/bytes.h"

#define PREFIX     "skein1-"
#define ANY_PREFIX "skein"
enum { CHECK_SIZE = 8, BINARY_MAX = 200, VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING };

int join_token_make_secret(struct join_token *token)
{
    if (sodium_init() < 0)
        return -EIO;
    randombytes_buf(token->secret, sizeof(token->secret));
    return 0;
}

void token_hash(const uint8_t secret[JOIN_TOKEN_SECRET_SIZE], uint8_t ret[DIGEST_SIZE])
{
    crypto_generichash(ret, DIGEST_SIZE, secret, JOIN_TOKEN_SECRET_SIZE, NULL, 0);
}

static void check_of(const uint8_t *bytes, size_t size, uint8_t ret[CHECK_SIZE])
{
    uint8_t digest[DIGEST_SIZE];

    crypto_generichash(digest, sizeof(digest), bytes, size, NULL, 0);
    memcpy(ret, digest, CHECK_SIZE);
}

int join_token_encode(const struct join_token *token, char ret[JOIN_TOKEN_TEXT_SIZE],
                      struct err *err)
{
    uint8_t binary[BINARY_MAX], check[CHECK_SIZE];
    struct writer w;

    if (token->n_endpoints < 1 || token->n_endpoints > JOIN_TOKEN_MAX_ENDPOINTS)
        return err_set(err, -EINVAL, "a token names 1 to %d members", JOIN_TOKEN_MAX_ENDPOINTS);
    writer_init(&w, binary, sizeof(binary));
    write_bytes(&w, token->cluster, NONCE_SIZE);
    write_u8(&w, token->n_endpoints);
    for (size_t i = 0; i < token->n_endpoints; i++) {
        write_u32(&w, token->endpoints[i].address);
        write_u16(&w, token->endpoints[i].port);
    }
    write_bytes(&w, token->curve_key, KEY_SIZE);
    write_bytes(&w, token->link_key, KEY_SIZE);
    write_bytes(&w, token->secret, JOIN_TOKEN_SECRET_SIZE);
    write_u64(&w, token->expires_s);
    check_of(binary, w.size, check);
    write_bytes(&w, check, CHECK_SIZE);
    memcpy(ret, PREFIX, sizeof(PREFIX));
    sodium_bin2base64(ret + sizeof(PREFIX) - 1, JOIN_TOKEN_TEXT_SIZE - sizeof(PREFIX) + 1, binary,
                      w.size, VARIANT);
    sodium_memzero(binary, sizeof(binary));
    return 0;
}

static bool read_fields(struct reader *r, struct join_token *ret)
{
    read_bytes(r, ret->cluster, NONCE_SIZE);
    ret->n_endpoints = read_u8(r);
    if (ret->n_endpoints < 1 || ret->n_endpoints > JOIN_TOKEN_MAX_ENDPOINTS)
        return false;
    for (size_t i = 0; i < ret->n_endpoints; i++) {
        ret->endpoints[i].address = read_u32(r);
        ret->endpoints[i].port = read_u16(r);
    }
    read_bytes(r, ret->curve_key, KEY_SIZE);
    read_bytes(r, ret->link_key, KEY_SIZE);
    read_bytes(r, ret->secret, JOIN_TOKEN_SECRET_SIZE);
    ret->expires_s = read_u64(r);
    return reader_done(r);
}

static int mangled(struct err *err)
{
    return err_set(err, -EBADMSG,
                   "the join token is mangled: copy the whole line that \"skein token create\" "
                   "printed");
}

int join_token_decode(const char *text, struct join_token *ret, struct err *err)
{
    uint8_t binary[BINARY_MAX], check[CHECK_SIZE];
    struct join_token token = {0};
    struct reader r;
    size_t size;
    bool ok;

    if (strncmp(text, PREFIX, sizeof(PREFIX) - 1) != 0) {
        if (strncmp(text, ANY_PREFIX, sizeof(ANY_PREFIX) - 1) == 0 && strchr(text, '-') != NULL)
            return err_set(err, -EPROTONOSUPPORT,
                           "the join token is of another version of Skein (%.10s): use the same "
                           "version on both boards",
                           text);
        return mangled(err);
    }
    text += sizeof(PREFIX) - 1;
    if (sodium_base642bin(binary, sizeof(binary), text, strlen(text), " \n\r\t", &size, NULL,
                          VARIANT) != 0 ||
        size <= CHECK_SIZE)
        return mangled(err);
    check_of(binary, size - CHECK_SIZE, check);
    reader_init(&r, binary, size - CHECK_SIZE);
    ok = memcmp(check, binary + size - CHECK_SIZE, CHECK_SIZE) == 0 && read_fields(&r, &token);
    sodium_memzero(binary, sizeof(binary));
    if (!ok)
        return mangled(err);
    *ret = token;
    return 0;
}

#include "consensus/seal_sodium.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/identity_sodium.h"

enum { WIRE_VERSION = 1, TAG_SIZE = 16, HASH_SIZE = 64, HASH_BLOCK = 128 };
static const char protocol_name[] = "Noise_IK_25519_ChaChaPoly_BLAKE2b";

enum seal_stage {
    STAGE_NEW,     /* nothing said yet */
    STAGE_CALLED,  /* initiator: hello is out */
    STAGE_RECORDS, /* keys are there */
    STAGE_BROKEN,  /* an error: nothing works any more */
};

/* One direction of records (Noise: CipherState). */
struct cipher {
    uint8_t key[KEY_SIZE];
    uint64_t number; /* of the next record, the nonce */
    bool ended;      /* END went over it */
};

struct seal {
    enum seal_stage stage;
    bool is_initiator, has_confirmed;
    struct identity self;
    bool (*is_listed)(void *data, const uint8_t key[KEY_SIZE]);
    void *data;
    uint8_t greeting[SEAL_GREETING_SIZE], peer_greeting[SEAL_GREETING_SIZE];
    uint8_t peer_key[KEY_SIZE];
    uint8_t ephemeral_secret[KEY_SIZE], peer_ephemeral[KEY_SIZE];
    /* Noise: SymmetricState */
    uint8_t hash[HASH_SIZE], chaining[HASH_SIZE];
    struct cipher handshake, sending, receiving;
};

/* ---- Noise's primitives */

static void cipher_nonce(uint64_t number, uint8_t ret[12])
{
    memset(ret, 0, 4);
    for (int i = 0; i < 8; i++)
        ret[4 + i] = (uint8_t)(number >> (8 * i));
}

static void cipher_encrypt(struct cipher *c, const uint8_t *ad, size_t ad_size, uint8_t *data,
                           size_t size)
{
    uint8_t nonce[12];

    cipher_nonce(c->number++, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(data, NULL, data, size, ad, ad_size, NULL, nonce,
                                              c->key);
}

/* `size` includes the tag. */
static int cipher_decrypt(struct cipher *c, const uint8_t *ad, size_t ad_size, uint8_t *data,
                          size_t size)
{
    uint8_t nonce[12];

    cipher_nonce(c->number, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(data, NULL, NULL, data, size, ad, ad_size, nonce,
                                                  c->key) != 0)
        return -EBADMSG;
    c->number++;
    return 0;
}

/* Noise 4.2, REKEY. */
static void cipher_rekey(struct cipher *c)
{
    uint8_t block[KEY_SIZE + TAG_SIZE] = {0}, nonce[12];

    cipher_nonce(UINT64_MAX, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(block, NULL, block, KEY_SIZE, NULL, 0, NULL, nonce,
                                              c->key);
    memcpy(c->key, block, KEY_SIZE);
    sodium_memzero(block, sizeof(block));
}

static void hmac(const uint8_t key[HASH_SIZE], const uint8_t *data, size_t size,
                 uint8_t ret[HASH_SIZE])
{
    crypto_generichash_state state;
    uint8_t pad[HASH_BLOCK] = {0}, inner[HASH_SIZE];

    for (int i = 0; i < HASH_BLOCK; i++)
        pad[i] = (uint8_t)((i < HASH_SIZE ? key[i] : 0) ^ 0x36);
    crypto_generichash_init(&state, NULL, 0, HASH_SIZE);
    crypto_generichash_update(&state, pad, sizeof(pad));
    crypto_generichash_update(&state, data, size);
    crypto_generichash_final(&state, inner, HASH_SIZE);
    for (int i = 0; i < HASH_BLOCK; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    crypto_generichash_init(&state, NULL, 0, HASH_SIZE);
    crypto_generichash_update(&state, pad, sizeof(pad));
    crypto_generichash_update(&state, inner, sizeof(inner));
    crypto_generichash_final(&state, ret, HASH_SIZE);
    sodium_memzero(pad, sizeof(pad));
    sodium_memzero(inner, sizeof(inner));
}

/* Noise 4.3, HKDF with two outputs. */
static void hkdf(const uint8_t chaining[HASH_SIZE], const uint8_t *input, size_t size,
                 uint8_t ret_first[HASH_SIZE], uint8_t ret_second[HASH_SIZE])
{
    uint8_t temporary[HASH_SIZE], block[HASH_SIZE + 1];

    hmac(chaining, input, size, temporary);
    block[0] = 1;
    hmac(temporary, block, 1, ret_first);
    memcpy(block, ret_first, HASH_SIZE);
    block[HASH_SIZE] = 2;
    hmac(temporary, block, sizeof(block), ret_second);
    sodium_memzero(temporary, sizeof(temporary));
    sodium_memzero(block, sizeof(block));
}

static void mix_hash(struct seal *s, const uint8_t *data, size_t size)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, HASH_SIZE);
    crypto_generichash_update(&state, s->hash, HASH_SIZE);
    crypto_generichash_update(&state, data, size);
    crypto_generichash_final(&state, s->hash, HASH_SIZE);
}

/* MixKey(DH(secret, public)). A public key of low order is refused. */
static int mix_dh(struct seal *s, const uint8_t *secret, const uint8_t *public_key)
{
    uint8_t shared[KEY_SIZE], key[HASH_SIZE];

    if (crypto_scalarmult(shared, secret, public_key) != 0)
        return -EBADMSG;
    hkdf(s->chaining, shared, sizeof(shared), s->chaining, key);
    memcpy(s->handshake.key, key, KEY_SIZE);
    s->handshake.number = 0;
    sodium_memzero(shared, sizeof(shared));
    sodium_memzero(key, sizeof(key));
    return 0;
}

/* EncryptAndHash of `size` bytes at `data`, in place; the tag goes behind them. */
static void encrypt_and_hash(struct seal *s, uint8_t *data, size_t size)
{
    cipher_encrypt(&s->handshake, s->hash, HASH_SIZE, data, size);
    mix_hash(s, data, size + TAG_SIZE);
}

/* DecryptAndHash of `size` bytes of plaintext and their tag. */
static int decrypt_and_hash(struct seal *s, const uint8_t *data, uint8_t *ret, size_t size)
{
    uint8_t copy[KEY_SIZE + TAG_SIZE];
    int rc;

    assert(size + TAG_SIZE <= sizeof(copy));
    memcpy(copy, data, size + TAG_SIZE);
    rc = cipher_decrypt(&s->handshake, s->hash, HASH_SIZE, copy, size + TAG_SIZE);
    if (rc < 0)
        return rc;
    mix_hash(s, data, size + TAG_SIZE);
    memcpy(ret, copy, size);
    return 0;
}

/* Split: the keys of both directions; what the handshake alone needed is wiped. */
static void split(struct seal *s)
{
    uint8_t first[HASH_SIZE], second[HASH_SIZE];

    hkdf(s->chaining, NULL, 0, first, second);
    memcpy(s->sending.key, s->is_initiator ? first : second, KEY_SIZE);
    memcpy(s->receiving.key, s->is_initiator ? second : first, KEY_SIZE);
    sodium_memzero(first, sizeof(first));
    sodium_memzero(second, sizeof(second));
    sodium_memzero(s->chaining, sizeof(s->chaining));
    sodium_memzero(&s->handshake, sizeof(s->handshake));
    sodium_memzero(s->ephemeral_secret, sizeof(s->ephemeral_secret));
    identity_deinit(&s->self);
    s->stage = STAGE_RECORDS;
}

/* ---- life */

static void symmetric_init(struct seal *s, const struct seal_config *config)
{
    uint8_t prologue[8 + NONCE_SIZE + SEAL_PURPOSE_MAX] = "skein-1";

    memset(s->hash, 0, HASH_SIZE);
    memcpy(s->hash, protocol_name, sizeof(protocol_name) - 1);
    memcpy(s->chaining, s->hash, HASH_SIZE);
    memcpy(prologue + 8, config->cluster, NONCE_SIZE);
    memcpy(prologue + 8 + NONCE_SIZE, config->purpose, strlen(config->purpose));
    mix_hash(s, prologue, sizeof(prologue));
    mix_hash(s, s->is_initiator ? s->peer_key : s->self.link_public, KEY_SIZE);
}

int seal_new(const struct seal_config *config, struct seal **ret, struct err *err)
{
    struct seal *s;

    if (sodium_init() < 0)
        return err_set(err, -EIO, "libsodium cannot be initialised");
    if (strlen(config->purpose) > SEAL_PURPOSE_MAX)
        return err_set(err, -EINVAL, "purpose %s is too long", config->purpose);
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(err, -ENOMEM, "no memory");
    s->self = *config->identity;
    s->is_initiator = config->peer_key != NULL;
    s->is_listed = config->is_listed;
    s->data = config->data;
    memcpy(s->greeting, config->greeting, SEAL_GREETING_SIZE);
    if (s->is_initiator)
        memcpy(s->peer_key, config->peer_key, KEY_SIZE);
    symmetric_init(s, config);
    *ret = s;
    return 0;
}

void seal_free(struct seal *s)
{
    if (s == NULL)
        return;
    sodium_memzero(s, sizeof(*s));
    free(s);
}

const uint8_t *seal_peer_key(const struct seal *s)
{
    return s->peer_key;
}

const uint8_t *seal_peer_greeting(const struct seal *s)
{
    return s->peer_greeting;
}

bool seal_is_confirmed(const struct seal *s)
{
    return s->has_confirmed;
}

/* ---- handshake */

static int broken(struct seal *s, int error)
{
    s->stage = STAGE_BROKEN;
    return error;
}

static void make_ephemeral(struct seal *s, uint8_t ret_public[KEY_SIZE])
{
    randombytes_buf(s->ephemeral_secret, KEY_SIZE);
    crypto_scalarmult_base(ret_public, s->ephemeral_secret);
    mix_hash(s, ret_public, KEY_SIZE);
}

/* -> e, es, s, ss, greeting */
int seal_hello(struct seal *s, uint8_t ret[SEAL_HELLO_SIZE])
{
    uint8_t *at = ret;

    if (!s->is_initiator || s->stage != STAGE_NEW)
        return broken(s, -EPROTO);
    *at++ = WIRE_VERSION;
    make_ephemeral(s, at);
    at += KEY_SIZE;
    if (mix_dh(s, s->ephemeral_secret, s->peer_key) < 0)
        return broken(s, -EBADMSG);
    memcpy(at, s->self.link_public, KEY_SIZE);
    encrypt_and_hash(s, at, KEY_SIZE);
    at += KEY_SIZE + TAG_SIZE;
    if (mix_dh(s, s->self.link_secret, s->peer_key) < 0)
        return broken(s, -EBADMSG);
    memcpy(at, s->greeting, SEAL_GREETING_SIZE);
    encrypt_and_hash(s, at, SEAL_GREETING_SIZE);
    s->stage = STAGE_CALLED;
    return 0;
}

static int read_hello(struct seal *s, const uint8_t *at)
{
    memcpy(s->peer_ephemeral, at, KEY_SIZE);
    mix_hash(s, at, KEY_SIZE);
    at += KEY_SIZE;
    if (mix_dh(s, s->self.link_secret, s->peer_ephemeral) < 0 ||
        decrypt_and_hash(s, at, s->peer_key, KEY_SIZE) < 0)
        return -EBADMSG;
    at += KEY_SIZE + TAG_SIZE;
    if (mix_dh(s, s->self.link_secret, s->peer_key) < 0 ||
        decrypt_and_hash(s, at, s->peer_greeting, SEAL_GREETING_SIZE) < 0)
        return -EBADMSG;
    return 0;
}

/* <- e, ee, se, greeting */
static int write_answer(struct seal *s, uint8_t *at)
{
    make_ephemeral(s, at);
    at += KEY_SIZE;
    if (mix_dh(s, s->ephemeral_secret, s->peer_ephemeral) < 0 ||
        mix_dh(s, s->ephemeral_secret, s->peer_key) < 0)
        return -EBADMSG;
    memcpy(at, s->greeting, SEAL_GREETING_SIZE);
    encrypt_and_hash(s, at, SEAL_GREETING_SIZE);
    return 0;
}

int seal_answer(struct seal *s, const uint8_t hello[SEAL_HELLO_SIZE], uint8_t ret[SEAL_ANSWER_SIZE])
{
    int rc;

    if (s->is_initiator || s->stage != STAGE_NEW)
        return broken(s, -EPROTO);
    if (hello[0] != WIRE_VERSION)
        return broken(s, -EPROTONOSUPPORT);
    rc = read_hello(s, hello + 1);
    if (rc < 0)
        return broken(s, rc);
    if (s->is_listed == NULL || !s->is_listed(s->data, s->peer_key))
        return broken(s, -EKEYREJECTED);
    ret[0] = WIRE_VERSION;
    rc = write_answer(s, ret + 1);
    if (rc < 0)
        return broken(s, rc);
    split(s);
    return 0;
}

int seal_finish(struct seal *s, const uint8_t answer[SEAL_ANSWER_SIZE])
{
    const uint8_t *at = answer + 1;

    if (s->stage != STAGE_CALLED)
        return broken(s, -EPROTO);
    if (answer[0] != WIRE_VERSION)
        return broken(s, -EPROTONOSUPPORT);
    memcpy(s->peer_ephemeral, at, KEY_SIZE);
    mix_hash(s, at, KEY_SIZE);
    at += KEY_SIZE;
    if (mix_dh(s, s->ephemeral_secret, s->peer_ephemeral) < 0 ||
        mix_dh(s, s->self.link_secret, s->peer_ephemeral) < 0 ||
        decrypt_and_hash(s, at, s->peer_greeting, SEAL_GREETING_SIZE) < 0)
        return broken(s, -EBADMSG);
    split(s);
    s->has_confirmed = true;
    return 0;
}

/* ---- records */

static void count_record(struct cipher *c)
{
    if (c->number % SEAL_REKEY_RECORDS == 0)
        cipher_rekey(c);
}

size_t seal_record(struct seal *s, enum seal_type type, uint8_t *buffer, size_t size)
{
    size_t length = 1 + size + TAG_SIZE;

    assert(size <= SEAL_DATA_MAX);
    if (s->stage != STAGE_RECORDS || s->sending.ended)
        return 0;
    for (int i = 0; i < 4; i++)
        buffer[i] = (uint8_t)(length >> (8 * i));
    buffer[4] = (uint8_t)type;
    cipher_encrypt(&s->sending, buffer, 4, buffer + 4, 1 + size);
    count_record(&s->sending);
    s->sending.ended = type == SEAL_END;
    return 4 + length;
}

/* Whether an authentic record may stand here. */
static bool record_fits(struct seal *s, const struct seal_record *record)
{
    bool first = !s->is_initiator && !s->has_confirmed;

    if (first != (record->type == SEAL_CONFIRM))
        return false;
    if (record->type == SEAL_DATA)
        return record->size > 0;
    return (record->type == SEAL_END || record->type == SEAL_CONFIRM) && record->size == 0;
}

ssize_t seal_open(struct seal *s, uint8_t *buffer, size_t size, struct seal_record *ret)
{
    struct seal_record record;
    size_t length = 0;

    if (s->stage != STAGE_RECORDS)
        return -EBADMSG;
    if (size < 4)
        return 0;
    for (int i = 0; i < 4; i++)
        length |= (size_t)buffer[i] << (8 * i);
    if (s->receiving.ended || length < 1 + TAG_SIZE || length > 1 + SEAL_DATA_MAX + TAG_SIZE)
        return broken(s, -EBADMSG);
    if (size < 4 + length)
        return 0;
    if (cipher_decrypt(&s->receiving, buffer, 4, buffer + 4, length) < 0)
        return broken(s, -EBADMSG);
    count_record(&s->receiving);
    record.type = (enum seal_type)buffer[4];
    record.data = buffer + SEAL_HEADROOM;
    record.size = length - 1 - TAG_SIZE;
    if (!record_fits(s, &record))
        return broken(s, -EBADMSG);
    s->has_confirmed = true;
    s->receiving.ended = record.type == SEAL_END;
    *ret = record;
    return (ssize_t)(4 + length);
}

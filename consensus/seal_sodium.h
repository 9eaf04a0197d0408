/* seal_sodium: what two nodes say to each other is for them alone. Bytes in, bytes out.
 *
 * The handshake is Noise_IK_25519_ChaChaPoly_BLAKE2b (noiseprotocol.org, revision 34): the
 * initiator knows whom it calls; the responder learns who calls and asks whether that key is
 * listed; both contribute ephemeral keys, so that a static key that leaks later opens nothing of
 * today. The prologue binds version, cluster id and purpose.
 *
 *     initiator                                responder
 *     seal_hello       -> SEAL_HELLO_SIZE ->   seal_answer
 *     seal_finish      <- SEAL_ANSWER_SIZE <-
 *     record CONFIRM   ->
 *     records          <->                     records
 *
 * A hello can be replayed by anybody who saw it; whoever replays cannot make the CONFIRM record.
 * So the responder must give nothing away before seal_is_confirmed().
 *
 * A record on the wire: u32 length of what follows (little-endian, authenticated), then
 * ChaCha20-Poly1305 (IETF) of {u8 type, data}, nonce = the record's number in its direction. Each
 * direction takes a new key by Noise's REKEY after SEAL_REKEY_RECORDS records. END is the last
 * record of a direction: an end of the bytes without it is a cut.
 */
#ifndef SKEIN_CONSENSUS_SEAL_SODIUM_H
#define SKEIN_CONSENSUS_SEAL_SODIUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/limits.h"

struct identity;
struct seal;

enum {
    SEAL_GREETING_SIZE = 8, /* bytes of the caller's own, sealed into hello and answer */
    SEAL_HELLO_SIZE = 1 + 32 + 32 + 16 + SEAL_GREETING_SIZE + 16,
    SEAL_ANSWER_SIZE = 1 + 32 + SEAL_GREETING_SIZE + 16,
    SEAL_DATA_MAX = 64 * 1024, /* of one record */
    SEAL_HEADROOM = 4 + 1,     /* before a record's data */
    SEAL_TAILROOM = 16,        /* behind it */
    SEAL_RECORD_MAX = SEAL_HEADROOM + SEAL_DATA_MAX + SEAL_TAILROOM,
    SEAL_REKEY_RECORDS = 65536,
    SEAL_PURPOSE_MAX = 16,
};

enum seal_type { SEAL_DATA = 0, SEAL_END = 1, SEAL_CONFIRM = 2 };

struct seal_config {
    const struct identity *identity; /* copied */
    uint8_t cluster[NONCE_SIZE];
    const char *purpose;                  /* "raft", "stream"; borrowed for the call */
    uint8_t greeting[SEAL_GREETING_SIZE]; /* for the other side */
    const uint8_t *peer_key; /* initiator: whom it calls; NULL: this is the responder */
    /* Responder: whether the caller's key may speak to us. Called once, within seal_answer. */
    bool (*is_listed)(void *data, const uint8_t key[KEY_SIZE]);
    void *data;
};

struct seal_record {
    enum seal_type type;
    uint8_t *data; /* within the caller's buffer */
    size_t size;
};

/* -EINVAL: a purpose too long; -ENOMEM; -EIO: libsodium cannot be initialised. */
int seal_new(const struct seal_config *config, struct seal **ret, struct err *err);
/* Wipes the keys. NULL is fine. */
void seal_free(struct seal *seal);

/* The handshake. Each once, in the order above (-EPROTO otherwise). -EBADMSG: not authentic (wrong
 * key, cluster or purpose, or tampered with); -EPROTONOSUPPORT: another version; -EKEYREJECTED: the
 * caller is authentic but not listed. After an error the seal is of no use. */
int seal_hello(struct seal *seal, uint8_t ret[SEAL_HELLO_SIZE]);
int seal_answer(struct seal *seal, const uint8_t hello[SEAL_HELLO_SIZE],
                uint8_t ret[SEAL_ANSWER_SIZE]);
int seal_finish(struct seal *seal, const uint8_t answer[SEAL_ANSWER_SIZE]);

/* The other side's static key and greeting, once the handshake gave them. */
const uint8_t *seal_peer_key(const struct seal *seal);
const uint8_t *seal_peer_greeting(const struct seal *seal);
/* Initiator: after seal_finish. Responder: after the CONFIRM record. */
bool seal_is_confirmed(const struct seal *seal);

/* Seals a record in place: `size` bytes of data at buffer + SEAL_HEADROOM, room for SEAL_TAILROOM
 * behind them. The bytes to send, from buffer on; 0 after END or before the handshake is done. */
size_t seal_record(struct seal *seal, enum seal_type type, uint8_t *buffer, size_t size);

/* Opens the record at the head of `buffer` in place. > 0: bytes used, `ret` is filled; 0: the
 * record is not whole yet; -EBADMSG: not authentic, out of order or malformed: the link is broken
 * for good. */
ssize_t seal_open(struct seal *seal, uint8_t *buffer, size_t size, struct seal_record *ret);

#endif

#include "consensus/identity_sodium.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "consensus/file_posix.h"

#define FILE_NAME "identity"
static const char magic[8] = "skeinid1";
static const char kdf_context[crypto_kdf_CONTEXTBYTES + 1] = "skeinkey";

enum { SUBKEY_LINK = 1, SUBKEY_CURVE = 2, CHECK_SIZE = 16 };
enum { FILE_SIZE = sizeof(magic) + KEY_SIZE + CHECK_SIZE };

static int derive(const uint8_t *seed, uint64_t which, uint8_t *ret_public, uint8_t *ret_secret)
{
    crypto_kdf_derive_from_key(ret_secret, KEY_SIZE, which, kdf_context, seed);
    return crypto_scalarmult_base(ret_public, ret_secret) == 0 ? 0 : -EIO;
}

int identity_from_seed(const uint8_t seed[KEY_SIZE], struct identity *ret)
{
    int rc;

    if (sodium_init() < 0)
        return -EIO;
    memcpy(ret->seed, seed, KEY_SIZE);
    rc = derive(seed, SUBKEY_LINK, ret->link_public, ret->link_secret);
    if (rc == 0)
        rc = derive(seed, SUBKEY_CURVE, ret->curve_public, ret->curve_secret);
    return rc;
}

int identity_generate(struct identity *ret)
{
    uint8_t seed[KEY_SIZE];
    int rc;

    if (sodium_init() < 0)
        return -EIO;
    randombytes_buf(seed, sizeof(seed));
    rc = identity_from_seed(seed, ret);
    sodium_memzero(seed, sizeof(seed));
    return rc;
}

void identity_deinit(struct identity *identity)
{
    sodium_memzero(identity, sizeof(*identity));
}

static void check_of(const uint8_t *bytes, uint8_t ret[CHECK_SIZE])
{
    crypto_generichash(ret, CHECK_SIZE, bytes, sizeof(magic) + KEY_SIZE, NULL, 0);
}

static int create(const char *directory, struct identity *ret, struct err *err)
{
    uint8_t bytes[FILE_SIZE];
    int rc = identity_generate(ret);

    if (rc < 0)
        return err_set(err, rc, "libsodium cannot be initialised");
    memcpy(bytes, magic, sizeof(magic));
    memcpy(bytes + sizeof(magic), ret->seed, KEY_SIZE);
    check_of(bytes, bytes + sizeof(magic) + KEY_SIZE);
    rc = file_replace(directory, FILE_NAME, bytes, sizeof(bytes), 0600, err);
    sodium_memzero(bytes, sizeof(bytes));
    if (rc < 0)
        identity_deinit(ret);
    return rc;
}

static int decode(const char *directory, const uint8_t *bytes, size_t size, struct identity *ret,
                  struct err *err)
{
    uint8_t check[CHECK_SIZE];

    check_of(bytes, check);
    if (size != FILE_SIZE || memcmp(bytes, magic, sizeof(magic)) != 0 ||
        sodium_memcmp(check, bytes + sizeof(magic) + KEY_SIZE, CHECK_SIZE) != 0)
        return err_set(err, -EBADMSG,
                       "%s/" FILE_NAME " is damaged: restore it from a backup, or remove the "
                       "directory and join under a new name",
                       directory);
    if (identity_from_seed(bytes + sizeof(magic), ret) < 0)
        return err_set(err, -EIO, "libsodium cannot be initialised");
    return 0;
}

int identity_load_or_create(const char *directory, struct identity *ret, struct err *err)
{
    uint8_t bytes[FILE_SIZE] = {0};
    char path[FILE_PATH_SIZE];
    struct stat status;
    ssize_t size;
    int rc = file_path(directory, FILE_NAME, path, err);

    if (rc < 0)
        return rc;
    if (sodium_init() < 0)
        return err_set(err, -EIO, "libsodium cannot be initialised");
    if (stat(path, &status) < 0)
        return errno == ENOENT ? create(directory, ret, err)
                               : err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    if (status.st_mode & 077)
        return err_set(err, -EPERM, "%s may be read by others: chmod 600 it", path);
    size = file_read(directory, FILE_NAME, bytes, sizeof(bytes), err);
    if (size == -EFBIG)
        size = 0;
    rc = size < 0 ? (int)size : decode(directory, bytes, (size_t)size, ret, err);
    sodium_memzero(bytes, sizeof(bytes));
    return rc;
}

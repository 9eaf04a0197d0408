/* keys: identity, keyring and join tokens. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consensus/file_posix.h"
#include "consensus/identity_sodium.h"
#include "consensus/keyring.h"
#include "consensus/token_sodium.h"

static int setup_directory(void **state)
{
    char template[] = "/tmp/skein-keys-XXXXXX";

    *state = strdup(mkdtemp(template));
    return *state == NULL;
}

static int teardown_directory(void **state)
{
    char path[FILE_PATH_SIZE];

    file_path(*state, "identity", path, NULL);
    unlink(path);
    rmdir(*state);
    free(*state);
    return 0;
}

static void identity_is_made_once(void **state)
{
    struct identity first, second;
    char path[FILE_PATH_SIZE];
    struct stat status;
    struct err err;

    assert_int_equal(identity_load_or_create(*state, &first, &err), 0);
    assert_int_equal(identity_load_or_create(*state, &second, &err), 0);
    assert_memory_equal(&first, &second, sizeof(first));
    assert_memory_not_equal(first.link_public, first.curve_public, KEY_SIZE);
    file_path(*state, "identity", path, NULL);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    identity_deinit(&first);
    identity_deinit(&first);
    identity_deinit(&second);
}

static void identity_that_is_damaged_is_refused(void **state)
{
    struct identity identity;
    uint8_t bytes[128];
    ssize_t size;
    struct err err;

    assert_int_equal(identity_load_or_create(*state, &identity, &err), 0);
    size = file_read(*state, "identity", bytes, sizeof(bytes), &err);
    assert_true(size > 40);
    bytes[20] ^= 1;
    assert_int_equal(file_replace(*state, "identity", bytes, (size_t)size, 0600, &err), 0);
    assert_int_equal(identity_load_or_create(*state, &identity, &err), -EBADMSG);
    assert_int_equal(file_replace(*state, "identity", bytes, 10, 0600, &err), 0);
    assert_int_equal(identity_load_or_create(*state, &identity, &err), -EBADMSG);
    assert_int_equal(file_replace(*state, "identity", bytes, sizeof(bytes), 0600, &err), 0);
    assert_int_equal(identity_load_or_create(*state, &identity, &err), -EBADMSG);
}

static void identity_that_others_may_read_is_refused(void **state)
{
    struct identity identity;
    char path[FILE_PATH_SIZE];
    struct err err;

    assert_int_equal(identity_load_or_create(*state, &identity, &err), 0);
    file_path(*state, "identity", path, NULL);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(identity_load_or_create(*state, &identity, &err), -EPERM);
}

static void keyring_finds_by_id_and_key(void **state)
{
    struct keyring_entry table[] = {
        {.id = 7, .link_key = "seven", .address = 0x0a000007},
        {.id = 3, .link_key = "three", .address = 0x0a000003},
    };
    struct keyring *k = keyring_new();
    struct keyring_entry found;

    (void)state;
    assert_int_equal(keyring_replace(k, table, 2), 0);
    assert_true(keyring_find(k, 3, &found));
    assert_int_equal(found.address, 0x0a000003);
    assert_true(keyring_find_key(k, table[0].link_key, &found));
    assert_int_equal(found.id, 7);
    assert_false(keyring_find(k, 4, &found));
    assert_true(keyring_has_address(k, 0x0a000007));
    assert_false(keyring_has_address(k, 0x0a000008));
    keyring_free(k);
}

static void count_change(void *data)
{
    ++*(int *)data;
}

static void keyring_tells_watchers_of_real_changes(void **state)
{
    struct keyring_entry table[] = {{.id = 1, .link_key = "one"}, {.id = 2, .link_key = "two"}};
    struct keyring_entry twins[] = {{.id = 1, .link_key = "one"}, {.id = 2, .link_key = "one"}};
    struct keyring *k = keyring_new();
    int n = 0;

    (void)state;
    assert_int_equal(keyring_watch(k, count_change, &n), 0);
    assert_int_equal(keyring_replace(k, table, 2), 0);
    assert_int_equal(n, 1);
    assert_int_equal(keyring_replace(k, table, 2), 0); /* the same: no news */
    assert_int_equal(n, 1);
    assert_int_equal(keyring_replace(k, table, 1), 0);
    assert_int_equal(n, 2);
    assert_int_equal(keyring_generation(k), 2);
    assert_int_equal(keyring_replace(k, twins, 2), -EINVAL);
    assert_int_equal(keyring_generation(k), 2);
    keyring_unwatch(k, count_change, &n);
    assert_int_equal(keyring_replace(k, NULL, 0), 0);
    assert_int_equal(n, 2);
    keyring_free(k);
}

static struct join_token example_token(void)
{
    struct join_token token = {
        .cluster = "cluster-id-16-by",
        .n_endpoints = 3,
        .endpoints = {{0x0a000001, 7400}, {0x0a000002, 7400}, {0x0a000003, 17400}},
        .expires_s = 1795000000,
    };

    memset(token.curve_key, 0xc1, KEY_SIZE);
    memset(token.link_key, 0x11, KEY_SIZE);
    assert_int_equal(join_token_make_secret(&token), 0);
    return token;
}

static void token_survives_its_text(void **state)
{
    struct join_token token = example_token(), back;
    char text[JOIN_TOKEN_TEXT_SIZE];
    struct err err;

    (void)state;
    assert_int_equal(join_token_encode(&token, text, &err), 0);
    assert_int_equal(join_token_decode(text, &back, &err), 0);
    assert_memory_equal(back.cluster, token.cluster, NONCE_SIZE);
    assert_int_equal(back.n_endpoints, 3);
    assert_int_equal(back.endpoints[2].port, 17400);
    assert_memory_equal(back.curve_key, token.curve_key, KEY_SIZE);
    assert_memory_equal(back.link_key, token.link_key, KEY_SIZE);
    assert_memory_equal(back.secret, token.secret, JOIN_TOKEN_SECRET_SIZE);
    assert_true(back.expires_s == token.expires_s);
}

static void token_errors_are_told_apart(void **state)
{
    struct join_token token = example_token(), back;
    char text[JOIN_TOKEN_TEXT_SIZE], bad[JOIN_TOKEN_TEXT_SIZE];
    struct err err;

    (void)state;
    assert_int_equal(join_token_encode(&token, text, &err), 0);
    for (size_t i = 7; i < strlen(text); i++) { /* every character matters */
        memcpy(bad, text, sizeof(bad));
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        assert_int_equal(join_token_decode(bad, &back, &err), -EBADMSG);
    }
    for (size_t n = 7; n < strlen(text); n++) { /* cut short */
        memcpy(bad, text, n);
        bad[n] = '\0';
        assert_int_equal(join_token_decode(bad, &back, &err), -EBADMSG);
    }
    assert_int_equal(join_token_decode("", &back, &err), -EBADMSG);
    assert_int_equal(join_token_decode("hello", &back, &err), -EBADMSG);
    memcpy(bad, text, sizeof(bad));
    bad[5] = '2';
    assert_int_equal(join_token_decode(bad, &back, &err), -EPROTONOSUPPORT);
    token.n_endpoints = 0;
    assert_int_equal(join_token_encode(&token, text, &err), -EINVAL);
}

static void token_hash_is_of_the_secret(void **state)
{
    uint8_t secret[JOIN_TOKEN_SECRET_SIZE] = {1}, a[DIGEST_SIZE], b[DIGEST_SIZE];

    (void)state;
    token_hash(secret, a);
    token_hash(secret, b);
    assert_memory_equal(a, b, DIGEST_SIZE);
    secret[31] = 1;
    token_hash(secret, b);
    assert_memory_not_equal(a, b, DIGEST_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(identity_is_made_once, setup_directory, teardown_directory),
        cmocka_unit_test_setup_teardown(identity_that_is_damaged_is_refused, setup_directory,
                                        teardown_directory),
        cmocka_unit_test_setup_teardown(identity_that_others_may_read_is_refused, setup_directory,
                                        teardown_directory),
        cmocka_unit_test(keyring_finds_by_id_and_key),
        cmocka_unit_test(keyring_tells_watchers_of_real_changes),
        cmocka_unit_test(token_survives_its_text),
        cmocka_unit_test(token_errors_are_told_apart),
        cmocka_unit_test(token_hash_is_of_the_secret),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

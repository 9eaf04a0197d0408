/* image_format, image_check: what is an image, and what is said of what is none. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/streams/image_check_archive.h"
#include "agent/streams/image_format.h"

enum { BLOCK = 512 };

struct qcow2 {
    unsigned version, backing, encrypted, features;
};

static void put_big(uint8_t *at, size_t n, uint64_t v)
{
    while (n-- > 0) {
        at[n] = (uint8_t)v;
        v >>= 8;
    }
}

static int look_at_qcow2(struct qcow2 q, size_t size, enum image_format *ret, struct err *err)
{
    uint8_t head[BLOCK] = "QFI\xfb";

    put_big(head + 4, 4, q.version);
    put_big(head + 8, 8, q.backing);
    put_big(head + 32, 4, q.encrypted);
    put_big(head + 72, 8, q.features);
    return image_format_of(head, size, size, ret, err);
}

static void qcow2_stands_by_itself(void **state)
{
    static const struct {
        struct qcow2 q;
        size_t size;
        const char *words; /* NULL: taken */
    } cases[] = {
        {{.version = 3}, BLOCK, NULL},
        {{.version = 2, .features = 4}, BLOCK, NULL}, /* version 2 has no features there */
        {{.version = 3, .features = 1}, BLOCK, NULL}, /* dirty: QEMU repairs it */
        {{.version = 4}, BLOCK, "version 4"},
        {{.version = 3, .backing = 512}, BLOCK, "backing file"},
        {{.version = 3, .encrypted = 2}, BLOCK, "encrypted"},
        {{.version = 3, .features = 2}, BLOCK, "corrupt"},
        {{.version = 3, .features = 4}, BLOCK, "another file"},
        {{.version = 3}, 71, "truncated"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum image_format format = 0;
        struct err err = {0};
        int rc = look_at_qcow2(cases[i].q, cases[i].size, &format, &err);

        if (cases[i].words == NULL) {
            assert_int_equal(rc, 0);
            assert_int_equal(format, IMAGE_QCOW2);
        } else {
            assert_int_equal(rc, -EBADMSG);
            assert_int_equal(format, 0);
            assert_non_null(strstr(err.text, cases[i].words));
        }
    }
}

static void squashfs_is_whole(void **state)
{
    uint8_t head[96] = "hsqs";
    enum image_format format = 0;
    struct err err = {0};

    (void)state;
    head[28] = 4;
    head[40] = 200;
    assert_int_equal(image_format_of(head, sizeof(head), 200, &format, &err), 0);
    assert_int_equal(format, IMAGE_SQUASHFS);
    assert_int_equal(image_format_of(head, sizeof(head), 199, &format, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "199 bytes of 200"));
    assert_int_equal(image_format_of(head, 95, 95, &format, &err), -EBADMSG);
    head[28] = 3;
    assert_int_equal(image_format_of(head, sizeof(head), 200, &format, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "version 3"));
}

static void other_bytes_are_named(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *words;
    } cases[] = {
        {"", 0, "empty"},
        {"\xfd"
         "7zXZ",
         5, "xz"},
        {"BZh9", 4, "bzip2"},
        {"PK\x03\x04", 4, "zip"},
        {"\x7f"
         "ELF",
         4, "program"},
        {"!<arch>\ndebian", 14, "ar archive"},
        {"KDMV", 4, "VMDK"},
        {"hello", 5, "none of tar"},
        {"hsq", 3, "none of tar"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum image_format format = 0;
        struct err err = {0};

        assert_int_equal(image_format_of((const uint8_t *)cases[i].bytes, cases[i].size,
                                         cases[i].size, &format, &err),
                         -EBADMSG);
        assert_non_null(strstr(err.text, cases[i].words));
    }
}

static void disk_has_a_boot_sector(void **state)
{
    uint8_t head[IMAGE_HEAD_SIZE] = {0};
    enum image_format format = 0;
    struct err err = {0};

    (void)state;
    assert_int_equal(image_format_of(head, sizeof(head), 4096, &format, &err), -EBADMSG);
    head[510] = 0x55;
    head[511] = 0xaa;
    assert_int_equal(image_format_of(head, sizeof(head), 4096, &format, &err), 0);
    assert_int_equal(format, IMAGE_RAW);
}

/* ---- archives */

static void add_member(int fd, char type, const char *name, const char *target, size_t size)
{
    char header[BLOCK] = {0}, block[BLOCK] = {0};
    unsigned sum = 0;

    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", 0755u);
    snprintf(header + 108, 8, "%07o", 0u);
    snprintf(header + 116, 8, "%07o", 0u);
    snprintf(header + 124, 12, "%011o", (unsigned)size);
    snprintf(header + 136, 12, "%011o", 1000000u);
    memset(header + 148, ' ', 8);
    header[156] = type;
    snprintf(header + 157, 100, "%s", target != NULL ? target : "");
    memcpy(header + 257, "ustar\00000", 8);
    snprintf(header + 329, 8, "%07o", 1u);
    snprintf(header + 337, 8, "%07o", 3u);
    for (int i = 0; i < BLOCK; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 7, "%06o", sum);
    assert_int_equal(write(fd, header, BLOCK), BLOCK);
    if (size > 0)
        assert_int_equal(write(fd, block, BLOCK), BLOCK);
}

static const char nothing[2 * BLOCK];

struct member {
    char type;
    const char *name, *target;
    size_t size;
};

static void assert_check(const struct member *members, size_t n, const char *words)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    enum image_format format = 0;
    struct err err = {0};
    int rc;

    assert_true(fd >= 0);
    for (size_t i = 0; i < n; i++)
        add_member(fd, members[i].type, members[i].name, members[i].target, members[i].size);
    assert_int_equal(write(fd, nothing, sizeof(nothing)), sizeof(nothing));
    rc = image_check(fd, &format, &err);
    if (words == NULL) {
        assert_int_equal(rc, 0);
        assert_int_equal(format, IMAGE_TAR);
    } else {
        assert_int_equal(rc, -EBADMSG);
        assert_non_null(strstr(err.text, words));
    }
    close(fd);
}

static void archive_stays_in_its_root(void **state)
{
    static const struct {
        struct member members[3];
        const char *words;
    } cases[] = {
        {{{'5', "./", NULL, 0}, {'0', "./a", NULL, 10}, {'2', "l", "/etc", 0}}, NULL},
        {{{'0', "a", NULL, 1}, {'0', "dev/x", NULL, 1}, {'3', "./dev/null", NULL, 0}}, NULL},
        {{{'0', "a..b", NULL, 1}, {'0', "..c", NULL, 1}, {'2', "up", "../..", 0}}, NULL},
        {{{'0', "a", NULL, 1}, {'0', "/etc/passwd", NULL, 1}, {'0', "b", NULL, 1}},
         "'/etc/passwd'"},
        {{{'0', "a", NULL, 1}, {'0', "x/../../y", NULL, 1}, {'0', "b", NULL, 1}}, "reaches out"},
        {{{'0', "a", NULL, 1}, {'1', "h", "../secret", 0}, {'0', "b", NULL, 1}}, "'../secret'"},
        {{{'2', "l", "/", 0}, {'0', "a", NULL, 1}, {'0', "./l/etc", NULL, 1}}, "below a symbolic"},
        {{{'2', "./d/l", "/", 0}, {'0', "a", NULL, 1}, {'0', "d//l/e/f", NULL, 1}}, "below a symb"},
        {{{'0', "a", NULL, 1}, {'3', "disk", NULL, 0}, {'0', "b", NULL, 1}}, "device node"},
        {{{'0', "a", NULL, 1}, {'4', "my/dev/sda", NULL, 0}, {'0', "b", NULL, 1}}, "device node"},
        {{{'5', "a", NULL, 0}, {'5', "b", NULL, 0}, {'5', "c", NULL, 0}}, "no file in it"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_check(cases[i].members, 3, cases[i].words);
}

/* libarchive would skip past the end of the file without a word. */
static void last_file_is_whole(void **state)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    enum image_format format = 0;
    struct err err = {0};

    (void)state;
    assert_true(fd >= 0);
    add_member(fd, '0', "a", NULL, BLOCK);
    add_member(fd, '0', "b", NULL, BLOCK);
    assert_int_equal(image_check(fd, &format, &err), 0);
    assert_int_equal(ftruncate(fd, 4 * BLOCK - 1), 0);
    assert_int_equal(image_check(fd, &format, &err), -EBADMSG);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qcow2_stands_by_itself),    cmocka_unit_test(squashfs_is_whole),
        cmocka_unit_test(other_bytes_are_named),     cmocka_unit_test(disk_has_a_boot_sector),
        cmocka_unit_test(archive_stays_in_its_root), cmocka_unit_test(last_file_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

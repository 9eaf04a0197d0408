#include "agent/streams/image_format.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    TAR_BLOCK = 512,
    TAR_SUM_AT = 148,
    TAR_SUM_SIZE = 8,
    QCOW2_HEADER_SIZE = 72,
    SQUASHFS_HEADER_SIZE = 96,
    SECTOR = 512,
};

/* What people hand in by mistake, and what to do about it. */
static const struct {
    const char *magic;
    size_t at, size;
    const char *words;
} others[] = {
    {"\xfd"
     "7zXZ",
     0, 5, "it is compressed with xz; use gzip or zstd"},
    {"BZh", 0, 3, "it is compressed with bzip2; use gzip or zstd"},
    {"PK\x03\x04", 0, 4, "it is a zip archive; pack it as tar.zst"},
    {"\x04\x22\x4d\x18", 0, 4, "it is compressed with lz4; use gzip or zstd"},
    {"\x7f"
     "ELF",
     0, 4, "it is a program; put it into a tar.zst"},
    {"070701", 0, 6, "it is a cpio archive; pack it as tar.zst"},
    {"!<arch>\n", 0, 8, "it is an ar archive (a Debian package?); pack its files as tar.zst"},
    {"KDMV", 0, 4, "it is a VMDK disk; convert it with qemu-img to qcow2"},
    {"conectix", 0, 8, "it is a VHD disk; convert it with qemu-img to qcow2"},
    {"vhdxfile", 0, 8, "it is a VHDX disk; convert it with qemu-img to qcow2"},
};

static bool has(const uint8_t *head, size_t size, size_t at, const char *magic, size_t n)
{
    return size >= at + n && memcmp(head + at, magic, n) == 0;
}

/* The header's own checksum (POSIX.1-1988): also tar files without the word "ustar" have it. */
static bool is_tar(const uint8_t *head, size_t size)
{
    unsigned long sum = 0, said;
    char text[TAR_SUM_SIZE + 1] = {0};

    if (size < TAR_BLOCK || head[0] == '\0')
        return false;
    memcpy(text, head + TAR_SUM_AT, TAR_SUM_SIZE);
    said = strtoul(text, NULL, 8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= TAR_SUM_AT && i < TAR_SUM_AT + TAR_SUM_SIZE ? ' ' : head[i];
    return sum == said;
}

/* A boot sector, or the protective one of a GUID partition table. */
static bool is_disk(const uint8_t *head, size_t size)
{
    return size >= SECTOR && head[SECTOR - 2] == 0x55 && head[SECTOR - 1] == 0xaa;
}

static uint64_t little_endian(const uint8_t *at, size_t n)
{
    uint64_t v = 0;

    while (n-- > 0)
        v = v << 8 | at[n];
    return v;
}

/* Linux, fs/squashfs/squashfs_fs.h: version at 28, bytes in use at 40. */
static int check_squashfs(const uint8_t *head, size_t size, uint64_t total, struct err *err)
{
    uint64_t used;

    if (size < SQUASHFS_HEADER_SIZE)
        return err_set(err, -EBADMSG, "the squashfs image is truncated: it ends within its header");
    used = little_endian(head + 40, 8);
    if (little_endian(head + 28, 2) != 4)
        return err_set(err, -EBADMSG, "the squashfs image is of version %llu; 4 is known",
                       (unsigned long long)little_endian(head + 28, 2));
    if (used > total)
        return err_set(err, -EBADMSG, "the squashfs image is truncated: it has %llu bytes of %llu",
                       (unsigned long long)total, (unsigned long long)used);
    return 0;
}

static uint64_t big_endian(const uint8_t *at, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | at[i];
    return v;
}

/* QEMU, docs/interop/qcow2.rst: version at 4, backing file's offset at 8, encryption at 32,
 * incompatible features at 72 (version 3; bit 0 dirty, bit 1 corrupt, bit 2 external data). */
static int check_qcow2(const uint8_t *head, size_t size, struct err *err)
{
    uint64_t version, features = 0;

    if (size < QCOW2_HEADER_SIZE)
        return err_set(err, -EBADMSG, "the qcow2 image is truncated: it ends within its header");
    version = big_endian(head + 4, 4);
    if (version != 2 && version != 3)
        return err_set(err, -EBADMSG, "the qcow2 image is of version %llu; 2 and 3 are known",
                       (unsigned long long)version);
    if (big_endian(head + 8, 8) != 0)
        return err_set(err, -EBADMSG,
                       "the qcow2 image needs a backing file; make it whole with: qemu-img convert "
                       "-O qcow2 OLD NEW");
    if (big_endian(head + 32, 4) != 0)
        return err_set(err, -EBADMSG, "the qcow2 image is encrypted: no node has its key");
    if (version == 3 && size >= QCOW2_HEADER_SIZE + 8)
        features = big_endian(head + QCOW2_HEADER_SIZE, 8);
    if ((features & 2) != 0)
        return err_set(err, -EBADMSG, "the qcow2 image is marked as corrupt: qemu-img check it");
    if ((features & 4) != 0)
        return err_set(err, -EBADMSG,
                       "the qcow2 image keeps its data in another file; make it whole with: "
                       "qemu-img convert -O qcow2 OLD NEW");
    return 0;
}

static int refuse(const uint8_t *head, size_t size, struct err *err)
{
    const char *words = "it is none of tar, tar.gz, tar.zst, squashfs, qcow2 or a raw disk with a "
                        "partition table";

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (has(head, size, others[i].at, others[i].magic, others[i].size))
            words = others[i].words;
    }
    return err_set(err, -EBADMSG, "this cannot be an image: %s", words);
}

int image_format_of(const uint8_t *head, size_t size, uint64_t total, enum image_format *ret_format,
                    struct err *err)
{
    enum image_format format;
    int rc = 0;

    if (size == 0)
        return err_set(err, -EBADMSG, "the image is empty");
    if (has(head, size, 0, "QFI\xfb", 4)) {
        format = IMAGE_QCOW2;
        rc = check_qcow2(head, size, err);
    } else if (has(head, size, 0, "hsqs", 4)) {
        format = IMAGE_SQUASHFS;
        rc = check_squashfs(head, size, total, err);
    } else if (has(head, size, 0, "\x1f\x8b", 2) || has(head, size, 0, "\x28\xb5\x2f\xfd", 4) ||
               is_tar(head, size)) {
        format = IMAGE_TAR;
    } else if (is_disk(head, size)) {
        format = IMAGE_RAW;
    } else {
        return refuse(head, size, err);
    }
    if (rc == 0)
        *ret_format = format;
    return rc;
}

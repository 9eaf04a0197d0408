#include "agent/guest/unpack_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/unpack_whole_posix.h"
#include "agent/streams/image_format.h"
#include "base/clean.h"
#include "base/digest_sodium.h"
#include "base/jail_seccomp.h"
#include "base/tree_posix.h"

enum {
    READ_CHUNK = 256 * 1024,
    EXTRACT_FLAGS = ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR |
                    ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                    ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS,
};

struct unpack {
    struct archive *in, *out;
    const struct unpack_limits *limits;
    uint64_t n_bytes, n_entries;
};

static int broken(struct archive *archive, const char *path, struct err *err)
{
    const char *why = archive_error_string(archive);
    int error = archive_errno(archive);

    if (error == ENOSPC || error == EDQUOT || error == ENOMEM || error == EIO)
        return err_set(err, -error, "cannot unpack the image: %s", strerror(error));
    return err_set(err, -EINVAL, "the image is no archive that can be unpacked: %s%s%s",
                   path != NULL ? path : "", path != NULL ? ": " : "",
                   why != NULL ? why : "broken");
}

/* Names people and programs whose marks could mean something to the node stay out: overlayfs' own
 * attributes above all. */
static void keep_harmless_attributes(struct archive_entry *entry)
{
    const char *name;
    const void *value;
    size_t size;
    bool found = false;
    char capability[64];
    size_t capability_size = 0;

    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
        if (strcmp(name, "security.capability") == 0 && size <= sizeof(capability)) {
            memcpy(capability, value, size);
            capability_size = size;
            found = true;
        }
    }
    archive_entry_xattr_clear(entry);
    if (found)
        archive_entry_xattr_add_entry(entry, "security.capability", capability, capability_size);
}

static int count(struct unpack *u, uint64_t bytes, uint64_t entries, struct err *err)
{
    u->n_bytes += bytes;
    u->n_entries += entries;
    if (u->n_bytes > u->limits->max_bytes)
        return err_set(err, -EFBIG, "the image holds more than %llu MiB",
                       (unsigned long long)(u->limits->max_bytes >> 20));
    if (u->n_entries > u->limits->max_entries)
        return err_set(err, -EFBIG, "the image holds more than %llu files",
                       (unsigned long long)u->limits->max_entries);
    return 0;
}

static int copy_data(struct unpack *u, const char *path, struct err *err)
{
    const void *block;
    size_t size;
    la_int64_t offset;
    int r;

    while ((r = archive_read_data_block(u->in, &block, &size, &offset)) == ARCHIVE_OK) {
        int counted = count(u, size, 0, err);

        if (counted < 0)
            return counted;
        if (archive_write_data_block(u->out, block, size, offset) < ARCHIVE_OK)
            return broken(u->out, path, err);
    }
    return r == ARCHIVE_EOF ? 0 : broken(u->in, path, err);
}

static bool is_device(struct archive_entry *entry)
{
    return archive_entry_filetype(entry) == AE_IFCHR || archive_entry_filetype(entry) == AE_IFBLK;
}

static int unpack_entry(struct unpack *u, struct archive_entry *entry, struct err *err)
{
    const char *path = archive_entry_pathname(entry);
    int r = count(u, 0, 1, err);

    if (r < 0)
        return r;
    if (path == NULL)
        return err_set(err, -EINVAL, "the image holds a name that cannot be read");
    if (is_device(entry))
        return 0;
    keep_harmless_attributes(entry);
    if (archive_write_header(u->out, entry) < ARCHIVE_WARN)
        return broken(u->out, path, err);
    if (archive_entry_size(entry) > 0)
        r = copy_data(u, path, err);
    if (r == 0 && archive_write_finish_entry(u->out) < ARCHIVE_WARN)
        r = broken(u->out, path, err);
    return r;
}

static int unpack_entries(struct unpack *u, struct err *err)
{
    struct archive_entry *entry;
    int r, unpacked = 0;

    while ((r = archive_read_next_header(u->in, &entry)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
        unpacked = unpack_entry(u, entry, err);
        if (unpacked < 0)
            return unpacked;
    }
    if (r != ARCHIVE_EOF)
        return broken(u->in, NULL, err);
    if (u->n_entries == 0)
        return err_set(err, -EINVAL, "the image is an empty archive");
    /* sets times and modes of directories */
    return archive_write_close(u->out) < ARCHIVE_WARN ? broken(u->out, NULL, err) : 0;
}

/* Formats and filters are named: libarchive knows many more, each a parser in reach of the image.
 */
static int open_archive(struct archive *in, int fd, struct err *err)
{
    if (lseek(fd, 0, SEEK_SET) < 0)
        return err_set(err, -errno, "cannot read the image: %s", strerror(errno));
    archive_read_support_format_tar(in);
    archive_read_support_filter_gzip(in);
    archive_read_support_filter_zstd(in);
    return archive_read_open_fd(in, fd, READ_CHUNK) < ARCHIVE_OK ? broken(in, NULL, err) : 0;
}

int unpack_into_here(int fd, const struct unpack_limits *limits, struct err *err)
{
    struct unpack u = {.limits = limits, .in = archive_read_new(), .out = archive_write_disk_new()};
    int owner = geteuid() == 0 ? ARCHIVE_EXTRACT_OWNER : 0, r = -ENOMEM;

    if (u.in != NULL && u.out != NULL) {
        archive_write_disk_set_options(u.out, EXTRACT_FLAGS | owner);
        r = open_archive(u.in, fd, err);
        if (r == 0)
            r = unpack_entries(&u, err);
    } else {
        err_set(err, r, "no memory to unpack an image");
    }
    archive_read_free(u.in);
    archive_write_free(u.out);
    return r;
}

static int unpack_in_child(int fd, const char *directory, struct err *err)
{
    static const struct unpack_limits limits = {
        .max_bytes = (uint64_t)UNPACK_MAX_GIB << 30,
        .max_entries = UNPACK_MAX_ENTRIES,
    };
    struct err failure = {0};
    int ends[2], status;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    pid = fork();
    if (pid == 0) {
        int r = jail_enter(directory, &failure);

        if (r == 0)
            r = unpack_into_here(fd, &limits, &failure);
        (void)!write(ends[1], &failure, sizeof(failure));
        _exit(r < 0);
    }
    close(ends[1]);
    if (pid < 0 || read(ends[0], &failure, sizeof(failure)) != (ssize_t)sizeof(failure) ||
        memchr(failure.text, '\0', sizeof(failure.text)) == NULL)
        failure = (struct err){-ECHILD, "the unpacking process died"};
    close(ends[0]);
    if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != 0) && failure.code == 0)
        failure = (struct err){-ECHILD, "the unpacking process died"};
    return failure.code < 0 ? err_set(err, failure.code, "%s", failure.text) : 0;
}

/* One unpacks an image at a time; what a killed one left is in the way, and is removed. */
static int unpacking_path(const char *image_root, char *ret, size_t size, struct err *err)
{
    if (snprintf(ret, size, "%s.new", image_root) >= (int)size)
        return err_set(err, -ENAMETOOLONG, "the path of the image's root is too long");
    return 0;
}

static int make_durable(const char *directory, struct err *err)
{
    cleanup_close int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || syncfs(fd) < 0)
        return err_set(err, -errno, "cannot write the image to disk: %s", strerror(errno));
    return 0;
}

static int check_digest(int fd, const uint8_t digest[DIGEST_SIZE], struct err *err)
{
    uint8_t actual[DIGEST_SIZE];
    uint64_t size;
    int r = digest_of_file(fd, actual, &size, err);

    if (r < 0)
        return r;
    if (size == 0)
        return err_set(err, -EINVAL, "the image is empty");
    if (memcmp(actual, digest, DIGEST_SIZE) != 0)
        return err_set(err, -EBADMSG, "the image's bytes do not match its digest: add it again");
    return 0;
}

static int unpack_archive(int fd, const uint8_t digest[DIGEST_SIZE], const char *image_root,
                          struct err *err)
{
    char new_root[512];
    int r = unpacking_path(image_root, new_root, sizeof(new_root), err);

    if (r < 0 || access(image_root, F_OK) == 0)
        return r;
    r = check_digest(fd, digest, err);
    if (r == 0)
        r = tree_remove(new_root, err);
    if (r == 0)
        r = tree_make(new_root, 0755, err);
    if (r == 0)
        r = unpack_in_child(fd, new_root, err);
    if (r == 0)
        r = make_durable(new_root, err);
    if (r == 0 && rename(new_root, image_root) < 0)
        r = err_set(err, -errno, "cannot put the image in place: %s", strerror(errno));
    if (r < 0)
        (void)tree_remove(new_root, NULL);
    return r;
}

int unpack_image(int fd, const uint8_t digest[DIGEST_SIZE], const char *image_root, struct err *err)
{
    uint8_t head[IMAGE_HEAD_SIZE];
    ssize_t n = pread(fd, head, sizeof(head), 0);
    enum image_format format;
    struct stat st;

    if (n < 0 || fstat(fd, &st) < 0)
        return err_set(err, -errno, "cannot read the image: %s", strerror(errno));
    if (image_format_of(head, (size_t)n, (uint64_t)st.st_size, &format, err) < 0)
        return -EINVAL;
    switch (format) {
    case IMAGE_SQUASHFS:
        return unpack_squashfs(fd, digest, image_root, err);
    case IMAGE_QCOW2:
    case IMAGE_RAW:
        return unpack_disk(fd, digest, image_root, err);
    default:
        return unpack_archive(fd, digest, image_root, err);
    }
}

int unpack_remove(const char *image_root, struct err *err)
{
    char new_root[512];
    int r = unpacking_path(image_root, new_root, sizeof(new_root), err);

    if (r == 0)
        r = tree_remove(new_root, err);
    if (r == 0)
        r = unpack_whole_remove(image_root, err);
    return r < 0 ? r : tree_remove(image_root, err);
}

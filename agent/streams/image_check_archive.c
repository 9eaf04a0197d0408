#include "agent/streams/image_check_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/streams/image_format.h"

enum { BLOCK_SIZE = 64 * 1024, FIRST_LINKS = 1024 };

/* The symbolic links seen so far, as hashes of their paths: nothing may be put below one. */
struct links {
    uint64_t *slots; /* 0 = free; heap */
    size_t n, size;  /* a power of two, at most half full */
};

struct check {
    struct archive *archive;
    struct links links;
    long n, n_files;
};

/* FNV-1a, 64 bits, of the path's first `size` bytes without "./" and doubled slashes; never 0. */
static uint64_t path_hash(const char *path, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325;

    for (size_t i = 0; i < size; i++) {
        bool starts = i == 0 || path[i - 1] == '/';

        if (starts &&
            (path[i] == '/' || (path[i] == '.' && (i + 1 == size || path[i + 1] == '/')))) {
            i += path[i] == '.';
            continue;
        }
        if (path[i] == '/' && i + 1 == size)
            continue;
        hash = (hash ^ (uint8_t)path[i]) * 0x100000001b3;
    }
    return hash != 0 ? hash : 1;
}

static uint64_t *link_slot(const struct links *links, uint64_t hash)
{
    size_t at = (size_t)hash & (links->size - 1);

    while (links->slots[at] != 0 && links->slots[at] != hash)
        at = (at + 1) & (links->size - 1);
    return &links->slots[at];
}

static int link_add(struct links *links, uint64_t hash)
{
    if (2 * (links->n + 1) > links->size) {
        struct links larger = {.size = links->size > 0 ? 2 * links->size : FIRST_LINKS};

        larger.slots = calloc(larger.size, sizeof(*larger.slots));
        if (larger.slots == NULL)
            return -ENOMEM;
        larger.n = links->n;
        for (size_t i = 0; i < links->size; i++) {
            if (links->slots[i] != 0)
                *link_slot(&larger, links->slots[i]) = links->slots[i];
        }
        free(links->slots);
        *links = larger;
    }
    *link_slot(links, hash) = hash;
    links->n++;
    return 0;
}

static bool is_below_link(const struct links *links, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash != NULL && links->n > 0;
         slash = strchr(slash + 1, '/')) {
        if (slash[1] != '\0' && *link_slot(links, path_hash(path, (size_t)(slash - path))) != 0)
            return true;
    }
    return false;
}

static bool reaches_out(const char *path)
{
    if (path[0] == '/')
        return true;
    while (path != NULL) {
        if (strncmp(path, "..", 2) == 0 && (path[2] == '/' || path[2] == '\0'))
            return true;
        path = strchr(path, '/');
        path += path != NULL;
    }
    return false;
}

static bool is_in_dev(const char *path)
{
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    return strncmp(path, "dev/", 4) == 0;
}

static int check_entry(struct check *c, struct archive_entry *entry, struct err *err)
{
    const char *path = archive_entry_pathname(entry), *target = archive_entry_hardlink(entry);
    unsigned type = archive_entry_filetype(entry);

    if (path == NULL)
        return err_set(err, -EBADMSG, "the image holds a name that cannot be read");
    if (reaches_out(path) || (target != NULL && reaches_out(target)))
        return err_set(err, -EBADMSG, "the image reaches out of its root: '%.80s'",
                       reaches_out(path) ? path : target);
    if (is_below_link(&c->links, path))
        return err_set(err, -EBADMSG, "the image puts '%.80s' below a symbolic link of its own",
                       path);
    if ((type == AE_IFCHR || type == AE_IFBLK) && !is_in_dev(path))
        return err_set(err, -EBADMSG,
                       "the image holds a device node outside of dev/, which no guest may have: "
                       "'%.80s'",
                       path);
    if (type == AE_IFLNK && link_add(&c->links, path_hash(path, strlen(path))) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    c->n_files += type != AE_IFDIR;
    if (++c->n > IMAGE_MAX_ENTRIES)
        return err_set(err, -EBADMSG, "the image holds more than %d entries", IMAGE_MAX_ENTRIES);
    return 0;
}

/* Read, not skipped: libarchive skips past the end of a truncated file without a word. */
static int read_content(struct archive *archive)
{
    const void *block;
    size_t size;
    la_int64_t offset;
    int rc;

    while ((rc = archive_read_data_block(archive, &block, &size, &offset)) == ARCHIVE_OK ||
           rc == ARCHIVE_WARN)
        ;
    return rc == ARCHIVE_EOF ? ARCHIVE_OK : rc;
}

static int broken(struct archive *archive, struct err *err)
{
    const char *why = archive_error_string(archive);

    return err_set(err, -EBADMSG, "the image is broken or no tar, tar.gz or tar.zst: %s",
                   why != NULL ? why : "it cannot be read");
}

static int check_entries(struct check *c, struct err *err)
{
    struct archive_entry *entry;
    int rc, checked;

    while ((rc = archive_read_next_header(c->archive, &entry)) == ARCHIVE_OK ||
           rc == ARCHIVE_WARN) {
        checked = check_entry(c, entry, err);
        if (checked < 0)
            return checked;
        rc = read_content(c->archive);
        if (rc != ARCHIVE_OK)
            break;
    }
    if (rc != ARCHIVE_EOF)
        return broken(c->archive, err);
    if (c->n_files == 0)
        return err_set(err, -EBADMSG, "the image is empty: there is no file in it");
    return 0;
}

static int check_tar(int fd, struct err *err)
{
    struct check c = {.archive = archive_read_new()};
    int rc;

    if (c.archive == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    archive_read_support_filter_gzip(c.archive);
    archive_read_support_filter_zstd(c.archive);
    archive_read_support_format_tar(c.archive);
    rc = archive_read_open_fd(c.archive, fd, BLOCK_SIZE) != ARCHIVE_OK ? broken(c.archive, err)
                                                                       : check_entries(&c, err);
    archive_read_free(c.archive);
    free(c.links.slots);
    return rc;
}

int image_check(int fd, enum image_format *ret_format, struct err *err)
{
    uint8_t head[IMAGE_HEAD_SIZE];
    ssize_t n = pread(fd, head, sizeof(head), 0);
    enum image_format format;
    struct stat st;
    int rc;

    if (n < 0 || fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return err_set(err, -errno, "the image cannot be read: %s", strerror(errno));
    rc = image_format_of(head, (size_t)n, (uint64_t)st.st_size, &format, err);
    if (rc == 0 && format == IMAGE_TAR)
        rc = check_tar(fd, err);
    if (rc == 0)
        *ret_format = format;
    return rc;
}

#include "migrate/tree_changes_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clean.h"
#include "migrate/tree_edit_posix.h"
#include "migrate/tree_packing_archive.h"

/* No link is followed on the way, whatever the guest makes of its directories meanwhile. */
static int open_below(int directory, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};

    return (int)syscall(SYS_openat2, directory, path[0] != '\0' ? path : ".", &how, sizeof(how));
}

/* ---- edits */

static int write_edit(enum tree_edit edit, const char *path, tree_write write, void *context,
                      struct err *err)
{
    uint8_t bytes[TREE_EDIT_HEADER + TREE_PATH_SIZE];
    struct writer w;

    writer_init(&w, bytes, sizeof(bytes));
    tree_edit_encode(edit, path, &w);
    return write(context, bytes, w.size, err);
}

static int write_edits(const struct tree_index *before, tree_write write, void *context,
                       struct err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < before->n; i++) {
        const struct tree_entry *entry = &before->entries[i];

        if (entry->deed == TREE_DROP)
            r = write_edit(TREE_EDIT_DROP, entry->path, write, context, err);
        else if (entry->deed == TREE_CLEAR)
            r = write_edit(TREE_EDIT_CLEAR, entry->path, write, context, err);
    }
    return r < 0 ? r : write_edit(TREE_EDIT_END, "", write, context, err);
}

/* ---- entries */

/* One write can take long, and stamps the file when it begins: it is over when its inode can be had
 * (file systems that read under that lock need no such call). And what was written through a
 * mapping is stamped by the next write only if it was cleaned in between. */
static void settle(int fd)
{
    (void)lseek(fd, 0, SEEK_DATA);
    (void)lseek(fd, 0, SEEK_SET);
    (void)sync_file_range(
        fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

/* The next bytes at or behind `at` that are no hole: their place, `size` when there are none, and
 * where they end. A file system may know of no holes. */
static off_t next_data(int fd, off_t at, off_t size, off_t *ret_end)
{
    off_t data = lseek(fd, at, SEEK_DATA);

    if (data < 0)
        data = errno == ENXIO ? size : at;
    *ret_end = data < size ? lseek(fd, data, SEEK_HOLE) : size;
    if (*ret_end <= data || *ret_end > size)
        *ret_end = size;
    return data < size ? data : size;
}

static void describe_holes(struct archive_entry *entry, int fd, off_t size)
{
    off_t end, data = next_data(fd, 0, size, &end);

    if (size == 0 || (data == 0 && end == size))
        return;
    archive_entry_sparse_add_entry(entry, data < size ? data : 0, data < size ? end - data : 0);
    while (end < size) {
        data = next_data(fd, end, size, &end);
        if (data < size)
            archive_entry_sparse_add_entry(entry, data, end - data);
    }
}

static int pack_bytes(struct packing *p, int fd, const char *path, off_t *at, off_t end)
{
    static char buffer[TREE_CHUNK];
    int r = 0;

    while (r == 0 && *at < end) {
        size_t part = end - *at < TREE_CHUNK ? (size_t)(end - *at) : TREE_CHUNK;
        ssize_t n = pread(fd, buffer, part, *at);

        if (n < 0)
            return err_set(p->err, -errno, "cannot read %s: %s", path, strerror(errno));
        if (n == 0)
            return 0;
        r = packing_data(p, path, buffer, (size_t)n);
        *at += n;
    }
    return r;
}

/* Up to `size`, whatever became of it: what is missing comes as zeroes. */
static int pack_content(struct packing *p, int fd, const char *path, off_t size)
{
    off_t at = 0, end;
    int r = 0;

    while (r == 0 && at < size) {
        off_t data = next_data(fd, at, size, &end);

        r = packing_zeroes(p, path, data - at);
        at = data;
        if (r == 0)
            r = pack_bytes(p, fd, path, &at, end);
        if (r == 0 && at < end)
            break;
    }
    return r < 0 ? r : packing_zeroes(p, path, size - at);
}

/* libarchive finds holes as well, but has the file written to the disk for that.
 *
 * Of what has no content its descriptor is a bare place, reached by its name in /proc. */
static int describe(struct packing *p, struct archive_entry *entry, int fd,
                    const struct stat *status)
{
    bool has_own = S_ISREG(status->st_mode) || S_ISDIR(status->st_mode);
    char place[32], target[PATH_MAX];
    ssize_t n;

    snprintf(place, sizeof(place), "/proc/self/fd/%d", fd);
    if (!has_own)
        archive_entry_copy_sourcepath(entry, place);
    if (archive_read_disk_entry_from_file(p->in, entry, has_own ? fd : -1, status) < ARCHIVE_WARN)
        return tree_broken(p->in, "read", archive_entry_pathname(entry), p->err);
    if (S_ISREG(status->st_mode))
        describe_holes(entry, fd, status->st_size);
    if (!S_ISLNK(status->st_mode))
        return 0;
    n = readlinkat(fd, "", target, sizeof(target) - 1);
    if (n < 0)
        return err_set(p->err, -errno, "cannot read %s: %s", archive_entry_pathname(entry),
                       strerror(errno));
    target[n] = '\0';
    archive_entry_copy_symlink(entry, target);
    return 0;
}

static int pack_open(struct packing *p, struct archive_entry *entry, int fd,
                     const struct stat *status)
{
    bool is_link;
    int r = describe(p, entry, fd, status);

    if (r == 0)
        r = packing_header(p, entry, &is_link);
    if (r < 0 || is_link || !S_ISREG(status->st_mode))
        return r;
    return pack_content(p, fd, archive_entry_pathname(entry), status->st_size);
}

static bool is_as_seen(const struct tree_entry *seen, const struct stat *status)
{
    return seen->inode == status->st_ino && ((seen->mode ^ status->st_mode) & S_IFMT) == 0;
}

/* 1: it is not there any more, or another. */
static int pack_one(struct packing *p, int directory, const struct tree_entry *seen, bool is_live)
{
    bool has_own = seen->kind == TREE_FILE || seen->kind == TREE_DIRECTORY;
    cleanup_close int fd =
        open_below(directory, seen->path, has_own ? O_RDONLY | O_NONBLOCK : O_PATH);
    struct archive_entry *entry;
    char path[TREE_PATH_SIZE + 2];
    struct stat status;
    int r;

    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO))
        return err_set(p->err, -errno, "cannot read %s: %s", seen->path, strerror(errno));
    if (fd < 0 || fstat(fd, &status) < 0 || !is_as_seen(seen, &status))
        return 1;
    if (is_live && S_ISREG(status.st_mode))
        settle(fd);
    entry = archive_entry_new2(p->in);
    if (entry == NULL)
        return err_set(p->err, -ENOMEM, "no memory to pack the guest's files");
    snprintf(path, sizeof(path), "%s%s", seen->path[0] != '\0' ? "./" : ".", seen->path);
    archive_entry_copy_pathname(entry, path);
    r = pack_open(p, entry, fd, &status);
    archive_entry_free(entry);
    return r;
}

/* Where an entry goes: among what is made, and behind all of it, as the times of a directory that
 * is there change with what is made in it (those of new ones are set when all has been unpacked).
 */
static void place(const struct tree_index *before, const struct tree_entry *entry, bool *ret_first,
                  bool *ret_last)
{
    const struct tree_entry *was = NULL;

    if (entry->kind == TREE_DIRECTORY && before != NULL)
        was = tree_index_find(before, entry->path);
    *ret_last = entry->path[0] == '\0' || (was != NULL && was->kind == TREE_DIRECTORY);
    *ret_first = !*ret_last || (was != NULL && was->is_missing);
}

static int pack_entries(struct packing *p, int directory, const struct tree_index *before,
                        struct tree_index *now, bool is_live, bool are_last)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < now->n; i++) {
        struct tree_entry *entry = &now->entries[i];
        bool first, last;

        place(before, entry, &first, &last);
        if ((before != NULL && entry->deed != TREE_SEND) || !(are_last ? last : first))
            continue;
        r = pack_one(p, directory, entry, is_live);
        if (r == 1 && !is_live)
            return err_set(p->err, -ESTALE, "%s changed while the guest stood still", entry->path);
        if (r == 1)
            entry->is_missing = true;
        r = r == 1 ? 0 : r;
    }
    return r;
}

static int pack_all(struct packing *p, int directory, const struct tree_index *before,
                    struct tree_index *now, bool is_live)
{
    int r;

    archive_read_disk_set_symlink_logical(p->in);
    archive_read_disk_set_behavior(p->in, ARCHIVE_READDISK_NO_FFLAGS | ARCHIVE_READDISK_NO_SPARSE);
    r = pack_entries(p, directory, before, now, is_live, false);
    return r < 0 ? r : pack_entries(p, directory, before, now, is_live, true);
}

int tree_pack_changes(int directory, const struct tree_index *before, struct tree_index *now,
                      bool is_live, tree_write write, void *context, struct err *err)
{
    struct packing p;
    int r = before != NULL ? write_edits(before, write, context, err) : 0;

    if (r < 0)
        return r;
    r = packing_begin(&p, write, context, err);
    if (r == 0)
        r = pack_all(&p, directory, before, now, is_live);
    return packing_end(&p, r);
}

int tree_pack_anew(int directory, bool keeps_whiteouts, tree_write write, void *context,
                   struct err *err)
{
    int r = write_edit(TREE_EDIT_EMPTY, "", write, context, err);

    if (r == 0)
        r = write_edit(TREE_EDIT_CLEAR, "", write, context, err);
    if (r == 0)
        r = write_edit(TREE_EDIT_END, "", write, context, err);
    return r < 0 ? r : tree_pack(directory, keeps_whiteouts, write, context, err);
}

#include "migrate/tree_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/jail_seccomp.h"

enum {
    CHUNK = 64 * 1024,
    EXTRACT_FLAGS = ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
                    ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                    ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS,
};

/* Overlayfs' notes on inodes of the lower layer, which are others on another node. */
static const char *const left_behind[] = {"trusted.overlay.origin", "trusted.overlay.uuid",
                                          "trusted.overlay.impure"};

struct packing {
    struct archive *in, *out;
    struct archive_entry_linkresolver *links;
    bool keeps_whiteouts;
    tree_write write;
    void *context;
    struct err *err;
    int failure; /* of `write` */
};

static la_ssize_t on_write(struct archive *archive, void *context, const void *data, size_t size)
{
    struct packing *p = context;
    int r = p->write(p->context, data, size, p->err);

    if (r == 0)
        return (la_ssize_t)size;
    p->failure = r;
    archive_set_error(archive, -r, "the receiver is gone");
    return -1;
}

static int broken(struct archive *archive, const char *what, const char *path, struct err *err)
{
    const char *why = archive_error_string(archive);
    int error = archive_errno(archive);

    if (error == ENOSPC || error == EDQUOT || error == ENOMEM || error == EIO)
        why = strerror(error); /* it says only that it failed */
    return err_set(err, error > 0 && error < 4096 ? -error : -EBADMSG, "cannot %s %s: %s", what,
                   path, why != NULL ? why : "broken");
}

static bool is_left_behind(const char *name)
{
    for (size_t i = 0; i < sizeof(left_behind) / sizeof(left_behind[0]); i++) {
        if (strcmp(name, left_behind[i]) == 0)
            return true;
    }
    return false;
}

static void drop_notes(struct archive_entry *entry)
{
    struct archive_entry *old;
    const char *name;
    const void *value;
    size_t size;

    if (archive_entry_xattr_reset(entry) == 0)
        return;
    old = archive_entry_clone(entry);
    archive_entry_xattr_clear(entry);
    archive_entry_xattr_reset(old);
    while (archive_entry_xattr_next(old, &name, &value, &size) == ARCHIVE_OK) {
        if (!is_left_behind(name))
            archive_entry_xattr_add_entry(entry, name, value, size);
    }
    archive_entry_free(old);
}

static bool is_device_to_skip(struct archive_entry *entry, bool keeps_whiteouts)
{
    if (archive_entry_filetype(entry) == AE_IFBLK)
        return true;
    return archive_entry_filetype(entry) == AE_IFCHR &&
           !(keeps_whiteouts && archive_entry_rdev(entry) == 0);
}

/* The archive wants a file's bytes without gaps; it leaves holes out again by itself. */
static int pack_zeroes(struct packing *p, la_int64_t size)
{
    static const char zeroes[CHUNK];

    while (size > 0) {
        size_t part = size < CHUNK ? (size_t)size : CHUNK;

        if (archive_write_data(p->out, zeroes, part) < 0)
            return -1;
        size -= (la_int64_t)part;
    }
    return 0;
}

static int pack_data(struct packing *p, struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);
    la_int64_t at = 0, offset;
    const void *block;
    size_t size;
    int r;

    while ((r = archive_read_data_block(p->in, &block, &size, &offset)) == ARCHIVE_OK) {
        if (pack_zeroes(p, offset - at) < 0 || archive_write_data(p->out, block, size) < 0)
            return p->failure < 0 ? p->failure : broken(p->out, "pack", path, p->err);
        at = offset + (la_int64_t)size;
    }
    if (r != ARCHIVE_EOF)
        return broken(p->in, "read", path, p->err);
    if (pack_zeroes(p, archive_entry_size(entry) - at) < 0)
        return p->failure < 0 ? p->failure : broken(p->out, "pack", path, p->err);
    return 0;
}

static int pack_entry(struct packing *p, struct archive_entry *entry)
{
    struct archive_entry *spare = NULL;
    int r = 0;

    if (archive_entry_filetype(entry) == AE_IFSOCK || is_device_to_skip(entry, p->keeps_whiteouts))
        return 0;
    drop_notes(entry);
    archive_entry_linkify(p->links, &entry, &spare);
    if (entry == NULL)
        return 0;
    if (archive_write_header(p->out, entry) < ARCHIVE_WARN)
        return p->failure < 0 ? p->failure
                              : broken(p->out, "pack", archive_entry_pathname(entry), p->err);
    if (archive_entry_size(entry) > 0)
        r = pack_data(p, entry);
    return r;
}

static int pack_entries(struct packing *p)
{
    struct archive_entry *entry = archive_entry_new2(p->in);
    int r, packed = 0;

    while (packed == 0 && (r = archive_read_next_header2(p->in, entry)) != ARCHIVE_EOF) {
        if (r < ARCHIVE_WARN) {
            packed = broken(p->in, "read", "the guest's files", p->err);
            break;
        }
        archive_read_disk_descend(p->in);
        packed = pack_entry(p, entry);
        archive_entry_clear(entry);
    }
    archive_entry_free(entry);
    return packed;
}

static int pack_with(struct packing *p)
{
    int r;

    archive_write_set_format_pax(p->out);
    archive_write_add_filter_none(p->out);
    archive_write_set_bytes_per_block(p->out, CHUNK);
    archive_write_set_bytes_in_last_block(p->out, 1);
    archive_read_disk_set_symlink_physical(p->in);
    archive_read_disk_set_behavior(p->in, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS |
                                              ARCHIVE_READDISK_NO_FFLAGS);
    archive_entry_linkresolver_set_strategy(p->links, archive_format(p->out));
    if (archive_write_open(p->out, p, NULL, on_write, NULL) < ARCHIVE_OK)
        return broken(p->out, "pack", "the guest's files", p->err);
    if (archive_read_disk_open(p->in, ".") < ARCHIVE_OK)
        return broken(p->in, "read", "the guest's files", p->err);
    r = pack_entries(p);
    if (r == 0 && archive_write_close(p->out) < ARCHIVE_WARN)
        r = p->failure < 0 ? p->failure : broken(p->out, "pack", "the guest's files", p->err);
    return r;
}

int tree_pack(int directory, bool keeps_whiteouts, tree_write write, void *context, struct err *err)
{
    struct packing p = {.in = archive_read_disk_new(),
                        .out = archive_write_new(),
                        .links = archive_entry_linkresolver_new(),
                        .keeps_whiteouts = keeps_whiteouts,
                        .write = write,
                        .context = context,
                        .err = err};
    cleanup_close int back = open(".", O_PATH | O_CLOEXEC);
    int r = -ENOMEM;

    if (p.in == NULL || p.out == NULL || p.links == NULL)
        err_set(err, r, "no memory to pack the guest's files");
    else if (back < 0 || fchdir(directory) < 0)
        r = err_set(err, -errno, "cannot enter the guest's files: %s", strerror(errno));
    else
        r = pack_with(&p);
    if (back >= 0 && fchdir(back) < 0 && r == 0)
        r = err_set(err, -errno, "cannot return from the guest's files: %s", strerror(errno));
    archive_entry_linkresolver_free(p.links);
    archive_read_free(p.in);
    archive_write_fail(p.out);
    archive_write_free(p.out);
    return r;
}

static int unpack_entry(struct archive *in, struct archive *out, struct archive_entry *entry,
                        bool keeps_whiteouts, struct err *err)
{
    const char *path = archive_entry_pathname(entry);
    const void *block;
    size_t size;
    la_int64_t offset;
    int r;

    if (path == NULL || is_device_to_skip(entry, keeps_whiteouts))
        return err_set(err, -EBADMSG, "the moved guest's files hold what no guest may have: %s",
                       path != NULL ? path : "a broken name");
    if (archive_write_header(out, entry) < ARCHIVE_WARN)
        return broken(out, "write", path, err);
    while (archive_entry_size(entry) > 0 &&
           (r = archive_read_data_block(in, &block, &size, &offset)) != ARCHIVE_EOF) {
        if (r < ARCHIVE_OK)
            return broken(in, "unpack", path, err);
        if (archive_write_data_block(out, block, size, offset) < ARCHIVE_OK)
            return broken(out, "write", path, err);
    }
    return archive_write_finish_entry(out) < ARCHIVE_WARN ? broken(out, "write", path, err) : 0;
}

static int unpack_entries(struct archive *in, struct archive *out, bool keeps_whiteouts,
                          struct err *err)
{
    struct archive_entry *entry;
    int r, unpacked = 0;

    while (unpacked == 0 && (r = archive_read_next_header(in, &entry)) != ARCHIVE_EOF) {
        if (r < ARCHIVE_WARN)
            return broken(in, "unpack", "the guest's files", err);
        unpacked = unpack_entry(in, out, entry, keeps_whiteouts, err);
    }
    if (unpacked == 0 && archive_write_close(out) < ARCHIVE_WARN)
        unpacked = broken(out, "write", "the guest's files", err);
    return unpacked;
}

int tree_unpack_into_here(int fd, bool keeps_whiteouts, struct err *err)
{
    struct archive *in = archive_read_new(), *out = archive_write_disk_new();
    int r = -ENOMEM;

    if (in == NULL || out == NULL) {
        err_set(err, r, "no memory to unpack the guest's files");
    } else {
        archive_read_support_format_tar(in);
        archive_write_disk_set_options(out, EXTRACT_FLAGS);
        if (archive_read_open_fd(in, fd, CHUNK) < ARCHIVE_OK)
            r = broken(in, "unpack", "the guest's files", err);
        else
            r = unpack_entries(in, out, keeps_whiteouts, err);
    }
    archive_read_free(in);
    archive_write_free(out);
    return r;
}

static void unpack_in_jail(int feed, int verdict, const char *directory, bool keeps_whiteouts)
{
    struct err failure = {0};
    int r = jail_enter(directory, &failure);
    char rest[CHUNK];

    if (r == 0)
        r = tree_unpack_into_here(feed, keeps_whiteouts, &failure);
    while (r == 0 && read(feed, rest, sizeof(rest)) > 0) /* padding behind the archive's end */
        ;
    (void)!write(verdict, &failure, sizeof(failure));
    _exit(r < 0);
}

int tree_unpacking_start(struct tree_unpacking *u, const char *directory, bool keeps_whiteouts,
                         struct err *err)
{
    int feed[2], verdict[2];
    pid_t pid;

    if (pipe2(feed, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    if (pipe2(verdict, O_CLOEXEC) < 0) {
        close(feed[0]);
        close(feed[1]);
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    }
    pid = fork();
    if (pid == 0) {
        close(feed[1]);
        close(verdict[0]);
        unpack_in_jail(feed[0], verdict[1], directory, keeps_whiteouts);
    }
    close(feed[0]);
    close(verdict[1]);
    *u = (struct tree_unpacking){.pid = pid, .feed = feed[1], .verdict = verdict[0]};
    if (pid < 0) {
        u->pid = 0;
        close(feed[1]);
        close(verdict[0]);
        return err_set(err, -errno, "cannot fork: %s", strerror(errno));
    }
    return 0;
}

/* The caller ignores SIGPIPE: when the child has failed, its words come by finish. */
int tree_unpacking_feed(struct tree_unpacking *u, const void *data, size_t size, struct err *err)
{
    const uint8_t *at = data;

    while (size > 0) {
        ssize_t n = write(u->feed, at, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int r = tree_unpacking_finish(u, err);

            return r < 0 ? r : err_set(err, -EIO, "the guest's files ended early");
        }
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

int tree_unpacking_finish(struct tree_unpacking *u, struct err *err)
{
    struct err failure;
    int status;

    if (u->pid == 0)
        return 0;
    close(u->feed);
    if (read(u->verdict, &failure, sizeof(failure)) != (ssize_t)sizeof(failure) ||
        memchr(failure.text, '\0', sizeof(failure.text)) == NULL)
        failure = (struct err){-ECHILD, "the process that unpacks the guest's files died"};
    close(u->verdict);
    waitpid(u->pid, &status, 0);
    u->pid = 0;
    return failure.code < 0 ? err_set(err, failure.code, "%s", failure.text) : 0;
}

void tree_unpacking_cancel(struct tree_unpacking *u)
{
    if (u->pid == 0)
        return;
    kill(u->pid, SIGKILL);
    close(u->feed);
    close(u->verdict);
    waitpid(u->pid, NULL, 0);
    u->pid = 0;
}

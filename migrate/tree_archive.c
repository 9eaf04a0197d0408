#include "migrate/tree_archive.h"

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
#include "migrate/tree_edit_posix.h"
#include "migrate/tree_packing_archive.h"

enum {
    EXTRACT_FLAGS = ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
                    ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                    ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS,
};

static bool is_device_to_skip(struct archive_entry *entry, bool keeps_whiteouts)
{
    if (archive_entry_filetype(entry) == AE_IFBLK)
        return true;
    return archive_entry_filetype(entry) == AE_IFCHR &&
           !(keeps_whiteouts && archive_entry_rdev(entry) == 0);
}

static int pack_data(struct packing *p, struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);
    la_int64_t at = 0, offset;
    const void *block;
    size_t size;
    int r, packed = 0;

    while (packed == 0 &&
           (r = archive_read_data_block(p->in, &block, &size, &offset)) != ARCHIVE_EOF) {
        if (r != ARCHIVE_OK)
            return tree_broken(p->in, "read", path, p->err);
        packed = packing_zeroes(p, path, offset - at);
        if (packed == 0)
            packed = packing_data(p, path, block, size);
        at = offset + (la_int64_t)size;
    }
    return packed < 0 ? packed : packing_zeroes(p, path, archive_entry_size(entry) - at);
}

static int pack_entry(struct packing *p, struct archive_entry *entry, bool keeps_whiteouts)
{
    bool is_link;
    int r;

    if (archive_entry_filetype(entry) == AE_IFSOCK || is_device_to_skip(entry, keeps_whiteouts))
        return 0;
    r = packing_header(p, entry, &is_link);
    return r < 0 || is_link || archive_entry_size(entry) <= 0 ? r : pack_data(p, entry);
}

/* The root is there where it is unpacked: it comes behind all that is made in it, for its times. */
static int pack_entries(struct packing *p, bool keeps_whiteouts)
{
    struct archive_entry *entry = archive_entry_new2(p->in), *root = NULL;
    int r, packed = 0;

    while (packed == 0 && (r = archive_read_next_header2(p->in, entry)) != ARCHIVE_EOF) {
        if (r < ARCHIVE_WARN) {
            packed = tree_broken(p->in, "read", "the guest's files", p->err);
            break;
        }
        archive_read_disk_descend(p->in);
        if (root == NULL)
            root = archive_entry_clone(entry);
        else
            packed = pack_entry(p, entry, keeps_whiteouts);
        archive_entry_clear(entry);
    }
    if (packed == 0 && root != NULL)
        packed = pack_entry(p, root, keeps_whiteouts);
    archive_entry_free(root);
    archive_entry_free(entry);
    return packed;
}

static int pack_here(struct packing *p, bool keeps_whiteouts)
{
    archive_read_disk_set_symlink_physical(p->in);
    archive_read_disk_set_behavior(p->in, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS |
                                              ARCHIVE_READDISK_NO_FFLAGS);
    if (archive_read_disk_open(p->in, ".") < ARCHIVE_OK)
        return tree_broken(p->in, "read", "the guest's files", p->err);
    return pack_entries(p, keeps_whiteouts);
}

int tree_pack(int directory, bool keeps_whiteouts, tree_write write, void *context, struct err *err)
{
    cleanup_close int back = open(".", O_PATH | O_CLOEXEC);
    struct packing p;
    int r = packing_begin(&p, write, context, err);

    if (r == 0 && (back < 0 || fchdir(directory) < 0))
        r = err_set(err, -errno, "cannot enter the guest's files: %s", strerror(errno));
    if (r == 0)
        r = pack_here(&p, keeps_whiteouts);
    if (back >= 0 && fchdir(back) < 0 && r == 0)
        r = err_set(err, -errno, "cannot return from the guest's files: %s", strerror(errno));
    return packing_end(&p, r);
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
        return tree_broken(out, "write", path, err);
    while (archive_entry_size(entry) > 0 &&
           (r = archive_read_data_block(in, &block, &size, &offset)) != ARCHIVE_EOF) {
        if (r < ARCHIVE_OK)
            return tree_broken(in, "unpack", path, err);
        if (archive_write_data_block(out, block, size, offset) < ARCHIVE_OK)
            return tree_broken(out, "write", path, err);
    }
    return archive_write_finish_entry(out) < ARCHIVE_WARN ? tree_broken(out, "write", path, err)
                                                          : 0;
}

static int unpack_entries(struct archive *in, struct archive *out, bool keeps_whiteouts,
                          struct err *err)
{
    struct archive_entry *entry;
    int r, unpacked = 0;

    while (unpacked == 0 && (r = archive_read_next_header(in, &entry)) != ARCHIVE_EOF) {
        if (r < ARCHIVE_WARN)
            return tree_broken(in, "unpack", "the guest's files", err);
        unpacked = unpack_entry(in, out, entry, keeps_whiteouts, err);
    }
    if (unpacked == 0 && archive_write_close(out) < ARCHIVE_WARN)
        unpacked = tree_broken(out, "write", "the guest's files", err);
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
        if (archive_read_open_fd(in, fd, TREE_CHUNK) < ARCHIVE_OK)
            r = tree_broken(in, "unpack", "the guest's files", err);
        else
            r = unpack_entries(in, out, keeps_whiteouts, err);
    }
    archive_read_free(in);
    archive_write_free(out);
    return r;
}

static void unpack_in_jail(int feed, int verdict, const struct tree_order *order)
{
    struct err failure = {0};
    int r = jail_enter(order->directory, &failure);
    char rest[TREE_CHUNK];

    if (r == 0 && order->is_edited)
        r = tree_edit_here(feed, &failure);
    if (r == 0)
        r = tree_unpack_into_here(feed, order->keeps_whiteouts, &failure);
    while (r == 0 && read(feed, rest, sizeof(rest)) > 0) /* padding behind the archive's end */
        ;
    (void)!write(verdict, &failure, sizeof(failure));
    _exit(r < 0);
}

int tree_unpacking_start(struct tree_unpacking *u, const struct tree_order *order, struct err *err)
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
        unpack_in_jail(feed[0], verdict[1], order);
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

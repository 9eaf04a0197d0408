#include "migrate/tree_packing_archive.h"

#include <errno.h>
#include <string.h>

/* Overlayfs' notes on inodes of the lower layer, which are others on another node. */
static const char *const left_behind[] = {"trusted.overlay.origin", "trusted.overlay.uuid",
                                          "trusted.overlay.impure"};

int tree_broken(struct archive *archive, const char *what, const char *path, struct err *err)
{
    const char *why = archive_error_string(archive);
    int error = archive_errno(archive);

    if (error == ENOSPC || error == EDQUOT || error == ENOMEM || error == EIO)
        why = strerror(error); /* it says only that it failed */
    return err_set(err, error > 0 && error < 4096 ? -error : -EBADMSG, "cannot %s %s: %s", what,
                   path, why != NULL ? why : "broken");
}

static la_ssize_t on_write(struct archive *archive, void *context, const void *data, size_t size)
{
    struct packing *p = context;
    int r = p->failure < 0 ? p->failure : p->write(p->context, data, size, p->err);

    if (r == 0)
        return (la_ssize_t)size;
    p->failure = r;
    archive_set_error(archive, -r, "the receiver is gone");
    return -1;
}

static int cannot_pack(struct packing *p, const char *path)
{
    return p->failure < 0 ? p->failure : tree_broken(p->out, "pack", path, p->err);
}

int packing_begin(struct packing *p, tree_write write, void *context, struct err *err)
{
    *p = (struct packing){.in = archive_read_disk_new(),
                          .out = archive_write_new(),
                          .links = archive_entry_linkresolver_new(),
                          .write = write,
                          .context = context,
                          .err = err};
    if (p->in == NULL || p->out == NULL || p->links == NULL)
        return err_set(err, -ENOMEM, "no memory to pack the guest's files");
    archive_write_set_format_pax(p->out);
    archive_write_add_filter_none(p->out);
    archive_write_set_bytes_per_block(p->out, TREE_CHUNK);
    archive_write_set_bytes_in_last_block(p->out, 1);
    archive_entry_linkresolver_set_strategy(p->links, archive_format(p->out));
    return archive_write_open(p->out, p, NULL, on_write, NULL) < ARCHIVE_OK
               ? cannot_pack(p, "the guest's files")
               : 0;
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

int packing_header(struct packing *p, struct archive_entry *entry, bool *ret_is_link)
{
    struct archive_entry *spare = NULL;

    drop_notes(entry);
    archive_entry_linkify(p->links, &entry, &spare);
    if (archive_write_header(p->out, entry) < ARCHIVE_WARN)
        return cannot_pack(p, archive_entry_pathname(entry));
    *ret_is_link = archive_entry_hardlink(entry) != NULL;
    return 0;
}

int packing_data(struct packing *p, const char *path, const void *data, size_t size)
{
    return archive_write_data(p->out, data, size) < 0 ? cannot_pack(p, path) : 0;
}

int packing_zeroes(struct packing *p, const char *path, int64_t size)
{
    static const char zeroes[TREE_CHUNK];
    int r = 0;

    while (r == 0 && size > 0) {
        size_t part = size < TREE_CHUNK ? (size_t)size : TREE_CHUNK;

        r = packing_data(p, path, zeroes, part);
        size -= (int64_t)part;
    }
    return r;
}

int packing_end(struct packing *p, int r)
{
    if (r == 0 && archive_write_close(p->out) < ARCHIVE_WARN)
        r = cannot_pack(p, "the guest's files");
    archive_entry_linkresolver_free(p->links);
    archive_read_free(p->in);
    if (r < 0)
        p->failure = r; /* nothing more is written, when it is closed */
    archive_write_free(p->out);
    return r;
}

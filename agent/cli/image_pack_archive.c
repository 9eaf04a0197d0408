#include "agent/cli/image_pack_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cli/oci_merge.h"
#include "base/clean.h"

enum { BLOCK_SIZE = 256 * 1024 };

struct pack {
    struct archive *out;
    pack_sink *sink;
    void *context;
    int failure; /* of the sink, 0 = none */
};

static la_ssize_t on_bytes(struct archive *archive, void *context, const void *data, size_t size)
{
    struct pack *pack = context;

    pack->failure = pack->sink(pack->context, data, size);
    if (pack->failure < 0) {
        archive_set_error(archive, -pack->failure, "it cannot be sent");
        return -1;
    }
    return (la_ssize_t)size;
}

/* The sink's failure passes on as it is: its words were said where it happened. */
static int pack_failed(const struct pack *pack, struct archive *archive, const char *path,
                       struct err *err)
{
    const char *why = archive_error_string(archive);

    if (pack->failure < 0)
        return pack->failure;
    return err_set(err, -EIO, "cannot pack %s: %s", path, why != NULL ? why : "unknown error");
}

static int pack_open(struct pack *pack, pack_sink *sink, void *context, struct err *err)
{
    *pack = (struct pack){.out = archive_write_new(), .sink = sink, .context = context};
    if (pack->out == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    archive_write_set_format_pax_restricted(pack->out);
    archive_write_set_bytes_per_block(pack->out, BLOCK_SIZE);
    archive_write_set_bytes_in_last_block(pack->out, 1);
    if (archive_write_add_filter_zstd(pack->out) < ARCHIVE_WARN ||
        archive_write_open2(pack->out, pack, NULL, on_bytes, NULL, NULL) != ARCHIVE_OK)
        return pack_failed(pack, pack->out, "the image", err);
    return 0;
}

static int pack_close(struct pack *pack, int rc, struct err *err)
{
    if (rc == 0 && archive_write_close(pack->out) != ARCHIVE_OK)
        rc = pack_failed(pack, pack->out, "the image", err);
    if (rc < 0)
        archive_write_fail(pack->out);
    archive_write_free(pack->out);
    return rc;
}

static int write_header(struct pack *pack, struct archive_entry *entry, struct err *err)
{
    if (archive_write_header(pack->out, entry) < ARCHIVE_WARN)
        return pack_failed(pack, pack->out, archive_entry_pathname(entry), err);
    return 0;
}

/* ---- a directory */

static int copy_file(struct pack *pack, const char *path, int64_t size, struct err *err)
{
    static char buffer[BLOCK_SIZE];
    cleanup_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = 0;

    if (fd < 0)
        return err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    while (size > 0 && (n = read(fd, buffer, sizeof(buffer))) > 0) {
        size_t part = n < size ? (size_t)n : (size_t)size;

        if (archive_write_data(pack->out, buffer, part) < 0)
            return pack_failed(pack, pack->out, path, err);
        size -= (int64_t)part;
    }
    if (n < 0 || size > 0)
        return err_set(err, -EIO, "cannot read %s: %s", path,
                       n < 0 ? strerror(errno) : "it became shorter meanwhile");
    return 0;
}

static int pack_entry(struct pack *pack, struct archive_entry *entry, struct err *err)
{
    bool has_content = archive_entry_filetype(entry) == AE_IFREG &&
                       archive_entry_hardlink(entry) == NULL && archive_entry_size(entry) > 0;
    int rc = write_header(pack, entry, err);

    return rc == 0 && has_content
               ? copy_file(pack, archive_entry_pathname(entry), archive_entry_size(entry), err)
               : rc;
}

static int pack_tree(struct pack *pack, struct archive *disk,
                     struct archive_entry_linkresolver *links, struct err *err)
{
    struct archive_entry *entry = archive_entry_new(), *later = NULL;
    int rc = entry != NULL ? 0 : err_set(err, -ENOMEM, "out of memory"), read = ARCHIVE_OK;

    while (rc == 0 && (read = archive_read_next_header2(disk, entry)) >= ARCHIVE_WARN &&
           read != ARCHIVE_EOF) {
        archive_read_disk_descend(disk);
        if (archive_entry_filetype(entry) != AE_IFSOCK) {
            archive_entry_linkify(links, &entry, &later);
            rc = pack_entry(pack, entry, err);
        }
        archive_entry_clear(entry);
    }
    if (rc == 0 && read != ARCHIVE_EOF)
        rc = pack_failed(pack, disk, "the directory", err);
    archive_entry_free(entry);
    return rc;
}

int pack_directory(const char *directory, pack_sink *sink, void *context, struct err *err)
{
    struct archive *disk = NULL;
    struct archive_entry_linkresolver *links = NULL;
    struct pack pack;
    int rc;

    if (chdir(directory) < 0)
        return err_set(err, -errno, "cannot enter %s: %s", directory, strerror(errno));
    rc = pack_open(&pack, sink, context, err);
    disk = archive_read_disk_new();
    links = archive_entry_linkresolver_new();
    if (rc == 0 && (disk == NULL || links == NULL))
        rc = err_set(err, -ENOMEM, "out of memory");
    if (rc == 0) {
        archive_entry_linkresolver_set_strategy(links, ARCHIVE_FORMAT_TAR);
        archive_read_disk_set_symlink_physical(disk);
        archive_read_disk_set_behavior(disk, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
        if (archive_read_disk_open(disk, ".") != ARCHIVE_OK)
            rc = pack_failed(&pack, disk, directory, err);
    }
    if (rc == 0)
        rc = pack_tree(&pack, disk, links, err);
    archive_entry_linkresolver_free(links);
    archive_read_free(disk);
    return pack_close(&pack, rc, err);
}

/* ---- layers */

static int bad_layer(struct archive *in, uint32_t layer, struct err *err)
{
    const char *why = archive_error_string(in);

    return err_set(err, -EBADMSG, "layer %u of the image is broken or no tar: %s", layer + 1,
                   why != NULL ? why : "it cannot be read");
}

struct layers {
    const int *fds;
    uint32_t n;
    struct oci_merge *merge;
    struct pack *pack;
    struct pack_capture *captures;
    size_t n_captures;
};

typedef int layer_visit(struct layers *l, uint32_t layer, uint32_t number, struct archive *in,
                        struct archive_entry *entry, struct err *err);

static int visit_layer(struct layers *l, uint32_t layer, layer_visit *visit, struct err *err)
{
    struct archive *in = archive_read_new();
    struct archive_entry *entry;
    uint32_t number = 0;
    int rc = 0, read = ARCHIVE_OK;

    if (in == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    archive_read_support_filter_gzip(in);
    archive_read_support_filter_zstd(in);
    archive_read_support_format_tar(in);
    archive_read_support_format_empty(in);
    if (lseek(l->fds[layer], 0, SEEK_SET) < 0 ||
        archive_read_open_fd(in, l->fds[layer], BLOCK_SIZE) != ARCHIVE_OK)
        rc = bad_layer(in, layer, err);
    while (rc == 0 && (read = archive_read_next_header(in, &entry)) >= ARCHIVE_WARN &&
           read != ARCHIVE_EOF)
        rc = visit(l, layer, number++, in, entry, err);
    if (rc == 0 && read != ARCHIVE_EOF)
        rc = bad_layer(in, layer, err);
    archive_read_free(in);
    return rc;
}

static int visit_layers(struct layers *l, layer_visit *visit, struct err *err)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < l->n; i++)
        rc = visit_layer(l, i, visit, err);
    return rc;
}

static int learn_entry(struct layers *l, uint32_t layer, uint32_t number, struct archive *in,
                       struct archive_entry *entry, struct err *err)
{
    const char *path = archive_entry_pathname(entry), *target = archive_entry_hardlink(entry);
    enum oci_entry_kind kind = target != NULL                              ? OCI_LINK
                               : archive_entry_filetype(entry) == AE_IFDIR ? OCI_DIRECTORY
                                                                           : OCI_FILE;

    if (path == NULL)
        return bad_layer(in, layer, err);
    return oci_merge_add(l->merge, layer, number, kind, path, target, err);
}

static struct pack_capture *capture_of(struct layers *l, const char *path, int64_t size)
{
    for (size_t i = 0; i < l->n_captures; i++) {
        if (strcmp(l->captures[i].path, path) == 0 && size <= PACK_CAPTURE_MAX)
            return &l->captures[i];
    }
    return NULL;
}

static int copy_content(struct layers *l, uint32_t layer, struct archive *in, const char *path,
                        int64_t size, struct err *err)
{
    static char buffer[BLOCK_SIZE];
    struct pack_capture *capture = capture_of(l, path, size);
    size_t at = 0;
    la_ssize_t n;

    if (capture != NULL) {
        free(capture->content);
        capture->content = calloc(1, (size_t)size + 1);
    }
    while ((n = archive_read_data(in, buffer, sizeof(buffer))) > 0) {
        if (archive_write_data(l->pack->out, buffer, (size_t)n) < 0)
            return pack_failed(l->pack, l->pack->out, path, err);
        if (capture != NULL && capture->content != NULL && at + (size_t)n <= (size_t)size)
            memcpy(capture->content + at, buffer, (size_t)n);
        at += (size_t)n;
    }
    return n < 0 ? bad_layer(in, layer, err) : 0;
}

/* The content goes under its first path, links to it under the others. */
static int write_entry(struct layers *l, uint32_t layer, uint32_t number, struct archive *in,
                       struct archive_entry *entry, struct err *err)
{
    size_t n = oci_merge_n_paths(l->merge, layer, number);
    const char *first = n > 0 ? oci_merge_path(l->merge, layer, number, 0) : NULL;
    bool has_content = archive_entry_filetype(entry) == AE_IFREG && archive_entry_size(entry) > 0;
    int rc = 0;

    if (n == 0)
        return 0;
    archive_entry_set_pathname(entry, first);
    rc = write_header(l->pack, entry, err);
    if (rc == 0 && has_content)
        rc = copy_content(l, layer, in, first, archive_entry_size(entry), err);
    for (size_t i = 1; rc == 0 && i < n; i++) {
        archive_entry_set_pathname(entry, oci_merge_path(l->merge, layer, number, i));
        archive_entry_set_hardlink(entry, first);
        archive_entry_unset_size(entry);
        rc = write_header(l->pack, entry, err);
    }
    return rc;
}

int pack_layers(const int *layers, uint32_t n_layers, struct pack_capture *captures,
                size_t n_captures, pack_sink *sink, void *context, struct err *err)
{
    struct pack pack;
    struct layers l = {.fds = layers,
                       .n = n_layers,
                       .merge = oci_merge_new(),
                       .pack = &pack,
                       .captures = captures,
                       .n_captures = n_captures};
    int rc = l.merge != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");

    if (rc == 0)
        rc = visit_layers(&l, learn_entry, err);
    if (rc == 0) {
        oci_merge_finish(l.merge);
        rc = pack_open(&pack, sink, context, err);
        if (rc == 0)
            rc = visit_layers(&l, write_entry, err);
        rc = pack_close(&pack, rc, err);
    }
    oci_merge_free(l.merge);
    return rc;
}

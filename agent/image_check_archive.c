#include "agent/image_check_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>

enum { BLOCK_SIZE = 64 * 1024 };

static int check_entries(struct archive *archive, struct err *err)
{
    struct archive_entry *entry;
    long n = 0, n_files = 0;
    int rc;

    while ((rc = archive_read_next_header(archive, &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
        n_files += archive_entry_filetype(entry) != AE_IFDIR;
        if (++n > IMAGE_MAX_ENTRIES)
            return err_set(err, -EBADMSG, "the image holds more than %d entries",
                           IMAGE_MAX_ENTRIES);
        rc = archive_read_data_skip(archive);
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
            break;
    }
    if (rc != ARCHIVE_EOF)
        return err_set(err, -EBADMSG, "the image is broken or no tar, tar.gz or tar.zst: %s",
                       archive_error_string(archive) != NULL ? archive_error_string(archive)
                                                             : "it cannot be read");
    if (n_files == 0)
        return err_set(err, -EBADMSG, "the image is empty: there is no file in it");
    return 0;
}

int image_check(int fd, struct err *err)
{
    struct archive *archive = archive_read_new();
    int rc;

    if (archive == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    archive_read_support_filter_gzip(archive);
    archive_read_support_filter_zstd(archive);
    archive_read_support_format_tar(archive);
    if (archive_read_open_fd(archive, fd, BLOCK_SIZE) != ARCHIVE_OK)
        rc = err_set(err, -EBADMSG, "the image is broken or no tar, tar.gz or tar.zst: %s",
                     archive_error_string(archive));
    else
        rc = check_entries(archive, err);
    archive_read_free(archive);
    return rc;
}

#include "agent/guest/vm_seed_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/guest/vm_text.h"

static int add_file(struct archive *iso, const char *name, const char *text, struct err *err)
{
    struct archive_entry *entry = archive_entry_new();
    size_t size = strlen(text);
    int rc = -EIO;

    if (entry == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0444);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_mtime(entry, 0, 0); /* the same guest, the same bytes */
    if (archive_write_header(iso, entry) == ARCHIVE_OK &&
        archive_write_data(iso, text, size) == (la_ssize_t)size)
        rc = 0;
    archive_entry_free(entry);
    return rc < 0 ? err_set(err, rc, "cannot write %s: %s", name, archive_error_string(iso)) : 0;
}

static int add_files(struct archive *iso, const struct guest_run *run, struct err *err)
{
    const char *user_data = run->spec.user_data != NULL ? run->spec.user_data : "#cloud-config\n";
    char text[VM_SEED_TEXT_SIZE];
    int rc;

    vm_meta_data(run, text);
    rc = add_file(iso, "meta-data", text, err);
    vm_network_config(run, text);
    if (rc == 0)
        rc = add_file(iso, "network-config", text, err);
    return rc < 0 ? rc : add_file(iso, "user-data", user_data, err);
}

int vm_seed_write(const struct guest_run *run, const char *path, struct err *err)
{
    struct archive *iso = archive_write_new();
    int rc;

    if (iso == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    archive_write_set_format_iso9660(iso);
    archive_write_add_filter_none(iso);
    archive_write_set_options(iso, "volume-id=CIDATA,rockridge=useful,joliet=1");
    if (archive_write_open_filename(iso, path) != ARCHIVE_OK)
        rc = err_set(err, -EIO, "cannot make %s: %s", path, archive_error_string(iso));
    else
        rc = add_files(iso, run, err);
    if (archive_write_close(iso) != ARCHIVE_OK && rc == 0)
        rc = err_set(err, -EIO, "cannot write %s: %s", path, archive_error_string(iso));
    archive_write_free(iso);
    return rc < 0 ? err_prefix(err, "the disk for cloud-init") : 0;
}

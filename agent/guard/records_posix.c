#include "agent/guard/records_posix.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/guard/files_posix.h"
#include "base/clean.h"
#include "base/units.h"

enum { RECORD_PATH_SIZE = 400 };

static void path_of(const char *run_dir, const char *guest, char ret[RECORD_PATH_SIZE])
{
    snprintf(ret, RECORD_PATH_SIZE, "%s/guard/%s", run_dir, guest);
}

int record_write(const char *run_dir, const struct guest_record *record, struct err *err)
{
    char path[RECORD_PATH_SIZE];
    struct writer w;
    int rc;

    path_of(run_dir, record->run.spec.name, path);
    writer_init_growing(&w, GUARD_PACKET_MAX);
    guest_record_encode(record, &w);
    rc = w.failed ? err_set(err, -ENOMEM, "no memory for the record of '%s'", record->run.spec.name)
                  : file_write(path, w.data, w.size, err);
    writer_deinit(&w);
    return rc;
}

void record_forget(const char *run_dir, const char *guest)
{
    char path[RECORD_PATH_SIZE];

    path_of(run_dir, guest, path);
    unlink(path);
}

static int read_one(const char *run_dir, const char *guest, struct guest_record *ret,
                    struct err *err)
{
    char path[RECORD_PATH_SIZE];
    cleanup_free uint8_t *data = malloc(GUARD_PACKET_MAX);
    ssize_t size;

    if (data == NULL)
        return err_set(err, -ENOMEM, "no memory");
    path_of(run_dir, guest, path);
    size = file_read(path, data, GUARD_PACKET_MAX, err);
    if (size < 0)
        return (int)size;
    if (guest_record_decode(data, (size_t)size, ret) < 0)
        return err_set(err, -EBADMSG, "%s is no record", path);
    if (strcmp(ret->run.spec.name, guest) == 0)
        return 0;
    guest_record_deinit(ret);
    return err_set(err, -EBADMSG, "%s is the record of another guest", path);
}

static DIR *open_directory(const char *run_dir)
{
    char path[RECORD_PATH_SIZE];

    path_of(run_dir, "", path);
    return opendir(path);
}

int records_read(const char *run_dir, void (*each)(void *context, struct guest_record *record),
                 void (*broken)(void *context, const char *guest, const struct err *err),
                 void *context, struct err *err)
{
    DIR *d = open_directory(run_dir);
    struct dirent *entry;

    if (d == NULL)
        return err_set(err, -errno, "cannot read %s/guard: %s", run_dir, strerror(errno));
    while ((entry = readdir(d)) != NULL) {
        struct guest_record record;
        struct err why = {0};

        if (!name_is_valid(entry->d_name)) /* also NAME.new: a write that was cut short */
            continue;
        if (read_one(run_dir, entry->d_name, &record, &why) < 0)
            broken(context, entry->d_name, &why);
        else
            each(context, &record);
    }
    closedir(d);
    return 0;
}

void records_clear(const char *run_dir)
{
    DIR *d = open_directory(run_dir);
    struct dirent *entry;

    while (d != NULL && (entry = readdir(d)) != NULL)
        unlinkat(dirfd(d), entry->d_name, 0);
    if (d != NULL)
        closedir(d);
}

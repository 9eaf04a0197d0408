#include "consensus/replica_record_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clean.h"
#include "consensus/file_posix.h"

#define RECORD_NAME "raft.record"
#define LOCK_NAME   "raft.lock"

enum { RECORD_VERSION = 1, RECORD_MAX = 128, MAX_ASIDE = 1000 };
static const char magic[8] = "skeinrec";

/* FNV-1a: against damage, not against malice. */
static uint64_t check_of(const uint8_t *bytes, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

int replica_record_write(const char *directory, const struct replica_record *record,
                         struct err *err)
{
    uint8_t bytes[RECORD_MAX];
    struct writer w;

    writer_init(&w, bytes, sizeof(bytes));
    write_bytes(&w, magic, sizeof(magic));
    write_u16(&w, RECORD_VERSION);
    write_u64(&w, record->id);
    write_bytes(&w, record->cluster, NONCE_SIZE);
    write_u64(&w, record->mark_index);
    write_u64(&w, record->mark_term);
    write_u64(&w, check_of(bytes, w.size));
    return file_replace(directory, RECORD_NAME, bytes, w.size, 0600, err);
}

int replica_inspect(const char *directory, struct replica_record *ret, struct err *err)
{
    uint8_t bytes[RECORD_MAX], found[sizeof(magic)];
    struct replica_record record;
    struct reader r;
    uint64_t check;
    ssize_t size = file_read(directory, RECORD_NAME, bytes, sizeof(bytes), err);

    if (size < 0)
        return (int)size;
    check = size > 8 ? check_of(bytes, (size_t)size - 8) : 0;
    reader_init(&r, bytes, (size_t)size);
    read_bytes(&r, found, sizeof(found));
    if (read_u16(&r) != RECORD_VERSION)
        reader_fail(&r);
    record.id = read_u64(&r);
    read_bytes(&r, record.cluster, NONCE_SIZE);
    record.mark_index = read_u64(&r);
    record.mark_term = read_u64(&r);
    if (read_u64(&r) != check || !reader_done(&r) || memcmp(found, magic, sizeof(magic)) != 0)
        return err_set(err, -EBADMSG, "%s/" RECORD_NAME " is damaged: join under a new id",
                       directory);
    *ret = record;
    return 0;
}

int replica_lock(const char *directory, struct err *err)
{
    char path[FILE_PATH_SIZE];
    cleanup_close int fd = -1;
    int rc = file_path(directory, LOCK_NAME, path, err);

    if (rc < 0)
        return rc;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? err_set(err, -EBUSY, "another process holds %s", path)
                   : err_set(err, -errno, "cannot lock %s: %s", path, strerror(errno));
    return steal_fd(&fd);
}

/* Renames the log's directory to the first free "raft.lost-ID-N". */
static int move_aside(const char *directory, const char *path, uint64_t id, struct err *err)
{
    char aside[FILE_PATH_SIZE], name[64];

    for (int i = 1; i <= MAX_ASIDE; i++) {
        struct stat status;
        int rc;

        snprintf(name, sizeof(name), REPLICA_LOG_DIRECTORY ".lost-%llu-%d", (unsigned long long)id,
                 i);
        rc = file_path(directory, name, aside, err);
        if (rc < 0)
            return rc;
        if (lstat(aside, &status) == 0)
            continue;
        if (rename(path, aside) < 0 && errno != ENOENT)
            return err_set(err, -errno, "cannot move %s aside: %s", path, strerror(errno));
        return 0;
    }
    return err_set(err, -EEXIST, "too many raft.lost-* in %s: remove them", directory);
}

int replica_discard(const char *directory, struct err *err)
{
    char log[FILE_PATH_SIZE], record_path[FILE_PATH_SIZE];
    struct replica_record record = {0};
    cleanup_close int lock = replica_lock(directory, err);
    int rc;

    if (lock < 0)
        return lock;
    replica_inspect(directory, &record, NULL); /* a damaged one has id 0 */
    rc = file_path(directory, REPLICA_LOG_DIRECTORY, log, err);
    if (rc == 0)
        rc = file_path(directory, RECORD_NAME, record_path, err);
    if (rc == 0)
        rc = move_aside(directory, log, record.id, err);
    if (rc == 0 && unlink(record_path) < 0 && errno != ENOENT)
        rc = err_set(err, -errno, "cannot remove %s: %s", record_path, strerror(errno));
    return rc < 0 ? rc : file_sync_directory(directory, err);
}

static bool directory_is_empty(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;

    if (dir == NULL)
        return true;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n <= 2; /* "." and ".." */
}

int replica_prepare_log(const char *directory, bool has_record, struct err *err)
{
    char path[FILE_PATH_SIZE];
    int rc = file_path(directory, REPLICA_LOG_DIRECTORY, path, err);

    if (rc == 0 && !has_record && !directory_is_empty(path))
        rc = move_aside(directory, path, 0, err);
    if (rc < 0)
        return rc;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set(err, -errno, "cannot make %s: %s", path, strerror(errno));
    return file_sync_directory(directory, err);
}

#include "agent/guard/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guard/cgroup_version.h"
#include "base/clean.h"

int cgroup_write(const char *dir, const char *file, const char *text)
{
    char path[CGROUP_PATH_SIZE];
    cleanup_close int fd = -1;

    snprintf(path, sizeof(path), "%s/%s", dir, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return -errno;
    return 0;
}

int cgroup_read(const char *dir, const char *file, char *ret, size_t size)
{
    char path[CGROUP_PATH_SIZE];
    cleanup_close int fd = -1;
    ssize_t n;

    snprintf(path, sizeof(path), "%s/%s", dir, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    n = read(fd, ret, size - 1);
    if (n < 0)
        return -errno;
    while (n > 0 && ret[n - 1] == '\n')
        n--;
    ret[n] = '\0';
    return 0;
}

bool cgroup_read_number(const char *dir, const char *file, uint64_t *ret)
{
    char text[32], *end;
    unsigned long long value;

    if (cgroup_read(dir, file, text, sizeof(text)) < 0)
        return false;
    value = strtoull(text, &end, 10);
    if (end == text || *end != '\0')
        return false;
    *ret = value;
    return true;
}

/* Takes the digits of one piece of cgroup.procs; a number may go on in the next piece. */
static int take_pids(const char *text, ssize_t size, pid_t *number, pid_t *ret, int n, int max)
{
    for (ssize_t i = 0; i < size; i++) {
        if (text[i] >= '0' && text[i] <= '9') {
            *number = *number * 10 + (text[i] - '0');
            continue;
        }
        if (*number > 0 && n < max)
            ret[n++] = *number;
        *number = 0;
    }
    return n;
}

int cgroup_pids(const char *dir, pid_t *ret, int max)
{
    char path[CGROUP_PATH_SIZE], text[4096];
    cleanup_close int fd = -1;
    pid_t number = 0;
    ssize_t size;
    int n = 0;

    snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    while ((size = read(fd, text, sizeof(text))) > 0)
        n = take_pids(text, size, &number, ret, n, max);
    return size < 0 ? -errno : n;
}

/* ---- finding out */

static void take_mounts(struct cgroups *c, const struct cgroup_version *version)
{
    char line[1024], mount[256], type[32], options[512];
    FILE *f = fopen("/proc/self/mounts", "re");

    c->version = version;
    c->n_roots = 0;
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "%*s %255s %31s %511s", mount, type, options) == 3 &&
            strlen(mount) < CGROUP_ROOT_SIZE)
            version->take_mount(c, mount, type, options);
    }
    if (f != NULL)
        fclose(f);
}

static int make_dir(struct cgroups *c, int i, const char *below, struct err *err)
{
    char dir[CGROUP_PATH_SIZE];

    snprintf(dir, sizeof(dir), "%s/%s", c->roots[i].mount, below);
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return err_set(err, -errno, "cannot make the cgroup %s: %s", dir, strerror(errno));
    return c->version->prepare(c, i, dir, err);
}

static int make_standing_groups(struct cgroups *c, struct err *err)
{
    static const char *const dirs[] = {"skein", "skein/guests", "skein/stay", "skein/dying"};
    int n_dirs = c->version->has_dying ? 4 : 3;
    int rc;

    for (int i = 0; i < c->n_roots; i++) {
        for (int d = 0; d < n_dirs; d++) {
            rc = make_dir(c, i, dirs[d], err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static int open_parent(struct cgroups *c, struct err *err)
{
    char path[CGROUP_PATH_SIZE];

    snprintf(path, sizeof(path), "%s/skein/guests/%s", c->roots[0].mount, c->version->freeze_file);
    c->parent_fd = open(path, O_WRONLY | O_CLOEXEC);
    if (c->parent_fd < 0)
        return err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
    return 0;
}

int cgroups_open(struct cgroups **ret, struct err *err)
{
    struct cgroups *c = calloc(1, sizeof(*c));
    int rc;

    if (c == NULL)
        return err_set(err, -ENOMEM, "no memory");
    c->parent_fd = -1;
    take_mounts(c, &cgroup_version_1);
    if (c->n_roots == 0 || strcmp(c->roots[0].controller, "freezer") != 0)
        take_mounts(c, &cgroup_version_2);
    if (c->n_roots == 0)
        rc =
            err_set(err, -ENOTSUP, "no cgroup freezer is mounted: mount cgroup2 on /sys/fs/cgroup");
    else
        rc = make_standing_groups(c, err);
    if (rc == 0)
        rc = open_parent(c, err);
    if (rc < 0) {
        cgroups_close(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void cgroups_close(struct cgroups *c)
{
    if (c == NULL)
        return;
    if (c->parent_fd >= 0)
        close(c->parent_fd);
    free(c);
}

void cgroups_describe(const struct cgroups *c, char *ret, size_t size)
{
    int used = snprintf(ret, size, "%s:", c->version->name);

    for (int i = 0; i < c->n_roots && (size_t)used < size; i++)
        used += snprintf(ret + used, size - (size_t)used, " %s", c->roots[i].controller);
}

/* ---- one guest */

static void dir_of(const struct cgroups *c, int i, const char *name, bool stays, char *ret)
{
    snprintf(ret, CGROUP_PATH_SIZE, "%s/skein/%s/%s", c->roots[i].mount, stays ? "stay" : "guests",
             name);
}

int cgroup_make(struct cgroups *c, const char *name, bool stays, const struct cgroup_limits *limits,
                struct err *err)
{
    char dir[CGROUP_PATH_SIZE];
    int rc = 0;

    for (int i = 0; i < c->n_roots && rc == 0; i++) {
        dir_of(c, i, name, stays, dir);
        if (mkdir(dir, 0755) < 0 && errno != EEXIST)
            rc = err_set(err, -errno, "cannot make the cgroup %s: %s", dir, strerror(errno));
        else
            rc = c->version->limit(c, i, dir, limits, err);
    }
    if (rc < 0)
        cgroup_remove(c, name, stays);
    return rc;
}

int cgroup_enter(struct cgroups *c, const char *name, bool stays, struct err *err)
{
    char dir[CGROUP_PATH_SIZE];
    int rc;

    for (int i = c->n_roots - 1; i >= 0; i--) { /* the freezer last: it may stop us there */
        dir_of(c, i, name, stays, dir);
        rc = cgroup_write(dir, "cgroup.procs", "0");
        if (rc < 0)
            return err_set(err, rc, "cannot enter the cgroup %s: %s", dir, strerror(-rc));
    }
    return 0;
}

static const char *freeze_word(const struct cgroups *c, bool is_frozen)
{
    return is_frozen ? c->version->frozen : c->version->thawed;
}

int cgroups_set_frozen(struct cgroups *c, bool is_frozen)
{
    const char *word = freeze_word(c, is_frozen);

    return pwrite(c->parent_fd, word, strlen(word), 0) < 0 ? -errno : 0;
}

int cgroup_set_frozen(struct cgroups *c, const char *name, bool stays, bool is_frozen,
                      struct err *err)
{
    char dir[CGROUP_PATH_SIZE];
    int rc;

    dir_of(c, 0, name, stays, dir);
    rc = cgroup_write(dir, c->version->freeze_file, freeze_word(c, is_frozen));
    if (rc < 0)
        return err_set(err, rc, "cannot %s %s: %s", is_frozen ? "freeze" : "thaw", dir,
                       strerror(-rc));
    return 0;
}

int cgroup_kill(struct cgroups *c, const char *name, bool stays)
{
    char dir[CGROUP_PATH_SIZE];
    int rc;

    dir_of(c, 0, name, stays, dir);
    rc = c->version->kill(c, dir);
    return rc == -ENOENT || rc == -ENODEV ? 0 : rc;
}

/* With the groups below, which liblxc makes. */
static int remove_group(const char *dir)
{
    char below[CGROUP_PATH_SIZE];
    struct dirent *entry;
    DIR *d;

    if (rmdir(dir) == 0 || errno == ENOENT)
        return 0;
    d = opendir(dir);
    while (d != NULL && (entry = readdir(d)) != NULL) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
            snprintf(below, sizeof(below), "%s/%s", dir, entry->d_name) < (int)sizeof(below))
            remove_group(below);
    }
    if (d != NULL)
        closedir(d);
    return rmdir(dir) < 0 && errno != ENOENT ? -errno : 0;
}

int cgroup_remove(struct cgroups *c, const char *name, bool stays)
{
    char dir[CGROUP_PATH_SIZE];
    int rc = 0;

    for (int i = 0; i < c->n_roots; i++) {
        int removed;

        dir_of(c, i, name, stays, dir);
        removed = remove_group(dir);
        if (removed < 0)
            rc = removed;
    }
    return rc;
}

bool cgroup_has(struct cgroups *c, const char *name, bool stays, pid_t pid)
{
    char dir[CGROUP_PATH_SIZE];
    pid_t pids[CGROUP_MAX_PIDS];
    int n;

    dir_of(c, 0, name, stays, dir);
    n = cgroup_pids(dir, pids, CGROUP_MAX_PIDS);
    for (int i = 0; i < n; i++) {
        if (pids[i] == pid)
            return true;
    }
    return false;
}

void cgroup_count(const struct cgroups *c, const char *name, bool stays, struct cgroup_counts *ret)
{
    char dir[CGROUP_PATH_SIZE];

    *ret = (struct cgroup_counts){CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN};
    for (int i = 0; i < c->n_roots; i++) {
        dir_of(c, i, name, stays, dir);
        c->version->count(dir, ret);
    }
}

void cgroup_freezer_path(const struct cgroups *c, const char *name, bool stays, char *ret,
                         size_t size)
{
    char dir[CGROUP_PATH_SIZE];

    dir_of(c, 0, name, stays, dir);
    snprintf(ret, size, "%s", dir);
}

static void list_below(const struct cgroups *c, bool stays,
                       void (*each)(void *context, const char *name, bool stays), void *context)
{
    char dir[CGROUP_PATH_SIZE];
    struct dirent *entry;
    DIR *d;

    dir_of(c, 0, "", stays, dir);
    d = opendir(dir);
    while (d != NULL && (entry = readdir(d)) != NULL) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            each(context, entry->d_name, stays);
    }
    if (d != NULL)
        closedir(d);
}

void cgroups_list(struct cgroups *c, void (*each)(void *context, const char *name, bool stays),
                  void *context)
{
    list_below(c, false, each, context);
    list_below(c, true, each, context);
}

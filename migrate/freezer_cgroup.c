#include "migrate/freezer_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"

enum { FREEZE_LIMIT_MS = 5000, KILL_LIMIT_MS = 5000 };

/* Version 1 and 2 in words: files, what is written, what is read when all stand still. */
static const struct dialect {
    const char *control, *freeze, *thaw;
    const char *self, *self_frozen; /* what the group itself was told */
    const char *state, *frozen;     /* what is so */
} dialects[] = {
    {"freezer.state", "FROZEN", "THAWED", "freezer.self_freezing", "1", "freezer.state", "FROZEN"},
    {"cgroup.freeze", "1", "0", "cgroup.freeze", "1", "cgroup.events", "frozen 1"},
};

static int failed(const char *directory, struct err *err)
{
    return err_set(err, -errno, "cannot use the freezer %s: %s", directory, strerror(errno));
}

static int open_file(const char *directory, const char *name, int flags)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return open(path, flags | O_CLOEXEC);
}

static const struct dialect *dialect_of(const char *directory)
{
    cleanup_close int fd = open_file(directory, dialects[0].control, O_RDONLY);

    return &dialects[fd < 0 ? 1 : 0];
}

/* Does the file hold the text? */
static int holds(const char *directory, const char *name, const char *text, bool *ret,
                 struct err *err)
{
    cleanup_close int fd = open_file(directory, name, O_RDONLY);
    char content[128];
    ssize_t n = fd < 0 ? -1 : read(fd, content, sizeof(content) - 1);

    if (n < 0)
        return failed(directory, err);
    content[n] = '\0';
    *ret = strstr(content, text) != NULL;
    return 0;
}

static int put(const char *directory, const char *name, const char *text, struct err *err)
{
    cleanup_close int fd = open_file(directory, name, O_WRONLY);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return failed(directory, err);
    return 0;
}

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 500 * 1000}, NULL);
}

int freezer_is_frozen(const char *directory, bool *ret, struct err *err)
{
    const struct dialect *d = dialect_of(directory);

    return holds(directory, d->self, d->self_frozen, ret, err);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int freezer_freeze_within(const char *directory, uint32_t limit_ms, struct err *err)
{
    const struct dialect *d = dialect_of(directory);
    uint64_t began_ms = now_ms();
    int r = put(directory, d->control, d->freeze, err);
    bool is_still = false;

    while (r == 0 && now_ms() - began_ms < limit_ms) {
        r = holds(directory, d->state, d->frozen, &is_still, err);
        if (r < 0 || is_still)
            return r;
        pause_briefly();
    }
    if (r == 0) {
        (void)freezer_thaw(directory, NULL);
        r = err_set(err, -ETIMEDOUT, "the guest could not be frozen within %u ms", limit_ms);
    }
    return r;
}

int freezer_freeze(const char *directory, struct err *err)
{
    return freezer_freeze_within(directory, FREEZE_LIMIT_MS, err);
}

int freezer_thaw(const char *directory, struct err *err)
{
    return put(directory, dialect_of(directory)->control, dialect_of(directory)->thaw, err);
}

/* How many it held; -errno. */
static int kill_all(const char *directory, struct err *err)
{
    int fd = open_file(directory, "cgroup.procs", O_RDONLY), n = 0, pid;
    FILE *file = fd < 0 ? NULL : fdopen(fd, "re");

    if (file == NULL)
        return errno == ENOENT ? 0 : failed(directory, err); /* no group: nothing in it */
    for (; fscanf(file, "%d", &pid) == 1; n++)
        kill(pid, SIGKILL);
    fclose(file);
    return n;
}

int freezer_kill(const char *directory, struct err *err)
{
    for (int tries = 0; tries < 2 * KILL_LIMIT_MS; tries++) {
        int n = kill_all(directory, err);

        if (n <= 0)
            return n;
        (void)freezer_thaw(directory, NULL);
        pause_briefly();
    }
    return err_set(err, -ETIMEDOUT, "what is in %s does not die", directory);
}

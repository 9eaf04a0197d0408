/* gate_criu: a library that is preloaded into criu, which it stops at up to two places. There it
 * says so by a byte on descriptor 4, and goes on when one comes on descriptor 6 (run_criu.h). When
 * a moment comes with it (8 bytes, CLOCK_BOOTTIME in us), a dump fails from then on at the next
 * image that it would make, or part of one that it would fill, as if its disk were full: criu then
 * takes its code out of the guest and lets it go on, as only criu itself can.
 *
 *   $SKEIN_GATE  before the first path is opened that begins so: where criu's own start is over,
 * and nothing has been done about a guest yet, so that nobody stands still for it. When descriptor
 * 6 is closed instead, criu ends. $SKEIN_HELD  before criu attaches to what it has restored
 * (restore_root_task in its criu/cr-restore.c, 4.1): all of it is there, and none of its own code
 * has run. When descriptor 6 is closed instead, criu is told that it cannot attach, and kills it
 * all. An action script could stop it there too, but is started at seven places.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum { SAYS = 4, HEARS = 6 };

static bool has_passed, was_held;
static uint64_t until_us; /* 0: it may take as long as it takes */

static bool may_go_on(void)
{
    char bytes[1 + sizeof(until_us)] = ".";
    ssize_t n = write(SAYS, bytes, 1) == 1 ? read(HEARS, bytes, sizeof(bytes)) : -1;

    if (n == sizeof(bytes))
        memcpy(&until_us, bytes + 1, sizeof(until_us));
    return n > 0;
}

static bool is_late(void)
{
    struct timespec now;

    if (until_us == 0)
        return false;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000 >= until_us;
}

static void pass(const char *path)
{
    const char *gate = getenv("SKEIN_GATE");

    if (has_passed || gate == NULL || strncmp(path, gate, strlen(gate)) != 0)
        return;
    has_passed = true;
    if (!may_go_on())
        _exit(1);
}

static int open_at(int directory, const char *path, int flags, mode_t mode)
{
    pass(path);
    if ((flags & O_CREAT) != 0 && is_late()) {
        errno = ETIME;
        return -1;
    }
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

/* A mode is there with O_CREAT alone; what is read without it means nothing. */
static mode_t mode_of(int flags, va_list rest)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
}

EXPORTED int open64(const char *path, int flags, ...)
{
    va_list rest;
    mode_t mode;

    va_start(rest, flags);
    mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(AT_FDCWD, path, flags, mode);
}

EXPORTED int openat64(int directory, const char *path, int flags, ...)
{
    va_list rest;
    mode_t mode;

    va_start(rest, flags);
    mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(directory, path, flags, mode);
}

/* How pages come into their image. */
EXPORTED ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t size,
                        unsigned flags)
{
    if (is_late()) {
        errno = ETIME;
        return -1;
    }
    return syscall(SYS_splice, from, from_at, to, to_at, size, flags);
}

/* As the C library has it: what it peeks at is what it returns. */
static long forward(long request, pid_t pid, void *address, void *data)
{
    bool peeks =
        request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER;
    long word = 0, r = syscall(SYS_ptrace, request, pid, address, peeks ? (void *)&word : data);

    if (r < 0 || !peeks)
        return r;
    errno = 0;
    return word;
}

EXPORTED long ptrace(enum __ptrace_request request, ...)
{
    void *address, *data;
    va_list rest;
    pid_t pid;

    va_start(rest, request);
    pid = va_arg(rest, pid_t);
    address = va_arg(rest, void *);
    data = va_arg(rest, void *);
    va_end(rest);
    if (request == PTRACE_SEIZE && !was_held && getenv("SKEIN_HELD") != NULL) {
        was_held = true;
        if (!may_go_on()) {
            errno = EPERM;
            return -1;
        }
    }
    return forward((long)request, pid, address, data);
}

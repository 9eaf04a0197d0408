/* gate_criu: a library that is preloaded into criu, which it stops where its own start is over and
 * nothing has been done about a guest yet: at the first path that begins with $SKEIN_GATE. It says so
 * by a byte on descriptor 4, and goes on when one comes on descriptor 6; when that is closed instead,
 * criu ends. So nobody stands still for criu's start (run_criu.h).
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum { SAYS = 4, HEARS = 6 };

static bool has_passed;

static void pass(const char *path)
{
    const char *gate = getenv("SKEIN_GATE");
    char byte = '.';

    if (has_passed || gate == NULL || strncmp(path, gate, strlen(gate)) != 0)
        return;
    has_passed = true;
    if (write(SAYS, &byte, 1) != 1 || read(HEARS, &byte, 1) != 1)
        _exit(1);
}

static int open_at(int directory, const char *path, int flags, mode_t mode)
{
    pass(path);
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

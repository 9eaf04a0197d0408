/* stop_criu: a library that is preloaded into a criu that dumps a guest, which it stops in the
 * middle, once (48-standstill.t).
 *
 *   $STOP_AT    "splice": before the first page comes into its image, with the guest's processes in
 * criu's hands and its code in one of them. Else before the first file is made whose name begins so
 *   $STOP_JOB   a signal that whoever started criu gets first; 0: none
 *
 * What it stopped is told in /run/stopped: criu's number, and that of who started it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static void stop(void)
{
    const char *job = getenv("STOP_JOB");
    FILE *note = fopen("/run/stopped.new", "we");

    if (note == NULL)
        return;
    fprintf(note, "%d %d\n", getpid(), getppid());
    fclose(note);
    rename("/run/stopped.new", "/run/stopped");
    if (job != NULL && atoi(job) != 0)
        kill(getppid(), atoi(job));
    raise(SIGSTOP);
}

static void pass(const char *name)
{
    const char *at = getenv("STOP_AT");
    static bool has_stopped;

    if (has_stopped || at == NULL || strncmp(name, at, strlen(at)) != 0)
        return;
    has_stopped = true;
    stop();
}

EXPORTED int openat64(int directory, const char *path, int flags, ...)
{
    int (*next)(int, const char *, int, ...) =
        (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");
    mode_t mode = 0;
    va_list rest;

    va_start(rest, flags);
    if ((flags & (O_CREAT | O_TMPFILE)) != 0)
        mode = va_arg(rest, mode_t);
    va_end(rest);
    if ((flags & O_CREAT) != 0)
        pass(path);
    return next(directory, path, flags, mode);
}

EXPORTED ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t size,
                        unsigned flags)
{
    ssize_t (*next)(int, off64_t *, int, off64_t *, size_t, unsigned) =
        (ssize_t(*)(int, off64_t *, int, off64_t *, size_t, unsigned))dlsym(RTLD_NEXT, "splice");

    pass("splice");
    return next(from, from_at, to, to_at, size, flags);
}

#include "migrate/presence_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"

int presence_begin(const char *path, struct err *err)
{
    int fd = -1;

    if (mkfifo(path, 0600) == 0)
        fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? err_set(err, -errno, "cannot make %s: %s", path, strerror(errno)) : fd;
}

static int wait_for_end(int fd, int limit_ms)
{
    struct pollfd gone = {.fd = fd};
    int n;

    do
        n = poll(&gone, 1, limit_ms);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Fails with ENXIO where nobody reads. */
static int open_present(const char *path)
{
    return open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
}

int presence_wait(const char *path, bool asks, int limit_ms, struct err *err)
{
    cleanup_close int fd = open_present(path);
    const char word = PRESENCE_END;

    if (fd < 0)
        return 0;
    if (asks)
        (void)!write(fd, &word, 1);
    if (wait_for_end(fd, limit_ms) == 0)
        return err_set(err, -ETIMEDOUT, "the process of %s does not end", path);
    return 1;
}

bool presence_is_there(const char *path)
{
    cleanup_close int fd = open_present(path);

    return fd >= 0;
}

int presence_say(const char *path, char word)
{
    cleanup_close int fd = open_present(path);

    return fd >= 0 && write(fd, &word, 1) == 1;
}

int presence_tell(const char *path, char word)
{
    cleanup_close int fd = open_present(path);

    if (fd < 0 || write(fd, &word, 1) != 1)
        return 0;
    (void)wait_for_end(fd, -1);
    return 1;
}

/* As a writer, too: one that goes without a word is no end of the file. */
char presence_listen(const char *path)
{
    cleanup_close int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    char word = PRESENCE_END;
    ssize_t n;

    do
        n = fd < 0 ? -1 : read(fd, &word, 1);
    while (n < 0 && fd >= 0 && errno == EINTR);
    return n == 1 ? word : (char)PRESENCE_END;
}

static bool is_among(int fd, const int *kept, size_t n_kept)
{
    for (size_t i = 0; i < n_kept; i++) {
        if (kept[i] == fd)
            return true;
    }
    return false;
}

pid_t presence_fork(const int *kept, size_t n_kept)
{
    enum { LOOKED_AT = 1024 };
    pid_t pid = fork();
    int null;

    if (pid != 0)
        return pid;
    setsid();
    for (int fd = 0; fd < LOOKED_AT; fd++) {
        if (!is_among(fd, kept, n_kept))
            close(fd);
    }
    close_range(LOOKED_AT, ~0U, 0);
    do
        null = open("/dev/null", O_RDWR);
    while (null >= 0 && null < 2);
    if (null > 2)
        close(null);
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

void presence_leave_word(const char *path, const char *text)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd >= 0)
        (void)!write(fd, text, strlen(text));
}

static int watch_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char directory[PATH_MAX];
    int fd = inotify_init1(IN_CLOEXEC);

    snprintf(directory, sizeof(directory), "%.*s", slash == NULL ? 0 : (int)(slash - path), path);
    if (fd >= 0 && inotify_add_watch(fd, directory, IN_CREATE) < 0)
        close(steal_fd(&fd));
    return fd;
}

bool presence_await_word(const char *path, const char *word)
{
    cleanup_close int there = open_present(path), made = watch_directory_of(word);
    struct pollfd waits[] = {{.fd = there}, {.fd = made, .events = POLLIN}};
    char events[1024];

    while (there >= 0 && made >= 0 && access(word, F_OK) < 0 && waits[0].revents == 0) {
        if (poll(waits, 2, -1) < 0)
            waits[0].revents = waits[1].revents = 0;
        if (waits[1].revents != 0) /* before the next look: what comes behind that wakes again */
            (void)!read(made, events, sizeof(events));
    }
    return access(word, F_OK) == 0;
}

bool presence_read_word(const char *path, char ret[PRESENCE_WORD_SIZE])
{
    cleanup_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, PRESENCE_WORD_SIZE - 1);

    ret[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

#include "migrate/console_criu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clean.h"
#include "migrate/ground_criu.h"
#include "migrate/terminal_posix.h"

static int failed(const struct mover_guest *guest, const char *what, struct err *err)
{
    return err_set(err, -errno, "guest %s: cannot %s its terminal: %s", guest->name, what,
                   strerror(errno));
}

int console_make_points(const char *dev, struct err *err)
{
    static const char *const names[] = {"console", "ptmx"};
    cleanup_close int directory = open(dev, O_PATH | O_DIRECTORY | O_CLOEXEC);

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int fd;

        (void)unlinkat(directory, names[i], 0); /* a link of the ground's (ground_criu.c) */
        fd = openat(directory, names[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
        if (fd < 0)
            return err_set(err, -errno, "cannot make %s/%s: %s", dev, names[i], strerror(errno));
        close(fd);
    }
    return 0;
}

static int open_image(const struct mover_paths *paths, int flags)
{
    char path[sizeof(paths->images) + sizeof(TERMINAL_IMAGE) + 1];

    snprintf(path, sizeof(path), "%s/" TERMINAL_IMAGE, paths->images);
    return open(path, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* A mount of the guest's own: nothing of it can stand in its place. */
int console_name_to_dump(const struct mover_guest *guest, const struct mover_paths *paths,
                         struct console_words *words, struct criu_run *run, struct err *err)
{
    cleanup_close int image = -1;
    struct stat status;
    char path[64];
    ssize_t size;

    if (!guest->has_console)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/root" GROUND_CONSOLE, guest->pid);
    if (stat(path, &status) < 0)
        return failed(guest, "find", err);
    terminal_write(status.st_rdev, status.st_dev, words->terminal);
    size = (ssize_t)strlen(words->terminal);
    image = open_image(paths, O_WRONLY | O_CREAT | O_EXCL);
    if (image < 0 || write(image, words->terminal, (size_t)size) != size)
        return failed(guest, "write down", err);
    criu_add_argument(run, "--external");
    criu_add_argument(run, words->terminal);
    criu_add_argument(run, "--external");
    criu_add_argument(run, "mnt[" GROUND_CONSOLE "]:console");
    return 0;
}

/* A copy of the other end, if it is the keeper's descriptor `number`; -1. */
static int take_end(int keeper, int number, unsigned terminal)
{
    int fd = (int)syscall(SYS_pidfd_getfd, keeper, number, 0);
    unsigned found;

    if (fd >= 0 && ioctl(fd, TIOCGPTN, &found) == 0 && found == terminal)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int find_end(const struct mover_guest *guest)
{
    cleanup_close int keeper = (int)syscall(SYS_pidfd_open, guest->keeper, 0);
    struct dirent *entry;
    struct stat status;
    char path[64];
    int fd = -1;
    DIR *fds;

    snprintf(path, sizeof(path), "/proc/%d/root" GROUND_CONSOLE, guest->pid);
    if (keeper < 0 || stat(path, &status) < 0)
        return -1;
    snprintf(path, sizeof(path), "/proc/%d/fd", guest->keeper);
    fds = opendir(path);
    while (fds != NULL && fd < 0 && (entry = readdir(fds)) != NULL) {
        if (entry->d_name[0] != '.')
            fd = take_end(keeper, atoi(entry->d_name), minor(status.st_rdev));
    }
    if (fds != NULL)
        closedir(fds);
    return fd;
}

void console_save_rest(const struct mover_guest *guest)
{
    cleanup_close int end = guest->has_console ? find_end(guest) : -1, log = -1;
    struct pollfd said = {.fd = end, .events = POLLIN};
    char chunk[4096];
    ssize_t n;

    if (end < 0)
        return;
    log = open(guest->log, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    while (log >= 0 && poll(&said, 1, 0) == 1 && (n = read(end, chunk, sizeof(chunk))) > 0) {
        if (write(log, chunk, (size_t)n) != n)
            return;
    }
}

void console_copy_rest(const struct mover_guest *guest, int log)
{
    cleanup_close int end = guest->has_console ? find_end(guest) : -1, terminal = -1;
    char path[64];

    if (end < 0)
        return;
    snprintf(path, sizeof(path), "/proc/%d/root" GROUND_CONSOLE, guest->pid);
    terminal = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (terminal >= 0)
        terminal_peek(end, terminal, log);
}

int console_name_to_restore(const struct mover_guest *guest, const struct mover_paths *paths,
                            struct console_words *words, struct criu_run *run, struct err *err)
{
    char content[TERMINAL_WORDS_SIZE], id[TERMINAL_WORDS_SIZE];
    cleanup_close int image = -1;
    ssize_t size;

    if (!guest->has_console)
        return 0;
    image = open_image(paths, O_RDONLY);
    size = image < 0 ? -1 : read(image, content, sizeof(content));
    if (size < 0)
        return failed(guest, "read of", err);
    if (terminal_read(content, (size_t)size, id) < 0)
        return err_set(err, -EBADMSG, "guest %s came without word of its terminal", guest->name);
    run->terminal = open(guest->terminal, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (run->terminal < 0)
        return failed(guest, "open", err);
    snprintf(words->terminal, sizeof(words->terminal), "fd[%d]:%s", CRIU_TERMINAL, id);
    snprintf(words->mount, sizeof(words->mount), "mnt[console]:%s", guest->terminal);
    criu_add_argument(run, "--inherit-fd");
    criu_add_argument(run, words->terminal);
    criu_add_argument(run, "--external");
    criu_add_argument(run, words->mount);
    return 0;
}

/* Files: open, deleted, locked, mapped, watched. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = 64 * 1024, LARGE = 3 * 1024 * 1024 };

static int make_file(const char *path, int flags, size_t size, uint32_t seed)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | flags, 0640);

    return fd >= 0 && pattern_write(fd, size, seed) ? fd : -1;
}

static bool file_is(int fd, size_t size, uint32_t seed)
{
    return lseek(fd, 0, SEEK_SET) == 0 && pattern_read(fd, size, seed);
}

/* ---- places and flags */

static int placed, twin, appending;
static off_t n_appended;

static const char *open_set_up(void)
{
    placed = make_file("/tmp/placed", 0, SMALL, 1);
    NEED(placed >= 0 && lseek(placed, 1234, SEEK_SET) == 1234);
    twin = dup(placed);
    appending = open("/tmp/appending", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    NEED(twin >= 0 && appending >= 0 && write(appending, "x", 1) == 1);
    n_appended = 1;
    return NULL;
}

static const char *open_look(void)
{
    struct stat status;

    NEED(lseek(twin, 0, SEEK_CUR) == 1234);
    NEED(lseek(placed, 1, SEEK_CUR) == 1235 && lseek(twin, 0, SEEK_CUR) == 1235);
    NEED(file_is(placed, SMALL, 1) && lseek(placed, 1234, SEEK_SET) == 1234);
    NEED((fcntl(appending, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY));
    NEED(fcntl(appending, F_GETFD) == FD_CLOEXEC && fcntl(placed, F_GETFD) == 0);
    NEED(lseek(appending, 0, SEEK_SET) == 0 && write(appending, "x", 1) == 1);
    n_appended++;
    NEED(fstat(appending, &status) == 0 && status.st_size == n_appended);
    NEED(stat("/tmp/appending", &status) == 0 && status.st_size == n_appended);
    return NULL;
}

static int directory, path_only;

static const char *others_set_up(void)
{
    NEED(mkdir("/tmp/directory", 0755) == 0);
    directory = open("/tmp/directory", O_RDONLY | O_DIRECTORY);
    path_only = open("/tmp/directory", O_PATH);
    NEED(directory >= 0 && path_only >= 0);
    NEED(mkdirat(directory, "inside", 0755) == 0);
    return NULL;
}

static const char *others_look(void)
{
    struct stat status, seen;
    int zero = open("/dev/zero", O_RDONLY);

    NEED(fstatat(directory, "inside", &status, 0) == 0);
    NEED(fstatat(path_only, "inside", &seen, 0) == 0 && seen.st_ino == status.st_ino);
    NEED(zero >= 0 && close(zero) == 0);
    return NULL;
}

/* ---- files without a name */

static int small, large;

static const char *deleted_set_up(void)
{
    small = make_file("/tmp/small", 0, SMALL, 2);
    large = make_file("/tmp/large", 0, LARGE, 3);
    NEED(small >= 0 && large >= 0);
    NEED(unlink("/tmp/small") == 0 && unlink("/tmp/large") == 0);
    return NULL;
}

static const char *deleted_look(void)
{
    struct stat status;

    NEED(file_is(small, SMALL, 2) && file_is(large, LARGE, 3));
    NEED(fstat(small, &status) == 0 && (status.st_mode & 07777) == 0640);
    NEED(access("/tmp/small", F_OK) < 0 && access("/tmp/large", F_OK) < 0);
    return NULL;
}

/* ---- locks: a child of this moment finds them taken */

static int by_flock, by_process, by_description;

static const char *locks_set_up(void)
{
    struct flock range = {.l_type = F_WRLCK, .l_start = 10, .l_len = 20};
    struct flock shared = {.l_type = F_RDLCK, .l_start = 100, .l_len = 0};

    by_flock = make_file("/tmp/flock", 0, 1, 0);
    by_process = make_file("/tmp/posix", 0, SMALL, 0);
    by_description = make_file("/tmp/ofd", 0, SMALL, 0);
    NEED(by_flock >= 0 && by_process >= 0 && by_description >= 0);
    NEED(flock(by_flock, LOCK_EX) == 0);
    NEED(fcntl(by_process, F_SETLK, &range) == 0);
    NEED(fcntl(by_description, F_OFD_SETLK, &shared) == 0);
    return NULL;
}

/* Which of the three another process finds locked. */
static int n_locked(void)
{
    struct flock posix = {.l_type = F_WRLCK, .l_start = 29, .l_len = 1};
    struct flock description = {.l_type = F_WRLCK, .l_start = SMALL - 1, .l_len = 1};
    int status = 0, n = 0, fd;
    pid_t pid = fork();

    if (pid == 0) {
        fd = open("/tmp/flock", O_RDWR);
        n += flock(fd, LOCK_EX | LOCK_NB) < 0;
        fd = open("/tmp/posix", O_RDWR);
        n += fcntl(fd, F_GETLK, &posix) == 0 && posix.l_pid == getppid() && posix.l_start == 10 &&
             posix.l_len == 20;
        fd = open("/tmp/ofd", O_RDWR);
        n += fcntl(fd, F_OFD_SETLK, &description) < 0;
        _exit(n);
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *locks_look(void)
{
    NEED(n_locked() == 3);
    return NULL;
}

/* ---- mappings of files */

static uint8_t *shared, *private_copy, *unnamed;
static int mapped, memory_file;
static uint8_t n_written;

static const char *mappings_set_up(void)
{
    mapped = make_file("/tmp/mapped", 0, SMALL, 4);
    memory_file = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    NEED(mapped >= 0 && memory_file >= 0 && pattern_write(memory_file, SMALL, 5));
    NEED(fcntl(memory_file, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    shared = mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
    private_copy = mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_PRIVATE, mapped, 0);
    unnamed = mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_SHARED, memory_file, 0);
    NEED(shared != MAP_FAILED && private_copy != MAP_FAILED && unnamed != MAP_FAILED);
    private_copy[5000] = 77;
    shared[9000] = n_written = 1;
    return NULL;
}

static const char *mappings_look(void)
{
    uint8_t byte = 0;

    NEED(private_copy[5000] == 77 && shared[9000] == n_written);
    NEED(pread(mapped, &byte, 1, 9000) == 1 && byte == n_written);
    shared[9000] = ++n_written; /* still the same file, both ways */
    NEED(pread(mapped, &byte, 1, 9000) == 1 && byte == n_written);
    NEED(pwrite(mapped, "z", 1, 10) == 1 && shared[10] == 'z');
    NEED(pread(mapped, &byte, 1, 5000) == 1 && byte != 77);
    NEED(file_is(memory_file, SMALL, 5) && pattern_is(unnamed, SMALL, 5));
    NEED(fcntl(memory_file, F_GET_SEALS) == F_SEAL_SHRINK && ftruncate(memory_file, 0) < 0);
    return NULL;
}

/* ---- watched, and terminals */

static int watch;

static const char *watch_set_up(void)
{
    NEED(mkdir("/dev/shm/watched", 0755) == 0);
    watch = inotify_init1(IN_NONBLOCK);
    NEED(watch >= 0 && inotify_add_watch(watch, "/dev/shm/watched", IN_CREATE | IN_DELETE) > 0);
    return NULL;
}

static const char *watch_look(void)
{
    _Alignas(struct inotify_event) char buffer[512];
    const struct inotify_event *event = (const void *)buffer;
    int fd;

    while (read(watch, buffer, sizeof(buffer)) > 0) /* what happened before is not promised */
        ;
    fd = open("/dev/shm/watched/new", O_WRONLY | O_CREAT, 0600);
    NEED(fd >= 0 && close(fd) == 0);
    NEED(await(watch, POLLIN) && read(watch, buffer, sizeof(buffer)) > 0);
    NEED(event->mask == IN_CREATE && strcmp(event->name, "new") == 0);
    NEED(unlink("/dev/shm/watched/new") == 0);
    return NULL;
}

static int master, slave;

static const char *terminal_set_up(void)
{
    struct winsize size = {.ws_row = 33, .ws_col = 77};
    struct termios raw;

    NEED(openpty(&master, &slave, NULL, NULL, &size) == 0);
    NEED(tcgetattr(slave, &raw) == 0);
    cfmakeraw(&raw);
    NEED(tcsetattr(slave, TCSANOW, &raw) == 0);
    return NULL;
}

static const char *terminal_look(void)
{
    struct winsize size = {0};
    char text[8] = "";

    NEED(ioctl(slave, TIOCGWINSZ, &size) == 0 && size.ws_row == 33 && size.ws_col == 77);
    NEED(write(master, "to", 2) == 2 && await(slave, POLLIN) && read(slave, text, 8) == 2);
    NEED(write(slave, "fro", 3) == 3 && await(master, POLLIN) && read(master, text, 8) == 3);
    NEED(isatty(slave) == 1);
    return NULL;
}

const struct check file_checks[] = {
    {"open files, their places and flags", open_set_up, open_look},
    {"a directory, a path", others_set_up, others_look},
    {"deleted files", deleted_set_up, deleted_look},
    {"file locks", locks_set_up, locks_look},
    {"mapped files", mappings_set_up, mappings_look},
    {"inotify", watch_set_up, watch_look},
    {"a terminal", terminal_set_up, terminal_look},
    {0},
};

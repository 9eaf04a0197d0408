/* cell-init: the small static program inside every cell, and every container by liblxc.
 *
 *   init run COMMAND…     first process of the cell: runs COMMAND, reaps, hands signals on, and
 *                         pumps the cell's output into the log, which never grows past its limit
 *   init tend COMMAND…    first process of a container by liblxc: the same on the terminal it has
 *   init boot COMMAND…    likewise: becomes COMMAND, which is an init itself
 *   init exec COMMAND…    becomes COMMAND, for `guest exec`
 *
 * It stands in the cell's own root (/.skein/init), so that it moves with the cell. Descriptors of
 * `run`: RUN_OUTPUT, the read end of the pipe that is the cell's stdout and stderr; RUN_INPUT, its
 * write end; RUN_STATUS, where READY is written first, and words when COMMAND cannot be run; it is
 * closed once COMMAND runs. Of `tend` and `boot`: TEND_STATUS, which liblxc's monitor keeps open,
 * so that its end would say nothing. The log is opened anew for each write: no descriptor leads out
 * of the cell, which CRIU would have to know.
 */
#include "agent/guest/cell_init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 16 * 1024 };

static const int handed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
static const char ready = READY;
static volatile sig_atomic_t arrived[NSIG];

static void on_signal(int number)
{
    arrived[number] = 1;
}

/* Catches what run_loop() waits for; they arrive only inside ppoll, with *ret_open. */
static void catch_signals(sigset_t *ret_open)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;

    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++) {
        sigaction(handed_on[i], &action, NULL);
        sigaddset(&blocked, handed_on[i]);
    }
    sigaction(SIGCHLD, &action, NULL);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, ret_open);
}

static void write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        data += n;
        size -= (size_t)n;
    }
}

/* Keeps the log's newer half: the file shrinks in place, whoever reads it keeps his descriptor. */
static void cut_log(off_t size)
{
    static const char mark[] = "[skein: older output was cut here]\n";
    static char buffer[CHUNK];
    off_t from = size - CELL_LOG_MAX / 2, to;
    int fd = open(CELL_LOG_PATH, O_RDWR | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return;
    to = pwrite(fd, mark, sizeof(mark) - 1, 0);
    while (to >= 0 && (n = pread(fd, buffer, sizeof(buffer), from)) > 0) {
        n = pwrite(fd, buffer, (size_t)n, to);
        if (n <= 0)
            break;
        from += n;
        to += n;
    }
    if (to >= 0)
        (void)!ftruncate(fd, to);
    close(fd);
}

static void append_to_log(const char *data, size_t size)
{
    int fd = open(CELL_LOG_PATH, O_WRONLY | O_APPEND | O_CLOEXEC);
    struct stat status;

    if (fd < 0)
        return;
    write_all(fd, data, size);
    if (fstat(fd, &status) < 0)
        status.st_size = 0;
    close(fd);
    if (status.st_size > CELL_LOG_MAX)
        cut_log(status.st_size);
}

/* False when nobody holds the other end any more. */
static bool pump_output(void)
{
    static char buffer[CHUNK];
    ssize_t n = read(RUN_OUTPUT, buffer, sizeof(buffer));

    if (n > 0)
        append_to_log(buffer, (size_t)n);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* What the pipe holds when the command has ended; others may still write, so no more than that. */
static void drain_output(void)
{
    static char buffer[CHUNK];

    for (int i = 0; i < 64; i++) {
        ssize_t n = read(RUN_OUTPUT, buffer, sizeof(buffer));

        if (n <= 0)
            return;
        append_to_log(buffer, (size_t)n);
    }
}

static void hand_signals_on(pid_t command)
{
    for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++) {
        if (arrived[handed_on[i]]) {
            arrived[handed_on[i]] = 0;
            kill(command, handed_on[i]);
        }
    }
}

/* True when the command itself has ended: *ret_code is what to exit with. */
static bool reap(pid_t command, int *ret_code)
{
    bool ended = false;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == command) {
            *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            ended = true;
        }
    }
    return ended;
}

/* `output_fd`: RUN_OUTPUT, or -1. */
static int run_loop(pid_t command, int output_fd, const sigset_t *open_signals)
{
    struct pollfd output = {.fd = output_fd, .events = POLLIN};
    int code = 0;

    for (;;) {
        int n = ppoll(&output, 1, NULL, open_signals);

        hand_signals_on(command);
        if (arrived[SIGCHLD]) {
            arrived[SIGCHLD] = 0;
            if (reap(command, &code))
                break;
        }
        if (n > 0 && !pump_output())
            output.fd = -1;
    }
    if (output_fd >= 0)
        drain_output();
    return code;
}

static void say_failure(int fd, const char *command, int error)
{
    dprintf(fd, "cannot run %s: %s", command, strerror(error));
}

/* Directory and user of the command: words[0] is "UID:GID", words[1] the directory. Also a program
 * that drops root keeps what it may: no_new_privs is set, and its ids have changed. */
static bool take_place(char **words)
{
    unsigned long uid, gid;
    char *end;

    uid = strtoul(words[0], &end, 10);
    gid = *end == ':' ? strtoul(end + 1, NULL, 10) : uid;
    return chdir(words[1]) == 0 && (gid == 0 || setgid((gid_t)gid) == 0) &&
           (uid == 0 || setuid((uid_t)uid) == 0);
}

/* Words of failure go to `status`. */
static void become_command(char **words, const sigset_t *open_signals, int status)
{
    char **argv = words + 2;

    for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++)
        signal(handed_on[i], SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, open_signals, NULL);
    if (!take_place(words)) {
        dprintf(status, "cannot be %s in %s: %s", words[0], words[1], strerror(errno));
        _exit(127);
    }
    execvp(argv[0], argv);
    say_failure(status, argv[0], errno);
    _exit(127);
}

static void become_logged_command(char **words, const sigset_t *open_signals)
{
    setsid();
    dup2(RUN_INPUT, STDOUT_FILENO);
    dup2(RUN_INPUT, STDERR_FILENO);
    close(RUN_OUTPUT);
    close(RUN_INPUT);
    fcntl(RUN_STATUS, F_SETFD, FD_CLOEXEC);
    become_command(words, open_signals, RUN_STATUS);
}

static int run_command(char **words)
{
    sigset_t open_signals;
    pid_t command;

    write_all(RUN_STATUS, &ready, 1);
    catch_signals(&open_signals);
    command = fork();
    if (command < 0) {
        dprintf(RUN_STATUS, "cannot fork: %s", strerror(errno));
        return 127;
    }
    if (command == 0)
        become_logged_command(words, &open_signals);
    close(RUN_INPUT);
    close(RUN_STATUS);
    fcntl(RUN_OUTPUT, F_SETFL, O_RDONLY | O_NONBLOCK);
    return run_loop(command, RUN_OUTPUT, &open_signals);
}

/* Whether the command runs is told by a pipe that its execution closes. */
static void report_execution(int fd)
{
    char words[512];
    ssize_t n = read(fd, words, sizeof(words));

    close(fd);
    if (n > 0)
        write_all(TEND_STATUS, words, (size_t)n);
    else
        write_all(TEND_STATUS, &ready, 1);
    close(TEND_STATUS);
}

static int tend_command(char **words)
{
    sigset_t open_signals;
    pid_t command = -1;
    int ends[2];

    catch_signals(&open_signals);
    if (pipe2(ends, O_CLOEXEC) == 0)
        command = fork();
    if (command < 0) {
        dprintf(TEND_STATUS, "cannot fork: %s", strerror(errno));
        return 127;
    }
    if (command == 0) {
        setsid();
        ioctl(STDIN_FILENO, TIOCSCTTY, 0);
        close(TEND_STATUS);
        become_command(words, &open_signals, ends[1]);
    }
    close(ends[1]);
    report_execution(ends[0]);
    return run_loop(command, -1, &open_signals);
}

/* A change of user clears what death signal was set before. */
static int exec_command(char **words, int death_signal)
{
    char **argv = words + 2;
    int error;

    if (!take_place(words)) {
        dprintf(STDERR_FILENO, "cannot be %s in %s: %s\n", words[0], words[1], strerror(errno));
        return 126;
    }
    prctl(PR_SET_PDEATHSIG, death_signal);
    execvp(argv[0], argv);
    error = errno;
    say_failure(STDERR_FILENO, argv[0], error);
    dprintf(STDERR_FILENO, "\n");
    return error == ENOENT ? 127 : 126;
}

static int boot_command(char **words)
{
    if (access(words[2], X_OK) < 0) {
        say_failure(TEND_STATUS, words[2], errno);
        return 127;
    }
    write_all(TEND_STATUS, &ready, 1);
    close(TEND_STATUS);
    return exec_command(words, 0);
}

int main(int argc, char **argv)
{
    if (argc > CELL_INIT_WORDS && strcmp(argv[1], "run") == 0)
        return run_command(argv + 2);
    if (argc > CELL_INIT_WORDS && strcmp(argv[1], "tend") == 0)
        return tend_command(argv + 2);
    if (argc > CELL_INIT_WORDS && strcmp(argv[1], "boot") == 0)
        return boot_command(argv + 2);
    if (argc > CELL_INIT_WORDS && strcmp(argv[1], "exec") == 0)
        return exec_command(argv + 2, SIGKILL);
    return 2;
}

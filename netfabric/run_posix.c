/* run_posix: see the header. stdin, stdout and stderr are memory files, so that nothing blocks on a
 * full pipe and nothing has to be polled.
 */
#include "netfabric/run_posix.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clean.h"

static const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};

static int memory_file(const char *text)
{
    cleanup_close int fd = memfd_create("run", MFD_CLOEXEC);
    size_t left = text == NULL ? 0 : strlen(text);

    if (fd < 0)
        return -errno;
    while (left > 0) {
        ssize_t n = write(fd, text, left);

        if (n < 0)
            return -errno;
        text += n;
        left -= (size_t)n;
    }
    lseek(fd, 0, SEEK_SET);
    return steal_fd(&fd);
}

static void read_start(int fd, char *ret, size_t size)
{
    ssize_t n = pread(fd, ret, size - 1, 0);

    ret[n < 0 ? 0 : n] = '\0';
}

static int find_program(const char *name, char *ret, size_t size)
{
    static const char *const directories[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin"};

    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        snprintf(ret, size, "%s/%s", directories[i], name);
        if (access(ret, X_OK) == 0)
            return 0;
    }
    return -ENOENT;
}

/* The child gets these three descriptors and default signals. */
static int spawn(const char *path, const char *const argv[], const int stdio[3], pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int code;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    for (int i = 0; i < 3; i++)
        posix_spawn_file_actions_adddup2(&actions, stdio[i], i);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    code = posix_spawn(ret, path, &actions, &attributes, (char *const *)argv,
                       (char *const *)environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -code;
}

static const char *last_line(char *text)
{
    size_t n = strlen(text);
    char *newline;

    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    newline = strrchr(text, '\n');
    return newline == NULL ? text : newline + 1;
}

static int wait_for(pid_t pid, int *ret_status)
{
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int run_program(const char *const argv[], const char *input, char *ret_output, size_t size,
                struct err *err)
{
    cleanup_close int in = memory_file(input), out = memory_file(NULL), words = memory_file(NULL);
    char path[64], text[2048];
    int status, code;
    pid_t pid;

    if (in < 0 || out < 0 || words < 0)
        return err_set(err, -ENOMEM, "%s: no memory for its input and output", argv[0]);
    if (find_program(argv[0], path, sizeof(path)) < 0)
        return err_set(err, -ENOENT, "%s is not installed", argv[0]);
    code = spawn(path, argv, (int[3]){in, out, words}, &pid);
    if (code == 0)
        code = wait_for(pid, &status);
    if (code < 0)
        return err_set(err, code, "%s: %s", argv[0], strerror(-code));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        read_start(words, text, sizeof(text));
        return err_set(err, -EIO, "%s failed (%d): %s", argv[0],
                       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                       last_line(text));
    }
    if (ret_output != NULL)
        read_start(out, ret_output, size);
    return 0;
}

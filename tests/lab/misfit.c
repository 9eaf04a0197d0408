/* misfit: holds, for ever, one thing that CRIU cannot move, so that the look before a move has
 * something to find. Exits 3 where this kernel has no such thing.
 *
 *     misfit ptrace|mqueue|secret|mptcp|inotify|link|user|unix PATH
 *
 * `unix` connects to the socket at PATH, which another guest or the node listens on.
 */
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int trace_a_child(void)
{
    pid_t child = fork();

    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(0);
    }
    return child < 0 || waitpid(child, NULL, WUNTRACED) != child ? -1 : 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return fd < 0 ? fd : connect(fd, (struct sockaddr *)&address, sizeof(address));
}

/* A file with two names, of which the one that it was opened by is gone. */
static int lose_a_name(void)
{
    int fd = open("/tmp/first", O_RDWR | O_CREAT, 0600);

    return fd < 0 || link("/tmp/first", "/tmp/second") < 0 || unlink("/tmp/first") < 0 ? -1 : fd;
}

static int take_hold(const char *what, const char *path)
{
    if (strcmp(what, "ptrace") == 0)
        return trace_a_child();
    if (strcmp(what, "mqueue") == 0)
        return mq_open("/misfit", O_RDWR | O_CREAT, 0600, NULL);
    if (strcmp(what, "secret") == 0)
        return (int)syscall(SYS_memfd_secret, 0);
    if (strcmp(what, "mptcp") == 0) /* what Go's listeners are */
        return socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    if (strcmp(what, "inotify") == 0)
        return inotify_add_watch(inotify_init1(IN_CLOEXEC), "/bin", IN_CREATE);
    if (strcmp(what, "user") == 0) /* where root may not read its limits */
        return setuid(101);
    if (strcmp(what, "link") == 0)
        return lose_a_name();
    return connect_to(path);
}

int main(int argc, char **argv)
{
    if (argc < 2 || take_hold(argv[1], argc > 2 ? argv[2] : "") < 0) {
        perror("misfit");
        return 3;
    }
    printf("misfit: holds %s\n", argv[1]);
    fflush(stdout);
    for (;;)
        pause();
}

#include "check.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DOOR "/tmp/selfcheck.socket"

enum { MAX_CHECKS = 64, WORDS = 256 };

static const struct check *const rooms[] = {process_checks, file_checks, channel_checks,
                                            time_checks, network_checks};

const char *check_peer;
bool check_users;

/* ---- what checks use */

const char *check_wrong(const char *file, int line, const char *what)
{
    static char words[WORDS];

    snprintf(words, sizeof(words), "%s:%d: %s (%s)", file, line, what, strerror(errno));
    return words;
}

static uint8_t pattern_at(size_t at, uint32_t seed)
{
    uint32_t x = (uint32_t)at * 2654435761u ^ seed * 40503u;

    return (uint8_t)(x >> 24 ^ x >> 11);
}

void pattern_fill(uint8_t *data, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++)
        data[i] = pattern_at(i, seed);
}

bool pattern_is(const uint8_t *data, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != pattern_at(i, seed))
            return false;
    }
    return true;
}

bool pattern_write(int fd, size_t size, uint32_t seed)
{
    uint8_t *data = malloc(size);
    size_t done = 0;
    ssize_t n = 1;

    pattern_fill(data, size, seed);
    for (; done < size && n > 0; done += (size_t)n)
        n = write(fd, data + done, size - done);
    free(data);
    return n > 0;
}

bool pattern_read(int fd, size_t size, uint32_t seed)
{
    uint8_t *data = malloc(size);
    size_t done = 0;
    ssize_t n = 1;
    bool is;

    for (; done < size && n > 0; done += (size_t)n)
        n = await(fd, POLLIN) ? read(fd, data + done, size - done) : -1;
    is = n > 0 && pattern_is(data, size, seed);
    free(data);
    return is;
}

bool await(int fd, short events)
{
    struct pollfd item = {.fd = fd, .events = events};
    int r;

    do
        r = poll(&item, 1, CHECK_LIMIT_MS);
    while (r < 0 && errno == EINTR);
    return r == 1 && (item.revents & events) != 0;
}

int n_unread(int fd)
{
    int n = -1;

    return ioctl(fd, FIONREAD, &n) < 0 ? -1 : n;
}

/* ---- a check's process */

struct running {
    const struct check *check;
    int fd; /* to its process: a byte asks it to look, "" or words come back */
};

static void answer(int fd, const char *wrong)
{
    (void)!write(fd, wrong == NULL ? "" : wrong, wrong == NULL ? 1 : strlen(wrong) + 1);
}

static void run_check(const struct check *check, int fd)
{
    char byte;

    answer(fd, check->set_up());
    while (read(fd, &byte, 1) == 1 || errno == EINTR)
        answer(fd, check->look());
    _exit(0);
}

static bool start_check(const struct check *check, struct running *ret)
{
    int ends[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        run_check(check, ends[1]);
    }
    close(ends[1]);
    *ret = (struct running){check, ends[0]};
    return pid > 0;
}

/* Its answer to the last question; "" when all is well. */
static void hear(const struct running *running, char ret[WORDS])
{
    ssize_t n;

    snprintf(ret, WORDS, "it does not answer");
    if (!await(running->fd, POLLIN))
        return;
    n = read(running->fd, ret, WORDS - 1);
    if (n <= 0)
        snprintf(ret, WORDS, "its process has ended");
    else
        ret[n] = '\0';
}

/* ---- serve */

static int listen_at_door(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = DOOR};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(DOOR);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0)
        return -1;
    return fd;
}

/* All look at once; the answers come in their order. */
static void serve_one(int fd, const struct running *running, int n)
{
    char words[WORDS];
    int n_wrong = 0;

    for (int i = 0; i < n; i++)
        (void)!write(running[i].fd, "?", 1);
    for (int i = 0; i < n; i++) {
        hear(&running[i], words);
        n_wrong += words[0] != '\0';
        dprintf(fd, "%sok %d - %s%s%s\n", words[0] == '\0' ? "" : "not ", i + 1,
                running[i].check->name, words[0] == '\0' ? "" : ": ", words);
    }
    dprintf(fd, "1..%d\n", n);
}

static int serve(const char *peer)
{
    static struct running running[MAX_CHECKS];
    char words[WORDS];
    int n = 0, door;

    signal(SIGPIPE, SIG_IGN);
    check_peer = peer;
    for (size_t room = 0; room < sizeof(rooms) / sizeof(rooms[0]); room++) {
        for (const struct check *c = rooms[room]; c->name != NULL && n < MAX_CHECKS; c++) {
            if (!start_check(c, &running[n++]))
                return 1;
        }
    }
    for (int i = 0; i < n; i++) {
        hear(&running[i], words);
        if (words[0] != '\0') {
            printf("selfcheck: cannot set up %s: %s\n", running[i].check->name, words);
            return 1;
        }
    }
    door = listen_at_door();
    printf(door < 0 ? "selfcheck: cannot listen\n" : "selfcheck: ready, %d checks\n", n);
    fflush(stdout);
    while (door >= 0) {
        int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC);

        serve_one(fd, running, n);
        close(fd);
    }
    return 1;
}

/* ---- ask */

static int ask(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = DOOR};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool has_failed = false, is_whole = false;
    char line[2 * WORDS];
    FILE *answers;

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        perror("selfcheck: " DOOR);
        return 1;
    }
    answers = fdopen(fd, "r");
    while (fgets(line, sizeof(line), answers) != NULL) {
        fputs(line, stdout);
        has_failed |= strncmp(line, "not ok", 6) == 0;
        is_whole |= strncmp(line, "1..", 3) == 0;
    }
    return has_failed || !is_whole;
}

int main(int argc, char **argv)
{
    check_users = argc == 4 && strcmp(argv[3], "users") == 0;
    if ((argc == 3 || check_users) && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc == 2 && strcmp(argv[1], "ask") == 0)
        return ask();
    if (argc == 2 && strcmp(argv[1], "peer") == 0)
        return peer_main();
    fprintf(stderr, "usage: selfcheck serve PEER [users] | ask | peer\n");
    return 2;
}

/* top_run: `skein top`: asks once a second; a whole screen on a terminal, one object a line as
 * JSON, else one snapshot. Signals and keys come through one epoll descriptor, so that whatever
 * ends it, the terminal is given back as it was. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "agent/cli/run_jansson.h"
#include "agent/cli/top_jansson.h"
#include "base/clean.h"

enum { EVERY_MS = 1000, ANSWER_MS = 3000, EVENTS_MAX = 4 };

#define SCREEN_BEGIN "\x1b[?1049h\x1b[?25l"
#define SCREEN_END   "\x1b[?25h\x1b[?1049l"

struct top {
    struct run *run;
    bool is_screen; /* on a terminal; else lines of JSON, a list of YAML */
    bool has_keys;  /* stdin is that terminal too */
    struct termios before;
    int signal_fd, wake_fd;
    json_t *newest; /* owned; NULL = none yet */
    char trouble[256];
    long long asked_ms, next_ms;
    bool is_asked, is_over;
};

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the terminal */

static void draw(struct top *top)
{
    struct winsize window = {0};
    struct top_look look = {.colours = top->run->colours,
                            .trouble = top->trouble[0] != '\0' ? top->trouble : NULL};
    cleanup_free char *text = NULL;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0) {
        look.width = window.ws_col;
        look.height = window.ws_row > 1 ? window.ws_row - 1u : 1u;
    }
    text = top_render(top->newest, &look);
    fputs("\x1b[H", stdout);
    for (const char *line = text; line != NULL && *line != '\0';) {
        size_t n = strcspn(line, "\n");

        fprintf(stdout, "%.*s\x1b[K\r\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
    fputs("\x1b[J", stdout);
    fflush(stdout);
}

static void terminal_begin(struct top *top)
{
    struct termios raw;

    if (!top->is_screen)
        return;
    top->has_keys = tcgetattr(STDIN_FILENO, &top->before) == 0;
    if (top->has_keys) {
        raw = top->before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* nobody would give the terminal back */
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
    }
    fputs(SCREEN_BEGIN, stdout);
    fflush(stdout);
}

static void terminal_end(const struct top *top)
{
    if (!top->is_screen)
        return;
    fputs(SCREEN_END, stdout);
    fflush(stdout);
    if (top->has_keys)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &top->before);
}

/* ---- what wakes it */

static int wake_open(struct top *top, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    top->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    top->wake_fd = epoll_create1(EPOLL_CLOEXEC);
    event.data.fd = top->signal_fd;
    if (top->signal_fd < 0 || top->wake_fd < 0 ||
        epoll_ctl(top->wake_fd, EPOLL_CTL_ADD, top->signal_fd, &event) < 0)
        return err_set(err, -errno, "cannot wait for signals: %s", strerror(errno));
    event.data.fd = STDIN_FILENO;
    if (top->has_keys)
        epoll_ctl(top->wake_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    return 0;
}

static void wake_close(struct top *top)
{
    if (top->signal_fd >= 0)
        close(top->signal_fd);
    if (top->wake_fd >= 0)
        close(top->wake_fd);
}

static void take_signals(struct top *top)
{
    struct signalfd_siginfo info;

    while (read(top->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGWINCH)
            top->is_over = true;
        else if (top->is_screen)
            draw(top);
    }
}

static void take_keys(struct top *top)
{
    char keys[64];
    ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

    if (n <= 0 && errno != EINTR)
        top->is_over = true; /* the terminal is gone */
    for (ssize_t i = 0; i < n; i++)
        top->is_over = top->is_over || keys[i] == 'q' || keys[i] == 'Q';
}

static void woken(struct top *top)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(top->wake_fd, events, EVENTS_MAX, 0);

    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == top->signal_fd)
            take_signals(top);
        else
            take_keys(top);
    }
}

/* ---- asking */

static void trouble(struct top *top, const char *text)
{
    snprintf(top->trouble, sizeof(top->trouble), "%s", text);
    if (top->is_screen)
        draw(top);
    else
        fprintf(stderr, "skein: top: %s\n", text);
}

static void take_answer(struct top *top, const json_t *answer)
{
    const char *text = json_string_value(json_object_get(json_object_get(answer, "error"), "text"));

    top->is_asked = false;
    top->next_ms = top->asked_ms + EVERY_MS;
    if (!json_is_true(json_object_get(answer, "ok"))) {
        trouble(top, text != NULL ? text : "skeind gave no reason");
        return;
    }
    json_decref(top->newest);
    top->newest = json_incref(json_object_get(answer, "result"));
    text = json_string_value(json_object_get(answer, "warning"));
    snprintf(top->trouble, sizeof(top->trouble), "%s", text != NULL ? text : "");
    if (top->is_screen) {
        draw(top);
    } else {
        cleanup_free char *line = show_record(top->run->format, top->newest, NULL);

        if (fputs(line != NULL ? line : "", stdout) < 0 || fflush(stdout) != 0)
            top->is_over = true;
    }
}

static int ask_when_due(struct top *top, long long now, struct err *err)
{
    char text[96];

    if (top->is_asked && now >= top->asked_ms + ANSWER_MS) {
        top->is_asked = false;
        top->next_ms = now;
        snprintf(text, sizeof(text), "skeind gave no answer for %d ms; this is what it was then",
                 ANSWER_MS);
        trouble(top, text);
    }
    if (top->is_asked || now < top->next_ms)
        return 0;
    top->is_asked = true;
    top->asked_ms = now;
    return client_send(top->run->client, "top", NULL, NULL, 0, err);
}

static int turn(struct top *top, struct err *err)
{
    struct client_message message;
    long long now = now_ms(), until;
    int rc = ask_when_due(top, now, err);

    if (rc < 0)
        return rc;
    until = top->is_asked ? top->asked_ms + ANSWER_MS : top->next_ms;
    rc = client_receive(top->run->client, until > now ? (int)(until - now) : 0, top->wake_fd,
                        &message, err);
    if (rc == -EAGAIN)
        woken(top);
    if (rc == -ECONNRESET && top->is_asked) { /* the next skeind is asked when its turn comes */
        top->is_asked = false;
        top->next_ms = now_ms() + EVERY_MS;
        trouble(top, "skeind was restarted; this is what it was before");
    }
    if (rc == -EAGAIN || rc == -ETIMEDOUT || rc == -ECONNRESET)
        return 0;
    if (rc < 0)
        return rc;
    if (json_object_get(message.json, "ok") != NULL)
        take_answer(top, message.json);
    client_message_deinit(&message);
    return 0;
}

static int follow(struct run *run)
{
    struct top top = {.run = run, .is_screen = run->format == SHOW_TABLE, .signal_fd = -1, .wake_fd = -1};
    struct err err = {0};
    int rc;

    terminal_begin(&top);
    rc = wake_open(&top, &err);
    while (rc == 0 && !top.is_over)
        rc = turn(&top, &err);
    terminal_end(&top);
    wake_close(&top);
    json_decref(top.newest);
    return rc < 0 ? run_error(run, rc, &err) : EXIT_DONE;
}

static int once(struct run *run)
{
    struct top_look look = {.colours = run->colours};
    struct winsize window = {0};
    json_t *answer;
    int rc = run_ask(run, "top", NULL, NULL, 0, &answer);

    if (answer == NULL)
        return rc;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0)
        look.width = window.ws_col;
    if (!json_is_true(json_object_get(answer, "ok"))) {
        rc = run_refusal(run, answer);
    } else {
        const json_t *result = json_object_get(answer, "result");
        const char *warning = json_string_value(json_object_get(answer, "warning"));
        cleanup_free char *text = run->format != SHOW_TABLE
                                      ? show_record(run->format, result, NULL)
                                      : top_render(result, &look);

        fputs(text != NULL ? text : "", stdout);
        if (warning != NULL)
            fprintf(stderr, "skein: warning: %s\n", warning);
    }
    json_decref(answer);
    return rc;
}

int run_top(struct run *run)
{
    bool is_once =
        args_find(run->args, "once") != NULL ||
        (run->format == SHOW_TABLE && !isatty(STDOUT_FILENO));

    if (run->format == SHOW_CSV) {
        fputs("skein: wrong usage: top: it is no list of rows; as csv there are node list and guest "
              "list\n",
              stderr);
        return EXIT_USAGE;
    }
    return is_once ? once(run) : follow(run);
}

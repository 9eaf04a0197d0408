/* node-init: pid 1 of a lab node. Reaps orphans, and starts a node's services in order and keeps
 * them running. It stands in for a board's init; a board uses systemd (deploy/systemd).
 *
 * Its list (argument 1) holds one step a line, words separated by blanks, without quoting:
 *     once NAME CMD ARG...   run CMD to its end
 *     keep NAME CMD ARG...   start CMD, start it again whenever it ends
 *     wait PATH              go on when PATH exists (or after WAIT_LIMIT_MS, with a word in the
 * log) Output goes to /var/log/NAME.log, process ids to /run/node/NAME.pid; when the list is
 * through /run/node/ready appears. A service that ends with EXIT_RESTART, or that had run for a
 * while, starts again at once; one that keeps ending quickly waits longer each time, up to
 * BACKOFF_MAX_MS.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_STEPS = 16,
    MAX_WORDS = 24,
    EXIT_RESTART = 75, /* "start me again": not a failure */
    POLL_MS = 5,       /* while something is waited for */
    WAIT_LIMIT_MS = 30000,
    STEADY_MS = 1000, /* a service that ran this long is no crash loop */
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 2000,
};

enum step_kind { STEP_ONCE, STEP_KEEP, STEP_WAIT };

struct step {
    enum step_kind kind;
    const char *name;      /* or the path of STEP_WAIT */
    char *argv[MAX_WORDS]; /* NULL-terminated */
    pid_t pid;             /* 0 = not running */
    uint64_t started_ms;
    uint64_t due_ms; /* of the next start, while not running and begun */
    uint32_t backoff_ms;
    bool begun;
};

struct node {
    struct step steps[MAX_STEPS];
    int n_steps;
    int next; /* step to begin */
    uint64_t next_since_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("[%llu] ", (unsigned long long)now_ms());
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static void write_file(const char *path, long value)
{
    FILE *f = fopen(path, "w");

    if (!f)
        return;
    fprintf(f, "%ld\n", value);
    fclose(f);
}

/* False when the line is no step. `line` is kept: the step points into it. */
static bool step_parse(char *line, struct step *step)
{
    char *save = NULL;
    char *kind = strtok_r(line, " \t\n", &save);
    int n = 0;

    step->name = strtok_r(NULL, " \t\n", &save);
    if (!kind || !step->name)
        return false;
    while (n < MAX_WORDS - 1 && (step->argv[n] = strtok_r(NULL, " \t\n", &save)))
        n++;
    if (!strcmp(kind, "wait"))
        step->kind = STEP_WAIT;
    else if (!strcmp(kind, "once"))
        step->kind = STEP_ONCE;
    else if (!strcmp(kind, "keep"))
        step->kind = STEP_KEEP;
    else
        return false;
    return step->kind == STEP_WAIT || n > 0;
}

static void node_load(struct node *node, const char *path)
{
    char line[1024];
    FILE *f = fopen(path, "r");

    if (!f) {
        note("cannot read %s: %s", path, strerror(errno));
        return;
    }
    while (node->n_steps < MAX_STEPS && fgets(line, sizeof(line), f)) {
        char *kept = strdup(line);

        if (kept && step_parse(kept, &node->steps[node->n_steps]))
            node->n_steps++;
        else
            free(kept);
    }
    fclose(f);
}

/* In the child: stdio to the log, no signal mask, a session of its own. Does not return. */
static void step_exec(const struct step *step)
{
    char log[128];
    sigset_t none;
    int in, out;

    snprintf(log, sizeof(log), "/var/log/%s.log", step->name);
    in = open("/dev/null", O_RDONLY);
    out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(127);
    close_range(3, ~0U, 0);
    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(step->argv[0], step->argv);
    dprintf(2, "cannot run %s: %s\n", step->argv[0], strerror(errno));
    _exit(127);
}

static void step_start(struct step *step)
{
    char path[128];
    pid_t pid = fork();

    if (pid == 0)
        step_exec(step);
    step->begun = true;
    step->started_ms = now_ms();
    if (pid < 0) {
        step->due_ms = step->started_ms + BACKOFF_MAX_MS;
        return;
    }
    step->pid = pid;
    snprintf(path, sizeof(path), "/run/node/%s.pid", step->name);
    write_file(path, pid);
}

/* How long a service that ended waits for its next start. */
static uint32_t step_pause_ms(struct step *step, int status, uint64_t ran_ms)
{
    uint32_t pause_ms;

    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_RESTART)
        return ran_ms < BACKOFF_MIN_MS ? BACKOFF_MIN_MS : 0;
    if (ran_ms >= STEADY_MS)
        step->backoff_ms = 0;
    pause_ms = step->backoff_ms;
    step->backoff_ms = pause_ms ? pause_ms * 2 : BACKOFF_MIN_MS;
    if (step->backoff_ms > BACKOFF_MAX_MS)
        step->backoff_ms = BACKOFF_MAX_MS;
    return pause_ms;
}

static void step_ended(struct step *step, int status)
{
    char path[128];
    uint64_t now = now_ms();

    step->pid = 0;
    snprintf(path, sizeof(path), "/run/node/%s.pid", step->name);
    unlink(path);
    if (WIFSIGNALED(status))
        note("%s was killed by signal %d", step->name, WTERMSIG(status));
    else if (step->kind == STEP_KEEP || WEXITSTATUS(status) != 0)
        note("%s ended with %d", step->name, WEXITSTATUS(status));
    step->due_ms = now + step_pause_ms(step, status, now - step->started_ms);
}

static void node_reap(struct node *node)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (int i = 0; i < node->n_steps; i++)
            if (node->steps[i].pid == pid)
                step_ended(&node->steps[i], status);
}

static bool step_is_through(const struct step *step, uint64_t since_ms)
{
    if (step->kind == STEP_ONCE)
        return step->begun && step->pid == 0;
    if (step->kind == STEP_KEEP)
        return step->begun;
    if (access(step->name, F_OK) == 0)
        return true;
    if (now_ms() - since_ms < WAIT_LIMIT_MS)
        return false;
    note("%s did not appear within %d ms, going on", step->name, WAIT_LIMIT_MS);
    return true;
}

/* Begins what is to begin next, as far as that goes without waiting. */
static void node_advance(struct node *node)
{
    while (node->next < node->n_steps) {
        struct step *step = &node->steps[node->next];

        if (node->next_since_ms == 0)
            node->next_since_ms = now_ms();
        if (step->kind != STEP_WAIT && !step->begun)
            step_start(step);
        if (!step_is_through(step, node->next_since_ms))
            return;
        node->next_since_ms = 0;
        if (++node->next == node->n_steps)
            write_file("/run/node/ready", (long)now_ms());
    }
}

/* Starts again what is due; returns for how long there is nothing to do. */
static int node_restart(struct node *node)
{
    int wait_ms = node->next < node->n_steps ? POLL_MS : 60000;

    for (int i = 0; i < node->n_steps; i++) {
        struct step *step = &node->steps[i];
        uint64_t now = now_ms();

        if (step->kind != STEP_KEEP || !step->begun || step->pid)
            continue;
        if (step->due_ms <= now)
            step_start(step);
        else if (step->due_ms - now < (uint64_t)wait_ms)
            wait_ms = (int)(step->due_ms - now);
    }
    return wait_ms;
}

int main(int argc, char **argv)
{
    static struct node node;
    sigset_t child;

    close_range(3, ~0U, 0);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    if (argc != 2) {
        fprintf(stderr, "usage: node-init LIST\n");
        return 2;
    }
    node_load(&node, argv[1]);
    for (;;) {
        int wait_ms;
        struct timespec t;

        node_reap(&node);
        node_advance(&node);
        wait_ms = node_restart(&node);
        t = (struct timespec){wait_ms / 1000, wait_ms % 1000 * 1000000L};
        sigtimedwait(&child, NULL, &t);
    }
}

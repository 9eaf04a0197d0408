/* Processes, threads, memory, signals. */
#include "check.h"

#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- threads: some wait for a condition, one computes */

enum { N_WAITING = 3 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked = PTHREAD_COND_INITIALIZER, answered = PTHREAD_COND_INITIALIZER;
static unsigned question, n_answers, n_changed;
static volatile unsigned long n_turns;
static volatile bool is_miscounted;
static _Thread_local int own;

static void *wait_for_questions(void *argument)
{
    unsigned seen = 0;
    pid_t tid = gettid();
    char name[16];

    own = (int)(intptr_t)argument;
    pthread_setname_np(pthread_self(), "waiting");
    pthread_mutex_lock(&lock);
    for (;;) {
        while (question == seen)
            pthread_cond_wait(&asked, &lock);
        seen = question;
        prctl(PR_GET_NAME, name);
        n_changed += own != (int)(intptr_t)argument || tid != gettid() || strcmp(name, "waiting");
        n_answers++;
        pthread_cond_signal(&answered);
    }
    return NULL;
}

static void *compute(void *unused)
{
    double sum = 0, step = 0.5;

    (void)unused;
    for (n_turns = 0;; n_turns++) {
        if (sum != (double)n_turns * 0.5)
            is_miscounted = true;
        sum += step;
        if (n_turns % 1000 == 0)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

static const char *threads_set_up(void)
{
    pthread_t thread;

    for (intptr_t i = 0; i < N_WAITING; i++)
        NEED(pthread_create(&thread, NULL, wait_for_questions, (void *)(100 + i)) == 0);
    NEED(pthread_create(&thread, NULL, compute, NULL) == 0);
    return NULL;
}

static const char *threads_look(void)
{
    unsigned long turns = n_turns;
    struct timespec end;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += CHECK_LIMIT_MS / 1000 / 2;
    pthread_mutex_lock(&lock);
    question++;
    n_answers = 0;
    pthread_cond_broadcast(&asked);
    while (n_answers < N_WAITING && r == 0)
        r = pthread_cond_timedwait(&answered, &lock, &end);
    pthread_mutex_unlock(&lock);
    NEED(n_answers == N_WAITING);
    NEED(n_changed == 0);
    for (int i = 0; i < 1000 && n_turns == turns; i++)
        usleep(5000);
    NEED(n_turns != turns);
    NEED(!is_miscounted);
    return NULL;
}

/* ---- children: one that waits, one that has ended and was not asked for */

static pid_t child, zombie;
static int to_child[2], from_child[2];

static const char *children_set_up(void)
{
    siginfo_t info;
    char byte;

    NEED(pipe(to_child) == 0 && pipe(from_child) == 0);
    child = fork();
    if (child == 0) {
        setsid();
        close(to_child[1]);
        while (read(to_child[0], &byte, 1) == 1)
            (void)!write(from_child[1], &(pid_t){getppid()}, sizeof(pid_t));
        _exit(11);
    }
    zombie = fork();
    if (zombie == 0)
        _exit(7);
    NEED(child > 0 && zombie > 0);
    close(to_child[0]);
    close(from_child[1]);
    NEED(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT) == 0);
    NEED(write(to_child[1], "", 1) == 1);
    NEED(read(from_child[0], &(pid_t){0}, sizeof(pid_t)) == sizeof(pid_t));
    return NULL;
}

static const char *children_look(void)
{
    pid_t parent = 0;
    int status;

    NEED(waitpid(child, &status, WNOHANG) == 0);
    NEED(getsid(child) == child && getpgid(child) == child);
    NEED(write(to_child[1], "", 1) == 1);
    NEED(await(from_child[0], 1) && read(from_child[0], &parent, sizeof(parent)) > 0);
    NEED(parent == getpid());
    NEED(waitpid(zombie, &status, WNOHANG) == zombie && WEXITSTATUS(status) == 7);
    close(to_child[1]);
    NEED(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 11);
    close(from_child[0]);
    return children_set_up();
}

/* ---- what a process is */

static const char *attributes_set_up(void)
{
    struct rlimit limit = {64, 100};

    NEED(mkdir("/tmp/here", 0700) == 0 && chdir("/tmp/here") == 0);
    umask(027);
    NEED(prctl(PR_SET_NAME, "attributes") == 0);
    NEED(prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
    NEED(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    NEED(setpriority(PRIO_PROCESS, 0, 5) == 0);
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    NEED(setenv("ATTRIBUTE", "as it was", 1) == 0);
    return NULL;
}

static const char *attributes_look(void)
{
    struct rlimit limit = {0};
    char text[64] = "";
    int signal = 0, subreaper = 0;
    mode_t mask = umask(027);

    NEED(mask == 027);
    NEED(getcwd(text, sizeof(text)) != NULL && strcmp(text, "/tmp/here") == 0);
    NEED(prctl(PR_GET_NAME, text) == 0 && strcmp(text, "attributes") == 0);
    NEED(prctl(PR_GET_PDEATHSIG, &signal) == 0 && signal == SIGUSR2);
    NEED(prctl(PR_GET_CHILD_SUBREAPER, &subreaper) == 0 && subreaper == 1);
    NEED(getpriority(PRIO_PROCESS, 0) == 5);
    NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    NEED(limit.rlim_cur == 64 && limit.rlim_max == 100);
    NEED(strcmp(getenv("ATTRIBUTE"), "as it was") == 0);
    return NULL;
}

static const char *credentials_set_up(void)
{
    const gid_t groups[] = {12, 34};

    NEED(setgroups(2, groups) == 0);
    if (!check_users)
        return NULL;
    NEED(setresgid(1, 2, 3) == 0);
    NEED(setresuid(101, 102, 103) == 0);
    return NULL;
}

static const char *credentials_look(void)
{
    gid_t groups[4], real, effective, saved;
    uid_t user[3];

    NEED(getgroups(4, groups) == 2 && groups[0] == 12 && groups[1] == 34);
    if (!check_users)
        return NULL;
    NEED(getresgid(&real, &effective, &saved) == 0 && real == 1 && effective == 2 && saved == 3);
    NEED(getresuid(&user[0], &user[1], &user[2]) == 0);
    NEED(user[0] == 101 && user[1] == 102 && user[2] == 103);
    return NULL;
}

/* ---- memory: every page, holes, protections */

enum { PAGE = 4096, N_PAGES = 24 * 256, HOLE = 100, FORBIDDEN = 8, NOISE = 4 };

static uint8_t *memory, *forbidden;
static uint32_t generation;
static sigjmp_buf back;

/* One page in NOISE is what no packer makes smaller. */
static void write_pages(void)
{
    generation++;
    for (uint32_t i = 0; i < N_PAGES; i++) {
        if (i % HOLE == 0)
            continue;
        pattern_fill(memory + (size_t)i * PAGE, i % NOISE == 0 ? PAGE : 64, i * 31 + generation);
    }
}

static const char *memory_set_up(void)
{
    memory = mmap(NULL, (size_t)N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);
    forbidden =
        mmap(NULL, FORBIDDEN * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(memory != MAP_FAILED && forbidden != MAP_FAILED);
    write_pages();
    pattern_fill(forbidden, FORBIDDEN * PAGE, 9);
    NEED(mprotect(forbidden, FORBIDDEN * PAGE, PROT_READ) == 0);
    NEED(mprotect(forbidden, PAGE, PROT_NONE) == 0);
    return NULL;
}

static void on_fault(int signal)
{
    siglongjmp(back, signal);
}

static bool faults(volatile uint8_t *at, bool writes)
{
    bool did = sigsetjmp(back, 1) != 0;

    signal(SIGSEGV, did ? SIG_DFL : on_fault);
    if (!did && writes)
        *at = 1;
    else if (!did)
        (void)*at;
    signal(SIGSEGV, SIG_DFL);
    return did;
}

static const char *memory_look(void)
{
    for (uint32_t i = 0; i < N_PAGES; i++) {
        const uint8_t *page = memory + (size_t)i * PAGE;

        if (i % HOLE == 0)
            NEED(page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0);
        else
            NEED(pattern_is(page, i % NOISE == 0 ? PAGE : 64, i * 31 + generation));
    }
    NEED(pattern_is(forbidden + PAGE, PAGE, 9) == false); /* another page's pattern */
    NEED(faults(forbidden, false));
    NEED(faults(forbidden + PAGE, true));
    NEED(!faults(forbidden + PAGE, false));
    NEED(mprotect(forbidden, PAGE, PROT_READ) == 0);
    NEED(pattern_is(forbidden, FORBIDDEN * PAGE, 9));
    NEED(mprotect(forbidden, PAGE, PROT_NONE) == 0);
    write_pages();
    return NULL;
}

/* ---- signals: pending with their values, masks, handlers, a stack of their own */

static char alternate[65536];
static volatile bool was_on_alternate;

static void on_usr2(int signal)
{
    char here;

    (void)signal;
    was_on_alternate = &here >= alternate && &here < alternate + sizeof(alternate);
}

static const char *queue_signals(void)
{
    for (int value = 1; value <= 3; value++)
        NEED(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 40 + value}) == 0);
    NEED(kill(getpid(), SIGUSR1) == 0);
    return NULL;
}

static const char *signals_set_up(void)
{
    struct sigaction action = {.sa_handler = on_usr2, .sa_flags = SA_ONSTACK | SA_RESTART};
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    sigset_t blocked;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGRTMIN + 1);
    sigaddset(&action.sa_mask, SIGHUP);
    NEED(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
    NEED(sigaltstack(&stack, NULL) == 0 && sigaction(SIGUSR2, &action, NULL) == 0);
    NEED(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    return queue_signals();
}

static const char *signals_look(void)
{
    struct timespec none = {0};
    struct sigaction action;
    siginfo_t info;
    sigset_t set;

    NEED(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
    NEED(sigismember(&set, SIGUSR1) && sigismember(&set, SIGRTMIN + 1) &&
         !sigismember(&set, SIGUSR2));
    NEED(sigaction(SIGUSR2, NULL, &action) == 0 && action.sa_handler == on_usr2);
    NEED((action.sa_flags & (SA_ONSTACK | SA_RESTART)) == (SA_ONSTACK | SA_RESTART));
    NEED(sigismember(&action.sa_mask, SIGHUP));
    NEED(sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
    was_on_alternate = false;
    raise(SIGUSR2);
    NEED(was_on_alternate);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    for (int value = 1; value <= 3; value++) {
        NEED(sigtimedwait(&set, &info, &none) == SIGRTMIN + 1);
        NEED(info.si_code == SI_QUEUE && info.si_value.sival_int == 40 + value);
    }
    NEED(sigtimedwait(&set, &info, &none) < 0);
    sigaddset(&set, SIGUSR1);
    NEED(sigtimedwait(&set, &info, &none) == SIGUSR1 && info.si_pid == getpid());
    return queue_signals();
}

const struct check process_checks[] = {
    {"threads", threads_set_up, threads_look},
    {"children, one of them ended", children_set_up, children_look},
    {"directory, mask, limits, names", attributes_set_up, attributes_look},
    {"users and groups", credentials_set_up, credentials_look},
    {"24 MiB, page by page", memory_set_up, memory_look},
    {"signals", signals_set_up, signals_look},
    {0},
};

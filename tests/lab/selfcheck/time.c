/* Timers and clocks. */
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { FAST_NS = 5 * 1000 * 1000 };

static const struct itimerspec fast = {{0, FAST_NS}, {0, FAST_NS}};

/* Runs out again, twice, from now on. */
static const char *goes_on(int fd)
{
    uint64_t n;

    for (int i = 0; i < 2; i++)
        NEED(await(fd, POLLIN) && read(fd, &n, sizeof(n)) == sizeof(n) && n > 0);
    return NULL;
}

/* ---- timerfd: read all the time, and never since it first ran out */

static int unread, unread_real, once, later;

static const char *descriptors_set_up(void)
{
    struct itimerspec soon = {{0, 0}, {0, FAST_NS}}, far = {{0, 0}, {100000, 0}};

    unread = timerfd_create(CLOCK_MONOTONIC, 0);
    unread_real = timerfd_create(CLOCK_REALTIME, 0);
    once = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    later = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    NEED(timerfd_settime(unread, 0, &fast, NULL) == 0);
    NEED(timerfd_settime(unread_real, 0, &fast, NULL) == 0);
    NEED(timerfd_settime(once, 0, &soon, NULL) == 0 && await(once, POLLIN));
    NEED(timerfd_settime(later, 0, &far, NULL) == 0);
    NEED(await(unread, POLLIN) && await(unread_real, POLLIN));
    return NULL;
}

static const char *descriptors_look(void)
{
    struct itimerspec soon = {{0, 0}, {0, FAST_NS}}, rest;
    uint64_t n = 0;

    NEED_NONE(goes_on(unread));
    NEED_NONE(goes_on(unread_real));
    NEED(timerfd_gettime(unread, &rest) == 0 && rest.it_interval.tv_nsec == FAST_NS);
    NEED(await(unread, POLLIN) && await(unread_real, POLLIN));
    NEED(read(once, &n, sizeof(n)) == sizeof(n) && n == 1);
    NEED(timerfd_settime(once, 0, &soon, NULL) == 0 && await(once, POLLIN));
    NEED(timerfd_gettime(later, &rest) == 0);
    NEED(rest.it_value.tv_sec > 90000 && rest.it_value.tv_sec < 100000);
    return NULL;
}

/* ---- POSIX timers */

static timer_t periodic, silent;
static volatile sig_atomic_t n_fired;
static volatile int carried;

static void on_timer(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    carried = info->si_value.sival_int;
    n_fired++;
}

static const char *posix_set_up(void)
{
    struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent by_signal = {
        .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2, .sigev_value.sival_int = 99};
    struct sigevent by_nothing = {.sigev_notify = SIGEV_NONE};
    struct itimerspec far = {{0, 0}, {100000, 0}};

    NEED(sigaction(SIGRTMIN + 2, &action, NULL) == 0);
    NEED(timer_create(CLOCK_MONOTONIC, &by_signal, &periodic) == 0);
    NEED(timer_create(CLOCK_REALTIME, &by_nothing, &silent) == 0);
    NEED(timer_settime(periodic, 0, &fast, NULL) == 0);
    NEED(timer_settime(silent, 0, &far, NULL) == 0);
    return NULL;
}

static const char *posix_look(void)
{
    sig_atomic_t before = n_fired;
    struct itimerspec rest;

    for (int i = 0; i < 1000 && n_fired < before + 3; i++)
        usleep(FAST_NS / 1000);
    NEED(n_fired >= before + 3 && carried == 99);
    NEED(timer_gettime(periodic, &rest) == 0 && rest.it_interval.tv_nsec == FAST_NS);
    NEED(timer_gettime(silent, &rest) == 0);
    NEED(rest.it_value.tv_sec > 90000 && rest.it_value.tv_sec < 100000);
    return NULL;
}

/* ---- interval timers, an alarm */

static volatile sig_atomic_t n_real;

static void on_real(int signal)
{
    (void)signal;
    n_real++;
}

static const char *intervals_set_up(void)
{
    struct itimerval real = {{0, 5000}, {0, 5000}}, virtual = {{7000, 0}, {7000, 0}};
    struct sigaction action = {.sa_handler = on_real, .sa_flags = SA_RESTART};

    NEED(sigaction(SIGALRM, &action, NULL) == 0);
    NEED(setitimer(ITIMER_REAL, &real, NULL) == 0);
    NEED(setitimer(ITIMER_VIRTUAL, &virtual, NULL) == 0);
    return NULL;
}

static const char *intervals_look(void)
{
    sig_atomic_t before = n_real;
    struct itimerval rest;

    for (int i = 0; i < 1000 && n_real < before + 3; i++)
        usleep(5000);
    NEED(n_real >= before + 3);
    NEED(getitimer(ITIMER_REAL, &rest) == 0 && rest.it_interval.tv_usec == 5000);
    NEED(getitimer(ITIMER_VIRTUAL, &rest) == 0 && rest.it_interval.tv_sec == 7000);
    NEED(rest.it_value.tv_sec > 6000);
    return NULL;
}

static const char *alarm_set_up(void)
{
    NEED(alarm(10000) == 0);
    return NULL;
}

static const char *alarm_look(void)
{
    unsigned rest = alarm(10000);

    NEED(rest > 9000 && rest <= 10000);
    return NULL;
}

/* ---- clocks: forward, and never far */

static struct timespec monotonic, boot;

static const char *clocks_set_up(void)
{
    NEED(clock_gettime(CLOCK_MONOTONIC, &monotonic) == 0);
    NEED(clock_gettime(CLOCK_BOOTTIME, &boot) == 0);
    return NULL;
}

static bool is_soon_after(const struct timespec *a, const struct timespec *b)
{
    return b->tv_sec >= a->tv_sec && b->tv_sec < a->tv_sec + 600;
}

static const char *clocks_look(void)
{
    struct timespec old_monotonic = monotonic, old_boot = boot;

    NEED_NONE(clocks_set_up());
    NEED(is_soon_after(&old_monotonic, &monotonic) && is_soon_after(&old_boot, &boot));
    return NULL;
}

const struct check time_checks[] = {
    {"timerfd, read and unread", descriptors_set_up, descriptors_look},
    {"POSIX timers", posix_set_up, posix_look},
    {"interval timers", intervals_set_up, intervals_look},
    {"an alarm", alarm_set_up, alarm_look},
    {"clocks", clocks_set_up, clocks_look},
    {0},
};

/* stamp: says every tick that it runs, and hears who says so. It shows from outside whether two
 * copies of a guest were ever heard at once, and how long a copy stood still.
 *
 *     stamp send ADDRESS PORT TICK_MS [FILE]   a stamp a tick by UDP, and as a line into FILE
 *     stamp hear PORT [LOGFILE]                logs what arrives
 *
 * A stamp is a line "INCARNATION SEQUENCE SENT_MS": a random number made at the start, counted
 * from 1, CLOCK_REALTIME. The hearer logs, each line after its own CLOCK_REALTIME in ms:
 *
 *     new INCARNATION sequence=N sent=MS       an incarnation that was not heard before
 *     old INCARNATION sequence=N sent=MS       a newer one had followed already: two copies
 *     still INCARNATION sequence=N ms=M        it did not tick for M ms, by its own clock
 *     silence INCARNATION sequence=N ms=M      nothing arrived for M ms, then it went on
 *     missing INCARNATION sequence=N n=K       K stamps before this one did not arrive
 *     heard INCARNATION sequence=N             once a second
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_INCARNATIONS = 4096,
    STAMP_SIZE = 96,
    STILL_MS = 20,   /* shorter pauses are the scheduler's */
    SILENCE_MS = 50, /* likewise, and the network's */
};

struct stamp {
    uint64_t incarnation;
    uint64_t sequence;
    double sent_ms;
};

struct hearer {
    uint64_t
        known[MAX_INCARNATIONS]; /* in the order of their first stamps; the last one is current */
    int n_known;
    struct stamp last; /* of the current one */
    double arrived_ms, reported_ms;
};

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void fail(const char *what)
{
    fprintf(stderr, "stamp: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint16_t port_of(const char *text)
{
    int port = atoi(text);

    if (port < 1 || port > 65535) {
        fprintf(stderr, "stamp: no such port: %s\n", text);
        exit(2);
    }
    return (uint16_t)port;
}

/* The next tick is counted from the one before, not from now; what was missed is not made up. */
static void wait_tick(struct timespec *next, long tick_ms)
{
    struct timespec now;

    next->tv_nsec += tick_ms * 1000000L;
    next->tv_sec += next->tv_nsec / 1000000000L;
    next->tv_nsec %= 1000000000L;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > next->tv_sec || (now.tv_sec == next->tv_sec && now.tv_nsec > next->tv_nsec))
        *next = now;
    else
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR)
            continue;
}

static void send_stamps(const struct sockaddr_in *to, long tick_ms, FILE *file)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct stamp stamp = {0};
    struct timespec next;

    if (fd < 0 || getrandom(&stamp.incarnation, sizeof(stamp.incarnation), 0) < 0)
        fail("cannot begin");
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (;;) {
        char text[STAMP_SIZE];
        int size;

        stamp.sequence++;
        size = snprintf(text, sizeof(text), "%016" PRIx64 " %" PRIu64 " %.3f\n", stamp.incarnation,
                        stamp.sequence, now_ms());
        /* It is no matter whether it gets away: the port is down while a lease is over. */
        (void)!sendto(fd, text, (size_t)size, MSG_DONTWAIT, (const struct sockaddr *)to,
                      sizeof(*to));
        if (file != NULL && (fputs(text, file) < 0 || fflush(file) != 0))
            fail("cannot write stamps");
        wait_tick(&next, tick_ms);
    }
}

static void note(const struct hearer *hearer, const char *what, const struct stamp *stamp)
{
    printf("%.3f %s %016" PRIx64 " sequence=%" PRIu64, hearer->arrived_ms, what, stamp->incarnation,
           stamp->sequence);
}

static bool is_known(const struct hearer *hearer, uint64_t incarnation)
{
    for (int i = 0; i < hearer->n_known; i++)
        if (hearer->known[i] == incarnation)
            return true;
    return false;
}

static void hear_new(struct hearer *hearer, const struct stamp *stamp)
{
    if (hearer->n_known == MAX_INCARNATIONS) {
        fprintf(stderr, "stamp: more than %d incarnations\n", MAX_INCARNATIONS);
        exit(1);
    }
    hearer->known[hearer->n_known++] = stamp->incarnation;
    note(hearer, "new", stamp);
    printf(" sent=%.3f\n", stamp->sent_ms);
}

static void hear_next(struct hearer *hearer, const struct stamp *stamp, double before_ms)
{
    const struct stamp *last = &hearer->last;

    if (stamp->sequence != last->sequence + 1) {
        note(hearer, "missing", stamp);
        printf(" n=%" PRId64 "\n", (int64_t)(stamp->sequence - last->sequence) - 1);
    } else if (stamp->sent_ms - last->sent_ms >= STILL_MS) {
        note(hearer, "still", stamp);
        printf(" ms=%.1f\n", stamp->sent_ms - last->sent_ms);
    }
    if (hearer->arrived_ms - before_ms >= SILENCE_MS) {
        note(hearer, "silence", stamp);
        printf(" ms=%.1f\n", hearer->arrived_ms - before_ms);
    }
}

static void hear(struct hearer *hearer, const struct stamp *stamp)
{
    double before_ms = hearer->arrived_ms;

    hearer->arrived_ms = now_ms();
    if (hearer->n_known > 0 && stamp->incarnation == hearer->last.incarnation) {
        hear_next(hearer, stamp, before_ms);
    } else if (is_known(hearer, stamp->incarnation)) {
        note(hearer, "old", stamp);
        printf(" sent=%.3f\n", stamp->sent_ms);
        fflush(stdout);
        return; /* the newer one stays the current one */
    } else {
        hear_new(hearer, stamp);
    }
    hearer->last = *stamp;
    if (hearer->arrived_ms - hearer->reported_ms >= 1000) {
        hearer->reported_ms = hearer->arrived_ms;
        note(hearer, "heard", stamp);
        putchar('\n');
    }
    fflush(stdout);
}

static void hear_stamps(uint16_t port)
{
    static struct hearer hearer;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        fail("cannot listen");
    for (;;) {
        char text[STAMP_SIZE];
        struct stamp stamp;
        ssize_t size = recv(fd, text, sizeof(text) - 1, 0);

        if (size < 0)
            continue;
        text[size] = 0;
        if (sscanf(text, "%" SCNx64 " %" SCNu64 " %lf", &stamp.incarnation, &stamp.sequence,
                   &stamp.sent_ms) == 3)
            hear(&hearer, &stamp);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    FILE *file = NULL;

    if (argc >= 3 && argc <= 4 && !strcmp(argv[1], "hear")) {
        if (argc == 4 && !freopen(argv[3], "a", stdout))
            fail(argv[3]);
        hear_stamps(port_of(argv[2]));
    }
    if (argc < 5 || argc > 6 || strcmp(argv[1], "send") != 0 ||
        inet_pton(AF_INET, argv[2], &to.sin_addr) != 1 || atol(argv[4]) < 1) {
        fprintf(stderr, "usage: stamp send ADDRESS PORT TICK_MS [FILE]\n"
                        "       stamp hear PORT [LOGFILE]\n");
        return 2;
    }
    to.sin_port = htons(port_of(argv[3]));
    if (argc == 6 && !(file = fopen(argv[5], "a")))
        fail(argv[5]);
    send_stamps(&to, atol(argv[4]), file);
}

/* selfcheck: a program that is full of what a guest can hold, and after a move looks whether it is
 * all as it was.
 *
 *     selfcheck serve PEER [users]   sets everything up, says "ready", and answers `ask`; for ever;
 *                            `users`: also a process of other users
 *     selfcheck ask          has everything looked at; TAP, exits 1 when something is wrong
 *     selfcheck peer         what serve talks to over the network, in another guest at address PEER
 *
 * Each check has a process of its own, whose state is the static variables of its file.
 */
#ifndef SKEIN_TESTS_LAB_SELFCHECK_CHECK_H
#define SKEIN_TESTS_LAB_SELFCHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct check {
    const char *name;
    /* Makes what is to survive. NULL, or what is wrong. */
    const char *(*set_up)(void);
    /* After a move: is it as it was? Leaves it as set_up did, for the next move. */
    const char *(*look)(void);
};

enum { CHECK_LIMIT_MS = 60000, CHECK_PEER_PORT = 7100 };

/* Ended by one without a name. */
extern const struct check process_checks[], file_checks[], channel_checks[], time_checks[],
    network_checks[];

extern const char *check_peer; /* address */
extern bool check_users;

/* Words in a buffer of its own, with what errno says. */
const char *check_wrong(const char *file, int line, const char *what);

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return check_wrong(__FILE_NAME__, __LINE__, #condition);                               \
    } while (0)

/* A step that has a reason to fail of its own. */
#define NEED_NONE(call)                                                                            \
    do {                                                                                           \
        const char *reason = (call);                                                               \
        if (reason != NULL)                                                                        \
            return reason;                                                                         \
    } while (0)

/* Bytes that depend on `seed` and where they are. */
void pattern_fill(uint8_t *data, size_t size, uint32_t seed);
bool pattern_is(const uint8_t *data, size_t size, uint32_t seed);
/* To and from a descriptor that blocks. */
bool pattern_write(int fd, size_t size, uint32_t seed);
bool pattern_read(int fd, size_t size, uint32_t seed);

/* Waits for events of poll(2); false after CHECK_LIMIT_MS. */
bool await(int fd, short events);
/* How many bytes could be read at once. */
int n_unread(int fd);

int peer_main(void);

#endif

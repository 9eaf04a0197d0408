/* guard_driver: a blocking client of skein-guard and the guard's process itself, for its scenario.
 * Every wait has a limit of WAIT_MS and ends the program when that passes.
 */
#ifndef SKEIN_TESTS_LAB_GUARD_DRIVER_H
#define SKEIN_TESTS_LAB_GUARD_DRIVER_H

#include "agent/guard/proto.h"

/* L_MS: a lease that a test lets end; until then it gets everything done that needs one. */
enum { WAIT_MS = 15000, F_MS = DEFAULT_FREEZE_MS, L_MS = GROWN_LEASE_MS / 2 };

extern const char *driver_program; /* the guard that is started */

struct driver {
    pid_t pid;
    int lease, work;
    struct guard_hello hello;
    uint32_t serial;
    uint32_t n_lapsed, n_lifted; /* events seen */
    uint8_t cluster;             /* told with each ack, as are … */
    uint64_t term, index;
    uint64_t lease_end_us; /* by the newest ack; never before the guard's own */
};

void driver_start(struct driver *d);            /* the guard, and both connections */
void driver_connect(struct driver *d);          /* (again) */
void driver_kill(struct driver *d, int signal); /* the guard, and waits for its end */
/* Of a test: a guard in a new boot, an image on its disk; and the end of what was begun. */
int driver_begin(void **state);
int driver_end(void **state);

/* A request of the op, everything else 0. */
void request_of(struct guard_request *request, enum guard_op op);
/* A sound START or PREPARE of a counting guest. */
void run_of(struct guard_request *request, enum guard_op op, const char *guest, uint64_t epoch,
            uint16_t port);
/* Sends on the work (or lease) connection and waits for its answer; ends the request. Returns the
 * code; `ret` may be NULL, else the caller ends it. */
int ask(struct driver *d, struct guard_request *request, struct guard_reply *ret);
/* Sends only; the answer is awaited with its serial. */
uint32_t tell(struct driver *d, struct guard_request *request);
int answer_to(struct driver *d, uint32_t serial, struct guard_reply *ret);
/* Op with (guest, epoch). */
int ask_copy(struct driver *d, enum guard_op op, const char *guest, uint64_t epoch);
/* A step of a move of "web": op with (epoch, migration) and a descriptor, -1 = none. */
int move(struct driver *d, enum guard_op op, uint64_t epoch, uint64_t migration, int fd);
uint32_t tell_move(struct driver *d, enum guard_op op, uint64_t epoch, uint64_t migration, int fd);
/* The node's own switch shows the state of that index from now on. */
int show_switch(struct driver *d, uint64_t index);
/* One beat: STAMP, then ACK with these copies (NULL-terminated pairs name, epoch as "web:5"). True
 * when the guard's lease lives after it. */
bool beat(struct driver *d, uint32_t lease_ms, const char *copies);
int driver_start_guest(struct driver *d, const char *guest, uint64_t epoch, uint16_t port);
/* The report of a guest; state 0 when there is none. */
struct guard_report report_of(struct driver *d, const char *guest);
/* Waits until the guest's report has the state. */
struct guard_report await_state(struct driver *d, const char *guest, enum guard_guest_state state);

int guard_connect(enum guard_connection connection, struct guard_hello *ret);
int guard_connect_silently(void);
/* The guard's code. */
int guard_say_hello(int fd, enum guard_connection connection, const uint8_t key[GUARD_KEY_SIZE],
                    struct guard_hello *ret);
uint64_t now_us(void);
void sleep_until_us(uint64_t us);
/* The guest's count, and when it was written; 0 when there is none. */
uint64_t count_of(const char *guest, uint64_t *ret_us);
/* Waits until the guest counts. */
bool counts(const char *guest);
/* For 50 ms. */
bool stands_still(const char *guest);
/* Waits until the port is so; NULL: until it is gone. */
bool port_is(uint16_t port, const char *word);
/* Waits until so many events were seen, n_seen being one of the driver's counts. */
bool sees(struct driver *d, const uint32_t *n_seen, uint32_t n);
void put_file(const char *path, const char *text);

#endif

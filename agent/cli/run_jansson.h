/* run_jansson: carries out one command: asks skeind, waits, prints; returns the exit code. */
#ifndef SKEIN_AGENT_CLI_RUN_JANSSON_H
#define SKEIN_AGENT_CLI_RUN_JANSSON_H

#include <stdbool.h>

#include "agent/cli/args.h"
#include "agent/cli/client_czmq_jansson.h"
#include "agent/cli/show_output_jansson.h"

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_PLACE = 3,
    EXIT_NOT_NOW = 4,
    EXIT_EXEC_FAILED = 125, /* guest exec: a failure of Skein, not of the command */
};

struct run {
    struct client *client;
    const struct args *args;
    enum show_format format;
    bool colours;
    int timeout_ms; /* in all */
};

int run_command(struct run *run);

/* ---- used by the commands with a conversation of their own */

/* Prints "skein: …" for an error of ours. Returns the exit code. */
int run_error(const struct run *run, int code, const struct err *err);
/* Prints an error answer. Returns the exit code of its kind. */
int run_refusal(const struct run *run, const json_t *answer);
/* Sends and waits for the answer of that request; repeats it while the answer is "not now" and the
 * time lasts. Progress goes to stderr. `ret` is the answer ("ok" true or false), owned by the
 * caller; NULL: the exit code was printed for and is returned. */
int run_ask(struct run *run, const char *method, json_t *params, const void *data, size_t size,
            json_t **ret);
void run_print(const struct run *run, const char *method, const json_t *result);

/* Until it is told to end. */
int run_top(struct run *run);
int run_image_add(struct run *run);
int run_image_export(struct run *run);
int run_drain_plan(struct run *run);
int run_exec(struct run *run);
int run_console(struct run *run);
/* events and logs: messages with data until the end. */
int run_stream(struct run *run);
/* The same, with the data that comes given to `sink` (negative errno: that ends it, with the words
 * "cannot write the output"). */
int run_stream_into(struct run *run, int (*sink)(void *context, const void *data, size_t size),
                    void *context);

#endif

#include "agent/cli/run_jansson.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/cli/params_jansson.h"
#include "agent/cli/show_jansson.h"
#include "base/clean.h"

enum { RETRY_MS = 200, RETRY_FOR_MS = 8000, REFUSAL_SIZE = 1024 };

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *command_words(const struct run *run, char *ret, size_t size)
{
    const struct command_spec *command = run->args->command;

    snprintf(ret, size, "%s%s%s", command->noun, command->verb != NULL ? " " : "",
             command->verb != NULL ? command->verb : "");
    return ret;
}

int run_error(const struct run *run, int code, const struct err *err)
{
    char words[64];

    fprintf(stderr, "skein: %s: %s\n", command_words(run, words, sizeof(words)), err->text);
    return code == -ETIMEDOUT || code == -ECONNRESET ? EXIT_NOT_NOW : EXIT_FAILED;
}

int run_refusal(const struct run *run, const json_t *answer)
{
    static const struct {
        const char *kind;
        int code;
    } kinds[] = {
        {"invalid", EXIT_USAGE},
        {"no_place", EXIT_NO_PLACE},
        {"not_now", EXIT_NOT_NOW},
        {"leader_changed", EXIT_NOT_NOW},
    };
    const json_t *error = json_object_get(answer, "error");
    const char *kind = json_string_value(json_object_get(error, "kind"));
    const char *text = json_string_value(json_object_get(error, "text"));
    char words[64], refusal[REFUSAL_SIZE];

    args_name_refusal(run->args, text != NULL ? text : "skeind gave no reason", refusal,
                      sizeof(refusal));
    fprintf(stderr, "skein: %s: %s\n", command_words(run, words, sizeof(words)), refusal);
    for (size_t i = 0; kind != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kind, kinds[i].kind) == 0)
            return kinds[i].code;
    }
    return EXIT_FAILED;
}

static bool is_kind(const json_t *answer, const char *wanted)
{
    const char *kind = json_string_value(json_object_get(json_object_get(answer, "error"), "kind"));

    return kind != NULL && strcmp(kind, wanted) == 0;
}

static bool draws_bar(const struct run *run)
{
    return run->format != SHOW_JSON && isatty(STDERR_FILENO);
}

/* For programs a line of JSON, for people a bar that stays in its line; the answer is on stdout. */
static void print_progress(const struct run *run, const json_t *message)
{
    const char *text = json_string_value(json_object_get(message, "text"));
    char bar[BAR_SIZE];

    if (draws_bar(run)) {
        fprintf(stderr, "\r\x1b[K%s %s",
                show_progress_bar(json_object_get(message, "migration"), bar),
                text != NULL ? text : "");
        return;
    }
    if (run->format == SHOW_JSON)
        json_dumpf(message, stderr, JSON_COMPACT);
    else
        fputs(text != NULL ? text : "", stderr);
    fputc('\n', stderr);
}

static void end_progress(const struct run *run, bool was_told)
{
    if (was_told && draws_bar(run))
        fputs("\r\x1b[K", stderr);
}

/* Waits for the message with "ok". */
static int wait_answer(struct run *run, long long until, json_t **ret, struct err *err)
{
    struct client_message message;
    bool was_told = false;

    for (;;) {
        long long left = until - now_ms();
        int rc = client_receive(run->client, left > 0 ? (int)left : 0, -1, &message, err);

        if (rc == -ETIMEDOUT)
            err_set(err, rc,
                    "no answer within %d ms, the outcome is unknown; look at skein status, then "
                    "try again",
                    run->timeout_ms);
        if (rc < 0) {
            end_progress(run, was_told);
            return rc;
        }
        if (json_object_get(message.json, "ok") != NULL)
            break;
        print_progress(run, message.json);
        was_told = true;
        client_message_deinit(&message);
    }
    end_progress(run, was_told);
    *ret = json_incref(message.json);
    client_message_deinit(&message);
    return 0;
}

static void wait_a_moment(void)
{
    const struct timespec pause = {0, RETRY_MS * 1000000L};

    nanosleep(&pause, NULL);
}

/* Whoever worked on it is gone: whoever comes after is asked the same. */
static bool is_orphaned(int rc, const json_t *answer)
{
    return rc == -ECONNRESET || (rc == 0 && is_kind(answer, "leader_changed"));
}

static long long earlier(long long a, long long b)
{
    return a < b ? a : b;
}

int run_ask(struct run *run, const char *method, json_t *params, const void *data, size_t size,
            json_t **ret)
{
    long long until = now_ms() + run->timeout_ms;
    long long retry_until = earlier(until, now_ms() + RETRY_FOR_MS);
    struct err err = {0};
    int rc = 0;

    *ret = NULL;
    for (;;) {
        rc = client_send(run->client, method, json_incref(params), data, size, &err);
        if (rc == 0)
            rc = wait_answer(run, until, ret, &err);
        if (is_orphaned(rc, *ret))
            retry_until = earlier(until, now_ms() + RETRY_FOR_MS);
        else if (rc < 0 || !is_kind(*ret, "not_now"))
            break;
        do
            wait_a_moment();
        while (rc == -ECONNRESET && now_ms() < retry_until && !client_reaches_skeind(run->client));
        if (now_ms() >= retry_until)
            break;
        json_decref(*ret);
        *ret = NULL;
    }
    json_decref(params);
    return rc < 0 ? run_error(run, rc, &err) : 0;
}

void run_print(const struct run *run, const char *method, const json_t *result)
{
    cleanup_free char *text = show_result(run->format, method, result, run->colours);

    fputs(text != NULL ? text : "", stdout);
}

/* `guest migrate --check` moves nothing: it is another method. */
static const char *method_of(const struct run *run, const json_t *params)
{
    const char *method = run->args->command->method;

    return strcmp(method, "guest.migrate") == 0 && json_is_true(json_object_get(params, "check"))
               ? "guest.check"
               : method;
}

/* The text of a file that a flag names; NULL with words in err. */
static json_t *text_of_file(const char *path, struct err *err)
{
    char text[USER_DATA_SIZE];
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    json_t *ret = n < 0 ? NULL : json_stringn(text, (size_t)n);

    if (n < 0)
        err_set(err, -errno, "%s: %s", path, strerror(errno));
    else if (n == 0 || n == sizeof(text))
        err_set(err, -EINVAL, "%s: must hold 1 to %d bytes", path, USER_DATA_SIZE - 1);
    else if (ret == NULL)
        err_set(err, -EINVAL, "%s: is no text (UTF-8)", path);
    return err->code < 0 ? NULL : ret;
}

/* Parameters that are files on the command line are their contents in the request. */
static int load_files(const struct args *args, json_t *params, struct err *err)
{
    for (size_t i = 0; i < args->n_values; i++) {
        const struct arg_value *value = &args->values[i];
        json_t *text;

        if (value->spec->type != VALUE_FILE)
            continue;
        text = text_of_file(value->text, err);
        if (text == NULL)
            return err->code;
        json_object_set_new(params, value->spec->param, text);
    }
    return 0;
}

static int run_simple(struct run *run)
{
    json_t *params = params_of(run->args), *answer;
    const char *method = method_of(run, params);
    struct err err = {0};
    int rc = load_files(run->args, params, &err);

    if (rc < 0) {
        json_decref(params);
        return run_error(run, rc, &err);
    }
    rc = run_ask(run, method, params, NULL, 0, &answer);
    if (answer == NULL)
        return rc;
    if (json_is_true(json_object_get(answer, "ok"))) {
        const json_t *result = json_object_get(answer, "result");
        const char *warning = json_string_value(json_object_get(answer, "warning"));

        run_print(run, method, result);
        if (warning != NULL)
            fprintf(stderr, "skein: warning: %s\n", warning);
        rc = show_exit_code(method, result);
        if (rc == EXIT_NO_PLACE && run->format != SHOW_TABLE && strcmp(method, "guest.plan") == 0)
            fprintf(stderr, "skein: guest plan: it fits nowhere\n");
    } else {
        rc = run_refusal(run, answer);
    }
    json_decref(answer);
    return rc;
}

int run_command(struct run *run)
{
    const char *method = run->args->command->method;

    if (strcmp(method, "image.add") == 0)
        return run_image_add(run);
    if (strcmp(method, "image.export") == 0)
        return run_image_export(run);
    if (args_find(run->args, "dry-run") != NULL)
        return run_drain_plan(run);
    if (strcmp(method, "guest.exec") == 0)
        return run_exec(run);
    if (strcmp(method, "guest.console") == 0)
        return run_console(run);
    if (strcmp(method, "events") == 0 || strcmp(method, "guest.logs") == 0)
        return run_stream(run);
    if (strcmp(method, "top") == 0)
        return run_top(run);
    return run_simple(run);
}

/* skein: the command line. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cli/commands.h"
#include "agent/cli/run_jansson.h"

enum { TIMEOUT_MS = 30000, LONG_TIMEOUT_MS = 600000 };

#define DEFAULT_SOCKET "/run/skein/api.sock"

static bool is_long(const char *method)
{
    static const char *const methods[] = {"image.add",  "image.export", "guest.migrate", "guest.stop",
                                          "node.drain", "node.remove",   NULL};

    for (size_t i = 0; methods[i] != NULL; i++) {
        if (strcmp(methods[i], method) == 0)
            return true;
    }
    return false;
}

int main(int argc, char *argv[])
{
    char help[8192];
    struct args args;
    struct err err = {0};
    struct run run = {.args = &args};
    const struct arg_value *socket, *timeout, *format;
    int rc = args_parse(commands, argc, argv, &args, &err);

    if (rc == ARGS_HELP) {
        args_help(commands, args.command, help, sizeof(help));
        fputs(help, stdout);
        return EXIT_DONE;
    }
    if (rc < 0) {
        fprintf(stderr, "skein: wrong usage: %s%s%s%s%s\n",
                args.command != NULL ? args.command->noun : "",
                args.command != NULL && args.command->verb != NULL ? " " : "",
                args.command != NULL && args.command->verb != NULL ? args.command->verb : "",
                args.command != NULL ? ": " : "", err.text);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    socket = args_find(&args, "socket");
    timeout = args_find(&args, "timeout");
    format = args_find(&args, "format");
    run.format = show_format_of(format != NULL ? format->text : NULL);
    run.colours = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
    run.timeout_ms = is_long(args.command->method) ? LONG_TIMEOUT_MS : TIMEOUT_MS;
    if (timeout != NULL)
        run.timeout_ms =
            (int)(timeout->number < LONG_TIMEOUT_MS ? timeout->number : LONG_TIMEOUT_MS);
    rc = client_open(socket != NULL ? socket->text : DEFAULT_SOCKET, &run.client, &err);
    if (rc < 0)
        return run_error(&run, rc, &err);
    rc = run_command(&run);
    client_close(run.client);
    return fflush(stdout) == 0 ? rc : EXIT_FAILED;
}

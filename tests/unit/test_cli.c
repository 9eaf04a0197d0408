#include "tests/unit/test.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/commands.h"
#include "agent/cli/params_jansson.h"
#include "agent/cli/show_jansson.h"
#include "agent/cli/table.h"

enum { MAX_WORDS = 32 };

/* Splits at blanks; the words stay valid until the next call. */
static int parse(const char *line, struct args *ret, struct err *err)
{
    static char words[512];
    static char *argv[MAX_WORDS];
    int argc = 0;

    strcpy(words, line);
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    return args_parse(commands, argc, argv, ret, err);
}

static void command_lines_become_parameters(void **context)
{
    static const struct {
        const char *line, *method, *params;
    } rows[] = {
        {"skein init --name n1 --label a=b --label c=d --backhaul 100mbit", "cluster.init",
         "{\"backhaul\":100000,\"label\":{\"a\":\"b\",\"c\":\"d\"},\"name\":\"n1\"}"},
        {"skein cluster maintenance on", "cluster.maintenance", "{\"on\":true}"},
        {"skein cluster preemption off", "cluster.preemption", "{\"on\":false}"},
        {"skein token create --expires 1h", "token.create", "{\"expires_s\":3600}"},
        {"skein slice create red --subnet 10.7.0.0/24 --rate=20mbit", "slice.create",
         "{\"name\":\"red\",\"rate\":20000,\"subnet\":\"10.7.0.0/24\"}"},
        {"skein guest run web --image web --cores 1 --memory 64m --env A=1 --env B=2 --on n2 -- "
         "/bin/sh -c x",
         "guest.run",
         "{\"argv\":[\"/bin/sh\",\"-c\",\"x\"],\"cores\":1,\"env\":[\"A=1\",\"B=2\"],"
         "\"image\":\"web\",\"memory\":64,\"name\":\"web\",\"on\":\"n2\"}"},
        {"skein guest migrate -f json web --to n3", "guest.migrate",
         "{\"name\":\"web\",\"to\":\"n3\"}"},
        {"skein guest migrate web --downtime 50ms --mode post --bandwidth 50mbit", "guest.migrate",
         "{\"bandwidth\":50000,\"downtime_ms\":50,\"mode\":\"post\",\"name\":\"web\"}"},
        {"skein guest migrate vm1 --mode pre --connections 4", "guest.migrate",
         "{\"connections\":4,\"mode\":\"pre\",\"name\":\"vm1\"}"},
        {"skein guest run web --image web --volume data:/srv --volume log:/var/log -- x", "guest.run",
         "{\"argv\":[\"x\"],\"image\":\"web\",\"name\":\"web\",\"volume\":[\"data:/srv\","
         "\"log:/var/log\"]}"},
        {"skein events -w", "events", "{\"follow\":true}"},
        {"skein status --timeout 2s -fjson", "status", "{}"},
    };

    (void)context;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct args args;
        struct err err = {0};
        json_t *params;
        char *text;

        assert_int_equal(parse(rows[i].line, &args, &err), 0);
        assert_string_equal(args.command->method, rows[i].method);
        params = params_of(&args);
        text = json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(text, rows[i].params);
        free(text);
        json_decref(params);
    }
}

static void wrong_command_lines_are_named(void **context)
{
    static const struct {
        const char *line, *words;
    } rows[] = {
        {"skein", "a command is missing"},
        {"skein fly", "there is no command 'fly'"},
        {"skein guest fly", "there is no 'guest fly'"},
        {"skein guest show", "NAME is missing"},
        {"skein guest show a b", "'b' is one word too many"},
        {"skein guest show A", "NAME: 'A' is no name"},
        {"skein guest run a -- x", "--image is missing"},
        {"skein guest exec a", "what is to run is missing"},
        {"skein guest run a --image i --memory 64 -- x", "--memory: '64' is not an amount"},
        {"skein guest migrate a --mode fast", "--mode: 'fast' is none of auto, stop, pre, post"},
        {"skein guest migrate a --mode pre --connections 0", "--connections: "},
        {"skein guest migrate a --mode pre --connections 9", "--connections: "},
        {"skein guest migrate a --mode pre --connections -1", "--connections: "},
        {"skein guest migrate a --mode pre --connections four", "--connections: "},
        {"skein guest migrate a --mode pre --connections", "--connections: a value is missing"},
        {"skein guest run a --image i --restart often -- x", "--restart: 'often' is none of"},
        {"skein guest run a --image i --volume data -- x", "--volume: 'data' is not of the form"},
        {"skein guest run a --image i --on n1 --on n2 -- x", "--on is given twice"},
        {"skein slice create red --subnet 10.7.0.1/24", "--subnet"},
        {"skein status --colour", "unknown flag '--colour'"},
        {"skein status -f xml", "--format: 'xml' is none of table, json, yaml, csv"},
        {"skein image add a f --copies 0", "--copies: "},
        {"skein image add a f --copies some", "--copies: "},
        {"skein status --timeout", "--timeout: a value is missing"},
        {"skein events --follow=yes", "--follow takes no value"},
    };

    (void)context;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct args args;
        struct err err = {0};

        assert_int_equal(parse(rows[i].line, &args, &err), -EINVAL);
        assert_memory_equal(err.text, rows[i].words, strlen(rows[i].words));
    }
}

static void help_is_there_for_everything(void **context)
{
    char text[8192];
    struct args args;
    struct err err = {0};

    (void)context;
    assert_int_equal(parse("skein -h", &args, &err), ARGS_HELP);
    args_help(commands, args.command, text, sizeof(text));
    assert_non_null(strstr(text, "skein guest migrate NAME"));
    assert_non_null(strstr(text, "exit codes"));
    assert_int_equal(parse("skein guest run --help", &args, &err), ARGS_HELP);
    args_help(commands, args.command, text, sizeof(text));
    assert_non_null(strstr(text, "--memory SIZE"));
    args_help(commands, NULL, text, 20);
    assert_int_equal(strlen(text), 19);
}

static void lists_are_aligned_tables(void **context)
{
    json_t *rows =
        json_pack("[{s:s,s:i,s:s,s:s,s:b,s:i,s:i,s:i,s:i,s:s}]", "name", "n1", "id", 1, "role",
                  "voter", "state", "up", "leader", 1, "cores_isolated", 3, "cores_free", 2,
                  "memory_mib", 2048, "memory_free_mib", 1536, "address", "172.31.0.1");
    char *text = show_table("node.list", rows, false);

    (void)context;
    assert_string_equal(
        text, "NAME  ID  ROLE   STATE  LEADER  CORES  FREE  MEMORY  FREE     ADDRESS\n"
              "n1    1   voter  up     *       3      2     2 GiB   1.5 GiB  172.31.0.1\n");
    free(text);
    text = show_table("node.list", rows, true);
    assert_non_null(strstr(text, "\x1b[32mup\x1b[0m"));
    free(text);
    json_decref(rows);
}

static void objects_results_and_absent_values(void **context)
{
    json_t *guest =
        json_pack("{s:s,s:n,s:[i,i],s:i}", "name", "web", "node", "cores", 1, 2, "memory_mib", 64);
    json_t *moved =
        json_pack("{s:s,s:s,s:s,s:s,s:i,s:f,s:f}", "guest", "web", "from", "n1", "to", "n3", "mode",
                  "stop-and-copy", "bytes", 1000, "blackout_ms", 31.25, "total_ms", 412.0);
    char *text = show_table("guest.show", guest, false);

    (void)context;
    assert_string_equal(text, "name               web\nnode               -\n"
                              "cores              1-2\nmemory_mib         64 MiB\n");
    free(text);
    text = show_table("guest.migrate", moved, false);
    assert_string_equal(text, "web: n1 -> n3, stop-and-copy, blackout 31.2 ms, 412 ms in all\n");
    free(text);
    json_object_set_new(moved, "blackout_ms", json_null());
    text = show_table("guest.migrate", moved, false);
    assert_string_equal(text,
                        "web: n1 -> n3, stop-and-copy, blackout not known, 412 ms in all\n");
    free(text);
    text = show_json(guest);
    assert_non_null(strstr(text, "\"node\": null"));
    free(text);
    json_decref(guest);
    json_decref(moved);
}

static void what_a_guest_keeps_and_loses(void **context)
{
    json_t *guest = json_pack("{s:s,s:[{s:s,s:s,s:s},{s:s,s:s,s:n}],s:{s:[],s:[s,s]}}", "name",
                              "web", "volumes", "name", "data", "path", "/srv", "node", "n1",
                              "name", "log", "path", "/var/log", "node", "losses", "move",
                              "node_loss", "memory", "volumes");
    char *text = show_table("guest.show", guest, false);

    (void)context;
    assert_string_equal(text, "name               web\n"
                              "volumes            data at /srv on n1; log at /var/log\n"
                              "losses             move: nothing; node_loss: memory, volumes\n");
    free(text);
    json_decref(guest);
}

static void a_plan_without_a_place_says_so(void **context)
{
    json_t *plan = json_pack("{s:n,s:[],s:[{s:s,s:s,s:s}]}", "chosen", "cores", "nodes", "node",
                             "n1", "verdict", "refused", "reason", "0 of 3 isolated cores free");
    char *text = show_table("guest.plan", plan, false);

    (void)context;
    assert_string_equal(text, "NODE  VERDICT  REASON\n"
                              "n1    refused  0 of 3 isolated cores free\nit fits nowhere\n");
    assert_int_equal(show_exit_code("guest.plan", plan), 3);
    assert_int_equal(show_exit_code("guest.list", plan), 0);
    free(text);
    json_decref(plan);
}

static void a_refusal_names_what_was_typed(void **context)
{
    static const struct {
        const char *line, *text, *wanted;
    } rows[] = {
        {"skein guest migrate web --downtime 1h",
         "downtime_ms: must be a whole number from 0 to 60000 ms",
         "--downtime: must be a whole number from 0 to 60000 ms"},
        {"skein guest set web --protect 100ms", "protect_ms: must be from 500ms to 3600000ms",
         "--protect: must be from 500ms to 3600000ms"},
        {"skein guest migrate web --to n9", "name: no", "NAME: no"},
        {"skein node drain n1 --dry-run", "dry_run: must be true or false",
         "--dry-run: must be true or false"},
        {"skein guest migrate web", "downtime_ms: must be 1 at least",
         "downtime_ms: must be 1 at least"},
        {"skein guest migrate web --downtime 1s", "downtime: no", "downtime: no"},
        {"skein guest migrate web --to n9", "there is no node n9", "there is no node n9"},
        {"skein guest migrate web --to n9", ": ", ": "},
    };

    (void)context;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct args args;
        struct err err = {0};
        char text[200];

        assert_int_equal(parse(rows[i].line, &args, &err), 0);
        args_name_refusal(&args, rows[i].text, text, sizeof(text));
        assert_string_equal(text, rows[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_lines_become_parameters),
        cmocka_unit_test(wrong_command_lines_are_named),
        cmocka_unit_test(a_refusal_names_what_was_typed),
        cmocka_unit_test(help_is_there_for_everything),
        cmocka_unit_test(lists_are_aligned_tables),
        cmocka_unit_test(objects_results_and_absent_values),
        cmocka_unit_test(what_a_guest_keeps_and_loses),
        cmocka_unit_test(a_plan_without_a_place_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

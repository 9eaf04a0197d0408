/* drain_jansson: a drain's dry run: what the leader would do, and of each guest that would go, what
 * its own node finds when it looks at it, as `guest migrate --check` does. See run_jansson.h. */
#include <stdio.h>
#include <string.h>

#include "agent/cli/params_jansson.h"
#include "agent/cli/run_jansson.h"
#include "agent/cli/show_jansson.h"

/* Where it could go is the leader's part. */
static const char *obstacle_in(const json_t *check)
{
    json_t *reason;
    size_t i;

    json_array_foreach(json_object_get(check, "reasons"), i, reason)
    {
        const char *severity = json_string_value(json_object_get(reason, "severity"));
        const char *code = json_string_value(json_object_get(reason, "code"));

        if (severity != NULL && strcmp(severity, "obstacle") == 0 && code != NULL &&
            strcmp(code, "place") != 0)
            return json_string_value(json_object_get(reason, "text"));
    }
    return NULL;
}

static void add_obstacle(json_t *row, const char *text)
{
    json_object_set_new(row, "goes", json_false());
    json_object_set_new(row, "reason", json_string(text));
}

/* The leader knows of no guest what it brings: a target without room for that is passed by. */
static void pass_by(json_t *row, const json_t *check)
{
    const char *to = json_string_value(json_object_get(row, "to"));
    json_t *node;
    size_t i;

    json_array_foreach(json_object_get(check, "nodes"), i, node)
    {
        const char *name = json_string_value(json_object_get(node, "node"));
        const char *verdict = json_string_value(json_object_get(node, "verdict"));

        if (to != NULL && name != NULL && verdict != NULL && strcmp(name, to) == 0 &&
            strcmp(verdict, "refused") == 0)
            json_object_set(row, "to", json_object_get(check, "chosen"));
    }
}

static void add_check(json_t *row, const json_t *check)
{
    const char *obstacle = obstacle_in(check);

    if (obstacle != NULL) {
        add_obstacle(row, obstacle);
        return;
    }
    pass_by(row, check);
    json_object_set(row, "mode", json_object_get(check, "mode"));
    json_object_set(row, "blackout_ms", json_object_get(check, "blackout_ms"));
}

/* 0, or an exit code that was printed for. */
static int look_at(struct run *run, json_t *row)
{
    const char *guest = json_string_value(json_object_get(row, "guest"));
    json_t *answer;
    int rc;

    json_object_set_new(row, "mode", json_null());
    json_object_set_new(row, "blackout_ms", json_null());
    if (!json_is_true(json_object_get(row, "goes")) ||
        json_is_null(json_object_get(row, "to"))) /* it is on its way already */
        return 0;
    rc = run_ask(run, "guest.check", json_pack("{s:s}", "name", guest), NULL, 0, &answer);
    if (answer == NULL)
        return rc;
    if (json_is_true(json_object_get(answer, "ok")))
        add_check(row, json_object_get(answer, "result"));
    else
        add_obstacle(row,
                     json_string_value(json_object_get(json_object_get(answer, "error"), "text")));
    json_decref(answer);
    return 0;
}

int run_drain_plan(struct run *run)
{
    const char *method = run->args->command->method;
    json_t *answer, *result, *row;
    size_t i;
    int rc = run_ask(run, method, params_of(run->args), NULL, 0, &answer);

    if (answer == NULL)
        return rc;
    result = json_object_get(answer, "result");
    if (!json_is_true(json_object_get(answer, "ok")))
        rc = run_refusal(run, answer);
    json_array_foreach(json_object_get(result, "guests"), i, row)
    {
        if (rc == 0)
            rc = look_at(run, row);
    }
    if (rc == 0) {
        run_print(run, method, result);
        rc = show_exit_code(method, result);
    }
    json_decref(answer);
    return rc;
}

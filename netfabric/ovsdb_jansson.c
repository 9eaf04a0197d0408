/* ovsdb_jansson: see the header. */
#include "netfabric/ovsdb_jansson.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clean.h"
#include "netfabric/socket_posix.h"

static const char *const socket_path = "/run/openvswitch/db.sock";

enum { LIMIT_S = 6, SWITCH_LIMIT_MS = 5000 };

#define DATABASE "Open_vSwitch" /* also the name of its root table */

void ovsdb_init(struct ovsdb *db)
{
    *db = (struct ovsdb){.fd = -1};
}

void ovsdb_deinit(struct ovsdb *db)
{
    if (db->fd >= 0)
        close(db->fd);
    ovsdb_init(db);
}

/* ---- messages */

static int send_json(const struct ovsdb *db, const json_t *message)
{
    cleanup_free char *text = json_dumps(message, JSON_COMPACT);

    return text == NULL ? -ENOMEM : socket_write(db->fd, text, strlen(text));
}

struct source {
    int fd;
    int code;
};

/* For json_load_callback: byte by byte, so that nothing of the next message is taken. */
static size_t read_byte(void *buffer, size_t size, void *context)
{
    struct source *source = context;

    if (size == 0)
        return 0;
    source->code = socket_read(source->fd, buffer, 1);
    return source->code < 0 ? (size_t)-1 : 1;
}

/* The next message; NULL and *ret_code on failure. */
static json_t *receive(const struct ovsdb *db, int *ret_code)
{
    struct source source = {.fd = db->fd};
    json_error_t error;
    json_t *message = json_load_callback(read_byte, &source, JSON_DISABLE_EOF_CHECK, &error);

    *ret_code = message != NULL ? 0 : source.code < 0 ? source.code : -EPROTO;
    return message;
}

static int answer_echo(const struct ovsdb *db, const json_t *request)
{
    json_t *reply = json_pack("{s:O, s:O, s:n}", "id", json_object_get(request, "id"), "result",
                              json_object_get(request, "params"), "error");
    int code = reply == NULL ? -EPROTO : send_json(db, reply);

    json_decref(reply);
    return code;
}

/* The reply to `id`; what the server asks meanwhile (echo) is answered. */
static int wait_for_reply(const struct ovsdb *db, uint32_t id, json_t **ret)
{
    for (;;) {
        int code;
        json_t *message = receive(db, &code);
        const json_t *method = json_object_get(message, "method");

        if (message == NULL)
            return code;
        if (method != NULL && strcmp(json_string_value(method), "echo") == 0) {
            code = answer_echo(db, message);
        } else if (json_integer_value(json_object_get(message, "id")) == id) {
            *ret = message;
            return 0;
        }
        json_decref(message);
        if (code < 0)
            return code;
    }
}

/* The words of the first operation that failed, or NULL. */
static const char *failure_of(const json_t *reply)
{
    const json_t *results = json_object_get(reply, "result"), *result;
    size_t i;

    if (!json_is_array(results))
        return "no result";
    json_array_foreach(results, i, result)
    {
        const char *error = json_string_value(json_object_get(result, "error"));
        const char *details = json_string_value(json_object_get(result, "details"));

        if (error != NULL)
            return details != NULL ? details : error;
    }
    return NULL;
}

/* One transaction; takes `operations` (an array). *ret_results are its results, to be released. */
static int transact(struct ovsdb *db, json_t *operations, json_t **ret_results, struct err *err)
{
    uint32_t id = ++db->id;
    json_t *request = NULL, *reply = NULL;
    const char *why;
    int code = 0;

    if (operations != NULL && json_array_insert_new(operations, 0, json_string(DATABASE)) == 0)
        request =
            json_pack("{s:i, s:s, s:o}", "id", (int)id, "method", "transact", "params", operations);
    else
        json_decref(operations);
    code = request == NULL ? -ENOMEM : send_json(db, request);
    json_decref(request);
    if (code == 0)
        code = wait_for_reply(db, id, &reply);
    if (code < 0)
        return err_set(err, code, "the switch's database does not answer: %s", strerror(-code));
    why = failure_of(reply);
    if (why != NULL)
        code = err_set(err, -EIO, "the switch's database refuses: %s", why);
    else
        *ret_results = json_incref(json_object_get(reply, "result"));
    json_decref(reply);
    return code;
}

/* ---- transactions, repeated once over a new connection where the kept one is dead */

/* The uuid of the port `name` in `results` (of find_port), or NULL. */
static const char *port_uuid(const json_t *results)
{
    const json_t *rows = json_object_get(json_array_get(results, 0), "rows");
    const json_t *uuid = json_object_get(json_array_get(rows, 0), "_uuid");

    return json_string_value(json_array_get(uuid, 1));
}

static int find_port(struct ovsdb *db, const char *name, json_t **ret_results, struct err *err)
{
    struct err first;
    bool was_connected = db->fd >= 0;
    int code;

    if (!was_connected)
        db->fd = socket_connect(socket_path, LIMIT_S);
    if (db->fd < 0)
        return err_set(err, db->fd, "cannot reach the switch's database: %s", strerror(-db->fd));
    code = transact(db,
                    json_pack("[{s:s, s:s, s:[[s, s, s]], s:[s]}]", "op", "select", "table", "Port",
                              "where", "name", "==", name, "columns", "_uuid"),
                    ret_results, &first);
    if (code == 0)
        return 0;
    ovsdb_deinit(db);
    return was_connected ? find_port(db, name, ret_results, err)
                         : err_set(err, code, "%s", first.text);
}

/* Operations that make the switch take a change, and say by which number it will have. */
static int add_count(json_t *operations)
{
    int code = json_array_append_new(operations, json_pack("{s:s, s:s, s:[], s:[[s, s, i]]}", "op",
                                                           "mutate", "table", DATABASE, "where",
                                                           "mutations", "next_cfg", "+=", 1));

    return code < 0 ? code
                    : json_array_append_new(operations, json_pack("{s:s, s:s, s:[], s:[s]}", "op",
                                                                  "select", "table", DATABASE,
                                                                  "where", "columns", "next_cfg"));
}

static json_int_t count_of(const json_t *results)
{
    const json_t *last = json_array_get(results, json_array_size(results) - 1);

    return json_integer_value(
        json_object_get(json_array_get(json_object_get(last, "rows"), 0), "next_cfg"));
}

static int wait_for_switch(struct ovsdb *db, json_int_t count, struct err *err)
{
    json_t *results = NULL;
    int code =
        transact(db,
                 json_pack("[{s:s, s:i, s:s, s:[[s, s, I]], s:[s], s:s, s:[]}]", "op", "wait",
                           "timeout", SWITCH_LIMIT_MS, "table", DATABASE, "where", "cur_cfg", "<",
                           count, "columns", "cur_cfg", "until", "==", "rows"),
                 &results, err);

    json_decref(results);
    return code;
}

/* Takes `operations`; returns when the switch has done them. */
static int change(struct ovsdb *db, json_t *operations, struct err *err)
{
    json_t *results = NULL;
    int code;

    if (operations == NULL || add_count(operations) < 0) {
        json_decref(operations);
        return err_set(err, -ENOMEM, "no memory for a change of the switch's ports");
    }
    code = transact(db, operations, &results, err);
    if (code == 0)
        code = wait_for_switch(db, count_of(results), err);
    json_decref(results);
    if (code < 0)
        ovsdb_deinit(db);
    return code;
}

/* Mutation of br-int's ports: "insert" or "delete" of what `key` ("named-uuid", "uuid") calls `id`.
 */
static json_t *mutation(const char *verb, const char *key, const char *id)
{
    return json_pack("{s:s, s:s, s:[[s, s, s]], s:[[s, s, [s, [[s, s]]]]]}", "op", "mutate",
                     "table", "Bridge", "where", "name", "==", "br-int", "mutations", "ports", verb,
                     "set", key, id);
}

int ovsdb_add_port(struct ovsdb *db, const char *name, uint16_t port, struct err *err)
{
    json_t *found = NULL;
    bool is_there;
    int code = find_port(db, name, &found, err);

    if (code < 0)
        return code;
    is_there = port_uuid(found) != NULL;
    json_decref(found);
    if (is_there)
        return 0;
    return change(
        db,
        json_pack("[{s:s, s:s, s:s, s:{s:s, s:i}}, {s:s, s:s, s:s, s:{s:s, s:[s, s]}}, o]", "op",
                  "insert", "table", "Interface", "uuid-name", "interface", "row", "name", name,
                  "ofport_request", port, "op", "insert", "table", "Port", "uuid-name", "port",
                  "row", "name", name, "interfaces", "named-uuid", "interface",
                  mutation("insert", "named-uuid", "port")),
        err);
}

int ovsdb_remove_port(struct ovsdb *db, const char *name, struct err *err)
{
    json_t *found = NULL;
    int code = find_port(db, name, &found, err);

    if (code == 0 && port_uuid(found) != NULL)
        code = change(db, json_pack("[o]", mutation("delete", "uuid", port_uuid(found))), err);
    json_decref(found);
    return code;
}

#include "agent/cli/params_jansson.h"

#include <string.h>

static json_t *label_into(json_t *labels, const char *text)
{
    const char *equals = strchr(text, '=');
    char key[LABEL_KEY_SIZE] = {0};

    if (labels == NULL)
        labels = json_object();
    memcpy(key, text, (size_t)(equals - text));
    json_object_set_new(labels, key, json_string(equals + 1));
    return labels;
}

static json_t *value_of(const struct arg_value *value)
{
    switch (value->spec->type) {
    case VALUE_SET:
        return json_true();
    case VALUE_NUMBER:
    case VALUE_PARALLEL:
    case VALUE_MEMORY:
    case VALUE_RATE:
    case VALUE_SECONDS:
    case VALUE_MS:
    case VALUE_PERIOD:
        return json_integer((json_int_t)value->number);
    case VALUE_ON_OFF:
        return json_boolean(strcmp(value->text, "on") == 0);
    default:
        return json_string(value->text);
    }
}

static void add(json_t *params, const struct arg_value *value)
{
    const char *key = value->spec->param;
    json_t *there = json_object_get(params, key);

    if (value->spec->type == VALUE_LABEL) {
        json_t *labels = label_into(there, value->text);

        if (there == NULL)
            json_object_set_new(params, key, labels);
    } else if (value->spec->repeats) {
        if (there == NULL) {
            json_object_set_new(params, key, json_array());
            there = json_object_get(params, key);
        }
        json_array_append_new(there, value_of(value));
    } else {
        json_object_set_new(params, key, value_of(value));
    }
}

json_t *params_of(const struct args *args)
{
    json_t *params = json_object();

    if (params == NULL)
        return NULL;
    for (size_t i = 0; i < args->n_values; i++) {
        if (args->values[i].spec->param != NULL)
            add(params, &args->values[i]);
    }
    if (args->n_rest > 0) {
        json_t *argv = json_array();

        for (int i = 0; i < args->n_rest; i++)
            json_array_append_new(argv, json_string(args->rest[i]));
        json_object_set_new(params, "argv", argv);
    }
    return params;
}

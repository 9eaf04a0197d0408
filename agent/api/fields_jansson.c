#include "agent/api/fields_jansson.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

int hex_decode(const char *text, uint8_t *ret, size_t n)
{
    if (text == NULL || strlen(text) != 2 * n || strspn(text, "0123456789abcdef") != 2 * n)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};

        ret[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return 0;
}

const char *hex_encode(const uint8_t *bytes, size_t n, char *ret)
{
    ret[0] = '\0';
    for (size_t i = 0; i < n; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    return ret;
}

int name_of_json(const json_t *params, const char *key, char ret[NAME_SIZE], struct err *err)
{
    const char *text = json_string_value(json_object_get(params, key));

    if (text == NULL)
        return err_set(err, -EINVAL, "'%s' is missing", key);
    if (!name_is_valid(text))
        return err_set(err, -EINVAL,
                       "%s: '%.40s' is no name: 1 to %d of a-z 0-9 -, beginning with a letter", key,
                       text, NAME_MAX_LENGTH);
    memset(ret, 0, NAME_SIZE);
    memcpy(ret, text, strlen(text));
    return 0;
}

int optional_name_of_json(const json_t *params, const char *key, char ret[NAME_SIZE],
                          struct err *err)
{
    const json_t *value = json_object_get(params, key);

    return value == NULL || json_is_null(value) ? 0 : name_of_json(params, key, ret, err);
}

int number_of_json(const json_t *params, const char *key, uint64_t otherwise, uint64_t max,
                   uint64_t *ret, struct err *err)
{
    const json_t *value = json_object_get(params, key);
    size_t length = strlen(key);

    *ret = otherwise;
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > max)
        return err_set(err, -EINVAL, "%s: must be a whole number from 0 to %llu%s", key,
                       (unsigned long long)max,
                       length > 3 && strcmp(key + length - 3, "_ms") == 0 ? " ms" : "");
    *ret = (uint64_t)json_integer_value(value);
    return 0;
}

int number32_of_json(const json_t *params, const char *key, uint32_t otherwise, uint32_t max,
                     uint32_t *ret, struct err *err)
{
    uint64_t v;
    int rc = number_of_json(params, key, otherwise, max, &v, err);

    *ret = (uint32_t)v;
    return rc;
}

int texts_of_json(const json_t *params, const char *key, uint32_t *ret_n, char ***ret,
                  struct err *err)
{
    const json_t *list = json_object_get(params, key);
    size_t n = json_array_size(list);

    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return err_set(err, -EINVAL, "%s: must be a list of texts", key);
    if (n > MAX_ARGUMENTS)
        return err_set(err, -EINVAL, "%s: more than %d", key, MAX_ARGUMENTS);
    *ret = calloc(n > 0 ? n : 1, sizeof(**ret));
    if (*ret == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (text == NULL || strlen(text) >= ARGUMENT_SIZE)
            return err_set(err, -EINVAL, "%s: each must be a text of at most %d bytes", key,
                           ARGUMENT_SIZE - 1);
        (*ret)[i] = strdup(text);
        if ((*ret)[i] == NULL)
            return err_set(err, -ENOMEM, "out of memory");
        *ret_n = (uint32_t)i + 1;
    }
    return 0;
}

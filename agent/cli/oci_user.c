#include "agent/cli/oci_user.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool number_of(const char *text, size_t size, uint32_t *ret)
{
    uint64_t v = 0;

    if (size == 0 || size > 10)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    if (v >= UINT32_MAX) /* -1 means "no change" to the kernel */
        return false;
    *ret = (uint32_t)v;
    return true;
}

/* The i-th field of a line "a:b:c"; NULL when it has none. */
static const char *field_of(const char *line, const char *end, int i, size_t *ret_size)
{
    const char *colon;

    while (i-- > 0) {
        line = memchr(line, ':', (size_t)(end - line));
        if (line == NULL)
            return NULL;
        line++;
    }
    colon = memchr(line, ':', (size_t)(end - line));
    *ret_size = (size_t)((colon != NULL ? colon : end) - line);
    return line;
}

/* The line whose field `key` (0: the name, 2: the number) is this text; its field `wanted`. */
static bool look_up(const char *file, int key, const char *text, size_t size, int wanted,
                    uint32_t *ret)
{
    for (const char *line = file; line != NULL && *line != '\0';) {
        const char *end = line + strcspn(line, "\n"), *field, *value;
        size_t n, value_size;

        field = field_of(line, end, key, &n);
        value = field_of(line, end, wanted, &value_size);
        if (field != NULL && value != NULL && n == size && memcmp(field, text, n) == 0 &&
            number_of(value, value_size, ret))
            return true;
        line = *end == '\n' ? end + 1 : NULL;
    }
    return false;
}

int oci_user_find(const char *user, const char *passwd, const char *group, uint32_t *ret_uid,
                  uint32_t *ret_gid, struct err *err)
{
    size_t size = strcspn(user, ":");
    const char *of_group = user[size] == ':' ? user + size + 1 : "";
    uint32_t uid = 0, gid = 0;

    if (size > 0 && number_of(user, size, &uid))
        (void)look_up(passwd, 2, user, size, 3, &gid);
    else if (size > 0 &&
             (!look_up(passwd, 0, user, size, 2, &uid) || !look_up(passwd, 0, user, size, 3, &gid)))
        return err_set(err, -EBADMSG,
                       "the image runs as user '%.*s', which its passwd does not list",
                       (int)(size < 40 ? size : 40), user);
    if (of_group[0] != '\0' && !number_of(of_group, strlen(of_group), &gid) &&
        !look_up(group, 0, of_group, strlen(of_group), 2, &gid))
        return err_set(err, -EBADMSG,
                       "the image runs as group '%.40s', which its group file does "
                       "not list",
                       of_group);
    *ret_uid = uid;
    *ret_gid = gid;
    return 0;
}

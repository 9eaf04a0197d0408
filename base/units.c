#include "base/units.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Digits and one suffix of `units`, the product within 1…max. */
static int parse_quantity(const char *text, const struct unit *units, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    const char *p = text;

    if (!isdigit((unsigned char)*p))
        return -EINVAL;
    for (; isdigit((unsigned char)*p); p++) {
        if (v > UINT32_MAX)
            return -ERANGE;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    for (; units->suffix != NULL; units++) {
        if (strcasecmp(p, units->suffix) != 0)
            continue;
        v *= units->factor;
        if (v == 0 || v > max)
            return -ERANGE;
        *ret = v;
        return 0;
    }
    return -EINVAL;
}

int parse_memory_mib(const char *text, uint32_t *ret, struct err *err)
{
    static const struct unit units[] = {{"m", 1},     {"mb", 1},     {"mib", 1}, {"g", 1024},
                                        {"gb", 1024}, {"gib", 1024}, {NULL, 0}};
    uint64_t v;

    if (parse_quantity(text, units, UINT32_MAX, &v) < 0)
        return err_set(err, -EINVAL, "'%s' is not an amount of memory; write 64m or 2g", text);
    *ret = (uint32_t)v;
    return 0;
}

int parse_rate_kbps(const char *text, uint32_t *ret, struct err *err)
{
    static const struct unit units[] = {{"kbit", 1}, {"mbit", 1000}, {"gbit", 1000000}, {NULL, 0}};
    uint64_t v;

    if (parse_quantity(text, units, UINT32_MAX, &v) < 0)
        return err_set(err, -EINVAL, "'%s' is not a rate; write 800kbit, 20mbit or 1gbit", text);
    *ret = (uint32_t)v;
    return 0;
}

int parse_duration_ms(const char *text, uint64_t *ret, struct err *err)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};

    if (parse_quantity(text, units, (uint64_t)UINT32_MAX * 1000, ret) < 0)
        return err_set(err, -EINVAL, "'%s' is not a time; write 300ms, 5s, 2m or 1h", text);
    return 0;
}

int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err)
{
    uint64_t v = 0;
    const char *p = text;

    for (; isdigit((unsigned char)*p) && v <= UINT64_MAX / 10 - 1; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (p == text || *p != '\0' || v < min || v > max)
        return err_set(err, -EINVAL, "'%s' is not a number from %llu to %llu", text,
                       (unsigned long long)min, (unsigned long long)max);
    *ret = v;
    return 0;
}

bool name_is_valid(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > NAME_MAX_LENGTH || text[0] < 'a' || text[0] > 'z' ||
        text[size - 1] == '-')
        return false;
    return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

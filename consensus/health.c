#include "consensus/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

static int add_word(struct health_check *ret, const char *word, struct err *err)
{
    char **longer;

    if (ret->n_argv == MAX_ARGUMENTS)
        return err_set(err, -EINVAL, "health: more than %d words", MAX_ARGUMENTS);
    longer = realloc(ret->argv, (ret->n_argv + 1) * sizeof(*longer));
    if (longer == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    ret->argv = longer;
    ret->argv[ret->n_argv] = strdup(word);
    if (ret->argv[ret->n_argv] == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    ret->n_argv++;
    return 0;
}

/* Reads one word from *at on; 1 with it in `word`, 0 at the end. */
static int next_word(const char **at, char word[ARGUMENT_SIZE], struct err *err)
{
    const char *p = *at + strspn(*at, " ");
    size_t n = 0;
    char quote = 0;

    if (*p == '\0')
        return 0;
    for (; *p != '\0' && (quote != 0 || *p != ' '); p++) {
        if (quote != 0 ? *p == quote : *p == '\'' || *p == '"')
            quote = quote != 0 ? 0 : *p;
        else if (n + 1 < ARGUMENT_SIZE)
            word[n++] = *p;
        else
            return err_set(err, -EINVAL, "health: a word has more than %d bytes",
                           ARGUMENT_SIZE - 1);
    }
    if (quote != 0)
        return err_set(err, -EINVAL, "health: a quote (%c) is not closed", quote);
    word[n] = '\0';
    *at = p;
    return 1;
}

static int parse_exec(const char *text, struct health_check *ret, struct err *err)
{
    char word[ARGUMENT_SIZE];
    int rc;

    while ((rc = next_word(&text, word, err)) > 0) {
        rc = add_word(ret, word, err);
        if (rc < 0)
            return rc;
    }
    if (rc == 0 && (ret->n_argv == 0 || ret->argv[0][0] == '\0'))
        rc = err_set(err, -EINVAL, "health: 'exec:' names no command, as in exec:/bin/check");
    return rc;
}

int health_parse(const char *text, struct health_check *ret, struct err *err)
{
    uint64_t port;

    if (strncmp(text, "exec:", 5) == 0) {
        ret->kind = HEALTH_EXEC;
        return parse_exec(text + 5, ret, err);
    }
    if (strncmp(text, "tcp:", 4) != 0)
        return err_set(err, -EINVAL, "health: '%.40s' is neither tcp:PORT nor exec:COMMAND", text);
    if (parse_number(text + 4, 1, UINT16_MAX, &port, NULL) < 0)
        return err_set(err, -EINVAL, "health: '%.20s' is no port: 1 to %d", text + 4, UINT16_MAX);
    ret->kind = HEALTH_TCP;
    ret->port = (uint16_t)port;
    return 0;
}

static int bound(const char *what, uint32_t v, uint32_t min, uint32_t max, struct err *err)
{
    if (v >= min && v <= max)
        return 0;
    return err_set(err, -EINVAL, "%s: must be from %ums to %ums", what, min, max);
}

int health_check_bounds(const struct health_check *health, struct err *err)
{
    int rc = bound("health_interval_ms", health->interval_ms, HEALTH_MIN_INTERVAL_MS,
                   HEALTH_MAX_INTERVAL_MS, err);

    if (rc == 0)
        rc = bound("health_timeout_ms", health->timeout_ms, HEALTH_MIN_TIMEOUT_MS,
                   HEALTH_MAX_TIMEOUT_MS, err);
    if (rc == 0)
        rc = bound("health_start_ms", health->start_ms, 0, HEALTH_MAX_START_MS, err);
    if (rc == 0 && (health->retries == 0 || health->retries > HEALTH_MAX_RETRIES))
        rc = err_set(err, -EINVAL, "health_retries: must be from 1 to %d", HEALTH_MAX_RETRIES);
    return rc;
}

bool health_is_valid(const struct health_check *health)
{
    switch (health->kind) {
    case HEALTH_NONE:
        return health->port == 0 && health->n_argv == 0 && health->interval_ms == 0;
    case HEALTH_TCP:
        return health->port != 0 && health->n_argv == 0 && health_check_bounds(health, NULL) == 0;
    case HEALTH_EXEC:
        return health->port == 0 && health->n_argv > 0 && health->argv[0][0] != '\0' &&
               health_check_bounds(health, NULL) == 0;
    }
    return false;
}

const char *health_format(const struct health_check *health, char ret[HEALTH_TEXT_SIZE])
{
    size_t used;

    ret[0] = '\0';
    if (health->kind == HEALTH_TCP)
        snprintf(ret, HEALTH_TEXT_SIZE, "tcp:%u", health->port);
    if (health->kind != HEALTH_EXEC)
        return ret;
    used = (size_t)snprintf(ret, HEALTH_TEXT_SIZE, "exec:");
    for (uint32_t i = 0; i < health->n_argv && used < HEALTH_TEXT_SIZE; i++) {
        const char *quote = health->argv[i][strcspn(health->argv[i], " ")] != '\0' ? "'" : "";

        used += (size_t)snprintf(ret + used, HEALTH_TEXT_SIZE - used, "%s%s%s%s", i > 0 ? " " : "",
                                 quote, health->argv[i], quote);
    }
    return ret;
}

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *log_process = "skein";
static enum log_level log_most = LOG_LEVEL_INFO;

void log_setup(const char *process, enum log_level level)
{
    log_process = process;
    log_most = level;
}

int log_parse_level(const char *text, enum log_level *ret)
{
    for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[1024];
    struct timespec now;
    struct tm utc;
    size_t used;
    va_list args;

    if (level > log_most)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    used +=
        (size_t)snprintf(line + used, sizeof(line) - used, ".%03ldZ %s %s: ", now.tv_nsec / 1000000,
                         log_process, level_names[level]);
    va_start(args, format);
    vsnprintf(line + used, sizeof(line) - used - 1, format, args);
    va_end(args);
    used = strlen(line);
    line[used++] = '\n';
    /* One write a line: lines of several threads and processes do not mix. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

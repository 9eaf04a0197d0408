/* log: the one sink for what a process has to say to its operator. Only shells log. */
#ifndef SKEIN_BASE_LOG_H
#define SKEIN_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Names the process ("skeind") and the most talkative level that is written. Lines go to stderr:
 * "2026-11-23T06:31:00.123Z skeind warn: text". Thread-safe. */
void log_setup(const char *process, enum log_level level);

/* Parses "error", "warn", "info" or "debug"; -EINVAL for anything else. */
int log_parse_level(const char *text, enum log_level *ret);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif

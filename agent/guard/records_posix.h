/* records: the files RUN_DIR/guard/NAME (shell). */
#ifndef SKEIN_AGENT_GUARD_RECORDS_POSIX_H
#define SKEIN_AGENT_GUARD_RECORDS_POSIX_H

#include "agent/guard/record.h"

int record_write(const char *run_dir, const struct guest_record *record, struct err *err);
void record_forget(const char *run_dir, const char *guest);
/* Calls `each` for every record that can be read (it takes what it wants out of it); one that
 * cannot is handed to `broken` and stays where it is. */
int records_read(const char *run_dir, void (*each)(void *context, struct guest_record *record),
                 void (*broken)(void *context, const char *guest, const struct err *err),
                 void *context, struct err *err);
/* Forgets all: they are of an earlier boot. */
void records_clear(const char *run_dir);

#endif

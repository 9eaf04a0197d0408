/* proc: what /proc says of the processes of a guest, for the look before a move (check_criu.c,
 * look_criu.c).
 */
#ifndef SKEIN_MIGRATE_PROC_CRIU_H
#define SKEIN_MIGRATE_PROC_CRIU_H

#include <stdbool.h>
#include <sys/types.h>

/* The identity of a process's namespace; 0: the process is gone. */
ino_t proc_namespace(pid_t pid, const char *kind);
/* 0: it is gone. */
pid_t proc_parent(pid_t pid);
/* A number of /proc/PID/FILE behind "KEY:", the last on its line; 0 when there is none. */
unsigned long long proc_number(pid_t pid, const char *file, const char *key);
/* Its name, as in /proc/PID/comm; "?" when it is gone. */
void proc_name(pid_t pid, char ret[32]);
/* Calls `each` for every process of this node, until it returns false. */
void proc_each(bool (*each)(pid_t pid, void *context), void *context);

#endif

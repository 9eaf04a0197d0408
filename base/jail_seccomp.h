/* jail: a process that reads what a stranger wrote locks itself into one directory first. */
#ifndef SKEIN_BASE_JAIL_SECCOMP_H
#define SKEIN_BASE_JAIL_SECCOMP_H

#include "base/err.h"

/* For a child process, as root: `directory` becomes its "/" and its working directory, names are
 * UTF-8 as they are, umask is 0. It can load no code any more, run no program, open no socket, and
 * dies with its parent. */
int jail_enter(const char *directory, struct err *err);

#endif

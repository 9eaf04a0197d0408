/* privileges_linux: what skeind does while it is root, and how it stops being root. */
#ifndef SKEIN_AGENT_SKEIND_PRIVILEGES_LINUX_H
#define SKEIN_AGENT_SKEIND_PRIVILEGES_LINUX_H

#include "agent/config.h"

/* Makes the directories with the right owners, and asks for real-time priority and locked memory
 * where that is allowed. As an ordinary user it only makes the directories. */
int privileges_prepare(const struct config *config, struct err *err);

/* Becomes config->user, for good and without capabilities; says so in the log. As an ordinary user
 * it does nothing. -ENOENT: there is no such user. */
int privileges_drop(const struct config *config, struct err *err);

#endif

/* show_guest_jansson: what a guest keeps and loses (docs/api.md), for people. */
#ifndef SKEIN_AGENT_CLI_SHOW_GUEST_JANSSON_H
#define SKEIN_AGENT_CLI_SHOW_GUEST_JANSSON_H

#include <jansson.h>
#include <stddef.h>

/* "data at /var/lib/data on n1; …" */
void guest_volumes_format(const json_t *volumes, char *ret, size_t size);
/* "move: nothing; restart: memory; …" */
void guest_losses_format(const json_t *losses, char *ret, size_t size);

#endif

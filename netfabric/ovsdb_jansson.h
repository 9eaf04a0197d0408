/* ovsdb_jansson: one kept connection to Open vSwitch's database (RFC 7047), for the ports of
 * br-int.
 *
 * A call returns when the switch has done what the database says (its cur_cfg has caught up).
 */
#ifndef SKEIN_NETFABRIC_OVSDB_JANSSON_H
#define SKEIN_NETFABRIC_OVSDB_JANSSON_H

#include <stdint.h>

#include "base/err.h"

struct ovsdb {
    int fd; /* -1 = not connected */
    uint32_t id;
};

void ovsdb_init(struct ovsdb *db);
void ovsdb_deinit(struct ovsdb *db); /* safe twice */
/* The interface `name` becomes a port of br-int with the OpenFlow number `port`; one that is there
 * is left alone. */
int ovsdb_add_port(struct ovsdb *db, const char *name, uint16_t port, struct err *err);
/* Takes it away; nothing there is no error. */
int ovsdb_remove_port(struct ovsdb *db, const char *name, struct err *err);

#endif

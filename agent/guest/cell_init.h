/* cell_init: what the program inside a container and the code that starts it agree on. */
#ifndef SKEIN_AGENT_GUEST_CELL_INIT_H
#define SKEIN_AGENT_GUEST_CELL_INIT_H

#define CELL_INIT_DIRECTORY "/.skein"
#define CELL_INIT_PATH      "/.skein/init"
#define CELL_LOG_PATH       "/.skein/log"

/* `init run|tend|boot|exec UID:GID DIRECTORY COMMAND…`: so many words before the command. */
enum { CELL_INIT_WORDS = 4, CELL_IDS_SIZE = 24 };

enum {
    CELL_LOG_MAX = 1024 * 1024, /* bytes; past that its older half is cut */

    RUN_OUTPUT = 3, /* descriptors of `init run` */
    RUN_INPUT = 4,
    RUN_STATUS = 5,
    READY = '+', /* first byte on RUN_STATUS: init runs */

    TEND_STATUS = 4, /* of `init tend|boot`: READY once the command runs, or else words */
};

#endif

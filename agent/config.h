/* config: the settings of skeind and skein-guard (pure: the parser takes text).
 *
 * One format: `key = value` lines, `#` comments. Every key is also a flag `--key value` (or
 * `--key=value`, and `-` for `_`), which wins over the file. docs/config.md lists the keys. The
 * file is read by config_posix.c.
 */
#ifndef SKEIN_AGENT_CONFIG_H
#define SKEIN_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/timers.h"
#include "consensus/types.h"

enum {
    CONFIG_PATH_SIZE = 96,
    CONFIG_DEVICE_SIZE = 16,
    CONFIG_USER_SIZE = 33,
    CONFIG_PROFILE_SIZE = 8
};

#define CONFIG_DEFAULT_FILE "/etc/skein/skein.conf"

struct config {
    char name[NAME_SIZE]; /* "" = the host's name */
    uint32_t address;     /* control plane, IPv4; 0 = the uplink's own */
    uint32_t n_labels;
    struct label labels[MAX_LABELS]; /* keys are unique */
    uint32_t n_cores;                /* cores 0…n-1 are declared; 0 = the machine's own */
    bool has_isolated_cores;         /* false: all but core 0 */
    bool isolated[MAX_CORES];
    bool isolation_simulated;
    uint32_t memory_mib;    /* for guests; 0 = three quarters of the machine's */
    uint32_t image_disk_mib; /* that images may take of the disk; 0 = no limit */
    uint32_t backhaul_kbps; /* 0 = unknown: no queues */
    char uplink[CONFIG_DEVICE_SIZE];
    uint32_t vtep; /* 0 = the address */
    uint8_t vtep_prefix;
    char vtep_port[CONFIG_DEVICE_SIZE];
    char datapath[CONFIG_DEVICE_SIZE]; /* "system" or "netdev" */
    bool witness;
    char data_dir[CONFIG_PATH_SIZE];
    char run_dir[CONFIG_PATH_SIZE];
    char log_dir[CONFIG_PATH_SIZE];
    int log_level;                     /* enum log_level */
    char profile[CONFIG_PROFILE_SIZE]; /* of the cluster's timers; "" = not said */
    struct timers timers;              /* what is said of them one by one; 0 = not said */
    uint32_t disk_stall_ms;
    uint32_t stream_delay_ms;        /* that bulk streams may cause; 0 = they are not held back */
    uint32_t checkpoint_limit_mib;   /* of disk, that others' checkpoints may take here */
    char user[CONFIG_USER_SIZE];     /* that skeind becomes */
    char watchdog[CONFIG_PATH_SIZE]; /* the board's, "/dev/watchdog"; "" = none */
};

void config_init(struct config *config); /* the defaults */

/* Sets one key. -ENOENT unknown key, -EINVAL bad value, with words that name the key. `label` adds,
 * or replaces the value of the same label. */
int config_set(struct config *config, const char *key, const char *value, struct err *err);

/* Reads a whole file's text; words begin with "FILE:LINE: ". Settings before the bad line are set.
 */
int config_parse(struct config *config, const char *file, const char *text, struct err *err);

/* Reads flags; argv[0] is passed over. "--config FILE" is recognised and left to the caller. */
int config_parse_flags(struct config *config, int argc, char *const argv[], struct err *err);

/* Do the values fit together? (timers, cores) */
int config_check(const struct config *config, struct err *err);

/* The timers of a cluster that begins here: what is said, over the default. */
struct timers config_timers(const struct config *config);
/* Only what is said; 0 elsewhere. A cluster must agree with it. */
struct timers config_timers_wanted(const struct config *config);

/* Defaults, then the file (--config FILE; the default file may be missing), then DATA_DIR/join.conf
 * (what `skein init` and `skein join` were told, same format), then the flags, then the check.
 * Names file and line; the caller exits with 2. */
int config_load(struct config *ret, int argc, char *const argv[], struct err *err);

/* Reads one file into `config`. -ENOENT when there is none. */
int config_load_file(struct config *config, const char *path, struct err *err);

#endif

#include "agent/cli/commands.h"

#define END                                                                                        \
    {                                                                                              \
        VALUE_END, NULL, NULL, NULL, NULL, 0, false, false                                         \
    }
#define FLAG(type, name, param, metavar, help)                                                     \
    {                                                                                              \
        type, name, param, metavar, help, 0, false, false                                          \
    }
#define LIST(type, name, param, metavar, help)                                                     \
    {                                                                                              \
        type, name, param, metavar, help, 0, true, false                                           \
    }
#define OPERAND(type, name, param)                                                                 \
    {                                                                                              \
        type, name, param, NULL, NULL, 0, false, true                                              \
    }

/* Settings of this board that init and join may say; kept in its data directory. */
#define BOARD_FLAGS                                                                                \
    FLAG(VALUE_NAME, "name", "name", "NAME", "this board's name (its host name)"),                 \
        FLAG(VALUE_ADDRESS, "address", "address", "A.B.C.D", "where the others reach it"),         \
        LIST(VALUE_LABEL, "label", "label", "KEY=VALUE", "a label, for placing guests"),           \
        FLAG(VALUE_NUMBER, "cores", "cores", "N", "declare N cores instead of the machine's own"), \
        FLAG(VALUE_TEXT, "isolated-cores", "isolated_cores", "LIST", "which of them, as 1-3,5"),   \
        FLAG(VALUE_MEMORY, "memory", "memory", "SIZE", "memory for guests, as 2g"),                \
        FLAG(VALUE_RATE, "backhaul", "backhaul", "RATE", "rate of its uplink, as 100mbit"),        \
    {                                                                                              \
        VALUE_SET, "witness", "witness", NULL, "votes, but takes no guests", 0, false, false       \
    }

static const struct value_spec init_flags[] = {
    BOARD_FLAGS,
    FLAG(VALUE_PROFILE, "profile", "profile", "PROFILE",
         "the cluster's timers, for good: default, fast, wan or slow (default)"),
    END};
static const struct value_spec join_flags[] = {BOARD_FLAGS, END};
static const struct value_spec join_operands[] = {OPERAND(VALUE_TEXT, "TOKEN", "token"), END};

static const struct value_spec token_flags[] = {
    FLAG(VALUE_SECONDS, "expires", "expires_s", "TIME", "how long it can be used (1h)"), END};

static const struct value_spec name_operand[] = {OPERAND(VALUE_NAME, "NAME", "name"), END};

static const struct value_spec on_off_operand[] = {OPERAND(VALUE_ON_OFF, "on|off", "on"), END};

static const struct value_spec slice_flags[] = {
    {VALUE_SUBNET, "subnet", "subnet", "A.B.C.D/P", "its addresses", 0, false, true},
    FLAG(VALUE_RATE, "rate", "rate", "RATE", "limit on each uplink, as 20mbit"),
    END};

static const struct value_spec image_operands[] = {OPERAND(VALUE_NAME, "NAME", "name"),
                                                   OPERAND(VALUE_TEXT, "PATH", NULL), END};
static const struct value_spec export_operands[] = {OPERAND(VALUE_NAME, "NAME", "name"),
                                                    OPERAND(VALUE_TEXT, "FILE", NULL), END};
static const struct value_spec image_flags[] = {
    FLAG(VALUE_TEXT, "tag", NULL, "TAG", "which image of an OCI layout with several"),
    FLAG(VALUE_COPIES, "copies", NULL, "N|all",
         "on so many nodes; others get it when they need it (all)"),
    END};

static const struct value_spec guest_flags[] = {
    {VALUE_NAME, "image", "image", "NAME", "what it runs", 0, false, true},
    FLAG(VALUE_KIND, "kind", "kind", "KIND", "cell, lxc or vm (cell)"),
    FLAG(VALUE_FILE, "user-data", "user_data", "FILE", "vm: for cloud-init, at most 16 KiB"),
    FLAG(VALUE_NAME, "slice", "slice", "NAME", "its network (none)"),
    FLAG(VALUE_NUMBER, "cores", "cores", "N", "whole isolated cores; 0: the shared ones (0)"),
    FLAG(VALUE_MEMORY, "memory", "memory", "SIZE", "its limit, as 64m (64m)"),
    LIST(VALUE_LABEL, "label", "label", "KEY=VALUE", "only on nodes with this label"),
    FLAG(VALUE_NAME, "on", "on", "NODE", "only on this node"),
    LIST(VALUE_ENV, "env", "env", "KEY=VALUE", "environment"),
    LIST(VALUE_VOLUME, "volume", "volume", "NAME:/path",
         "a directory that moves with it and outlives its restarts on a node; cell only"),
    FLAG(VALUE_RESTART, "restart", "restart", "POLICY", "always, on-failure or never (always)"),
    FLAG(VALUE_FAILOVER, "failover", "failover", "POLICY", "restart, stay or restore (restart)"),
    FLAG(VALUE_PERIOD, "protect", "protect_ms", "TIME",
         "restore: a checkpoint so often, which another node keeps (10s)"),
    FLAG(VALUE_NUMBER, "priority", "priority", "N", "higher comes back first (100)"),
    FLAG(VALUE_ON_OFF, "preempt", "preempt", "on|off",
         "fits nowhere: less important guests give way to it (as 'cluster preemption' says)"),
    FLAG(VALUE_TEXT, "health", "health", "CHECK",
         "tcp:PORT or 'exec:COMMAND ARGS'; a guest that fails it starts again in place"),
    FLAG(VALUE_MS, "health-interval", "health_interval_ms", "TIME", "between checks (10s)"),
    FLAG(VALUE_MS, "health-timeout", "health_timeout_ms", "TIME", "limit of one check (2s)"),
    FLAG(VALUE_NUMBER, "health-retries", "health_retries", "N", "failures in a row that count (3)"),
    FLAG(VALUE_MS, "health-start", "health_start_ms", "TIME",
         "after a start, failures do not count for so long (0)"),
    END};

static const struct value_spec set_flags[] = {
    {VALUE_PERIOD, "protect", "protect_ms", "TIME|off",
     "a checkpoint so often, to resume from after a loss; off: none", 0, false, true},
    END};

static const struct value_spec migrate_flags[] = {
    FLAG(VALUE_NAME, "to", "to", "NODE", "where to (the best other node)"),
    {VALUE_SET, "check", "check", NULL, "only say whether it can move, and every reason", 0, false,
     false},
    FLAG(VALUE_MS, "downtime", "downtime_ms", "TIME", "how long it may stand still (300ms)"),
    FLAG(VALUE_MODE, "mode", "mode", "MODE",
         "auto, stop, pre or post: this way or not at all (auto)"),
    FLAG(VALUE_RATE, "bandwidth", "bandwidth", "RATE", "the move takes no more, as 50mbit"),
    FLAG(VALUE_PARALLEL, "connections", "connections", "N",
         "vm with --mode pre: its memory crosses by so many at once, 1 to 8 (1)"),
    END};

#define DRY_RUN                                                                                    \
    {                                                                                              \
        VALUE_SET, "dry-run", "dry_run", NULL, "only say what would go where, and what cannot", 0, \
            false, false                                                                           \
    }
static const struct value_spec drain_flags[] = {
    DRY_RUN,
    FLAG(VALUE_MS, "deadline", "deadline_ms", "TIME",
         "what has not moved by then starts anew elsewhere (never)"),
    END};
static const struct value_spec remove_flags[] = {DRY_RUN, END};
static const struct value_spec id_operand[] = {OPERAND(VALUE_NUMBER, "ID", "id"), END};

static const struct value_spec events_flags[] = {
    {VALUE_SET, "follow", "follow", NULL, "go on as they happen", 'w', false, false}, END};
static const struct value_spec logs_flags[] = {
    {VALUE_SET, "follow", "follow", NULL, "go on as it grows", 'w', false, false}, END};

static const struct value_spec top_flags[] = {
    {VALUE_SET, "once", NULL, NULL, "one snapshot, then the end", 0, false, false}, END};

const struct command_spec commands[] = {
    {"init", NULL, "cluster.init", "Makes this board the first one of a new cluster.", NULL,
     init_flags, false, false},
    {"join", NULL, "cluster.join", "Joins this board to the cluster that made TOKEN.",
     join_operands, join_flags, false, false},
    {"status", NULL, "status", "How the cluster is.", NULL, NULL, false, false},
    {"top", NULL, "top",
     "Watches the cluster live: leases, links, guests; q ends it. As JSON: one object a second.",
     NULL, top_flags, false, false},
    {"events", NULL, "events", "What happened lately, as this node saw it.", NULL, events_flags,
     false, false},
    {"cluster", "maintenance", "cluster.maintenance",
     "While people work on cables: no node is called lost, nothing is started elsewhere.",
     on_off_operand, NULL, false, false},
    {"cluster", "preemption", "cluster.preemption",
     "Whether guests without a --preempt of their own take the place of less important ones.",
     on_off_operand, NULL, false, false},
    {"token", "create", "token.create", "Makes a single-use join token (the last line).", NULL,
     token_flags, false, false},
    {"node", "list", "node.list", "Lists the nodes.", NULL, NULL, false, false},
    {"node", "show", "node.show", "Shows one node.", name_operand, NULL, false, false},
    {"node", "cordon", "node.cordon", "No further guests are placed on the node.", name_operand,
     NULL, false, false},
    {"node", "uncordon", "node.uncordon", "Guests are placed on the node again.", name_operand,
     NULL, false, false},
    {"node", "drain", "node.drain",
     "Moves every guest off the node, the most important first, and keeps others away.",
     name_operand, drain_flags, false, false},
    {"node", "undrain", "node.undrain", "Ends a drain: guests are placed on the node again.",
     name_operand, NULL, false, false},
    {"node", "remove", "node.remove",
     "Drains the node and takes it out of the cluster; it can join again with a new token.",
     name_operand, remove_flags, false, false},
    {"slice", "create", "slice.create", "Makes a slice: a network of its own across the nodes.",
     name_operand, slice_flags, false, false},
    {"slice", "list", "slice.list", "Lists the slices.", NULL, NULL, false, false},
    {"slice", "rm", "slice.rm", "Removes a slice without guests.", name_operand, NULL, false,
     false},
    {"image", "add", "image.add",
     "Adds an image: a directory, an OCI layout directory, tar, tar.gz, tar.zst, squashfs, qcow2 "
     "or a "
     "raw disk; returns when those nodes hold it.",
     image_operands, image_flags, false, false},
    {"image", "show", "image.show", "Shows one image: its digest, where copies are, who uses it.",
     name_operand, NULL, false, false},
    {"image", "export", "image.export",
     "Writes an image to a new file: what was added, or the archive of a directory or OCI layout; "
     "its digest is checked.",
     export_operands, NULL, false, false},
    {"image", "list", "image.list", "Lists the images.", NULL, NULL, false, false},
    {"image", "gc", "image.gc",
     "Drops copies of images beyond what these ask for, where no guest uses them.", NULL, NULL,
     false, false},
    {"image", "rm", "image.rm", "Removes an image that no guest uses.", name_operand, NULL, false,
     false},
    {"guest", "plan", "guest.plan",
     "Says where a guest would go, and for each other node why not; changes nothing.", name_operand,
     guest_flags, true, false},
    {"guest", "run", "guest.run", "Runs a new guest.", name_operand, guest_flags, true, false},
    {"guest", "list", "guest.list", "Lists the guests.", NULL, NULL, false, false},
    {"guest", "show", "guest.show", "Shows one guest.", name_operand, NULL, false, false},
    {"guest", "stats", "guest.stats",
     "Shows what a guest uses, and has used since it came to its node.", name_operand, NULL, false,
     false},
    {"guest", "stop", "guest.stop", "Stops a guest; it stays known.", name_operand, NULL, false,
     false},
    {"guest", "start", "guest.start", "Starts a stopped guest.", name_operand, NULL, false, false},
    {"guest", "set", "guest.set", "Changes how a guest is protected.", name_operand, set_flags,
     false, false},
    {"guest", "rm", "guest.rm", "Removes a stopped guest.", name_operand, NULL, false, false},
    {"guest", "migrate", "guest.migrate", "Moves a running guest, live.", name_operand,
     migrate_flags, false, false},
    {"migration", "list", "migration.list", "Lists the migrations in flight.", NULL, NULL, false,
     false},
    {"migration", "show", "migration.show", "Shows one migration in flight.", id_operand, NULL,
     false, false},
    {"migration", "cancel", "migration.cancel",
     "Calls a migration off, before its commit: the guest goes on where it is.", id_operand, NULL,
     false, false},
    {"guest", "exec", "guest.exec",
     "Runs a command inside a guest; its exit code is the command's.", name_operand, NULL, true,
     true},
    {"guest", "console", "guest.console",
     "Joins the terminal to the console of a vm; Ctrl-] leaves it.", name_operand, NULL, false,
     false},
    {"guest", "logs", "guest.logs", "Prints what the guest wrote to its stdout and stderr.",
     name_operand, logs_flags, false, false},
    {NULL, NULL, NULL, NULL, NULL, NULL, false, false},
};

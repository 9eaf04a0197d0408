/* fabric-tool: drives the wiring of one node by hand, without the daemons, from a description of a
 * cluster's state:
 *
 *   backhaul KBPS
 *   node ID VTEP
 *   slice NAME VNI SUBNET RATE_KBPS
 *   guest NAME SLICE IP NODE SLOT          (NODE 0: it has no place)
 *   migration GUEST FROM TO reserved|committed
 *
 * Nodes come in the order of their ids, slices and guests in the order of their names.
 *
 *   fabric-tool FILE NODE setup | apply | rules | plug GUEST [down] | unplug GUEST | up GUEST |
 *                         down GUEST | port GUEST | wait | serve
 *
 * setup, apply, plug and unplug print how many milliseconds they took. serve applies one
 * description after the other over the same wiring, as the guard does: each line of its input names
 * a file; it prints the milliseconds of each.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "netfabric/flows.h"
#include "netfabric/wiring.h"

enum { MAX_LINES = 512 };

struct cluster {
    uint32_t backhaul_kbps;
    struct node nodes[MAX_LINES];
    struct slice slices[MAX_LINES];
    struct guest guests[MAX_LINES];
    struct migration migrations[MAX_LINES];
    struct state state;
};

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "fabric-tool: %s%s%s\n", what, err == NULL ? "" : ": ",
            err == NULL ? "" : err->text);
    exit(1);
}

static uint32_t address(const char *text)
{
    struct err err = {0};
    uint32_t ip;

    if (ipv4_parse(text, &ip, &err) < 0)
        die("bad line", &err);
    return ip;
}

static struct guest *find_guest(struct cluster *c, const char *name)
{
    for (size_t i = 0; i < c->state.n_guests; i++)
        if (strcmp(c->guests[i].spec.name, name) == 0)
            return &c->guests[i];
    die("unknown guest", NULL);
    return NULL;
}

static void read_migration(struct cluster *c, const char *guest, unsigned from, unsigned to,
                           const char *phase)
{
    struct migration *m = &c->migrations[c->state.n_migrations++];
    struct guest *g = find_guest(c, guest);

    m->id = c->state.n_migrations;
    m->from = from;
    m->to = to;
    m->phase = strcmp(phase, "committed") == 0 ? MIGRATION_COMMITTED : MIGRATION_RESERVED;
    snprintf(m->guest, sizeof(m->guest), "%s", guest);
    g->migration = m->id;
}

static void read_line(struct cluster *c, const char *line)
{
    char name[NAME_SIZE], text[NAME_SIZE], ip[NAME_SIZE];
    unsigned a, b;
    struct err err = {0};
    struct node *node = &c->nodes[c->state.n_nodes];
    struct slice *slice = &c->slices[c->state.n_slices];
    struct guest *guest = &c->guests[c->state.n_guests];

    if (sscanf(line, "backhaul %u", &c->backhaul_kbps) == 1)
        return;
    if (sscanf(line, "node %u %32s", &a, ip) == 2) {
        node->id = a;
        node->facts.vtep = address(ip);
        c->state.n_nodes++;
    } else if (sscanf(line, "slice %32s %u %32s %u", name, &a, text, &b) == 4) {
        memcpy(slice->name, name, sizeof(name));
        slice->vni = a;
        slice->rate_kbps = b;
        if (subnet_parse(text, &slice->subnet, &err) < 0)
            die("bad line", &err);
        c->state.n_slices++;
    } else if (sscanf(line, "guest %32s %32s %32s %u %u", name, text, ip, &a, &b) == 5) {
        memcpy(guest->spec.name, name, sizeof(name));
        memcpy(guest->spec.slice, text, sizeof(text));
        guest->ip = address(ip);
        guest->placement.node = a;
        guest->slot = (uint16_t)b;
        c->state.n_guests++;
    } else if (sscanf(line, "migration %32s %u %u %32s", name, &a, &b, text) == 4) {
        read_migration(c, name, a, b, text);
    } else if (line[0] != '\n' && line[0] != '#') {
        die(line, NULL);
    }
}

static void read_cluster(struct cluster *c, const char *path)
{
    FILE *file = fopen(path, "re");
    char line[256];

    if (file == NULL)
        die(path, NULL);
    c->state.nodes = c->nodes;
    c->state.slices = c->slices;
    c->state.guests = c->guests;
    c->state.migrations = c->migrations;
    for (int n = 0; fgets(line, sizeof(line), file) != NULL && n < MAX_LINES; n++)
        read_line(c, line);
    fclose(file);
}

static struct wiring_port port_of(struct cluster *c, const char *name, bool is_up)
{
    const struct guest *guest = find_guest(c, name);
    const struct slice *slice = state_slice(&c->state, guest->spec.slice);
    struct wiring_port port = {
        .port = fabric_port_of(&c->state, guest), .ip = guest->ip, .is_up = is_up};

    if (slice == NULL)
        die("unknown slice", NULL);
    port.prefix = slice->subnet.prefix;
    memcpy(port.guest, guest->spec.name, sizeof(port.guest));
    mac_of_guest(guest->ip, port.mac);
    return port;
}

static int apply(struct cluster *c, struct wiring *wiring, uint64_t node, bool is_dry,
                 struct err *err)
{
    struct fabric_view view;
    int code = fabric_view_of(&c->state, node, &view);
    char *text;

    if (code < 0)
        return err_set(err, code, "no view of node %llu", (unsigned long long)node);
    if (is_dry) {
        text = flows_render(&view);
        fputs(text, stdout);
        free(text);
    } else {
        code = wiring_apply(wiring, &view, err);
    }
    fabric_view_deinit(&view);
    return code;
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int serve(struct wiring *wiring, uint64_t node, struct err *err)
{
    struct cluster *c = calloc(1, sizeof(*c));
    char path[128];
    int code = 0;

    while (code == 0 && scanf("%127s", path) == 1) {
        double start;

        memset(c, 0, sizeof(*c));
        read_cluster(c, path);
        start = now_ms();
        code = apply(c, wiring, node, false, err);
        printf("%.1f\n", now_ms() - start);
        fflush(stdout);
    }
    free(c);
    return code;
}

static int run(struct cluster *c, uint64_t node, char **argv, struct err *err)
{
    const struct node *self = state_node(&c->state, node);
    struct wiring_config config = {.uplink = "eth0",
                                   .vtep_port = "phy0",
                                   .datapath = "netdev",
                                   .vtep_prefix = 24,
                                   .backhaul_kbps = c->backhaul_kbps};
    const char *verb = argv[0], *guest = argv[1];
    struct wiring *wiring;
    struct wiring_port port;

    if (self == NULL)
        die("unknown node", NULL);
    config.vtep = self->facts.vtep;
    if (wiring_new(&config, &wiring, err) < 0)
        die("wiring", err);
    if (strcmp(verb, "setup") == 0)
        return wiring_setup(wiring, err);
    if (strcmp(verb, "apply") == 0 || strcmp(verb, "rules") == 0)
        return apply(c, wiring, node, strcmp(verb, "rules") == 0, err);
    if (strcmp(verb, "serve") == 0)
        return serve(wiring, node, err);
    if (strcmp(verb, "wait") == 0)
        return wiring_wait_for_death(STDIN_FILENO, err);
    if (guest == NULL)
        die("which guest?", NULL);
    port = port_of(c, guest, argv[2] == NULL);
    if (strcmp(verb, "plug") == 0)
        return wiring_plug(wiring, &port, err);
    if (strcmp(verb, "unplug") == 0)
        return wiring_unplug(wiring, guest, port.port, err);
    if (strcmp(verb, "up") == 0 || strcmp(verb, "down") == 0)
        return wiring_set_up(port.port, strcmp(verb, "up") == 0, err);
    if (strcmp(verb, "port") != 0)
        die("unknown verb", NULL);
    printf("%u\n", port.port);
    return 0;
}

int main(int argc, char **argv)
{
    struct cluster *c = calloc(1, sizeof(*c));
    struct err err = {0};
    double start;
    int code;

    if (argc < 4 || c == NULL)
        die("FILE NODE VERB [GUEST [down]]", NULL);
    read_cluster(c, argv[1]);
    start = now_ms();
    code = run(c, strtoull(argv[2], NULL, 10), argv + 3, &err);
    if (code < 0)
        die(argv[3], &err);
    if (strcmp(argv[3], "rules") != 0 && strcmp(argv[3], "port") != 0 &&
        strcmp(argv[3], "serve") != 0)
        printf("%.1f\n", now_ms() - start);
    free(c);
    return code;
}

/* Volumes as people write them, where the state says that they are, and what of a guest is lost
 * when.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "base/volume.h"
#include "consensus/losses.h"
#include "scheduler/place.h"
#include "tests/unit/three_nodes.h"

static void what_is_a_volume(void **unused)
{
    static const struct {
        const char *text, *words; /* NULL: it is one */
    } rows[] = {
        {"data:/var/lib/data", NULL},
        {"a:/b", NULL},
        {"data:/srv/..data/.x", NULL},
        {"data:/devices", NULL},
        {"data:/srv/a+b@c-d_e.f", NULL},
        {"data", "NAME:/path"},
        {"", "NAME:/path"},
        {":/srv", "no name"},
        {"Data:/srv", "no name"},
        {"data-:/srv", "no name"},
        {"a23456789012345678901234567890123:/srv", "at most 32"},
        {"data:srv", "no absolute path"},
        {"data:", "no absolute path"},
        {"data:/", "the root"},
        {"data://", "'//'"},
        {"data:/srv/", "at its end"},
        {"data:/srv//a", "'//'"},
        {"data:/srv/./a", "'.'"},
        {"data:/srv/..", "'..'"},
        {"data:/../srv", "'..'"},
        {"data:/srv:/a", "may hold"},
        {"data:/srv/a b", "may hold"},
        {"data:/srv]", "may hold"},
        {"data:/dev", "/dev"},
        {"data:/dev/shm", "/dev"},
        {"data:/proc/sys", "/proc"},
        {"data:/.skein", "/.skein"},
    };
    (void)unused;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct volume volume = {.name = "untouched"};
        struct err err = {0};
        int r = volume_parse(rows[i].text, &volume, &err);

        if (rows[i].words == NULL) {
            if (r != 0)
                fail_msg("'%s' was refused: %s", rows[i].text, err.text);
            assert_int_equal(volumes_check(&volume, 1, &err), 0);
            continue;
        }
        if (r != -EINVAL || strstr(err.text, rows[i].words) == NULL)
            fail_msg("'%s': %d, '%s'", rows[i].text, r, err.text);
        assert_string_equal(volume.name, "untouched");
    }
}

static void a_path_may_be_as_long_as_any_directory(void **unused)
{
    char text[DIRECTORY_SIZE + 8] = "data:/";
    struct volume volume;
    struct err err;
    (void)unused;

    memset(text + strlen(text), 'a', DIRECTORY_SIZE - 2);
    assert_int_equal(strlen(strchr(text, '/')), DIRECTORY_SIZE - 1);
    assert_int_equal(volume_parse(text, &volume, &err), 0);
    strcat(text, "a");
    assert_int_equal(volume_parse(text, &volume, &err), -EINVAL);
}

static void volumes_of_one_guest_are_apart(void **unused)
{
    static const struct {
        struct volume a, b;
        const char *words;
    } rows[] = {
        {{"a", "/srv/a"}, {"b", "/srv/b"}, NULL},
        {{"a", "/srv/a"}, {"b", "/srv/ab"}, NULL},
        {{"a", "/srv/a"}, {"a", "/srv/b"}, "two volumes are named a"},
        {{"a", "/srv"}, {"b", "/srv"}, "both at /srv"},
        {{"a", "/srv"}, {"b", "/srv/b"}, "within"},
        {{"a", "/srv/b/c"}, {"b", "/srv/b"}, "within"},
    };
    (void)unused;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct volume both[2] = {rows[i].a, rows[i].b};
        struct err err = {0};

        assert_int_equal(volumes_check(both, 2, &err), rows[i].words != NULL ? -EINVAL : 0);
        if (rows[i].words != NULL)
            assert_non_null(strstr(err.text, rows[i].words));
    }
    assert_int_equal(volumes_check(NULL, 0, NULL), 0);
}

static void what_is_lost_when(void **unused)
{
    enum { M = LOSES_MEMORY, F = LOSES_FILES, V = LOSES_VOLUMES, C = LOSES_SINCE_CHECKPOINT };
    static const struct {
        enum failover_policy failover;
        uint32_t n_volumes;
        unsigned int losses[LOSS_EVENT_END]; /* move, restart, stop, reboot, node loss */
    } rows[] = {
        {FAILOVER_RESTART, 0, {0, M, M | F, M | F, M | F}},
        {FAILOVER_RESTART, 1, {0, M, M, M | F, M | F | V}},
        {FAILOVER_STAY, 0, {0, M, M | F, M | F, 0}},
        {FAILOVER_STAY, 1, {0, M, M, M | F, 0}},
        {FAILOVER_RESTORE, 0, {0, M, M | F, C, C}},
        {FAILOVER_RESTORE, 2, {0, M, M, C, C}},
    };
    (void)unused;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct guest_spec spec = {.failover = rows[i].failover, .n_volumes = rows[i].n_volumes};

        for (int event = 0; event < LOSS_EVENT_END; event++)
            assert_int_equal(guest_losses(&spec, (enum loss_event)event), rows[i].losses[event]);
    }
    assert_string_equal(loss_event_name(LOSS_NODE_LOSS), "node_loss");
    assert_string_equal(loss_name(LOSES_SINCE_CHECKPOINT), "since_checkpoint");
    assert_null(loss_name((enum loss)(1 << 4)));
}

/* ---- the state */

static int create(struct cluster *c, enum guest_kind kind, struct volume *volumes, uint32_t n)
{
    char *argv[] = {"server"};
    struct command command = {.type = COMMAND_GUEST_CREATE,
                              .guest_create = {.spec = {.name = "web",
                                                        .kind = kind,
                                                        .image = "web",
                                                        .memory_mib = 64,
                                                        .restart = RESTART_ALWAYS,
                                                        .failover = FAILOVER_RESTART,
                                                        .n_argv = kind == KIND_VM ? 0 : 1,
                                                        .argv = argv,
                                                        .n_volumes = n,
                                                        .volumes = volumes},
                                               .placement = cluster_place(c, "n2", 1, 0)}};

    return cluster_apply(c, &command);
}

static int begin(struct cluster *c)
{
    struct volume data = {"data", "/var/lib/data"};

    return create(c, KIND_CELL, &data, 1);
}

/* Where it may be placed next: "" is everywhere, else the only node. */
static void assert_goes_to(struct cluster *c, const char *node)
{
    for (size_t i = 0; i < c->state.n_nodes; i++) {
        const struct node *candidate = &c->state.nodes[i];
        const struct node *other = state_volumes_elsewhere(&c->state, "web", candidate->id);

        if (node[0] == '\0' || strcmp(candidate->name, node) == 0)
            assert_null(other);
        else
            assert_string_equal(other->name, node);
    }
}

static int start(struct cluster *c, const char *node)
{
    return cluster_place_guest(c, COMMAND_GUEST_START, "web", place_of(c, "web")->epoch,
                               cluster_place(c, node, 1, 0));
}

static void stop(struct cluster *c)
{
    assert_int_equal(cluster_by_name(c, COMMAND_GUEST_STOP, "web"), 0);
    assert_int_equal(cluster_stopped(c, "web", false), 0);
}

static void what_cannot_have_volumes_is_refused(void **state)
{
    struct volume bad[2] = {{"data", "/srv"}, {"data", "/var"}};
    struct cluster *c = *state;

    create(c, KIND_VM, bad, 1);
    assert_refused(c, -EINVAL, "guest web: a vm has no volumes");
    create(c, KIND_CELL, bad, 2);
    assert_refused(c, -EINVAL, "guest web: two volumes are named data");
    strcpy(bad[0].path, "/srv/../etc");
    create(c, KIND_CELL, bad, 1);
    assert_int_equal(c->out.code, -EINVAL);
    assert_int_equal(c->state.n_guests, 0);
}

static void a_container_has_them_as_a_cell_has(void **state)
{
    struct volume data = {"data", "/var/lib/data"};
    struct cluster *c = *state;

    for (size_t i = 0; i < c->state.n_nodes; i++)
        c->state.nodes[i].facts.kinds |= KIND_BIT(KIND_LXC);
    assert_int_equal(create(c, KIND_LXC, &data, 1), 0);
    stop(c);
    assert_goes_to(c, "n2");
}

static void a_stopped_guest_starts_where_its_volumes_are(void **state)
{
    struct cluster *c = *state;

    assert_int_equal(begin(c), 0);
    assert_int_equal(state_guest(&c->state, "web")->home, cluster_node(c, "n2"));
    assert_goes_to(c, ""); /* it is placed: it moves with them */
    stop(c);
    assert_goes_to(c, "n2");
    start(c, "n3");
    assert_refused(c, -ESTALE, "guest web: its volumes are on node n2");
    assert_int_equal(start(c, "n2"), 0);
}

static void a_guest_without_volumes_starts_anywhere(void **state)
{
    struct cluster *c = *state;

    assert_int_equal(create(c, KIND_CELL, NULL, 0), 0);
    stop(c);
    assert_goes_to(c, "");
    assert_int_equal(start(c, "n3"), 0);
}

static void after_a_reboot_it_goes_back_and_after_a_loss_elsewhere(void **state)
{
    struct cluster *c = *state;

    assert_int_equal(cluster_event(c, COMMAND_NODE_REBOOTED, "n2", 1), 0);
    assert_int_equal(begin(c), 0);
    assert_int_equal(cluster_event(c, COMMAND_NODE_REBOOTED, "n2", 2), 0);
    assert_nowhere_now(c, "web");
    assert_goes_to(c, "n2");
    assert_int_equal(cluster_event(c, COMMAND_NODE_LOST, "n2", 0), 0);
    assert_goes_to(c, "");
    assert_int_equal(cluster_event(c, COMMAND_NODE_RETURNED, "n2", 0), 0);
    assert_goes_to(c, "n2"); /* nobody has placed it meanwhile */
    assert_int_equal(cluster_event(c, COMMAND_NODE_LOST, "n2", 0), 0);
    assert_int_equal(cluster_place_guest(c, COMMAND_GUEST_PLACE, "web", place_of(c, "web")->epoch,
                                         cluster_place(c, "n3", 1, 0)),
                     0);
    assert_int_equal(state_guest(&c->state, "web")->home, cluster_node(c, "n3"));
}

static void volumes_move_with_the_commit_and_return_with_it(void **state)
{
    struct cluster *c = *state;

    assert_int_equal(begin(c), 0);
    assert_int_equal(cluster_reserve(c, "web", cluster_place(c, "n3", 1, 0)), 0);
    assert_int_equal(state_guest(&c->state, "web")->home, cluster_node(c, "n2"));
    assert_int_equal(cluster_step(c, COMMAND_MIGRATION_COMMIT, c->out.id), 0);
    assert_int_equal(state_guest(&c->state, "web")->home, cluster_node(c, "n3"));
    assert_int_equal(cluster_step(c, COMMAND_MIGRATION_RETURN, c->out.id), 0);
    assert_int_equal(state_guest(&c->state, "web")->home, cluster_node(c, "n2"));
}

static void the_scheduler_says_why_not_elsewhere(void **state)
{
    struct cluster *c = *state;
    struct node_telemetry telemetry[3];
    struct place_request request = {.telemetry = telemetry, .n_telemetry = 3};
    struct place_result result;

    assert_int_equal(begin(c), 0);
    stop(c);
    for (size_t i = 0; i < 3; i++)
        telemetry[i] = (struct node_telemetry){.node = c->state.nodes[i].id, .present = true};
    request.spec = &state_guest(&c->state, "web")->spec;
    assert_int_equal(place_guest(&c->state, &request, &result, NULL), 0);
    assert_int_equal(result.placement.node, cluster_node(c, "n2"));
    assert_string_equal(result.rows[0].reason, "the guest's volumes are on n2");
    place_result_deinit(&result);
    assert_int_equal(cluster_flag(c, COMMAND_NODE_CORDON, "n2", true), 0);
    assert_int_equal(place_guest(&c->state, &request, &result, NULL), 0);
    assert_int_equal(result.placement.node, 0);
    place_result_deinit(&result);
}

static void no_wrong_volume_is_decoded(void **state)
{
    struct volume volume = {"data", "/etc/.."};
    struct guest_spec spec = {.name = "web",
                              .kind = KIND_CELL,
                              .restart = RESTART_ALWAYS,
                              .failover = FAILOVER_RESTART,
                              .n_volumes = 1,
                              .volumes = &volume};
    uint8_t bytes[1024];
    struct guest_spec back;
    struct reader r;
    struct writer w;
    (void)state;

    for (int is_right = 0; is_right < 2; is_right++) {
        if (is_right)
            strcpy(volume.path, "/etc");
        writer_init(&w, bytes, sizeof(bytes));
        guest_spec_encode(&spec, &w);
        assert_false(w.failed);
        reader_init(&r, bytes, w.size);
        assert_int_equal(guest_spec_decode(&r, &back), is_right ? 0 : -EBADMSG);
        assert_int_equal(back.n_volumes, 1);
        guest_spec_deinit(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_a_volume),
        cmocka_unit_test(a_path_may_be_as_long_as_any_directory),
        cmocka_unit_test(volumes_of_one_guest_are_apart),
        cmocka_unit_test(what_is_lost_when),
        cmocka_unit_test(no_wrong_volume_is_decoded),
        TEST(what_cannot_have_volumes_is_refused),
        TEST(a_container_has_them_as_a_cell_has),
        TEST(a_stopped_guest_starts_where_its_volumes_are),
        TEST(a_guest_without_volumes_starts_anywhere),
        TEST(after_a_reboot_it_goes_back_and_after_a_loss_elsewhere),
        TEST(volumes_move_with_the_commit_and_return_with_it),
        TEST(the_scheduler_says_why_not_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

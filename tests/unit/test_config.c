#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "agent/config.h"

static void a_whole_file_sets_every_key(void **context)
{
    struct config c;
    struct err err = {0};
    const char *text = "# a board\n"
                       "name = n1\n"
                       "address=172.31.0.1 # control plane\n"
                       "label = rack=a\nlabel = disk=ssd\nlabel = tier=b\n"
                       "cores = 4\nisolated_cores = 1-2,3\nisolation = simulated\n"
                       "memory = 2g\nbackhaul = 100mbit\nuplink = eth0\n"
                       "vtep = 10.90.0.1/24\nvtep_port = phy0\ndatapath = netdev\nwitness = yes\n"
                       "data_dir = /d\nrun_dir = /r\nlog_dir = /l\nlog_level = debug\n"
                       "election_ms = 300\nheartbeat_ms = 50\nbeat_ms = 100\nauthority_ms = 300\n"
                       "lease_ms = 1200\nfreeze_ms = 30\ndisk_stall_ms = 1000\nuser = nobody";

    (void)context;
    config_init(&c);
    assert_int_equal(config_parse(&c, "f", text, &err), 0);
    assert_string_equal(c.name, "n1");
    assert_int_equal(c.address, 0xac1f0001);
    assert_int_equal(c.n_labels, 3);
    assert_string_equal(c.labels[0].value, "a");
    assert_string_equal(c.labels[1].key, "disk");
    assert_false(c.isolated[0]);
    assert_true(c.isolated[1] && c.isolated[2] && c.isolated[3]);
    assert_int_equal(c.memory_mib, 2048);
    assert_int_equal(c.backhaul_kbps, 100000);
    assert_int_equal(c.vtep, 0x0a5a0001);
    assert_int_equal(c.vtep_prefix, 24);
    assert_true(c.witness && c.isolation_simulated);
    assert_string_equal(c.user, "nobody");
    assert_int_equal(config_check(&c, &err), 0);
}

static void a_wrong_line_is_named(void **context)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"name = n1\ncolour = red\n", "skein.conf:2: unknown key 'colour'"},
        {"\n\nelection_ms = 5\n", "skein.conf:3: election_ms: '5' is not a number from 100"},
        {"just words", "skein.conf:1: 'just words' is not of the form key = value"},
        {"name = N1", "skein.conf:1: name: 'N1' is no name"},
        {"isolated_cores = 3-1", "skein.conf:1: isolated_cores: '3-1' is no list"},
        {"isolated_cores = 1,", "skein.conf:1: isolated_cores: '1,' is no list"},
        {"isolated_cores = 900", "skein.conf:1: isolated_cores"},
        {"isolation = maybe", "skein.conf:1: isolation: 'maybe' is neither"},
        {"vtep = 10.0.0.1", "skein.conf:1: vtep: '10.0.0.1' is no address with a prefix"},
        {"data_dir = here", "skein.conf:1: data_dir: 'here' is no absolute path"},
        {"uplink = a-device-with-a-long-name", "skein.conf:1: uplink"},
        {"label = x", "skein.conf:1: label: 'x' is no label"},
        {"label = disk = ssd", "skein.conf:1: label: 'disk = ssd' is no label"},
        {"witness = 1", "skein.conf:1: witness: '1' is neither yes nor no"},
        {"memory = 64", "skein.conf:1: memory: '64' is not an amount"},
    };

    (void)context;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct config c;
        struct err err = {0};

        config_init(&c);
        assert_int_equal(config_parse(&c, "skein.conf", rows[i].text, &err), -EINVAL);
        assert_memory_equal(err.text, rows[i].words, strlen(rows[i].words));
    }
}

static void flags_win_over_the_file(void **context)
{
    char *argv[] = {"skeind",     "--name", "n2",      "--data-dir=/x", "--config", "elsewhere",
                    "--lease_ms", "800",    "--label", "a=b",           NULL};
    struct config c;
    struct err err = {0};

    (void)context;
    config_init(&c);
    assert_int_equal(config_parse(&c, "f", "name = n1\nlabel = a=c\n", &err), 0);
    assert_int_equal(config_parse_flags(&c, 10, argv, &err), 0);
    assert_string_equal(c.name, "n2");
    assert_string_equal(c.data_dir, "/x");
    assert_int_equal(c.timers.lease_ms, 800);
    assert_int_equal(c.n_labels, 1);
    assert_string_equal(c.labels[0].value, "b");
}

static void wrong_flags_are_named(void **context)
{
    char *unknown[] = {"skeind", "--colour", "red", NULL};
    char *bad[] = {"skeind", "--cores=many", NULL};
    char *missing[] = {"skeind", "--name", NULL};
    char *bare[] = {"skeind", "n1", NULL};
    struct config c;
    struct err err = {0};

    (void)context;
    config_init(&c);
    assert_int_equal(config_parse_flags(&c, 3, unknown, &err), -ENOENT);
    assert_string_equal(err.text, "--colour: unknown key 'colour'");
    assert_int_equal(config_parse_flags(&c, 2, bad, &err), -EINVAL);
    assert_non_null(strstr(err.text, "cores: 'many'"));
    assert_int_equal(config_parse_flags(&c, 2, missing, &err), -EINVAL);
    assert_string_equal(err.text, "--name: a value is missing");
    assert_int_equal(config_parse_flags(&c, 2, bare, &err), -EINVAL);
}

static void a_profile_fills_what_is_not_said(void **context)
{
    struct config c;
    struct timers wanted, timers;
    struct err err = {0};

    (void)context;
    config_init(&c);
    wanted = config_timers_wanted(&c);
    assert_int_equal(wanted.lease_ms, 0); /* nothing said, nothing insisted on */
    timers = config_timers(&c);
    assert_string_equal(timers_profile_name(&timers), "default");
    assert_int_equal(config_parse(&c, "f", "lease_ms = 400\nprofile = fast\n", &err), 0);
    assert_int_equal(config_check(&c, &err), 0);
    timers = config_timers(&c);
    assert_int_equal(timers.lease_ms, 400);
    assert_int_equal(timers.election_ms, 100);
    wanted = config_timers_wanted(&c);
    assert_true(timers_are_equal(&wanted, &timers)); /* a profile says them all */
    assert_string_equal(timers_profile_name(&timers), "custom");
    assert_int_equal(config_set(&c, "profile", "quick", &err), -EINVAL);
    assert_non_null(strstr(err.text, "none of default, fast, wan, slow"));
}

static void every_profile_keeps_the_proof(void **context)
{
    static const char *const names[] = {"default", "fast", "wan", "slow"};

    (void)context;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(timers_check(timers_of_profile(names[i]), NULL), 0);
        assert_string_equal(timers_profile_name(timers_of_profile(names[i])), names[i]);
    }
    for (size_t i = 0; i < 4; i++) { /* just so long may an election take */
        struct timers t = *timers_of_profile(names[i]);

        t.election_ms = timers_election_limit_ms(&t, t.lease_ms);
        assert_int_equal(timers_check(&t, NULL), 0);
        t.election_ms++;
        assert_int_equal(timers_check(&t, NULL), -EINVAL);
        assert_int_equal(timers_election_limit_ms(&t, t.authority_ms), 0);
    }
    assert_null(timers_of_profile("custom"));
}

static void connections_are_as_patient_as_leases(void **context)
{
    (void)context;
    assert_int_equal(timers_silence_ms(timers_of_profile("default"), 800), 800);
    assert_int_equal(timers_silence_ms(timers_of_profile("wan"), 300), 550);
    assert_int_equal(timers_silence_ms(timers_of_profile("slow"), 800), 3000);
}

static void a_lease_may_be_long(void **context)
{
    struct timers t = *timers_of_profile("slow");

    (void)context;
    t.lease_ms = MAX_LEASE_MS;
    assert_int_equal(timers_check(&t, NULL), 0);
    t.lease_ms++;
    assert_int_equal(timers_check(&t, NULL), -EINVAL);
}

static void a_contradiction_names_the_key_and_what_to_do(void **context)
{
    const struct timers *cluster = timers_of_profile("fast");
    struct timers wish = {.lease_ms = 300};
    struct err err = {0};

    (void)context;
    assert_int_equal(timers_agree(&wish, cluster, &err), 0);
    wish.beat_ms = 50;
    assert_int_equal(timers_agree(&wish, cluster, &err), -EINVAL);
    assert_string_equal(err.text, "beat_ms = 50 here, but the cluster has 20 since its init; take "
                                  "the key (or the profile) out of this node's settings");
}

static void what_breaks_the_proof_is_refused_by_its_inequality(void **context)
{
    static const struct {
        const char *text, *words; /* NULL: it holds */
    } rows[] = {
        {"", NULL},
        {"election_ms = 100\nheartbeat_ms = 20\nlease_ms = 450", NULL}, /* both sides equal */
        {"election_ms = 100\nheartbeat_ms = 20\nlease_ms = 449",
         "lease_ms >= 2 election_ms + authority_ms + 2 beat_ms does not hold (449 < 450)"},
        {"election_ms = 100\nheartbeat_ms = 51",
         "election_ms >= 2 heartbeat_ms does not hold (100 < 102)"},
        {"authority_ms = 109",
         "authority_ms >= 2 beat_ms + 10 (round trip) does not hold (109 < 110)"},
        {"authority_ms = 110", NULL},
        {"authority_ms = 201",
         "lease_ms >= 2 election_ms + authority_ms + 2 beat_ms does not hold (600 < 601)"},
        {"freeze_ms = 401", "lease_ms >= freeze_ms + 4 beat_ms does not hold (600 < 601)"},
        {"freeze_ms = 400", NULL},
        {"freeze_ms = 4", "freeze_ms >= 5 does not hold (4 < 5)"},
        {"election_ms = 1000\nheartbeat_ms = 100\nbeat_ms = 150\nauthority_ms = 400\n"
         "lease_ms = 2700",
         NULL},
        {"cores = 2\nisolated_cores = 1-2", "isolated_cores names core 2"},
    };

    (void)context;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct config c;
        struct err err = {0};

        config_init(&c);
        assert_int_equal(config_parse(&c, "f", rows[i].text, &err), 0);
        if (rows[i].words == NULL) {
            assert_int_equal(config_check(&c, &err), 0);
            continue;
        }
        assert_int_equal(config_check(&c, &err), -EINVAL);
        assert_non_null(strstr(err.text, rows[i].words));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file_sets_every_key),
        cmocka_unit_test(a_wrong_line_is_named),
        cmocka_unit_test(flags_win_over_the_file),
        cmocka_unit_test(wrong_flags_are_named),
        cmocka_unit_test(a_profile_fills_what_is_not_said),
        cmocka_unit_test(every_profile_keeps_the_proof),
        cmocka_unit_test(connections_are_as_patient_as_leases),
        cmocka_unit_test(a_lease_may_be_long),
        cmocka_unit_test(a_contradiction_names_the_key_and_what_to_do),
        cmocka_unit_test(what_breaks_the_proof_is_refused_by_its_inequality),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

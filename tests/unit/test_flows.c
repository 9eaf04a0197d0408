/* flows: the rules of small views, word for word, and the codec of views. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netfabric/flows.h"

enum { VTEP1 = 0x0a630001, VTEP2 = 0x0a630002, VTEP3 = 0x0a630003 };
enum { IP1 = 0x0a070001, IP2 = 0x0a070002 };

/* n1 holds web; db lives at n2 and moves here; the slice has a rate. */
static struct endpoint sample_endpoints[] = {
    {.guest = "db",
     .vni = 7,
     .ip = IP2,
     .rate_kbps = 20000,
     .vtep = VTEP2,
     .other_vtep = VTEP1,
     .port = 2009},
    {.guest = "web",
     .vni = 7,
     .ip = IP1,
     .rate_kbps = 20000,
     .vtep = VTEP1,
     .port = 2005,
     .is_owner = true},
};
static uint32_t sample_peers[] = {VTEP2, VTEP3};

static struct fabric_view sample(void)
{
    return (struct fabric_view){.index = 42,
                                .vtep = VTEP1,
                                .n_peers = 2,
                                .peers = sample_peers,
                                .n_endpoints = 2,
                                .endpoints = sample_endpoints};
}

static void empty_view_drops_everything(void **state)
{
    struct fabric_view view = {.vtep = VTEP1};
    char *text = flows_render(&view);

    (void)state;
    assert_string_equal(text, "table=0,priority=0,actions=drop\n");
    free(text);
}

#define ARP_ANSWER(ip, mac)                                                                        \
    "actions=move:eth_src[]->eth_dst[],set_field:" mac "->eth_src,set_field:2->arp_op,"            \
    "move:arp_sha[]->arp_tha[],set_field:" mac "->arp_sha,move:arp_spa[]->arp_tpa[],"              \
    "set_field:" ip "->arp_spa,in_port\n"

static void owner_and_prepared_target_are_written(void **state)
{
    struct fabric_view view = sample();
    char *text = flows_render(&view);

    (void)state;
    assert_string_equal(
        text,
        "table=0,priority=0,actions=drop\n"
        /* db: accepted from its owner; stragglers that n2 sends after it too */
        "table=0,priority=100,in_port=1000,tun_id=7,tun_src=10.99.0.2,dl_src=02:5c:0a:07:00:02,ip,"
        "nw_src=10.7.0.2,actions=write_metadata:7,goto_table:30\n"
        "table=0,priority=90,in_port=1000,tun_id=7,tun_src=10.99.0.2,dl_dst=02:5c:0a:07:00:02,ip,"
        "nw_dst=10.7.0.2,actions=write_metadata:7,goto_table:30\n"
        "table=10,priority=100,metadata=7,arp,arp_op=1,arp_tpa=10.7.0.2," ARP_ANSWER(
            "10.7.0.2", "02:5c:0a:07:00:02")
        /* not chosen: guests of this node still reach it at n2 */
        "table=20,priority=100,metadata=7,dl_dst=02:5c:0a:07:00:02,actions=meter:7,"
        "set_field:10.99.0.2->tun_dst,set_field:7->tun_id,output:1000\n"
        "table=30,priority=100,metadata=7,dl_dst=02:5c:0a:07:00:02,actions=output:2009\n"
        /* web: bound to its port */
        "table=0,priority=100,in_port=2005,dl_src=02:5c:0a:07:00:01,arp,arp_sha=02:5c:0a:07:00:01,"
        "arp_spa=10.7.0.1,actions=write_metadata:7,goto_table:10\n"
        "table=0,priority=100,in_port=2005,dl_src=02:5c:0a:07:00:01,ip,nw_src=10.7.0.1,"
        "actions=write_metadata:7,goto_table:20\n"
        "table=10,priority=110,metadata=7,in_port=2005,arp,arp_tpa=10.7.0.1,actions=drop\n"
        "table=10,priority=100,metadata=7,arp,arp_op=1,arp_tpa=10.7.0.1," ARP_ANSWER(
            "10.7.0.1", "02:5c:0a:07:00:01") "table=20,priority=100,metadata=7,dl_dst=02:5c:0a:07:"
                                             "00:01,actions=output:2005\n"
                                             "table=30,priority=100,metadata=7,dl_dst=02:5c:0a:07:"
                                             "00:01,actions=output:2005\n");
    free(text);
}

static void guest_that_left_is_followed_by_its_stragglers(void **state)
{
    struct endpoint left = {.guest = "db",
                            .vni = 7,
                            .ip = IP2,
                            .vtep = VTEP3,
                            .other_vtep = VTEP1,
                            .port = 2009,
                            .has_left = true};
    struct fabric_view view = {.vtep = VTEP1, .n_endpoints = 1, .endpoints = &left};
    char *text = flows_render(&view);

    (void)state;
    assert_string_equal(
        text,
        "table=0,priority=0,actions=drop\n"
        "table=0,priority=100,in_port=1000,tun_id=7,tun_src=10.99.0.3,dl_src=02:5c:0a:07:00:02,ip,"
        "nw_src=10.7.0.2,actions=write_metadata:7,goto_table:30\n"
        "table=10,priority=100,metadata=7,arp,arp_op=1,arp_tpa=10.7.0.2," ARP_ANSWER(
            "10.7.0.2", "02:5c:0a:07:00:02") "table=20,priority=100,metadata=7,dl_dst=02:5c:0a:07:"
                                             "00:02,actions=set_field:10.99.0.3->tun_dst,"
                                             "set_field:7->tun_id,output:1000\n"
                                             "table=30,priority=100,metadata=7,dl_dst=02:5c:0a:07:"
                                             "00:02,actions=set_field:10.99.0.3->tun_dst,"
                                             "set_field:7->tun_id,in_port\n");
    free(text);
}

static void guest_without_a_place_is_named_but_not_reached(void **state)
{
    struct endpoint nowhere = {.guest = "db", .vni = 7, .ip = IP2};
    struct fabric_view view = {.vtep = VTEP1, .n_endpoints = 1, .endpoints = &nowhere};
    char *text = flows_render(&view);

    (void)state;
    assert_non_null(strstr(text, "arp_tpa=10.7.0.2"));
    assert_null(strstr(text, "tun_src"));
    assert_null(strstr(text, "output"));
    free(text);
}

static void a_slice_has_one_meter(void **state)
{
    struct fabric_view view = sample();
    struct meter *meters;
    uint32_t n;

    (void)state;
    assert_int_equal(meters_of(&view, &meters, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(meters[0].vni, 7);
    assert_int_equal(meters[0].rate_kbps, 20000);
    free(meters);
}

/* ---- codec */

static size_t encode(const struct fabric_view *view, uint8_t *buffer, size_t size)
{
    struct writer w;

    writer_init(&w, buffer, size);
    fabric_view_encode(view, &w);
    assert_false(w.failed);
    return w.size;
}

static int decode(const uint8_t *data, size_t size)
{
    struct fabric_view view;
    struct reader r;
    int code;

    reader_init(&r, data, size);
    code = fabric_view_decode(&r, &view);
    if (code == 0)
        assert_true(reader_done(&r));
    else
        assert_null(view.endpoints);
    fabric_view_deinit(&view);
    return code;
}

static void view_is_read_back(void **state)
{
    uint8_t buffer[512];
    struct fabric_view view = sample(), back;
    struct reader r;
    char *a, *b;

    (void)state;
    reader_init(&r, buffer, encode(&view, buffer, sizeof(buffer)));
    assert_int_equal(fabric_view_decode(&r, &back), 0);
    assert_true(reader_done(&r));
    assert_true(back.index == 42);
    assert_int_equal(back.n_peers, 2);
    assert_int_equal(back.peers[1], VTEP3);
    a = flows_render(&view);
    b = flows_render(&back);
    assert_string_equal(a, b);
    free(a);
    free(b);
    fabric_view_deinit(&back);
}

static void cut_or_changed_bytes_are_refused_or_sound(void **state)
{
    uint8_t buffer[512], changed[512];
    struct fabric_view view = sample();
    size_t size = encode(&view, buffer, sizeof(buffer));

    (void)state;
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(decode(buffer, cut), -EBADMSG);
    for (size_t i = 0; i < size; i++) {
        int code;

        memcpy(changed, buffer, size);
        changed[i] ^= 0xff;
        code = decode(changed, size);
        assert_true(code == 0 || code == -EBADMSG);
    }
}

/* Each turns the sample into a view that no state can have. */
static void unsorted_peers(struct fabric_view *v)
{
    v->peers[0] = VTEP3;
    v->peers[1] = VTEP2;
}

static void own_vtep_as_peer(struct fabric_view *v)
{
    v->peers[0] = VTEP1;
}

static void bad_name(struct fabric_view *v)
{
    strcpy(v->endpoints[0].guest, "a,drop");
}

static void twice_the_same_name(struct fabric_view *v)
{
    strcpy(v->endpoints[0].guest, "web");
}

static void no_vni(struct fabric_view *v)
{
    v->endpoints[0].vni = 0;
}

static void large_vni(struct fabric_view *v)
{
    v->endpoints[0].vni = 1 << 24;
}

static void tunnel_as_port(struct fabric_view *v)
{
    v->endpoints[0].port = FABRIC_TUNNEL_PORT;
}

static void same_port(struct fabric_view *v)
{
    v->endpoints[0].port = v->endpoints[1].port;
}

static void same_address(struct fabric_view *v)
{
    v->endpoints[0].ip = v->endpoints[1].ip;
}

static void unknown_vtep(struct fabric_view *v)
{
    v->endpoints[0].vtep = 0x7f000001;
}

static void owner_elsewhere(struct fabric_view *v)
{
    v->endpoints[1].vtep = VTEP2;
}

static void owner_without_port(struct fabric_view *v)
{
    v->endpoints[1].port = 0;
}

static void left_but_owner(struct fabric_view *v)
{
    v->endpoints[1].has_left = true;
}

static void left_without_port(struct fabric_view *v)
{
    v->endpoints[0].has_left = true;
    v->endpoints[0].port = 0;
}

static void impossible_views_are_refused(void **state)
{
    static void (*const break_it[])(struct fabric_view *) = {
        unsorted_peers, own_vtep_as_peer, bad_name,           twice_the_same_name, no_vni,
        large_vni,      tunnel_as_port,   same_port,          same_address,        unknown_vtep,
        left_but_owner, owner_elsewhere,  owner_without_port, left_without_port,
    };
    uint8_t buffer[512];

    (void)state;
    for (size_t i = 0; i < sizeof(break_it) / sizeof(break_it[0]); i++) {
        uint32_t peers[2];
        struct endpoint endpoints[2];
        struct fabric_view view = sample();

        memcpy(peers, sample_peers, sizeof(peers));
        memcpy(endpoints, sample_endpoints, sizeof(endpoints));
        view.peers = peers;
        view.endpoints = endpoints;
        break_it[i](&view);
        assert_int_equal(decode(buffer, encode(&view, buffer, sizeof(buffer))), -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_view_drops_everything),
        cmocka_unit_test(owner_and_prepared_target_are_written),
        cmocka_unit_test(guest_that_left_is_followed_by_its_stragglers),
        cmocka_unit_test(guest_without_a_place_is_named_but_not_reached),
        cmocka_unit_test(a_slice_has_one_meter),
        cmocka_unit_test(view_is_read_back),
        cmocka_unit_test(cut_or_changed_bytes_are_refused_or_sound),
        cmocka_unit_test(impossible_views_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a cluster says of itself, and what a hostile one may say. */
#include <stdio.h>

#include "src/store/cluster/table.h"
#include "tests/support/cmocka.h"
#include "tests/unit/store/redis/replies.h"

static sc_slot_table table;

static sc_status read_table(const char *text)
{
    redisReply *reply = sc_test_reply(text);
    sc_status   status = sc_slot_table_read(reply, "asked", &table);
    freeReplyObject(reply);
    return status;
}

static void assert_owner(unsigned slot, const char *host, unsigned port)
{
    assert_in_range(table.owner[slot], 0, table.masters - 1);
    const sc_node *node = &table.nodes[table.owner[slot]];
    assert_string_equal(node->host, host);
    assert_int_equal(node->port, port);
    for (size_t i = 0; i < table.masters; i++)
        assert_true(sc_slot_in(&table.owned[i], (uint16_t)slot) == (i == table.owner[slot]));
}

static void every_slot_finds_its_master(void **state)
{
    (void)state;
    assert_int_equal(read_table("[[:0 :99 [10.0.0.1 :6379 id1 []] [10.0.0.9 :6379 id9 []]] "
                                "[:200 :200 [~ :6380 id2 [ip 10.0.0.2]]] "
                                "[:201 :16383 [10.0.0.1 :6379 id1]]]"),
                     SC_OK);
    assert_int_equal(table.masters, 2);
    assert_owner(0, "10.0.0.1", 6379);
    assert_owner(99, "10.0.0.1", 6379);
    assert_owner(200, "asked", 6380);
    assert_owner(16383, "10.0.0.1", 6379);
    assert_int_equal(table.owner[100], SC_OWNER_NONE);
    assert_int_equal(sc_slot_count(&table.owned[0]), 100 + 16383 - 200);
}

static void a_node_without_slots_has_an_empty_table(void **state)
{
    (void)state;
    assert_int_equal(read_table("[]"), SC_OK);
    assert_int_equal(table.masters, 0);
}

/* A wrong table would send every question to the wrong place, or write beyond an array. */
static void what_is_no_table_is_refused(void **state)
{
    static const char *const bad[] = {
        "OK", "~", ":3", "!ERR This instance has cluster support disabled", "[OK]", "[[:0 :1]]",
        "[[:0 :16384 [h :1]]]", "[[:-1 :5 [h :1]]]", "[[:5 :4 [h :1]]]", "[[0 1 [h :1]]]",
        "[[:0 :1 h]]", "[[:0 :1 [h]]]", "[[:0 :1 [h 1]]]", "[[:0 :1 [h :0]]]",
        "[[:0 :1 [h :65536]]]", "[[:0 :1 [:7 :1]]]", "[[:0 :1 ['two words' :1]]]",
        "[[:0 :1 [? :1]]]", "[[:0 :5 [h :1]] [:5 :9 [g :1]]]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (read_table(bad[i]) != SC_CORRUPT)
            fail_msg("%s was read", bad[i]);
    assert_int_equal(sc_slot_table_read(NULL, "asked", &table), SC_CORRUPT);
}

static void a_host_that_is_too_long_is_refused(void **state)
{
    char text[512];
    (void)state;
    snprintf(text, sizeof text, "[[:0 :1 [%0*d :1]]]", SC_REDIS_HOST_BYTES, 1);
    assert_int_equal(read_table(text), SC_CORRUPT);
    snprintf(text, sizeof text, "[[:0 :1 [%0*d :1]]]", SC_REDIS_HOST_BYTES - 1, 1);
    assert_int_equal(read_table(text), SC_OK);
}

static void masters_beyond_the_bound_are_refused(void **state)
{
    char   text[8192] = "[";
    size_t len = 1;
    (void)state;
    for (int i = 0; i < SC_MASTERS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "[:%d :%d [h :%d]]", i, i, i + 1);
    snprintf(text + len, sizeof text - len, "]");
    assert_int_equal(read_table(text), SC_OK);
    assert_int_equal(table.masters, SC_MASTERS_MAX);
    snprintf(text + len, sizeof text - len, "[:999 :999 [h :999]]]");
    assert_int_equal(read_table(text), SC_TOO_LARGE);
}

static bool moved(const char *text, unsigned slot, const char *host, unsigned port)
{
    sc_node  to;
    uint16_t read;
    return sc_moved_read(sc_str_of(text), "asked", &read, &to) && read == slot &&
           strcmp(to.host, host) == 0 && to.port == port;
}

static void moved_names_slot_and_node(void **state)
{
    sc_node  to;
    uint16_t slot;
    (void)state;
    assert_true(moved("MOVED 3999 127.0.0.1:6381", 3999, "127.0.0.1", 6381));
    assert_true(moved("MOVED 0 ::1:6381", 0, "::1", 6381));
    assert_true(moved("MOVED 16383 :6381", 16383, "asked", 6381));
    static const char *const bad[] = {
        "", "MOVED", "MOVED ", "MOVED 1", "MOVED 1 ", "MOVED 1 h", "MOVED 1 h:", "MOVED 1 h:0",
        "MOVED 1 h:65536", "MOVED 1 h:1x", "MOVED 16384 h:1", "MOVED -1 h:1", "MOVED x h:1",
        "MOVED 1 ?:1", "MOVED 99999999999 h:1", "ASK 1 h:1", "moved 1 h:1", "MOVED 1 h h:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (sc_moved_read(sc_str_of(bad[i]), "asked", &slot, &to))
            fail_msg("'%s' was read", bad[i]);
}

static sc_redis_url seeds[SC_SEEDS_MAX];
static size_t       seeds_count;

static sc_status read_seeds(const char *text)
{
    sc_error error = {0};
    return sc_seeds_read(sc_str_of(text), seeds, &seeds_count, &error);
}

static void a_url_may_name_several_nodes(void **state)
{
    (void)state;
    assert_int_equal(read_seeds("redis://one"), SC_OK);
    assert_int_equal(seeds_count, 1);
    assert_int_equal(read_seeds("rediss://u:a,b@one:7000,two,[::1]:7002/0"), SC_OK);
    assert_int_equal(seeds_count, 3);
    assert_string_equal(seeds[1].host, "two");
    assert_int_equal(seeds[1].port, 6379);
    assert_string_equal(seeds[2].host, "::1");
    assert_int_equal(seeds[2].port, 7002);
    for (size_t i = 0; i < 3; i++) {
        assert_true(seeds[i].tls);
        assert_string_equal(seeds[i].user, "u");
        assert_string_equal(seeds[i].password, "a,b");
    }
}

static void seeds_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {"", "one,two", "redis://one,,two", "redis://one,two:x",
                                      "redis://one,redis://two", "redis://,two",
                                      "redis://one,two/1"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (read_seeds(bad[i]) != SC_INVALID)
            fail_msg("'%s' was read", bad[i]);
    char   many[256] = "redis://h";
    size_t len = strlen(many);
    for (int i = 1; i < SC_SEEDS_MAX; i++)
        len += (size_t)snprintf(many + len, sizeof many - len, ",h%d", i);
    assert_int_equal(read_seeds(many), SC_OK);
    assert_int_equal(seeds_count, SC_SEEDS_MAX);
    snprintf(many + len, sizeof many - len, ",more");
    assert_int_equal(read_seeds(many), SC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_slot_finds_its_master),
        cmocka_unit_test(a_node_without_slots_has_an_empty_table),
        cmocka_unit_test(what_is_no_table_is_refused),
        cmocka_unit_test(a_host_that_is_too_long_is_refused),
        cmocka_unit_test(masters_beyond_the_bound_are_refused),
        cmocka_unit_test(moved_names_slot_and_node),
        cmocka_unit_test(a_url_may_name_several_nodes),
        cmocka_unit_test(seeds_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

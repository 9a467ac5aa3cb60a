/* What Redis' replies mean. */
#include <math.h>
#include <stdio.h>

#include "src/store/redis/reply.h"
#include "tests/support/cmocka.h"
#include "tests/unit/store/redis/replies.h"

static sc_redis_fault fault_of(const char *text)
{
    redisReply    *reply = sc_test_reply(text);
    sc_redis_fault fault = sc_redis_fault_of(reply);
    freeReplyObject(reply);
    return fault;
}

static void errors_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(fault_of("OK"), SC_FAULT_NONE);
    assert_int_equal(fault_of("~"), SC_FAULT_NONE);
    assert_int_equal(fault_of("LOADING"), SC_FAULT_NONE); /* a value, not an error */
    assert_int_equal(fault_of("!LOADING Redis is loading the dataset in memory"), SC_FAULT_AWAY);
    assert_int_equal(fault_of("!BUSY Redis is busy running a script."), SC_FAULT_AWAY);
    assert_int_equal(fault_of("!READONLY You can't write against a read only replica."),
                     SC_FAULT_AWAY);
    assert_int_equal(fault_of("!CLUSTERDOWN The cluster is down"), SC_FAULT_AWAY);
    assert_int_equal(fault_of("!OOM command not allowed when used memory > 'maxmemory'."),
                     SC_FAULT_FULL);
    assert_int_equal(fault_of("!NOAUTH Authentication required."), SC_FAULT_DENIED);
    assert_int_equal(fault_of("!WRONGPASS invalid username-password pair"), SC_FAULT_DENIED);
    assert_int_equal(fault_of("!NOPERM this user has no permissions"), SC_FAULT_DENIED);
    assert_int_equal(fault_of("!Unknown index name"), SC_FAULT_NO_INDEX);
    assert_int_equal(fault_of("!sc:idx:1: no such index"), SC_FAULT_NO_INDEX);
    assert_int_equal(fault_of("!ERR unknown command 'FT.INFO', with args"),
                     SC_FAULT_UNKNOWN_COMMAND);
    assert_int_equal(fault_of("!WRONGTYPE Operation against a key"), SC_FAULT_FOREIGN);
    assert_int_equal(fault_of("!MOVED 3999 127.0.0.1:6381"), SC_FAULT_MOVED);
    assert_int_equal(fault_of("!ASK 3999 127.0.0.1:6381"), SC_FAULT_ASK);
    assert_int_equal(fault_of("!ERR something new"), SC_FAULT_OTHER);
    assert_int_equal(fault_of("!"), SC_FAULT_OTHER);
}

static sc_redis_fault exec_fault_of(const char *text)
{
    redisReply    *reply = sc_test_reply(text);
    sc_redis_fault fault = sc_redis_exec_fault(reply);
    freeReplyObject(reply);
    return fault;
}

/* A transaction "succeeds" with an error inside. */
static void an_error_inside_exec_counts(void **state)
{
    (void)state;
    assert_int_equal(exec_fault_of("[:1 :1]"), SC_FAULT_NONE);
    assert_int_equal(exec_fault_of("[:1 !WRONGTYPE Operation against a key]"), SC_FAULT_FOREIGN);
    assert_int_equal(exec_fault_of("!EXECABORT Transaction discarded"), SC_FAULT_OTHER);
    assert_int_equal(exec_fault_of("~"), SC_FAULT_OTHER);
    assert_int_equal(exec_fault_of("OK"), SC_FAULT_OTHER);
}

static void rows_are_read_and_expired_ones_have_only_a_key(void **state)
{
    redisReply *reply =
        sc_test_reply("[:3 key1 [d 0.25 ver v1 meta m answer a] key2 ~ key3 [d -1e-7 foreign x]]");
    sc_redis_row row;
    size_t       at = 1;
    (void)state;

    assert_true(sc_redis_next_row(reply, &at, &row));
    assert_true(sc_str_equal(row.key, SC_STR("key1")));
    assert_true(row.distance == 0.25f);
    assert_true(sc_str_equal(row.fields.version, SC_STR("v1")));
    assert_true(sc_str_equal(row.fields.answer, SC_STR("a")));
    assert_null(row.fields.prompt.ptr);
    assert_true(sc_redis_next_row(reply, &at, &row));
    assert_null(row.fields.meta.ptr);
    assert_true(isnan(row.distance));
    assert_true(sc_redis_next_row(reply, &at, &row));
    assert_true(row.distance == 0);
    assert_false(sc_redis_next_row(reply, &at, &row));
    freeReplyObject(reply);
}

static void what_are_no_rows_end_the_walk(void **state)
{
    static const char *const odd[] = {"[]",   "[:0]", "[:1 key]", "[:1 :2 [d 1]]",
                                      "text", ":1",   "~",        "[:1 [x] [y]]"};
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        redisReply  *reply = sc_test_reply(odd[i]);
        sc_redis_row row;
        size_t       at = 1;
        assert_false(sc_redis_next_row(reply, &at, &row));
        freeReplyObject(reply);
    }
}

static float distance_of(const char *text)
{
    char line[128];
    snprintf(line, sizeof line, "[:1 k [d %s]]", text);
    redisReply  *reply = sc_test_reply(line);
    sc_redis_row row;
    size_t       at = 1;
    assert_true(sc_redis_next_row(reply, &at, &row));
    freeReplyObject(reply);
    return row.distance;
}

/* It decides whether Redis is asked once more; an odd one must not. */
static void what_a_search_found_is_a_count_or_nothing(void **state)
{
    static const struct {
        const char *reply;
        size_t      found;
    } cases[] = {{"[:0]", 0},       {"[:1]", 1}, {"[:12 key [d 1]]", 12}, {"[]", 0},
                 {"[key [d 1]]", 0}, {"[:-4]", 0}, {":3", 0},               {"!ERR no", 0}};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        redisReply *reply = sc_test_reply(cases[i].reply);
        assert_int_equal(sc_redis_rows_found(reply), cases[i].found);
        freeReplyObject(reply);
    }
    assert_int_equal(sc_redis_rows_found(NULL), 0);
}

static void distances_are_clamped_or_refused(void **state)
{
    (void)state;
    assert_true(distance_of("1.19209289551e-07") == 1.19209289551e-07f);
    assert_true(distance_of("-1.2e-07") == 0);
    assert_true(distance_of("2.0001") == 2);
    assert_true(isnan(distance_of("nan")));
    assert_true(isnan(distance_of("inf")));
    assert_true(isnan(distance_of("0.1x")));
    assert_true(isnan(distance_of("''")));
}

static void scans_are_read(void **state)
{
    redisReply       *reply = sc_test_reply("[17 [a b c]]");
    sc_str            cursor;
    const redisReply *keys = sc_redis_scan_keys(reply, &cursor);
    (void)state;

    assert_non_null(keys);
    assert_int_equal(keys->elements, 3);
    assert_true(sc_str_equal(cursor, SC_STR("17")));
    freeReplyObject(reply);
    static const char *const odd[] = {
        "[17]",     "[17 x]",     "[:17 [a]]", "[17 [a ~]]",
        "['' [a]]", "[17 [[a]]]", "text",      "[123456789012345678901 [a]]"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        reply = sc_test_reply(odd[i]);
        assert_null(sc_redis_scan_keys(reply, &cursor));
        freeReplyObject(reply);
    }
}

static sc_redis_push push_of(const char *text, size_t *keys_count)
{
    redisReply       *reply = sc_test_reply(text);
    const redisReply *keys;
    sc_redis_push     push = sc_redis_push_read(reply, &keys);
    *keys_count = keys == NULL ? 0 : keys->elements;
    freeReplyObject(reply);
    return push;
}

static void invalidation_messages_are_read(void **state)
{
    size_t count;
    (void)state;

    assert_int_equal(push_of("[message __redis__:invalidate [k1 k2]]", &count), SC_PUSH_KEYS);
    assert_int_equal(count, 2);
    assert_int_equal(push_of("[message __redis__:invalidate ~]", &count), SC_PUSH_CLEARED);
    assert_int_equal(push_of("[pong '']", &count), SC_PUSH_OTHER);
    assert_int_equal(push_of("[subscribe __redis__:invalidate :1]", &count), SC_PUSH_OTHER);
    assert_int_equal(push_of("[message elsewhere [k1]]", &count), SC_PUSH_OTHER);
    assert_int_equal(push_of("[message __redis__:invalidate [k1 :2]]", &count), SC_PUSH_OTHER);
    assert_int_equal(push_of("[message __redis__:invalidate text]", &count), SC_PUSH_OTHER);
    assert_int_equal(push_of("!ERR x", &count), SC_PUSH_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_told_apart),
        cmocka_unit_test(an_error_inside_exec_counts),
        cmocka_unit_test(rows_are_read_and_expired_ones_have_only_a_key),
        cmocka_unit_test(what_are_no_rows_end_the_walk),
        cmocka_unit_test(what_a_search_found_is_a_count_or_nothing),
        cmocka_unit_test(distances_are_clamped_or_refused),
        cmocka_unit_test(scans_are_read),
        cmocka_unit_test(invalidation_messages_are_read),
    };
    return cmocka_run_group_tests_name("store_redis_reply", tests, NULL, NULL);
}

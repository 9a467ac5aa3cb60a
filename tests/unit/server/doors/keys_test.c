/* The keys file: what is in it, and every way to get it wrong. */
#include <stdio.h>
#include <stdlib.h>

#include "server/doors/keys.h"
#include "tests/support/cmocka.h"

#define HASH "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" /* of "test" */
#define OTHER "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"

static sc_error error;

static sc_status parse(const char *text, sc_keys *keys)
{
    memset(&error, 0, sizeof error);
    return sc_keys_parse(sc_str_of(text), keys, &error);
}

static void rows_are_read(void **state)
{
    sc_keys keys;
    (void)state;
    assert_int_equal(parse("# all of it\n\n"
                           "tenant acme rate=100 burst=20 inflight=50 ttl_seconds=60 max_distance=0.2 "
                           "entries=1000 bytes=1000000000000\r\n"
                           "tenant other\n"
                           "key acme " HASH " answer,store # the shop\n"
                           "\tsan  other  spiffe://corp/x  all",
                           &keys),
                     SC_OK);
    assert_int_equal(keys.tenants_count, 2);
    assert_string_equal(keys.tenants[0].name, "acme");
    assert_true(keys.tenants[0].limits.rate == 100 && keys.tenants[0].limits.burst == 20);
    assert_int_equal(keys.tenants[0].limits.inflight_max, 50);
    assert_int_equal(keys.tenants[0].limits.ttl_seconds_max, 60);
    assert_true(keys.tenants[0].limits.distance_max == 0.2);
    assert_int_equal(keys.tenants[0].limits.entries_max, 1000);
    assert_int_equal(keys.tenants[0].limits.bytes_max, 1000000000000);
    assert_true(keys.tenants[1].limits.entries_max == 0 && keys.tenants[1].limits.bytes_max == 0);
    assert_true(keys.tenants[1].limits.rate == 0 && keys.tenants[1].limits.distance_max == 2);
    assert_int_equal(keys.keys_count, 2);
    sc_digest hash = sc_sha256("test", 4);
    assert_true(sc_digest_equal(&keys.keys[0].hash, &hash));
    assert_int_equal(keys.keys[0].rights, SC_RIGHT_ANSWER | SC_RIGHT_STORE);
    assert_int_equal(keys.keys[1].tenant, 1);
    assert_string_equal(keys.keys[1].san, "spiffe://corp/x");
    assert_int_equal(keys.keys[1].rights, SC_RIGHT_ALL);
    sc_keys_fini(&keys);
}

static void empty_file_has_no_keys(void **state)
{
    sc_keys keys;
    (void)state;
    assert_int_equal(parse("", &keys), SC_OK);
    assert_int_equal(keys.keys_count, 0);
    sc_keys_fini(&keys);
}

/* A mistake must not become an open door, and its line must not be shown: it may hold a key. */
static void mistakes_name_their_line_and_not_its_content(void **state)
{
    static const char *const lines[] = {
        "tenant",
        "tenant b\xc3\xa4" "d",
        "tenant acme",
        "tenant x rate=0",
        "tenant x rate=-1",
        "tenant x rate=1e3",
        "tenant x rate=nan",
        "tenant x burst=0.5",
        "tenant x inflight=1.5",
        "tenant x inflight=0",
        "tenant x ttl_seconds=99999999",
        "tenant x max_distance=2.1",
        "tenant x entries=0",
        "tenant x entries=1.5",
        "tenant x entries=1000000001",
        "tenant x bytes=0",
        "tenant x bytes=-1",
        "tenant x bytes=1000000000000001",
        "tenant x secret",
        "key acme " HASH,
        "key acme " HASH " answer more",
        "key nobody " HASH " answer",
        "key acme abc answer",
        "key acme " HASH "00 answer",
        "key acme secret answer",
        "key acme " HASH " answer,",
        "key acme " HASH " answer,fly",
        "key acme " HASH " ,answer",
        "key acme " OTHER " all",
        "secret",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char    text[512];
        sc_keys keys;
        snprintf(text, sizeof text, "tenant acme\nkey acme " OTHER " all\n%s\n", lines[i]);
        if (parse(text, &keys) != SC_INVALID)
            fail_msg("accepted: %s", lines[i]);
        assert_non_null(strstr(error.text, "line 3"));
        assert_null(strstr(error.text, "secret"));
        sc_keys_fini(&keys);
    }
}

static void long_files_words_and_lists_are_refused(void **state)
{
    sc_keys keys;
    size_t  room = SC_KEYS_FILE_BYTES_MAX + 2;
    char   *text = malloc(room);
    (void)state;
    memset(text, '#', room);
    assert_int_equal(sc_keys_parse((sc_str){text, room - 1}, &keys, &error), SC_TOO_LARGE);
    sc_keys_fini(&keys);
    memset(text, 'x', 600);
    assert_int_equal(sc_keys_parse((sc_str){text, 600}, &keys, &error), SC_INVALID);
    sc_keys_fini(&keys);

    size_t len = 0;
    for (int i = 0; i <= SC_TENANTS_MAX; i++)
        len += (size_t)snprintf(text + len, room - len, "tenant t%d\n", i);
    assert_int_equal(sc_keys_parse((sc_str){text, len}, &keys, &error), SC_TOO_LARGE);
    assert_int_equal(keys.tenants_count, SC_TENANTS_MAX);
    sc_keys_fini(&keys);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_read),
        cmocka_unit_test(empty_file_has_no_keys),
        cmocka_unit_test(mistakes_name_their_line_and_not_its_content),
        cmocka_unit_test(long_files_words_and_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Where Redis is. What is misread here connects to the wrong place, or puts a password into a log.
 */
#include "src/store/redis/url.h"
#include "tests/support/cmocka.h"

static sc_redis_url good(const char *text)
{
    sc_redis_url url;
    sc_error     error = {0};

    if (sc_redis_url_parse(sc_str_of(text), &url, &error) != SC_OK)
        fail_msg("%s: %s", text, error.text);
    return url;
}

static void all_forms_are_read(void **state)
{
    (void)state;
    sc_redis_url url = good("redis://localhost");
    assert_string_equal(url.host, "localhost");
    assert_int_equal(url.port, 6379);
    assert_false(url.tls);
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "");

    url = good("rediss://cache:s%40cret%2F@redis.example.com:7000/0");
    assert_true(url.tls);
    assert_string_equal(url.user, "cache");
    assert_string_equal(url.password, "s@cret/");
    assert_string_equal(url.host, "redis.example.com");
    assert_int_equal(url.port, 7000);

    url = good("redis://:secret@[::1]:1234/");
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "secret");
    assert_string_equal(url.host, "::1");
    assert_int_equal(url.port, 1234);

    url = good("redis://u:p@ss@host");
    assert_string_equal(url.password, "p@ss");
    assert_string_equal(url.host, "host");
}

static void bad_ones_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "localhost:6379",
        "http://localhost",
        "redis:/localhost",
        "redis://",
        "redis://:6379",
        "redis://host:",
        "redis://host:0",
        "redis://host:65536",
        "redis://host:123456",
        "redis://host:12a",
        "redis://host/1",
        "redis://host/3",
        "redis://host/00",
        "redis://host/0/1",
        "redis://ho st",
        "redis://host\n",
        "redis://[::1",
        "redis://[::1]x",
        "redis://[]",
        "redis://user@host",
        "redis://u:%0@host",
        "redis://u:%zz@host",
        "redis://u:%00@host",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_redis_url url;
        sc_error     error = {0};
        if (sc_redis_url_parse(sc_str_of(bad[i]), &url, &error) != SC_INVALID)
            fail_msg("'%s' was taken", bad[i]);
        assert_memory_equal(error.text, "REDIS_URL: ", 11);
    }
}

static void an_error_never_shows_the_password(void **state)
{
    static const char *const bad[] = {"redis://u:hush@host/5", "redis://u:hush@host:99999",
                                      "redis://u:hush@", "x://u:hush@host",
                                      "redis://u:hush%zz@host"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_redis_url url;
        sc_error     error = {0};
        assert_int_equal(sc_redis_url_parse(sc_str_of(bad[i]), &url, &error), SC_INVALID);
        assert_null(strstr(error.text, "hush"));
    }
}

static void lengths_are_bounded(void **state)
{
    char         text[4096];
    sc_redis_url url;
    (void)state;

    memset(text, 'a', sizeof text);
    memcpy(text, "redis://", 8);
    assert_int_equal(sc_redis_url_parse((sc_str){text, 8 + SC_REDIS_HOST_BYTES}, &url, NULL),
                     SC_INVALID);
    assert_int_equal(sc_redis_url_parse((sc_str){text, 8 + SC_REDIS_HOST_BYTES - 1}, &url, NULL),
                     SC_OK);
    memcpy(text + 8, "u:", 2);
    memcpy(text + 2000, "@host", 5);
    assert_int_equal(sc_redis_url_parse((sc_str){text, 2005}, &url, NULL), SC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_forms_are_read),
        cmocka_unit_test(bad_ones_are_refused),
        cmocka_unit_test(an_error_never_shows_the_password),
        cmocka_unit_test(lengths_are_bounded),
    };
    return cmocka_run_group_tests_name("store_redis_url", tests, NULL, NULL);
}

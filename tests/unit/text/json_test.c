#include "tests/support/cmocka.h"

#include "src/text/json.h"

/* An upstream could exhaust our stack with brackets. */
static void depth_and_size_are_bounded(void **state)
{
    (void)state;
    json_t  *value;
    sc_error error = {0};
    char     deep[2 * SC_JSON_DEPTH_MAX + 3];
    memset(deep, '[', SC_JSON_DEPTH_MAX);
    memset(deep + SC_JSON_DEPTH_MAX, ']', SC_JSON_DEPTH_MAX);
    deep[2 * SC_JSON_DEPTH_MAX] = '\0';
    assert_int_equal(sc_json_parse(sc_str_of(deep), 1000, &value, &error), SC_OK);
    json_decref(value);
    memset(deep, '[', SC_JSON_DEPTH_MAX + 1);
    memset(deep + SC_JSON_DEPTH_MAX + 1, ']', SC_JSON_DEPTH_MAX + 1);
    deep[2 * SC_JSON_DEPTH_MAX + 2] = '\0';
    assert_int_equal(sc_json_parse(sc_str_of(deep), 1000, &value, &error), SC_TOO_LARGE);
    assert_null(value);
    assert_int_equal(sc_json_parse(SC_STR("[1,2,3]"), 6, &value, &error), SC_TOO_LARGE);
    /* Brackets in strings nest nothing. */
    assert_true(sc_json_valid(SC_STR("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[\"")));
}

/* 16 MB of "[],[],..." would take a gigabyte. */
static void the_number_of_values_is_bounded(void **state)
{
    (void)state;
    static char text[3 * SC_JSON_VALUES_MAX];
    json_t     *value;
    sc_error    error = {0};
    size_t      len = 0;
    text[len++] = '[';
    while (len < sizeof text - 4) {
        memcpy(text + len, "[],", 3);
        len += 3;
    }
    memcpy(text + len, "1]", 2);
    assert_int_equal(sc_json_parse((sc_str){text, len + 2}, sizeof text, &value, &error),
                     SC_TOO_LARGE);
    assert_null(value);
    memcpy(text + 300000, "1]", 2);
    assert_int_equal(sc_json_parse((sc_str){text, 300001}, sizeof text, &value, &error),
                     SC_CORRUPT);
    /* Commas in strings are no values. */
    memset(text, ',', sizeof text);
    text[0] = text[sizeof text - 1] = '"';
    assert_true(sc_json_valid((sc_str){text, sizeof text}));
}

static void what_is_not_json_is_refused(void **state)
{
    (void)state;
    const char *const texts[] = {"", "{", "{} {}", "nul", "'a'", "[1,]", "\"\xff\"", "NaN"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(sc_json_valid(sc_str_of(texts[i])));
    assert_false(sc_json_valid(SC_STR("0\0"))); /* a NUL is not the end of the text */
    assert_true(sc_json_valid(SC_STR("{\"type\":\"json_object\"}")));
    assert_true(sc_json_valid(SC_STR(" 1 ")));
}

/* A prompt with a quote could change the request that goes to the LLM. */
static void a_string_comes_back_as_it_went_out(void **state)
{
    (void)state;
    const char *text = "a\"b\\c\n\t\r\b\f\x01\x1f/ \xc3\xa9 \xf0\x9f\x98\x80\x7f";
    sc_buf      out;
    sc_buf_init(&out, 1000);
    sc_json_put_string(&out, sc_str_of(text));
    json_t *value;
    assert_int_equal(sc_json_parse(sc_buf_view(&out), 1000, &value, NULL), SC_OK);
    assert_string_equal(json_string_value(value), text);
    json_decref(value);
    sc_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depth_and_size_are_bounded),
        cmocka_unit_test(the_number_of_values_is_bounded),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(a_string_comes_back_as_it_went_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

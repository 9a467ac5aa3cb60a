#include "tests/support/cmocka.h"

#include "src/base/status.h"

static void every_status_has_its_own_name(void **state)
{
    (void)state;
    for (int i = 0; i < SC_STATUS_COUNT; i++) {
        assert_non_null(sc_status_name((sc_status)i));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(sc_status_name((sc_status)i), sc_status_name((sc_status)j));
    }
    assert_string_equal(sc_status_name((sc_status)-1), "unknown");
    assert_string_equal(sc_status_name(SC_STATUS_COUNT), "unknown");
}

static void a_failure_is_one_line(void **state)
{
    (void)state;
    sc_error error = {0};
    assert_int_equal(sc_fail(&error, SC_INVALID, "ttl: %d is over %d", 7, 5), SC_INVALID);
    assert_int_equal(error.status, SC_INVALID);
    assert_string_equal(error.text, "ttl: 7 is over 5");
    assert_int_equal(sc_fail(NULL, SC_BUSY, "x"), SC_BUSY);
}

/* A reply whose error text ends in half a character is no valid protobuf string. */
static void a_cut_text_ends_with_a_whole_character(void **state)
{
    (void)state;
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t c = 0; c < 4; c++)
        for (int padding = 240; padding < 260; padding++) {
            sc_error error;
            size_t   width = strlen(characters[c]);
            sc_fail(&error, SC_INVALID, "%0*d%s%s%s%s", padding, 0, characters[c], characters[c],
                    characters[c], characters[c]);
            size_t room = SC_ERROR_TEXT_BYTES - 1;
            size_t whole = (size_t)padding >= room
                               ? room
                               : (size_t)padding + (room - (size_t)padding) / width * width;
            size_t full = (size_t)padding + 4 * width;
            assert_int_equal(strlen(error.text), whole < full ? whole : full);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_own_name),
        cmocka_unit_test(a_failure_is_one_line),
        cmocka_unit_test(a_cut_text_ends_with_a_whole_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

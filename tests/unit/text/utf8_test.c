#include "tests/support/cmocka.h"

#include "src/text/utf8.h"

/* Other languages' clients would fail to parse a reply that echoes such bytes. */
static void malformed_sequences_are_found_where_they_begin(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t      bad;
    } rows[] = {
        {"\x80", 0},             /* continuation first */
        {"ab\xc3", 2},           /* cut off */
        {"ab\xc0\xaf", 2},       /* overlong */
        {"abc\xe0\x80\xaf", 3},  /* overlong */
        {"\xed\xa0\x80", 0},     /* surrogate */
        {"\xf4\x90\x80\x80", 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 0},
        {"\xff", 0},
        {"12345678\xc3(", 8},
        {"1234567\xe2\x82", 7},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t bad = 999;
        assert_false(sc_utf8_valid(sc_str_of(rows[i].text), &bad));
        assert_int_equal(bad, rows[i].bad);
    }
}

/* A question in Chinese, or with an emoji, would be refused. */
static void well_formed_text_of_every_length_passes(void **state)
{
    (void)state;
    const char *const texts[] = {"", "a", "12345678", "caf\xc3\xa9", "\xe4\xbd\xa0\xe5\xa5\xbd",
                                 "\xf0\x9f\x98\x80", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf",
                                 "1234567\xc3\xa9" "89"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_true(sc_utf8_valid(sc_str_of(texts[i]), NULL));
    assert_true(sc_utf8_valid((sc_str){NULL, 0}, NULL));
    assert_true(sc_utf8_valid((sc_str){"a\0b", 3}, NULL)); /* NUL is UTF-8; others refuse it */
}

/* A log line would end in half a character. */
static void a_prefix_never_cuts_a_character(void **state)
{
    (void)state;
    sc_str text = sc_str_of("a\xe2\x82\xac" "b");
    assert_int_equal(sc_utf8_prefix(text, 0), 0);
    assert_int_equal(sc_utf8_prefix(text, 1), 1);
    assert_int_equal(sc_utf8_prefix(text, 2), 1);
    assert_int_equal(sc_utf8_prefix(text, 3), 1);
    assert_int_equal(sc_utf8_prefix(text, 4), 4);
    assert_int_equal(sc_utf8_prefix(text, 99), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_sequences_are_found_where_they_begin),
        cmocka_unit_test(well_formed_text_of_every_length_passes),
        cmocka_unit_test(a_prefix_never_cuts_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "src/embed/scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/random.h"
#include "tests/support/cmocka.h"

static sc_scan over(const char *json)
{
    return (sc_scan){json, json + strlen(json)};
}

static void assert_reads_as(const char *text)
{
    sc_scan scan = over(text);
    double  got = 0, want = strtod(text, NULL);
    assert_true(sc_scan_number(&scan, &got));
    assert_true(sc_scan_end(&scan));
    if (!(fabs(got - want) <= 1e-15 * fabs(want)))
        print_error("%s: %.17g, not %.17g\n", text, got, want);
    assert_true(fabs(got - want) <= 1e-15 * fabs(want));
}

/* Vectors of servers that ignore encoding_format would be a little wrong. */
static void numbers_are_those_of_strtod(void **state)
{
    static const char *const plain[] = {
        "0", "-0", "1", "-1.5", "0.1", "1e3", "1E-3", "1.25e+2", "123456789012345678901234567890",
        "0.00000000000000000000000000000123", "0.123456789012345678901234567890", "1e-30", "1e30",
        "-0.006929283495992422", "100000000000000000000e-20", "0.000e5",
    };
    (void)state;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        assert_reads_as(plain[i]);
    for (int i = 0; i < 20000; i++) {
        char   text[64];
        double number = (double)sc_random_between(-1000000000, 1000000000) /
                        pow(10, (double)sc_random_between(0, 18));
        snprintf(text, sizeof text, "%.*g", (int)sc_random_between(1, 17), number);
        assert_reads_as(text);
    }
}

static void what_is_no_number_is_refused(void **state)
{
    static const char *const bad[] = {"", "-", ".5", "x", "1.", "1e", "1e+", "NaN", "-e5", "\"1\""};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_scan scan = over(bad[i]);
        double  got;
        assert_false(sc_scan_number(&scan, &got));
    }
    sc_scan huge = over("1e999999999999");
    double  got = 0;
    assert_true(sc_scan_number(&huge, &got) && isinf(got));
}

static void an_index_is_a_plain_integer(void **state)
{
    static const char *const bad[] = {"", "-1", "1.0", "1e2", "99999999999999999999999", "\"1\""};
    uint64_t index = 0;
    sc_scan  good = over(" 42,");
    (void)state;
    assert_true(sc_scan_index(&good, &index) && index == 42);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_scan scan = over(bad[i]);
        assert_false(sc_scan_index(&scan, &index));
    }
}

static void strings_end_at_their_own_quote(void **state)
{
    sc_scan scan = over("\"a\\\"b\\\\\" \"\" \"open");
    sc_str  text;
    (void)state;
    assert_true(sc_scan_string(&scan, &text));
    assert_true(sc_str_equal(text, SC_STR("a\\\"b\\\\")));
    assert_true(sc_scan_string(&scan, &text));
    assert_int_equal(text.len, 0);
    assert_false(sc_scan_string(&scan, &text));
}

static void values_are_skipped_whole(void **state)
{
    static const char *const values[] = {
        "1.5e3", "true", "null", "\"a]b\"", "[]", "[1, 2]", "[\"]\", [2]]", "{\"a\": [1, {\"b\": \"}\"}]}",
        "[[[[]]]]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char    json[64];
        sc_str  span;
        snprintf(json, sizeof json, " %s ,x", values[i]);
        sc_scan scan = over(json);
        assert_true(sc_scan_value(&scan, &span));
        assert_true(sc_str_equal(span, sc_str_of(values[i])));
        assert_true(sc_scan_char(&scan, ','));
    }
}

/* A few bytes of brackets would overrun the stack. */
static void nesting_is_bounded_and_paired(void **state)
{
    static const char *const bad[] = {"", "[", "[}", "{\"a\": [1}", "]", "\"open", "[\"a]"};
    char   deep[100];
    sc_str span;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_scan scan = over(bad[i]);
        assert_false(sc_scan_value(&scan, &span));
    }
    memset(deep, '[', 50);
    memset(deep + 50, ']', 50);
    sc_scan scan = {deep, deep + sizeof deep};
    assert_false(sc_scan_value(&scan, &span));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_strtod),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(an_index_is_a_plain_integer),
        cmocka_unit_test(strings_end_at_their_own_quote),
        cmocka_unit_test(values_are_skipped_whole),
        cmocka_unit_test(nesting_is_bounded_and_paired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/support/cmocka.h"

#include "src/config/quantity.h"

static const struct {
    const char *text, *unit;
    sc_status   status;
    int64_t     value;
} rows[] = {
    {"7", "ms", SC_OK, 7},
    {"0", "entries", SC_OK, 0},
    {"-5", "", SC_OK, -5},
    {"+5", "", SC_OK, 5},
    {"500ms", "ms", SC_OK, 500},
    {"10s", "ms", SC_OK, 10000},
    {"5m", "ms", SC_OK, 300000},
    {"1h", "ms", SC_OK, 3600000},
    {"1d", "s", SC_OK, 86400},
    {"1h", "s", SC_OK, 3600},
    {"2000ms", "s", SC_OK, 2},
    {"50us", "us", SC_OK, 50},
    {"1ms", "us", SC_OK, 1000},
    {"64KiB", "bytes", SC_OK, 65536},
    {"1GiB", "bytes", SC_OK, 1073741824},
    {"2TiB", "bytes", SC_OK, 2199023255552},
    {"5MB", "bytes", SC_OK, 5000000},
    {"5kB", "bytes", SC_OK, 5000},
    {"5B", "bytes", SC_OK, 5},
    {"9223372036854775807", "", SC_OK, INT64_MAX},
    {"-9223372036854775808", "", SC_OK, INT64_MIN},
    {"9223372036854775808", "", SC_TOO_LARGE, 0},
    {"99999999999999999999999", "ms", SC_TOO_LARGE, 0},
    {"9223372036854775807d", "us", SC_TOO_LARGE, 0},
    {"500ms", "s", SC_INVALID, 0},  /* no whole number of seconds */
    {"10s", "bytes", SC_INVALID, 0}, /* another kind */
    {"10KiB", "ms", SC_INVALID, 0},
    {"10s", "entries", SC_INVALID, 0},
    {"10x", "ms", SC_INVALID, 0},
    {"", "ms", SC_INVALID, 0},
    {"-", "ms", SC_INVALID, 0},
    {"s", "s", SC_INVALID, 0},
    {" 5", "ms", SC_INVALID, 0},
    {"5 s", "ms", SC_INVALID, 0},
    {"5S", "ms", SC_INVALID, 0},
    {"1.5h", "ms", SC_INVALID, 0},
    {"0x10", "", SC_INVALID, 0},
    {"1e3", "", SC_INVALID, 0},
};

/* CACHE_TTL_SECONDS=5m that means 5 seconds would empty the cache. */
static void numbers_with_units_mean_what_they_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t   value = 0;
        sc_status status = sc_quantity_parse(sc_str_of(rows[i].text), rows[i].unit, &value);
        if (status != rows[i].status || value != rows[i].value)
            fail_msg("\"%s\" as %s: %s, %lld", rows[i].text, rows[i].unit, sc_status_name(status),
                     (long long)value);
    }
}

/* The README would say another default than the program has. */
static void what_is_shown_reads_back_as_the_same(void **state)
{
    (void)state;
    static const int64_t values[] = {0,     1,       -1,       7,       1000,      1024,     1536,
                                     65536, 3600000, 86400000, 1 << 30, INT64_MAX, INT64_MIN};
    static const char *const units[] = {"us", "ms", "s", "bytes", "entries", ""};
    for (size_t u = 0; u < 6; u++)
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            char    shown[SC_QUANTITY_BYTES];
            int64_t back;
            sc_quantity_show(values[i], units[u], shown);
            assert_int_equal(sc_quantity_parse(sc_str_of(shown), units[u], &back), SC_OK);
            assert_true(back == values[i]);
        }
}

static void the_shortest_way_is_chosen(void **state)
{
    (void)state;
    char shown[SC_QUANTITY_BYTES];
    sc_quantity_show(3600000, "ms", shown);
    assert_string_equal(shown, "1h");
    sc_quantity_show(1500, "ms", shown);
    assert_string_equal(shown, "1500ms");
    sc_quantity_show(65536, "bytes", shown);
    assert_string_equal(shown, "64KiB");
    sc_quantity_show(0, "bytes", shown);
    assert_string_equal(shown, "0");
    sc_quantity_show(3600, "entries", shown);
    assert_string_equal(shown, "3600");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_with_units_mean_what_they_say),
        cmocka_unit_test(what_is_shown_reads_back_as_the_same),
        cmocka_unit_test(the_shortest_way_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

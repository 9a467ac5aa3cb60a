#include "src/http/retry.h"

#include "tests/support/cmocka.h"

static int64_t ms_until(unsigned attempt, int64_t retry_after_ms, int64_t deadline_ms)
{
    sc_instant now = {1000000000};
    sc_instant start = sc_retry_start(attempt, retry_after_ms, now, sc_instant_after_ms(now, deadline_ms));
    return start.ns == SC_INSTANT_NEVER.ns ? -1 : (start.ns - now.ns) / 1000000;
}

static void waits_double_and_never_agree(void **state)
{
    int64_t first = ms_until(1, -1, 100000), different = 0;
    (void)state;
    for (int i = 0; i < 200; i++) {
        for (unsigned attempt = 1; attempt < 12; attempt++) {
            int64_t full = attempt > 5 ? 8000 : 250 << (attempt - 1);
            int64_t ms = ms_until(attempt, -1, 100000);
            assert_true(ms >= full / 2 && ms <= full);
        }
        different += ms_until(1, -1, 100000) != first;
    }
    assert_true(different > 100);
}

static void the_upstreams_wish_is_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        int64_t ms = ms_until(1, 2000, 100000);
        assert_true(ms >= 2000 && ms <= 2260);
        assert_true(ms_until(1, 0, 100000) <= 10);
    }
}

static void nothing_starts_after_the_deadline(void **state)
{
    (void)state;
    assert_int_equal(ms_until(1, 2000, 2000), -1);
    assert_int_equal(ms_until(1, -1, 100), -1);
    assert_int_equal(ms_until(1, INT64_MAX / 2, 1000), -1);
}

static void only_what_may_pass_is_tried_again(void **state)
{
    static const struct {
        sc_status status;
        int       code;
        bool      help;
    } cases[] = {
        {SC_OK, 429, true},          {SC_OK, 500, true},     {SC_OK, 503, true},
        {SC_OK, 408, true},          {SC_OK, 200, false},    {SC_OK, 400, false},
        {SC_OK, 401, false},         {SC_OK, 302, false},    {SC_UNAVAILABLE, 0, true},
        {SC_UNAVAILABLE, 200, true}, {SC_TIMEOUT, 0, false}, {SC_CANCELLED, 0, false},
        {SC_TOO_LARGE, 200, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sc_http_request request = {.status = cases[i].status, .code = cases[i].code};
        assert_int_equal(sc_retry_may_help(&request), cases[i].help);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_and_never_agree),
        cmocka_unit_test(the_upstreams_wish_is_kept),
        cmocka_unit_test(nothing_starts_after_the_deadline),
        cmocka_unit_test(only_what_may_pass_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

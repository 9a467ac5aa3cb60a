#include "tests/support/cmocka.h"

#include "src/base/breaker.h"

enum { OPEN_MS = 1000 };

static sc_instant at(int64_t ms)
{
    return (sc_instant){ms * 1000000};
}

static void trip(sc_breaker *breaker, int64_t ms)
{
    for (int i = 0; i < 3; i++) {
        assert_true(sc_breaker_allow(breaker, at(ms)));
        sc_breaker_failure(breaker, at(ms));
    }
}

/* Each request would wait for the timeout of a dependency that is known to be away. */
static void failures_in_a_row_open_it(void **state)
{
    (void)state;
    sc_breaker breaker;
    uint64_t   opened = 9;
    sc_breaker_init(&breaker, 3, OPEN_MS);
    sc_breaker_failure(&breaker, at(0));
    sc_breaker_failure(&breaker, at(0));
    sc_breaker_success(&breaker);
    sc_breaker_failure(&breaker, at(0));
    sc_breaker_failure(&breaker, at(0));
    assert_int_equal(sc_breaker_look(&breaker, &opened), SC_BREAKER_CLOSED);
    assert_int_equal(opened, 0);
    sc_breaker_failure(&breaker, at(0));
    assert_int_equal(sc_breaker_look(&breaker, &opened), SC_BREAKER_OPEN);
    assert_int_equal(opened, 1);
    assert_false(sc_breaker_allow(&breaker, at(1)));
    assert_false(sc_breaker_allow(&breaker, at(OPEN_MS * 3 / 4 - 1)));
    sc_breaker_fini(&breaker);
}

/* A dependency that comes back under a thousand probes goes away again. */
static void one_probe_goes_and_decides(void **state)
{
    (void)state;
    sc_breaker breaker;
    sc_breaker_init(&breaker, 3, OPEN_MS);
    trip(&breaker, 0);
    assert_true(sc_breaker_allow(&breaker, at(OPEN_MS * 5 / 4 + 1)));
    assert_int_equal(sc_breaker_look(&breaker, NULL), SC_BREAKER_HALF_OPEN);
    assert_false(sc_breaker_allow(&breaker, at(OPEN_MS * 5 / 4 + 2)));

    sc_breaker_failure(&breaker, at(1300));
    assert_int_equal(sc_breaker_look(&breaker, NULL), SC_BREAKER_OPEN);
    assert_false(sc_breaker_allow(&breaker, at(1301)));

    assert_true(sc_breaker_allow(&breaker, at(3000)));
    sc_breaker_success(&breaker);
    assert_int_equal(sc_breaker_look(&breaker, NULL), SC_BREAKER_CLOSED);
    assert_true(sc_breaker_allow(&breaker, at(3000)));
    assert_true(sc_breaker_allow(&breaker, at(3000)));
    sc_breaker_fini(&breaker);
}

/* A probe whose caller was cancelled would keep the breaker half open for ever. */
static void a_lost_probe_makes_way_for_another(void **state)
{
    (void)state;
    sc_breaker breaker;
    sc_breaker_init(&breaker, 3, OPEN_MS);
    trip(&breaker, 0);
    assert_true(sc_breaker_allow(&breaker, at(2000)));
    assert_false(sc_breaker_allow(&breaker, at(2001)));
    assert_true(sc_breaker_allow(&breaker, at(4000)));
    sc_breaker_fini(&breaker);
}

/* Calls that began before would close it, or put the probe off for ever. */
static void outcomes_that_come_late_change_nothing(void **state)
{
    (void)state;
    sc_breaker breaker;
    uint64_t   opened;
    sc_breaker_init(&breaker, 3, OPEN_MS);
    trip(&breaker, 0);
    sc_breaker_success(&breaker);
    assert_int_equal(sc_breaker_look(&breaker, NULL), SC_BREAKER_OPEN);
    for (int i = 0; i < 10; i++)
        sc_breaker_failure(&breaker, at(1200));
    assert_int_equal(sc_breaker_look(&breaker, &opened), SC_BREAKER_OPEN);
    assert_int_equal(opened, 1);
    assert_true(sc_breaker_allow(&breaker, at(1251)));
    sc_breaker_fini(&breaker);
}

static void with_no_failures_counted_it_never_opens(void **state)
{
    (void)state;
    sc_breaker breaker;
    sc_breaker_init(&breaker, 0, OPEN_MS);
    for (int i = 0; i < 100; i++)
        sc_breaker_failure(&breaker, at(0));
    assert_true(sc_breaker_allow(&breaker, at(0)));
    sc_breaker_fini(&breaker);
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(sc_breaker_state_name(SC_BREAKER_HALF_OPEN), "half_open");
    assert_string_equal(sc_breaker_state_name((sc_breaker_state)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_open_it),
        cmocka_unit_test(one_probe_goes_and_decides),
        cmocka_unit_test(a_lost_probe_makes_way_for_another),
        cmocka_unit_test(outcomes_that_come_late_change_nothing),
        cmocka_unit_test(with_no_failures_counted_it_never_opens),
        cmocka_unit_test(states_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

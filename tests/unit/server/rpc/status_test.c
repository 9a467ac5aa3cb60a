#include "client/lib/client.h"
#include "server/rpc/status.h"
#include "tests/support/cmocka.h"

/* A status without a row would go out as OK. */
static void every_failure_has_a_code_of_failure(void **state)
{
    (void)state;
    assert_int_equal(sc_rpc_code(SC_OK), 0);
    for (int status = SC_OK + 1; status < SC_STATUS_COUNT; status++)
        assert_in_range(sc_rpc_code((sc_status)status), 1, 16);
}

static void the_client_reads_back_what_the_server_meant(void **state)
{
    static const sc_status same[] = {SC_OK,       SC_INVALID, SC_NOT_FOUND, SC_EXISTS,
                                     SC_BUSY,     SC_UNAVAILABLE, SC_TIMEOUT, SC_CANCELLED,
                                     SC_UNAUTHENTICATED, SC_PERMISSION_DENIED, SC_UNSUPPORTED,
                                     SC_INTERNAL, SC_MISMATCH};
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        assert_int_equal(sc_client_code_status(sc_rpc_code(same[i])), same[i]);
    assert_int_equal(sc_client_code_status(99), SC_INTERNAL);
    assert_string_equal(sc_client_code_name(8), "RESOURCE_EXHAUSTED");
    assert_string_equal(sc_client_code_name(-1), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_has_a_code_of_failure),
        cmocka_unit_test(the_client_reads_back_what_the_server_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

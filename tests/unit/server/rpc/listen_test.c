#include "server/rpc/listen.h"
#include "tests/support/cmocka.h"

/* One wrong "local" and prompts go over a network in plain text. */
static void only_this_machine_is_local(void **state)
{
    static const char *const local[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1",
                                        "unix:/run/x", "unix-abstract:x"};
    static const char *const others[] = {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1",
                                         "127.0.0.1.example.org:1", "localhost.example.org:1",
                                         "[::ffff:10.0.0.1]:1", "", ":1", "127.0.0.1", "*:1",
                                         "unix", "localhosts:1", "1270.0.1:1"};
    (void)state;
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        if (!rpc_listen_is_local(sc_str_of(local[i])))
            fail_msg("%s", local[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (rpc_listen_is_local(sc_str_of(others[i])))
            fail_msg("%s", others[i]);
}

static void lists_are_split_and_trimmed(void **state)
{
    sc_str list = SC_STR(" a:1 ,,\tb:2,  c:3 , "), address;
    (void)state;
    assert_true(rpc_listen_next(&list, &address) && sc_str_equal(address, SC_STR("a:1")));
    assert_true(rpc_listen_next(&list, &address) && sc_str_equal(address, SC_STR("b:2")));
    assert_true(rpc_listen_next(&list, &address) && sc_str_equal(address, SC_STR("c:3")));
    assert_false(rpc_listen_next(&list, &address));
    list = SC_STR(" , ");
    assert_false(rpc_listen_next(&list, &address));
    list = (sc_str){NULL, 0};
    assert_false(rpc_listen_next(&list, &address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_this_machine_is_local),
        cmocka_unit_test(lists_are_split_and_trimmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

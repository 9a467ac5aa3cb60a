#include "tests/support/cmocka.h"

#include "src/base/str.h"

static void equality_is_of_bytes_and_length(void **state)
{
    (void)state;
    assert_true(sc_str_equal(SC_STR("a\0b"), (sc_str){"a\0b", 3}));
    assert_false(sc_str_equal(SC_STR("a\0b"), SC_STR("a\0c")));
    assert_false(sc_str_equal(SC_STR("ab"), SC_STR("abc")));
    assert_true(sc_str_equal((sc_str){NULL, 0}, SC_STR("")));
    assert_true(sc_str_equal(sc_str_of(NULL), sc_str_of("")));
    assert_int_equal(sc_str_of("abc").len, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equality_is_of_bytes_and_length)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

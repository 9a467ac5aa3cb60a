#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

#include "src/base/buf.h"

/* A response of 500 MB would be kept. */
static void the_ceiling_holds_and_the_failure_sticks(void **state)
{
    (void)state;
    sc_buf buf;
    sc_buf_init(&buf, 5);
    assert_int_equal(sc_buf_append(&buf, "abc", 3), SC_OK);
    assert_int_equal(sc_buf_append(&buf, "def", 3), SC_TOO_LARGE);
    assert_string_equal(buf.data, "abc");
    assert_int_equal(sc_buf_byte(&buf, 'd'), SC_TOO_LARGE);
    assert_int_equal(buf.len, 3);
    sc_buf_clear(&buf);
    assert_int_equal(sc_buf_append(&buf, "abcde", 5), SC_OK);
    assert_true(buf.room <= 6);
    sc_buf_fini(&buf);
}

static void what_goes_in_comes_out(void **state)
{
    (void)state;
    sc_buf buf;
    sc_buf_init(&buf, 1 << 20);
    for (int i = 0; i < 10000; i++)
        sc_buf_printf(&buf, "%d,", i % 10);
    assert_int_equal(buf.failed, SC_OK);
    assert_int_equal(buf.len, 20000);
    for (size_t i = 0; i < buf.len; i++)
        assert_int_equal(buf.data[i], i % 2 == 1 ? ',' : '0' + (int)(i / 2 % 10));
    sc_buf_fini(&buf);
}

/* A stream's parser would read its last line twice, or lose bytes of the next. */
static void consumed_bytes_are_gone(void **state)
{
    (void)state;
    sc_buf buf;
    sc_buf_init(&buf, 100);
    sc_buf_consume(&buf, 0);
    sc_buf_str(&buf, SC_STR("line\nrest"));
    sc_buf_consume(&buf, 5);
    assert_string_equal(buf.data, "rest");
    sc_buf_consume(&buf, 99);
    assert_string_equal(buf.data, "");
    assert_int_equal(buf.len, 0);
    sc_buf_fini(&buf);
}

static void taken_bytes_belong_to_the_taker(void **state)
{
    (void)state;
    sc_buf buf;
    size_t len = 99;
    sc_buf_init(&buf, 100);
    char *empty = sc_buf_take(&buf, &len);
    assert_string_equal(empty, "");
    assert_int_equal(len, 0);
    free(empty);
    sc_buf_str(&buf, SC_STR("bytes"));
    char *bytes = sc_buf_take(&buf, &len);
    assert_string_equal(bytes, "bytes");
    assert_int_equal(len, 5);
    assert_null(buf.data);
    free(bytes);
    sc_buf_append(&buf, "x", 1);
    sc_buf_printf(&buf, "%0200d", 1);
    assert_null(sc_buf_take(&buf, NULL));
    sc_buf_fini(&buf);
}

static bool use_buf(void *context)
{
    (void)context;
    sc_buf buf;
    bool   ok = true;
    sc_buf_init(&buf, 10000);
    for (int i = 0; i < 100 && ok; i++) {
        size_t len = buf.len;
        ok = sc_buf_printf(&buf, "%050d", i) == SC_OK;
        assert_int_equal(buf.len, ok ? len + 50 : len);
    }
    assert_int_equal(buf.failed, ok ? SC_OK : SC_NO_MEMORY);
    sc_buf_fini(&buf);
    return ok;
}

static void without_memory_nothing_is_half_written(void **state)
{
    (void)state;
    assert_true(sc_fail_malloc_each(use_buf, NULL) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ceiling_holds_and_the_failure_sticks),
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(consumed_bytes_are_gone),
        cmocka_unit_test(taken_bytes_belong_to_the_taker),
        cmocka_unit_test(without_memory_nothing_is_half_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

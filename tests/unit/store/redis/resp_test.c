/* Commands as bytes, and the bounds of what is read. */
#include "src/store/redis/resp.h"
#include "tests/support/cmocka.h"

static void commands_are_written_as_redis_reads_them(void **state)
{
    sc_buf out;
    (void)state;

    sc_buf_init(&out, 1024);
    sc_resp_command(&out, 3);
    sc_resp_text(&out, "SET");
    sc_resp_str(&out, (sc_str){"a\0b", 3});
    sc_resp_int(&out, -12);
    sc_resp_words(&out, (const char *const[]){"PING", "", NULL});
    static const char wanted[] =
        "*3\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$3\r\n-12\r\n*2\r\n$4\r\nPING\r\n$0\r\n\r\n";
    assert_int_equal(out.len, sizeof wanted - 1);
    assert_memory_equal(out.data, wanted, out.len);
    sc_buf_fini(&out);
}

/* Ten bytes must not make us reserve gigabytes. */
static void a_huge_array_header_is_refused(void **state)
{
    redisReader *reader = sc_resp_reader();
    void        *reply = NULL;
    (void)state;

    assert_int_equal(redisReaderFeed(reader, "*100000000\r\n", 12), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_ERR);
    assert_null(reply);
    redisReaderFree(reader);
}

static void an_ordinary_array_is_read(void **state)
{
    redisReader *reader = sc_resp_reader();
    void        *reply = NULL;
    (void)state;

    assert_int_equal(redisReaderFeed(reader, "*2\r\n:7\r\n$-1\r\n", 13), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    assert_int_equal(((redisReply *)reply)->elements, 2);
    freeReplyObject(reply);
    redisReaderFree(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_written_as_redis_reads_them),
        cmocka_unit_test(a_huge_array_header_is_refused),
        cmocka_unit_test(an_ordinary_array_is_read),
    };
    return cmocka_run_group_tests_name("store_redis_resp", tests, NULL, NULL);
}

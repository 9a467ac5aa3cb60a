#include "tests/support/cmocka.h"

#include "src/config/env_file.h"

/* "NAME=VALUE;" for each pair, then the status that ended it and the line. */
static const char *read_all(const char *text, char *into, size_t room)
{
    sc_env_reader reader;
    sc_str        name, value;
    sc_error      error = {0};
    sc_status     status;
    sc_buf        out;
    sc_buf_init(&out, room - 1);
    sc_buf_append(&out, "", 0);
    sc_env_reader_init(&reader, sc_str_of(text));
    while ((status = sc_env_next(&reader, &name, &value, &error)) == SC_OK) {
        assert_int_equal(value.ptr[value.len], '\0');
        sc_buf_str(&out, name);
        sc_buf_byte(&out, '=');
        sc_buf_str(&out, value);
        sc_buf_byte(&out, ';');
    }
    if (status != SC_NOT_FOUND)
        sc_buf_printf(&out, "%s", error.text);
    memcpy(into, out.data, out.len + 1);
    sc_env_reader_fini(&reader);
    sc_buf_fini(&out);
    return into;
}

static const struct {
    const char *text, *pairs;
} rows[] = {
    {"", ""},
    {"A=1", "A=1;"},
    {"A=1\nB=2\n", "A=1;B=2;"},
    {"A=1\r\nB=2\r\n", "A=1;B=2;"},
    {"\xEF\xBB\xBF" "A=1", "A=1;"},
    {"\n\n  # comment\n\t\nA=1", "A=1;"},
    {"  A = 1  ", "A=1;"},
    {"export A=1\nexport\tB=2", "A=1;B=2;"},
    {"exported=1", "exported=1;"},
    {"A=", "A=;"},
    {"A=b c", "A=b c;"},
    {"A=b # comment", "A=b;"},
    {"A=#all", "A=;"},
    {"A=b#c", "A=b#c;"},
    {"A=x=y", "A=x=y;"},
    {"A='b # c'", "A=b # c;"},
    {"A='\\n$X'", "A=\\n$X;"},
    {"A=\"b \\\" \\\\ \\n \\t \\$ #\" # comment", "A=b \" \\ \n \t $ #;"},
    {"A=\"\"", "A=;"},
    {"A=$B ${C}", "A=$B ${C};"},
    {"A=1\nA=2", "A=1;A=2;"},
    {"a.b-c=1", "a.b-c=1;"},
    {"A=1\nB", "A=1;line 2: NAME=VALUE is expected"},
    {"=1", "line 1: NAME=VALUE is expected"},
    {"1A=1", "line 1: NAME=VALUE is expected"},
    {"A B=1", "line 1: NAME=VALUE is expected"},
    {"\n\nA=\"b", "line 3: a quote that is not closed on its line"},
    {"A='b\nc'", "line 1: a quote that is not closed on its line"},
    {"A=\"b\\\"", "line 1: a quote that is not closed on its line"},
    {"A=\"b\" c", "line 1: something behind the closing quote"},
};

static void lines_are_read_as_documented(void **state)
{
    (void)state;
    char got[256];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(read_all(rows[i].text, got, sizeof got), rows[i].pairs) != 0)
            fail_msg("\"%s\" gives \"%s\", not \"%s\"", rows[i].text, got, rows[i].pairs);
}

static void a_nul_byte_and_an_endless_value_are_refused(void **state)
{
    (void)state;
    sc_env_reader reader;
    sc_str        name, value;
    sc_error      error = {0};
    static char   text[SC_ENV_VALUE_BYTES_MAX + 8] = "A=";
    sc_env_reader_init(&reader, (sc_str){"A=b\0c", 5});
    assert_int_equal(sc_env_next(&reader, &name, &value, &error), SC_INVALID);
    sc_env_reader_fini(&reader);
    memset(text + 2, 'x', sizeof text - 2);
    sc_env_reader_init(&reader, (sc_str){text, sizeof text});
    assert_int_equal(sc_env_next(&reader, &name, &value, &error), SC_INVALID);
    assert_non_null(strstr(error.text, "line 1: a value over"));
    sc_env_reader_fini(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_as_documented),
        cmocka_unit_test(a_nul_byte_and_an_endless_value_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

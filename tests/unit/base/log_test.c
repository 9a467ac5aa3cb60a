#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

#include "src/base/log.h"

static char text[16384];

/* What run() writes to standard error. */
static const char *written_by(void (*run)(void))
{
    FILE *file = tmpfile();
    int   before = dup(STDERR_FILENO);
    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    run();
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void log_ordinary(void)
{
    sc_log(SC_LOG_WARN, "redis.disconnected", sc_kv_text("cause", "reset"), sc_kv_int("port", 6379),
           sc_kv_real("load", 0.25), sc_kv_text("none", NULL));
}

static void a_line_is_time_level_event_and_pairs(void **state)
{
    (void)state;
    int         year, used = 0;
    const char *line = written_by(log_ordinary);
    assert_int_equal(sscanf(line, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ%n", &year, &used), 1);
    assert_true(year > 2000 && used == 24);
    assert_string_equal(line + used,
                        " warn redis.disconnected cause=reset port=6379 load=0.25 none=\"\"\n");
}

static void log_hostile(void)
{
    sc_log(SC_LOG_ERROR, "x", sc_kv_text("v", "a\n2026 error forged=\"1\" \\ \x7f\x1b[31m"));
}

/* A header of an upstream could write lines into our log. */
static void no_value_can_forge_a_line(void **state)
{
    (void)state;
    const char *line = written_by(log_hostile);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_non_null(strstr(line, "v=\"a\\x0a2026 error forged=\\\"1\\\" \\\\ \\x7f\\x1b[31m\"\n"));
}

static char long_value[3000];

static void log_long(void)
{
    memset(long_value, 'v', sizeof long_value - 1);
    sc_log(SC_LOG_ERROR, "x", sc_kv_text("a", long_value), sc_kv_text("b", long_value),
           sc_kv_text("c", long_value), sc_kv_text("d", long_value), sc_kv_text("e", long_value));
}

static void a_long_line_is_cut_and_still_a_line(void **state)
{
    (void)state;
    const char *line = written_by(log_long);
    assert_true(strlen(line) > 1000 && strlen(line) <= 4097);
    assert_int_equal(line[strlen(line) - 1], '\n');
}

static void log_levels(void)
{
    sc_log_set_level(SC_LOG_WARN);
    sc_log(SC_LOG_INFO, "below");
    sc_log(SC_LOG_WARN, "at");
    sc_log_set_level(SC_LOG_OFF);
    sc_log(SC_LOG_ERROR, "off");
    sc_log_set_level(SC_LOG_INFO);
}

static void lines_below_the_level_are_dropped(void **state)
{
    (void)state;
    const char *line = written_by(log_levels);
    assert_null(strstr(line, "below"));
    assert_null(strstr(line, "off"));
    assert_non_null(strstr(line, " warn at\n"));
}

/* A dependency that is away would fill the disk, one line a request. */
static void repetition_is_counted(void **state)
{
    (void)state;
    sc_log_limit limit = {0};
    int64_t      left_out = 99;
    sc_instant   now = {5000000000};
    assert_true(sc_log_allow(&limit, 1000, now, &left_out));
    assert_int_equal(left_out, 0);
    for (int i = 0; i < 7; i++)
        assert_false(sc_log_allow(&limit, 1000, now, &left_out));
    now = sc_instant_after_ms(now, 1000);
    assert_true(sc_log_allow(&limit, 1000, now, &left_out));
    assert_int_equal(left_out, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_time_level_event_and_pairs),
        cmocka_unit_test(no_value_can_forge_a_line),
        cmocka_unit_test(a_long_line_is_cut_and_still_a_line),
        cmocka_unit_test(lines_below_the_level_are_dropped),
        cmocka_unit_test(repetition_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A server that cannot do what it was told says so in one line, and does not start. */
#include "tests/support/cmocka.h"

#include <stdlib.h>

#include "tests/support/server.h"

static void expect_refusal(const char *variable, const char *flag, const char *words)
{
    const char *const variables[] = {variable == NULL ? "LOG_LEVEL=off" : variable, NULL};
    const char *const flags[] = {flag, NULL};
    sc_test_server   *server = sc_test_server_spawn(variables, flag == NULL ? NULL : flags);
    int               code = sc_test_server_wait(server);
    char             *log = sc_test_server_log(server);
    char             *line = strstr(log, "semcached: ");
    if (code != 2 || line == NULL || strstr(line, words) == NULL ||
        strchr(line, '\n') != strrchr(line, '\n'))
        fail_msg("wanted exit code 2 and a line with '%s', got %d and:\n%s", words, code, log);
    free(log);
    sc_test_server_stop(server);
}

static void values_out_of_range_name_setting_value_and_bounds(void **state)
{
    (void)state;
    expect_refusal("SIMILARITY_THRESHOLD=3", NULL, "SIMILARITY_THRESHOLD");
    expect_refusal("SIMILARITY_THRESHOLD=nan", NULL, "nan");
    expect_refusal("TOP_K=0", NULL, "TOP_K");
    expect_refusal("CACHE_TTL_SECONDS=-5", NULL, "CACHE_TTL_SECONDS");
    expect_refusal("VECTOR_TYPE=float8", NULL, "float16");
    expect_refusal(NULL, "--top-k=99", "32");
}

static void unknown_flags_are_refused(void **state)
{
    (void)state;
    expect_refusal(NULL, "--no-such-flag=1", "no-such-flag");
    expect_refusal(NULL, "stray", "stray");
}

/* RediSearch indexes database 0 only: the cache would never hit, and say nothing. */
static void redis_urls_that_cannot_work_are_refused(void **state)
{
    (void)state;
    expect_refusal("REDIS_URL=redis://127.0.0.1:6379/3", NULL, "database");
    expect_refusal("REDIS_URL=http://127.0.0.1", NULL, "REDIS_URL");
}

/* Everybody on the network could read every question. */
static void plain_text_for_others_wants_to_be_said(void **state)
{
    (void)state;
    expect_refusal("LISTEN=0.0.0.0:0", NULL, "INSECURE_LISTEN");
}

/* Answers that the model was about to give would be cut off. */
static void calls_may_last_as_long_as_the_model(void **state)
{
    (void)state;
    expect_refusal("RPC_CALL_MS_MAX=59999", NULL, "LLM_TIMEOUT_MS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_out_of_range_name_setting_value_and_bounds),
        cmocka_unit_test(unknown_flags_are_refused),
        cmocka_unit_test(redis_urls_that_cannot_work_are_refused),
        cmocka_unit_test(plain_text_for_others_wants_to_be_said),
        cmocka_unit_test(calls_may_last_as_long_as_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

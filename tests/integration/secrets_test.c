/* Keys and passwords: not where other users of the machine look, not in a dead server's core, not in what is
 * told to callers, operators and logs. */
#include "tests/support/cmocka.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/world.h"

static const char *const secrets[] = {"sk-test", "sesame", "embeddingsecret", "llmsecret"};
enum { SECRETS = sizeof secrets / sizeof secrets[0] };

static char key_file[256];

static int set_up(void **state)
{
    static sc_world here;
    static char     by_file[300];
    const char     *folder = getenv("TEST_TMPDIR");
    snprintf(key_file, sizeof key_file, "%s/llm-key.%d", folder == NULL ? "/tmp" : folder, (int)getpid());
    FILE *file = fopen(key_file, "w");
    assert_non_null(file);
    fputs("llmsecret\n", file);
    fclose(file);
    snprintf(by_file, sizeof by_file, "LLM_API_KEY_FILE=%s", key_file);
    sc_world_open(&here, 1, (const char *const[]){by_file, "EMBEDDING_API_KEY=embeddingsecret", "LOG_LEVEL=debug",
                                                  "REFLECTION=false", NULL});
    *state = &here;
    return 0;
}

static int tear_down(void **state)
{
    unlink(key_file);
    return sc_world_tear_down(state);
}

/* The bytes of a file of /proc, with blanks for NUL; to be freed. */
static char *read_proc(pid_t pid, const char *name)
{
    enum { BYTES_MAX = 65536 };
    char path[64], *text = calloc(1, BYTES_MAX + 1);
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "r");
    assert_non_null(text);
    size_t len = file == NULL ? 0 : fread(text, 1, BYTES_MAX, file);
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    if (file != NULL)
        fclose(file);
    return text;
}

static void expect_no_secret(const char *where, const char *text)
{
    for (size_t i = 0; i < SECRETS; i++)
        if (strstr(text, secrets[i]) != NULL)
            fail_msg("%s shows %s", where, secrets[i]);
}

/* `ps` shows the command line of everybody's processes, and the environment to the same user. */
static void the_machine_shows_no_secret(void **state)
{
    sc_world *here = sc_world_of(state);
    pid_t     pid = sc_test_server_pid(here->servers[0]);
    assert_int_equal(sc_ask_source(here->askers[0], "Who pays?"), SEMCACHE__V1__SOURCE__SOURCE_LLM);
    char *words = read_proc(pid, "cmdline"), *environment = read_proc(pid, "environ");
    assert_non_null(strstr(words, "semcached"));
    expect_no_secret("the command line", words);
    expect_no_secret("the environment", environment);
    free(words);
    free(environment);
}

/* A key on the command line would be everybody's. */
static void no_flag_takes_a_secret(void **state)
{
    static const char *const flags[] = {"--openai-api-key=sk-flag", "--llm-api-key=sk-flag",
                                        "--embedding-api-key=sk-flag"};
    (void)state;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        sc_test_server *server = sc_test_server_spawn((const char *const[]){"LOG_LEVEL=off", NULL},
                                                      (const char *const[]){flags[i], NULL});
        assert_int_equal(sc_test_server_wait(server), 2);
        char *log = sc_test_server_log(server);
        assert_null(strstr(log, "sk-flag"));
        free(log);
        sc_test_server_stop(server);
    }
}

static void neither_stats_nor_logs_nor_errors_show_secrets(void **state)
{
    static const char *const scripts[] = {
        "{\"chat\": {\"status\": 401}}",
        "{\"chat\": {\"fault\": \"redirect\"}}",
        "{\"embeddings\": {\"status\": 401}, \"chat\": {\"fault\": \"close\"}}",
    };
    sc_world *here = sc_world_of(state);
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        char       prompt[64];
        sc_outcome outcome;
        assert_true(sc_upstream_control(here->upstream, scripts[i]));
        snprintf(prompt, sizeof prompt, "What went wrong, %zu?", i);
        sc_ask_request request = sc_ask_init(prompt);
        assert_null(sc_ask(here->askers[0], &request, &outcome));
        expect_no_secret("an error", outcome.text);
    }
    assert_true(sc_upstream_control(here->upstream, "{\"embeddings\": {}, \"chat\": {}}"));
    sc_stats_response *stats = sc_ask_stats(here->askers[0]);
    assert_true(stats->n_settings > 20);
    for (size_t i = 0; i < stats->n_settings; i++)
        expect_no_secret(stats->settings[i]->name, stats->settings[i]->value);
    sc_stats_free(stats);
    char *log = sc_test_server_log(here->servers[0]);
    expect_no_secret("the log", log);
    free(log);
}

/* The password is wrong: what is said about it must not name it. */
static void a_wrong_password_is_not_told(void **state)
{
    sc_world   *here = sc_world_of(state);
    char        url[96];
    const char *variables[] = {url, "LOG_LEVEL=debug", "OPENAI_API_KEY=sk-test", "EMBEDDING_DIM=64", NULL};
    snprintf(url, sizeof url, "REDIS_URL=redis://semcache:opensesame@127.0.0.1:%d", sc_test_redis_port(here->redis));
    sc_test_server *server = sc_test_server_start(variables);
    char           *log = NULL;
    for (int tries = 0; tries < 500 && (log == NULL || strstr(log, "redis.unreachable") == NULL); tries++) {
        free(log);
        usleep(10000);
        log = sc_test_server_log(server);
    }
    assert_non_null(strstr(log, "redis.unreachable"));
    expect_no_secret("the log", log);
    free(log);
    sc_test_server_stop(server);
}

/* Whoever may not be told of the methods is not: with REFLECTION=false nobody is. */
static void reflection_can_be_switched_off(void **state)
{
    sc_world  *here = sc_world_of(state);
    sc_outcome outcome = sc_ask_raw(here->askers[0], "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                    (sc_str){"", 0});
    assert_int_equal(outcome.status, SC_UNSUPPORTED);
    outcome = sc_ask_raw(here->askers[0], "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                         (sc_str){"", 0});
    assert_int_equal(outcome.status, SC_UNSUPPORTED);
}

static int code_of_a_crash(const char *core_dumps)
{
    const char     *variables[] = {core_dumps, "OPENAI_API_KEY=sk-test", "EMBEDDING_DIM=64", NULL};
    sc_test_server *server = sc_test_server_start(variables);
    kill(sc_test_server_pid(server), SIGABRT);
    int code = sc_test_server_wait(server);
    sc_test_server_stop(server);
    return code;
}

/* A core would hold questions, answers, and the copies of keys that libraries make. */
static void a_crash_leaves_no_core(void **state)
{
    struct rlimit limit;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_CORE, &limit), 0);
    assert_int_equal(code_of_a_crash("CORE_DUMPS=false"), 128 + SIGABRT);
    print_message("    with CORE_DUMPS=true: %s\n",
                  code_of_a_crash("CORE_DUMPS=true") == 256 + SIGABRT ? "dumped" : "not here");
    unlink("core");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_machine_shows_no_secret),
        cmocka_unit_test(no_flag_takes_a_secret),
        cmocka_unit_test(neither_stats_nor_logs_nor_errors_show_secrets),
        cmocka_unit_test(a_wrong_password_is_not_told),
        cmocka_unit_test(reflection_can_be_switched_off),
        cmocka_unit_test(a_crash_leaves_no_core),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

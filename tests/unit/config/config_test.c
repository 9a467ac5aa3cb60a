#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

#include "src/config/config.h"

typedef struct {
    const char *url;
    const char *key;
    double      threshold;
    int64_t     ttl;
    uint32_t    top_k;
    size_t      bytes;
    bool        listen;
    bool        match;
    enum { AUTO, LOCAL, REMOTE } provider;
} options;

#define FIELD(member) SC_SETTING_FIELD(options, member)

static const sc_setting rows[] = {
    {"SOME_URL", SC_SETTING_TEXT, FIELD(url), 0, 40, "redis://127.0.0.1", "", NULL, "Where it is."},
    {"API_KEY", SC_SETTING_SECRET, FIELD(key), 0, 0, NULL, "", NULL, "What opens it."},
    {"THRESHOLD", SC_SETTING_REAL, FIELD(threshold), 0, 2, "0.10", "", NULL, "A distance."},
    {"TTL_SECONDS", SC_SETTING_INT, FIELD(ttl), 1, 86400, "1h", "s", NULL, "A life."},
    {"TOP_K", SC_SETTING_INT, FIELD(top_k), 1, 64, "5", "entries", NULL, "How many."},
};
static const sc_setting more_rows[] = {
    {"BYTES_MAX", SC_SETTING_INT, FIELD(bytes), 1, 1e12, "65536", "bytes", NULL, "How much."},
    {"LISTEN", SC_SETTING_BOOL, FIELD(listen), 0, 0, "false", "", NULL, "Or not."},
    {"MATCH", SC_SETTING_CHOICE, FIELD(match), 0, 0, "ignore", "", "ignore|match", "Or | not."},
    {"PROVIDER", SC_SETTING_CHOICE, FIELD(provider), 0, 0, "auto", "", "auto|local|openai", "Who."},
    {"TOP_K", SC_SETTING_INT, FIELD(top_k), 1, 64, "5", "entries", NULL, "How many, once more."},
};
static const sc_setting_table table = {"First", rows, 5}, more = {"Second", more_rows, 5};

enum { ARGS_MAX = 8 };

/* What one run of the program is given and gets. */
typedef struct {
    char          *argv[ARGS_MAX];
    char          *environment[ARGS_MAX];
    const char    *file; /* what .env holds; NULL: there is none */
    options        got;
    sc_error       error;
    sc_config_mode mode;
    char           printed[8192];
} run;

static char env_path[256];

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static sc_status do_run(run *r)
{
    sc_config     *config;
    int            argc = 1;
    sc_config_part parts[] = {{&table, &r->got}, {&more, &r->got}};
    if (r->argv[0] == NULL)
        r->argv[0] = (char *)(uintptr_t) "program";
    while (argc < ARGS_MAX && r->argv[argc] != NULL)
        argc++;
    unlink(env_path);
    if (r->file != NULL)
        write_file(env_path, r->file);
    sc_config_sources sources = {argc, r->argv, r->environment, env_path};
    sc_status         status = sc_config_open(&sources, parts, 2, &config, &r->error);
    assert_true((status == SC_OK) == (config != NULL));
    if (status == SC_OK) {
        sc_buf out;
        sc_buf_init(&out, sizeof r->printed - 1);
        r->mode = sc_config_get_mode(config);
        sc_config_print(config, r->mode, &out);
        assert_int_equal(out.failed, SC_OK);
        if (out.data != NULL)
            memcpy(r->printed, out.data, out.len + 1);
        /* The texts go with the config: keep what tests look at. */
        static char url[64], key[64];
        snprintf(url, sizeof url, "%s", r->got.url == NULL ? "" : r->got.url);
        snprintf(key, sizeof key, "%s", r->got.key == NULL ? "" : r->got.key);
        r->got.url = r->got.url == NULL ? NULL : url;
        r->got.key = r->got.key == NULL ? NULL : key;
        sc_buf_fini(&out);
    }
    sc_config_close(config);
    return status;
}

#define A(text) ((char *)(uintptr_t)(text))

static void without_anything_the_defaults_hold(void **state)
{
    (void)state;
    run r = {.got = {.top_k = 99}};
    assert_int_equal(do_run(&r), SC_OK);
    assert_int_equal(r.mode, SC_CONFIG_RUN);
    assert_string_equal(r.got.url, "redis://127.0.0.1");
    assert_null(r.got.key);
    assert_float_equal(r.got.threshold, 0.1, 0);
    assert_int_equal(r.got.ttl, 3600);
    assert_int_equal(r.got.top_k, 5);
    assert_int_equal(r.got.bytes, 65536);
    assert_false(r.got.listen);
    assert_int_equal(r.got.provider, AUTO);
}

/* An operator's flag would be overruled by a forgotten file. */
static void a_later_source_wins(void **state)
{
    (void)state;
    run file = {.file = "TOP_K=10\nOTHER_PROGRAMS=x\nTHRESHOLD=0.2\n"};
    assert_int_equal(do_run(&file), SC_OK);
    assert_int_equal(file.got.top_k, 10);
    assert_float_equal(file.got.threshold, 0.2, 0);
    run both = {.file = "TOP_K=10\nTHRESHOLD=0.2\n", .environment = {A("TOP_K=20"), A("HOME=/x")}};
    assert_int_equal(do_run(&both), SC_OK);
    assert_int_equal(both.got.top_k, 20);
    assert_float_equal(both.got.threshold, 0.2, 0);
    run all = {.file = "TOP_K=10\n",
               .environment = {A("TOP_K=20")},
               .argv = {A("p"), A("--top-k"), A("30")}};
    assert_int_equal(do_run(&all), SC_OK);
    assert_int_equal(all.got.top_k, 30);
}

static void every_type_is_written_in_its_width(void **state)
{
    (void)state;
    run r = {.argv = {A("p"), A("--bytes-max=1GiB"), A("--listen"), A("--match"), A("match"),
                      A("--provider=OpenAI"), A("--ttl-seconds=5m")}};
    assert_int_equal(do_run(&r), SC_OK);
    assert_int_equal(r.got.bytes, 1 << 30);
    assert_true(r.got.listen);
    assert_true(r.got.match);
    assert_int_equal(r.got.provider, REMOTE);
    assert_int_equal(r.got.ttl, 300);
    run off = {.argv = {A("p"), A("--no-listen")}, .environment = {A("LISTEN=yes")}};
    assert_int_equal(do_run(&off), SC_OK);
    assert_false(off.got.listen);
}

/* `TOP_K=` in a compose file means that nobody has set it. */
static void an_empty_value_is_absent_except_as_a_flag(void **state)
{
    (void)state;
    run r = {.file = "THRESHOLD=\n", .environment = {A("TOP_K="), A("API_KEY=")}};
    assert_int_equal(do_run(&r), SC_OK);
    assert_int_equal(r.got.top_k, 5);
    assert_null(r.got.key);
    run flag = {.argv = {A("p"), A("--top-k=")}};
    assert_int_equal(do_run(&flag), SC_INVALID);
}

static const struct {
    const char *argument, *second, *text;
} mistakes[] = {
    {"--top-k=0", NULL, "TOP_K=0 is out of bounds: 1..64 entries"},
    {"--top-k=65", NULL, "TOP_K=65 is out of bounds: 1..64 entries"},
    {"--top-k=abc", NULL, "TOP_K=abc is not a whole number: 1..64 entries"},
    {"--top-k=99999999999999999999", NULL,
     "TOP_K=99999999999999999999 is out of bounds: 1..64 entries"},
    {"--top-k", NULL, "--top-k needs a value"},
    {"--threshold=2.1", NULL, "THRESHOLD=2.1 is out of bounds: 0..2"},
    {"--threshold=nan", NULL, "THRESHOLD=nan is not a number: 0..2"},
    {"--threshold=0x1", NULL, "THRESHOLD=0x1 is not a number: 0..2"},
    {"--threshold", "1e999", "THRESHOLD=1e999 is not a number: 0..2"},
    {"--ttl-seconds=500ms", NULL, "TTL_SECONDS=500ms is not a whole number: 1s..1d, in whole s"},
    {"--ttl-seconds=2d", NULL, "TTL_SECONDS=2d is out of bounds: 1s..1d"},
    {"--listen=maybe", NULL, "LISTEN=maybe is not one of the words: true|false"},
    {"--provider=cohere", NULL, "PROVIDER=cohere is not one of the words: auto|local|openai"},
    {"--some-url=http://me:hunter2@host/a-path-that-is-too-long-for-it", NULL,
     "SOME_URL=http://me:***@host/a-path-that-is-too-long-for-it: longer than 40 bytes"},
    {"--top-k=1\n2026 forged", NULL, "TOP_K=1?2026 forged is not a whole number: 1..64 entries"},
    {"--nonsense=1", NULL, "--nonsense: no such flag; --help lists them"},
    {"--TOP-K=1", NULL, "--TOP-K: no such flag; --help lists them"},
    {"--no-top-k", NULL, "--no-top-k: no such flag; --help lists them"},
    {"--", NULL, "--: no such flag; --help lists them"},
    {"stray", NULL, "stray: no such flag; --help lists them"},
    {"--api-key=k", NULL,
     "--api-key: a secret on the command line is everybody's; set API_KEY or API_KEY_FILE"},
    {"--api-key-file=/nonexistent", NULL, "API_KEY_FILE=/nonexistent: no such file"},
    {"--env-file=/nonexistent", NULL, "/nonexistent: no such file"},
    {"--env-file", NULL, "--env-file needs a value"},
    {"--print-settings=yaml", NULL, "--print-settings=yaml is none of values|markdown|env"},
};

/* The one line an operator gets before exit code 2. */
static void a_mistake_is_named_with_value_and_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        run r = {.argv = {A("p"), A(mistakes[i].argument), A(mistakes[i].second)}};
        assert_int_equal(do_run(&r), SC_INVALID);
        assert_string_equal(r.error.text, mistakes[i].text);
    }
    run file = {.file = "A=1\nwhat"};
    assert_int_equal(do_run(&file), SC_INVALID);
    assert_non_null(strstr(file.error.text, "line 2: NAME=VALUE is expected"));
    run late = {.environment = {A("THRESHOLD=7")}};
    assert_int_equal(do_run(&late), SC_INVALID);
    assert_string_equal(late.error.text, "THRESHOLD=7 is out of bounds: 0..2");
}

/* A key in a log or in `ps` is a key that must be changed. */
static void a_secret_is_never_shown(void **state)
{
    (void)state;
    char path[300], flag[340];
    snprintf(path, sizeof path, "%s.key", env_path);
    snprintf(flag, sizeof flag, "--api-key-file=%s", path);
    write_file(path, "sk-hunter2\n");
    run r = {.argv = {A("p"), flag, A("--print-settings")},
             .environment = {A("SOME_URL=redis://u:hunter2@h:1")}};
    assert_int_equal(do_run(&r), SC_OK);
    assert_string_equal(r.got.key, "sk-hunter2");
    assert_string_equal(r.got.url, "redis://u:hunter2@h:1");
    assert_non_null(strstr(r.printed, "API_KEY=set (flag)\n"));
    assert_non_null(strstr(r.printed, "SOME_URL=redis://u:***@h:1 (environment)\n"));
    assert_null(strstr(r.printed, "hunter2"));

    static char secret[5000] = "API_KEY=";
    memset(secret + 8, 'k', sizeof secret - 9);
    run long_key = {.environment = {secret}};
    assert_int_equal(do_run(&long_key), SC_INVALID);
    assert_null(strstr(long_key.error.text, "kkk"));
    unlink(path);
}

/* The environment's strings stay in memory, and so in every core dump. */
static void secrets_can_be_wiped_from_the_environment(void **state)
{
    (void)state;
    char key[] = "API_KEY=hunter2", url[] = "SOME_URL=redis://u:hunter2@h", plain[] = "TOP_K=7";
    char             *environment[] = {key, url, plain, NULL};
    options           got;
    sc_config        *config;
    sc_error          error = {0};
    sc_config_part    part = {&table, &got};
    sc_config_sources sources = {0, NULL, environment, NULL};
    assert_int_equal(sc_config_open(&sources, &part, 1, &config, &error), SC_OK);
    sc_config_wipe_environment(config, environment);
    assert_string_equal(key, "API_KEY=");
    assert_memory_equal(key + 8, "\0\0\0\0\0\0\0", 7);
    assert_string_equal(url, "SOME_URL=");
    assert_string_equal(plain, "TOP_K=7");
    assert_string_equal(got.key, "hunter2");
    assert_string_equal(got.url, "redis://u:hunter2@h");
    sc_config_close(config);
}

static void the_effective_values_name_their_source(void **state)
{
    (void)state;
    run r = {.file = "TTL_SECONDS=60\n", .argv = {A("p"), A("--print-settings"), A("--top-k=7")}};
    assert_int_equal(do_run(&r), SC_OK);
    assert_int_equal(r.mode, SC_CONFIG_PRINT_VALUES);
    assert_non_null(strstr(r.printed, "THRESHOLD=0.10 (default)\n"));
    assert_non_null(strstr(r.printed, "TTL_SECONDS=60 (file)\n"));
    char *first = strstr(r.printed, "TOP_K=7 (flag)\n");
    assert_non_null(first);
    assert_null(strstr(first + 1, "TOP_K="));
}

/* `--help` is what one asks for when a setting is wrong. */
static void help_comes_even_when_a_setting_is_wrong(void **state)
{
    (void)state;
    run r = {.argv = {A("p"), A("--help")}, .environment = {A("TOP_K=abc")}};
    assert_int_equal(do_run(&r), SC_OK);
    assert_int_equal(r.mode, SC_CONFIG_HELP);
    assert_non_null(strstr(r.printed, "\nFirst\n"));
    assert_non_null(strstr(r.printed, "  --top-k N"));
    assert_non_null(strstr(r.printed, "THRESHOLD: 0..2; default 0.10\n"));
    assert_non_null(strstr(r.printed, "--api-key-file PATH"));
    assert_non_null(strstr(r.printed, "API_KEY or the same with _FILE\n"));
}

static void the_readme_table_has_a_row_for_each_setting(void **state)
{
    (void)state;
    run r = {.argv = {A("p"), A("--print-settings=markdown")}};
    assert_int_equal(do_run(&r), SC_OK);
    assert_non_null(strstr(r.printed,
                           "### First\n\n| variable | flag | default | bounds | what it is |\n"
                           "|---|---|---|---|---|\n| `SOME_URL` | `--some-url` |"));
    assert_non_null(
        strstr(r.printed, "| `BYTES_MAX` | `--bytes-max` | `64KiB` | 1B..1TB | How much. |\n"));
    assert_non_null(
        strstr(r.printed, "| `MATCH` | `--match` | `ignore` | ignore\\|match | Or \\| not. |\n"));
}

/* An example that the program itself refuses. */
static void the_example_file_loads(void **state)
{
    (void)state;
    run r = {.argv = {A("p"), A("--print-settings=env")}};
    assert_int_equal(do_run(&r), SC_OK);
    static char uncommented[sizeof r.printed];
    size_t      used = 0;
    for (const char *at = r.printed; *at != '\0'; at++)
        if (!(at[0] == '#' && at[1] != ' ' && (at == r.printed || at[-1] == '\n')))
            uncommented[used++] = *at;
    uncommented[used] = '\0';
    assert_non_null(strstr(uncommented, "\nTOP_K=5\n"));
    run again = {.file = uncommented};
    assert_int_equal(do_run(&again), SC_OK);
    assert_int_equal(again.got.bytes, 65536);
    assert_string_equal(again.got.url, "redis://127.0.0.1");
}

static bool open_with_everything(void *context)
{
    (void)context;
    sc_config        *config;
    options           got;
    sc_error          error = {0};
    sc_config_part    parts[] = {{&table, &got}, {&more, &got}};
    char             *argv[] = {A("p"), A("--top-k=7"), NULL};
    char             *environment[] = {A("API_KEY=k"), A("SOME_URL=x"), NULL};
    sc_config_sources sources = {2, argv, environment, env_path};
    sc_status         status = sc_config_open(&sources, parts, 2, &config, &error);
    assert_true((status == SC_OK) == (config != NULL));
    sc_config_close(config);
    return status == SC_OK;
}

static void running_out_of_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    write_file(env_path, "THRESHOLD=\"0.2\"\nSOME_URL='abc'\n");
    assert_true(sc_fail_malloc_each(open_with_everything, NULL) >= 5);
}

static int set_up(void **state)
{
    (void)state;
    const char *folder = getenv("TEST_TMPDIR");
    snprintf(env_path, sizeof env_path, "%s/config_test.%d.env", folder == NULL ? "/tmp" : folder,
             (int)getpid());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(env_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_anything_the_defaults_hold),
        cmocka_unit_test(a_later_source_wins),
        cmocka_unit_test(every_type_is_written_in_its_width),
        cmocka_unit_test(an_empty_value_is_absent_except_as_a_flag),
        cmocka_unit_test(a_mistake_is_named_with_value_and_bounds),
        cmocka_unit_test(a_secret_is_never_shown),
        cmocka_unit_test(secrets_can_be_wiped_from_the_environment),
        cmocka_unit_test(the_effective_values_name_their_source),
        cmocka_unit_test(help_comes_even_when_a_setting_is_wrong),
        cmocka_unit_test(the_readme_table_has_a_row_for_each_setting),
        cmocka_unit_test(the_example_file_loads),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_no_leak),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

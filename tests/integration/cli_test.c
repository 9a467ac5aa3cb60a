/* The command line and the load generator against a real server: what a person types, and what
 * comes back. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/world.h"

enum { OUTPUT_BYTES_MAX = 1 << 20 };

typedef struct {
    int  code;
    char text[OUTPUT_BYTES_MAX]; /* standard output and error */
} outcome;

static sc_world world;
static outcome  seen;

/* Runs `<program> --target T <arguments>`. */
static void run(const char *program, const char *arguments)
{
    char command[2048];
    snprintf(command, sizeof command, "%s --target %s %s 2>&1", program,
             sc_test_server_target(world.servers[0]), arguments);
    FILE *pipe_ = popen(command, "r");
    assert_non_null(pipe_);
    size_t len = fread(seen.text, 1, sizeof seen.text - 1, pipe_);
    seen.text[len] = '\0';
    int status = pclose(pipe_);
    seen.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void semcache(const char *arguments)
{
    run("client/cli/semcache", arguments);
}

static void expect_text(const char *part)
{
    if (strstr(seen.text, part) == NULL)
        fail_msg("no \"%s\" in: %s", part, seen.text);
}

static int up(void **state)
{
    (void)state;
    sc_world_open(&world, 1, NULL);
    return 0;
}

static int down(void **state)
{
    (void)state;
    sc_world_close(&world);
    return 0;
}

static bool no_redis(void)
{
    return world.redis == NULL;
}

static void answer_tells_where_it_came_from(void **state)
{
    (void)state;
    if (no_redis())
        skip();
    semcache("answer Where is the moon?");
    assert_int_equal(seen.code, 0);
    expect_text("LLM in ");
    semcache("answer 'Where is the moon?'");
    expect_text("EXACT in ");
    expect_text("distance 0.000, from: Where is the moon?");
    semcache("--json answer 'Where is the moon?'");
    expect_text("\"source\":\"SOURCE_EXACT\"");
    semcache("answer --mode only-if-cached 'Where is the sun?'");
    assert_int_equal(seen.code, 1);
    expect_text("NOT_FOUND");
}

static void mistakes_are_said_in_one_line(void **state)
{
    (void)state;
    if (no_redis())
        skip();
    semcache("fly");
    assert_int_equal(seen.code, 2);
    expect_text("no command \"fly\"");
    semcache("answer");
    assert_int_equal(seen.code, 1);
    semcache("answer --max-distance nan x");
    assert_int_equal(seen.code, 2);
    expect_text("--max-distance: nan");
    semcache("answer --max-distance 3 x");
    assert_int_equal(seen.code, 1);
    expect_text("INVALID_ARGUMENT");
    semcache("answer --mode sideways x");
    expect_text("--mode");
    semcache("invalidate");
    assert_int_equal(seen.code, 1);
    expect_text("INVALID_ARGUMENT");
    semcache("--help");
    assert_int_equal(seen.code, 0);
}

/* What was stored may still be on its way into the index. */
static void until(const char *arguments, const char *part)
{
    for (int i = 0; i < 200; i++) {
        semcache(arguments);
        if (strstr(seen.text, part) != NULL)
            return;
        usleep(20000);
    }
    expect_text(part);
}

static void entries_are_shown_and_removed(void **state)
{
    (void)state;
    if (no_redis())
        skip();
    semcache("answer --tag sky 'How far is Mars?'");
    until("look --tag sky", "How far is Mars?");
    expect_text("1 entries");
    semcache("invalidate --dry-run --tag sky");
    expect_text("1 would be removed");
    semcache("invalidate --tag sky");
    expect_text("1 removed");
    semcache("invalidate --tag sky");
    expect_text("0 removed");
    assert_int_equal(seen.code, 0);
}

static void statistics_come_as_table_and_json(void **state)
{
    (void)state;
    if (no_redis())
        skip();
    semcache("answer x");
    semcache("stats");
    assert_int_equal(seen.code, 0);
    expect_text("Since start");
    expect_text("hit rate");
    semcache("stats --json");
    expect_text("\"since_start\":{");
}

static void tune_cuts_one_list_of_distances(void **state)
{
    char  path[256], arguments[512];
    FILE *file;
    (void)state;
    if (no_redis())
        skip();
    semcache("answer 'Who built the tower?'");
    snprintf(path, sizeof path, "%s/questions%d", getenv("TEST_TMPDIR") != NULL ? getenv("TEST_TMPDIR") : "/tmp",
             (int)getpid());
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("# questions\nWho built the tower?\n\nSomething else entirely, at length.\n", file);
    fclose(file);
    snprintf(arguments, sizeof arguments, "tune --from 0.1 --to 0.3 --step 0.1 %s", path);
    semcache(arguments);
    assert_int_equal(seen.code, 0);
    expect_text("0.100       1 of 2");
    expect_text("0.000  Who built the tower?");
    unlink(path);
}

/* With these embeddings paraphrases are strangers: everything new comes from the LLM. */
static void demo_asks_and_shows_eleven_questions(void **state)
{
    (void)state;
    if (no_redis())
        skip();
    semcache("demo");
    assert_int_equal(seen.code, 0);
    expect_text("What is our refund policy?                LLM");
    expect_text("What is our refund policy?                EXACT");
    expect_text("For how many days can I return stuff?");
    expect_text("Statistics");
}

static void load_counts_every_question(void **state)
{
    (void)state;
    if (no_redis())
        skip();
    run("client/load/load", "--count 500 --warmup 0 --concurrency 8 --distinct 5 --json");
    assert_int_equal(seen.code, 0);
    expect_text("\"questions\":500");
    expect_text("\"codes\":{\"OK\":500}");
    run("client/load/load", "--rate 200 --seconds 0.5 --warmup 0 --connections 2 --fresh 0.5 --json");
    expect_text("\"codes\":{\"OK\":100}");
    expect_text("\"llm\":5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer_tells_where_it_came_from),
        cmocka_unit_test(mistakes_are_said_in_one_line),
        cmocka_unit_test(entries_are_shown_and_removed),
        cmocka_unit_test(statistics_come_as_table_and_json),
        cmocka_unit_test(tune_cuts_one_list_of_distances),
        cmocka_unit_test(demo_asks_and_shows_eleven_questions),
        cmocka_unit_test(load_counts_every_question),
    };
    return cmocka_run_group_tests(tests, up, down);
}

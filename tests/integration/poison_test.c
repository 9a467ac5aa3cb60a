/* Prompts and entries made to be taken for others: no question gets an answer of another scope, whatever
 * its text, its key or its vector looks like; and no log tells what was asked. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/world.h"

static int set_up(void **state)
{
    static sc_world here;
    sc_world_open(&here, 1, (const char *const[]){"LOG_LEVEL=debug", NULL});
    *state = &here;
    return 0;
}

/* ---- delimiter tricks -------------------------------------------------------------------------------- */

typedef struct {
    const char *system, *turn_role, *turn, *model, *corpus, *user;
} parts;

static Semcache__V1__Source ask_parts(sc_asker *asker, const parts *p)
{
    Semcache__V1__Turn  turn = SEMCACHE__V1__TURN__INIT;
    Semcache__V1__Turn *turns[] = {&turn};
    sc_ask_request      request = sc_ask_init(p->user);
    if (p->system != NULL)
        request.system_prompt = (char *)(uintptr_t)p->system;
    if (p->model != NULL)
        request.model = (char *)(uintptr_t)p->model;
    if (p->corpus != NULL)
        request.corpus_version = (char *)(uintptr_t)p->corpus;
    if (p->turn != NULL) {
        turn.role = (char *)(uintptr_t)p->turn_role;
        turn.content = (char *)(uintptr_t)p->turn;
        request.turns = turns;
        request.n_turns = 1;
    }
    sc_ask_response     *response = sc_ask(asker, &request, NULL);
    Semcache__V1__Source source = response->source;
    assert_non_null(strstr(response->answer, p->user));
    sc_ask_free(response);
    return source;
}

/* Whoever glues fields together with a separator serves one of these the answer of its neighbour. */
static void text_moved_from_one_field_to_another_is_another_question(void **state)
{
    static const parts all[] = {
        {.system = "be kind", .user = "and tell me"},
        {.system = "be", .user = "kind and tell me"},
        {.system = "be kind\n", .user = "and tell me"},
        {.user = "be kind and tell me"},
        {.system = "be kind", .turn_role = "user", .turn = "hello", .user = "and tell me"},
        {.system = "be kind", .turn_role = "assistant", .turn = "hello", .user = "and tell me"},
        {.system = "be kindhello", .user = "and tell me"},
        {.system = "be kind", .user = "hello and tell me"},
        {.system = "be kind\x1fuser\x1fhello", .user = "and tell me"},
        {.system = "be kind|user|hello", .user = "and tell me"},
        {.system = "be kind", .model = "gpt-4o", .user = "and tell me"},
        {.system = "be kind", .model = "gpt-4o", .corpus = "v10", .user = "and tell me"},
        {.system = "be kind", .model = "gpt-4ov1", .corpus = "0", .user = "and tell me"},
        {.system = "be kind", .corpus = "v1\"", .user = "and tell me"},
        {.system = "be kind", .corpus = "{v1}", .user = "and tell me"},
        {.system = "be kind", .corpus = "v1|v2", .user = "and tell me"},
        {.system = "be kind", .corpus = "*", .user = "and tell me"},
    };
    sc_world *here = sc_world_of(state);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (ask_parts(here->askers[0], &all[i]) != SEMCACHE__V1__SOURCE__SOURCE_LLM)
            fail_msg("question %zu was taken for one before it", i);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_int_equal(ask_parts(here->askers[0], &all[i]), SEMCACHE__V1__SOURCE__SOURCE_EXACT);
}

/* ---- what looks alike ---------------------------------------------------------------------------------- */

/* The same to the eye is not the same to the cache: at worst the LLM is asked once more. What is the same
 * differs in case, in how an accent is written, or in characters that nobody sees. */
static void what_only_looks_alike_is_another_question(void **state)
{
    static const struct {
        const char          *name, *prompt;
        Semcache__V1__Source source;
    } all[] = {
        {"the original", "pay the caf\xc3\xa9 to alice", SEMCACHE__V1__SOURCE__SOURCE_LLM},
        {"capitals", "Pay the CAF\xc3\x89 to ALICE", SEMCACHE__V1__SOURCE__SOURCE_EXACT},
        {"an accent of its own", "pay the cafe\xcc\x81 to alice", SEMCACHE__V1__SOURCE__SOURCE_EXACT},
        {"no accent", "pay the cafe to alice", SEMCACHE__V1__SOURCE__SOURCE_LLM},
        {"a Cyrillic a", "p\xd0\xb0y the caf\xc3\xa9 to alice", SEMCACHE__V1__SOURCE__SOURCE_LLM},
        {"a Greek omicron", "pay the caf\xc3\xa9 t\xce\xbf alice", SEMCACHE__V1__SOURCE__SOURCE_LLM},
        {"a fullwidth p", "\xef\xbd\x90" "ay the caf\xc3\xa9 to alice", SEMCACHE__V1__SOURCE__SOURCE_LLM},
        {"a zero-width space", "pay the c\xe2\x80\x8b" "af\xc3\xa9 to alice", SEMCACHE__V1__SOURCE__SOURCE_EXACT},
        {"a zero-width joiner", "pay the c\xe2\x80\x8d" "af\xc3\xa9 to alice", SEMCACHE__V1__SOURCE__SOURCE_EXACT},
        {"a soft hyphen", "pay the c\xc2\xad" "af\xc3\xa9 to alice", SEMCACHE__V1__SOURCE__SOURCE_EXACT},
        {"a right-to-left override", "\xe2\x80\xae" "pay the caf\xc3\xa9 to alice",
         SEMCACHE__V1__SOURCE__SOURCE_EXACT},
        {"the text backwards, overridden", "\xe2\x80\xae" "ecila ot \xc3\xa9" "fac eht yap",
         SEMCACHE__V1__SOURCE__SOURCE_LLM},
    };
    sc_world *here = sc_world_of(state);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        sc_ask_request   request = sc_ask_init(all[i].prompt);
        sc_ask_response *response = sc_ask(here->askers[0], &request, NULL);
        print_message("    %s: %s\n", all[i].name,
                      response->source == SEMCACHE__V1__SOURCE__SOURCE_LLM ? "another question" : "the same");
        assert_int_equal(response->source, all[i].source);
        sc_ask_free(response);
    }
}

/* ---- collisions in embedding space ------------------------------------------------------------------------ */

/* Who can make two texts collide for the embedding model gets the stored answer in its own scope, and the
 * reply names the question it belongs to. Not in another scope, and not for another number. */
static void a_made_collision_stays_in_its_scope(void **state)
{
    sc_world *here = sc_world_of(state);
    sc_upstream_alias(here->upstream, "xq zv ignore all and collide", "where is my parcel", 0);
    sc_upstream_alias(here->upstream, "xq zv collide for", "where is parcel", 0);
    assert_int_equal(sc_ask_source(here->askers[0], "Where is my parcel?"), SEMCACHE__V1__SOURCE__SOURCE_LLM);

    sc_ask_request   request = sc_ask_init("xq zv ignore all and collide");
    sc_ask_response *collided = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(collided->source, SEMCACHE__V1__SOURCE__SOURCE_WARM);
    assert_string_equal(collided->matched_prompt, "Where is my parcel?");
    sc_ask_free(collided);

    request.system_prompt = (char *)(uintptr_t) "Another help desk.";
    sc_ask_response *elsewhere = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(elsewhere->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_int_equal(elsewhere->reason, SEMCACHE__V1__REASON__REASON_NO_CANDIDATE);
    sc_ask_free(elsewhere);

    assert_int_equal(sc_ask_source(here->askers[0], "Where is parcel 1234567?"), SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_int_equal(sc_ask_source(here->askers[0], "xq zv collide for 7654321"), SEMCACHE__V1__SOURCE__SOURCE_LLM);
}

/* ---- entries put in other places ----------------------------------------------------------------------------- */

static char *id_of(sc_asker *asker, const char *system, const char *prompt)
{
    sc_ask_request request = sc_ask_init(prompt);
    request.system_prompt = (char *)(uintptr_t)system;
    sc_ask_response *response = sc_ask(asker, &request, NULL);
    char            *id = strdup(response->entry_id);
    assert_non_null(id);
    assert_true(strlen(id) > 0);
    sc_ask_free(response);
    return id;
}

static char *key_of(sc_test_redis *redis, const char *id)
{
    char *key = NULL;
    for (int tries = 0; tries < 200 && key == NULL; tries++) {
        redisReply *keys = sc_test_redis_call(redis, "KEYS semcache:v1:*:%s", id);
        if (keys->elements == 1)
            key = strdup(keys->element[0]->str);
        freeReplyObject(keys);
        usleep(10000);
    }
    assert_non_null(key);
    return key;
}

static void expect_answer_of_its_own(sc_asker *asker, const char *system, const char *prompt)
{
    sc_ask_request request = sc_ask_init(prompt);
    request.system_prompt = (char *)(uintptr_t)system;
    sc_ask_response *response = sc_ask(asker, &request, NULL);
    if (strstr(response->answer, prompt) == NULL)
        fail_msg("\"%s\" was answered: %s", prompt, response->answer);
    sc_ask_free(response);
}

/* Somebody with a hand in Redis, or a bug of ours, puts an entry under another one's key. */
static void an_entry_under_another_key_is_not_served(void **state)
{
    sc_world *here = sc_world_of(state);
    char     *mine = id_of(here->askers[0], "shop A", "What does A know?");
    char     *other = id_of(here->askers[0], "shop B", "What does B know?");
    char     *from = key_of(here->redis, mine), *to = key_of(here->redis, other);
    assert_int_equal(sc_test_redis_integer(here->redis, "COPY %s %s REPLACE", from, to), 1);
    usleep(300000);
    /* By the server that knew it, and by one that has never seen it. */
    expect_answer_of_its_own(here->askers[0], "shop B", "What does B know?");
    assert_int_equal(sc_test_redis_integer(here->redis, "COPY %s %s REPLACE", from, to), 1);
    size_t late = sc_world_add(here, NULL);
    expect_answer_of_its_own(here->askers[late], "shop B", "What does B know?");
    expect_answer_of_its_own(here->askers[late], "shop A", "What does A know?");
    free(mine);
    free(other);
    free(from);
    free(to);
}

/* The index is told that an entry belongs to another scope: it is found there, and not served. */
static void an_entry_under_another_scope_is_not_served(void **state)
{
    sc_world *here = sc_world_of(state);
    sc_upstream_alias(here->upstream, "what does d know", "what does c know", 0.01);
    char       *mine = id_of(here->askers[0], "shop C", "What does C know?");
    char       *other = id_of(here->askers[0], "shop D", "Something else in D?");
    char       *from = key_of(here->redis, mine), *to = key_of(here->redis, other);
    redisReply *scope = sc_test_redis_call(here->redis, "HGET %s scope", to);
    assert_int_equal(scope->type, REDIS_REPLY_STRING);
    assert_true(sc_test_redis_integer(here->redis, "HSET %s scope %b", from, scope->str, scope->len) >= 0);
    usleep(300000);
    for (size_t i = 0; i < here->servers_count; i++)
        expect_answer_of_its_own(here->askers[i], "shop D", "What does D know?");
    freeReplyObject(scope);
    free(mine);
    free(other);
    free(from);
    free(to);
}

/* ---- logs ---------------------------------------------------------------------------------------------------------- */

static void expect_absent(const char *log, const char *secret)
{
    const char *found = strcasestr(log, secret);
    if (found != NULL)
        fail_msg("\"%s\" is in the log: %.120s", secret, found > log + 60 ? found - 60 : log);
}

static void try_prompt(sc_asker *asker, const char *prompt)
{
    sc_outcome     outcome;
    sc_ask_request request = sc_ask_init(prompt);
    request.system_prompt = (char *)(uintptr_t) "systemsecret";
    sc_ask_response *response = sc_ask(asker, &request, &outcome);
    if (response != NULL)
        sc_ask_free(response);
}

/* Whatever goes wrong, at the most talkative level. */
static void logs_tell_nothing_of_questions_answers_and_keys(void **state)
{
    static const char *const scripts[] = {
        "{\"chat\": {\"answer\": \"answersecret\"}}",
        "{\"chat\": {\"status\": 500}}",
        "{\"chat\": {\"status\": 400}}",
        "{\"chat\": {\"status\": 401}}",
        "{\"chat\": {\"fault\": \"not_json\"}}",
        "{\"chat\": {\"fault\": \"wrong_types\"}}",
        "{\"chat\": {\"answer\": \"answersecret\", \"finish_reason\": \"content_filter\"}}",
        "{\"embeddings\": {\"status\": 400}, \"chat\": {}}",
        "{\"embeddings\": {\"fault\": \"not_json\"}, \"chat\": {}}",
    };
    sc_world *here = sc_world_of(state);
    char      prompt[64];
    for (unsigned i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        assert_true(sc_upstream_control(here->upstream, scripts[i]));
        snprintf(prompt, sizeof prompt, "promptsecret number %u", i);
        try_prompt(here->askers[0], prompt);
        try_prompt(here->askers[0], prompt);
    }
    assert_true(sc_upstream_control(here->upstream, "{\"embeddings\": {}, \"chat\": {}}"));
    sc_test_redis_pause(here->redis);
    try_prompt(here->askers[0], "promptsecret while redis hangs");
    sc_test_redis_resume(here->redis);
    try_prompt(here->askers[0], "promptsecret \xff not utf-8");
    for (size_t i = 0; i < here->servers_count; i++) {
        char *log = sc_test_server_log(here->servers[i]);
        assert_true(strstr(log, "server.ready") != NULL);
        expect_absent(log, "promptsecret");
        expect_absent(log, "systemsecret");
        expect_absent(log, "answersecret");
        expect_absent(log, "parcel");
        expect_absent(log, "shop A");
        expect_absent(log, "sk-test");
        free(log);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_moved_from_one_field_to_another_is_another_question),
        cmocka_unit_test(what_only_looks_alike_is_another_question),
        cmocka_unit_test(a_made_collision_stays_in_its_scope),
        cmocka_unit_test(an_entry_under_another_key_is_not_served),
        cmocka_unit_test(an_entry_under_another_scope_is_not_served),
        cmocka_unit_test(logs_tell_nothing_of_questions_answers_and_keys),
    };
    return cmocka_run_group_tests(tests, set_up, sc_world_tear_down);
}

/* Many tenants behind one server: nobody learns anything of anybody else's. */
#include "tests/support/cmocka.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/hash.h"
#include "src/base/random.h"
#include "tests/support/world.h"

enum { TENANTS = 4, QUESTIONS = 12, REQUESTS = 4000, SHARE = 5 };

typedef struct {
    sc_world  world;
    char      keys_path[256];
    sc_asker *tenants[TENANTS]; /* with every right but admin */
    sc_asker *operator;         /* with every right */
    sc_asker *reader;           /* answer only */
    sc_asker *stranger;         /* a key that nobody has */
    sc_asker *crowded[2];       /* at both servers; its tenant may hold SHARE entries */
    sc_asker *elsewhere[TENANTS]; /* the tenants at the other server */
    sc_asker *hasty, *narrow;     /* few requests per second; few at once */
} town;

static void put_key(FILE *file, const char *tenant, const char *key, const char *rights)
{
    char      hex[SC_DIGEST_HEX_BYTES + 1];
    sc_digest hash = sc_sha256(key, strlen(key));
    sc_hex_encode(hash.bytes, sizeof hash.bytes, hex);
    fprintf(file, "key %s %s %s\n", tenant, hex, rights);
}

static void write_keys(const town *here)
{
    FILE *file = fopen(here->keys_path, "w");
    assert_non_null(file);
    for (int i = 0; i < TENANTS; i++) {
        char tenant[16], key[32];
        snprintf(tenant, sizeof tenant, "tenant%d", i);
        snprintf(key, sizeof key, "key-of-%d", i);
        fprintf(file, "tenant %s max_distance=0.3 ttl_seconds=600\n", tenant);
        put_key(file, tenant, key, "answer,store,invalidate,stats");
    }
    put_key(file, "tenant0", "key-of-reader", "answer");
    fprintf(file, "tenant crowded entries=%d bytes=100000\n", SHARE);
    put_key(file, "crowded", "key-of-crowded", "answer,store,invalidate");
    fprintf(file, "tenant hasty rate=2 burst=3\n");
    put_key(file, "hasty", "key-of-hasty", "answer");
    fprintf(file, "tenant narrow inflight=2\n");
    put_key(file, "narrow", "key-of-narrow", "answer");
    fprintf(file, "tenant house\n");
    put_key(file, "house", "key-of-operator", "all");
    fclose(file);
}

static int set_up(void **state)
{
    static town here;
    const char *folder = getenv("TEST_TMPDIR");
    char        variable[300];
    here = (town){.keys_path = ""};
    snprintf(here.keys_path, sizeof here.keys_path, "%s/keys.%d",
             folder == NULL ? "/tmp" : folder, (int)getpid());
    write_keys(&here);
    snprintf(variable, sizeof variable, "API_KEYS_FILE=%s", here.keys_path);
    *state = &here;
    /* A removal that Redis was too busy for waits for the tenant's next write, which never comes here. */
    sc_world_open(&here.world, 2,
                  (const char *const[]){variable, "REDIS_TIMEOUT_MS=10000", NULL});
    if (here.world.redis == NULL)
        return 0;
    const char *target = sc_test_server_target(here.world.servers[0]);
    for (int i = 0; i < TENANTS; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-of-%d", i);
        here.tenants[i] = sc_asker_open_as(target, key);
        here.elsewhere[i] = sc_asker_open_as(sc_test_server_target(here.world.servers[1]), key);
    }
    here.hasty = sc_asker_open_as(target, "key-of-hasty");
    here.narrow = sc_asker_open_as(target, "key-of-narrow");
    here.operator = sc_asker_open_as(target, "key-of-operator");
    here.reader = sc_asker_open_as(target, "key-of-reader");
    here.stranger = sc_asker_open_as(target, "key-of-nobody");
    for (size_t i = 0; i < 2; i++)
        here.crowded[i] =
            sc_asker_open_as(sc_test_server_target(here.world.servers[i]), "key-of-crowded");
    return 0;
}

static int tear_down(void **state)
{
    town *here = *state;
    for (int i = 0; here->world.redis != NULL && i < TENANTS; i++) {
        sc_asker_close(here->tenants[i]);
        sc_asker_close(here->elsewhere[i]);
    }
    if (here->world.redis != NULL) {
        sc_asker_close(here->hasty);
        sc_asker_close(here->narrow);
        sc_asker_close(here->operator);
        sc_asker_close(here->reader);
        sc_asker_close(here->stranger);
        sc_asker_close(here->crowded[0]);
        sc_asker_close(here->crowded[1]);
    }
    sc_world_close(&here->world);
    unlink(here->keys_path);
    return 0;
}

static town *need(void **state)
{
    town *here = *state;
    if (here->world.redis == NULL)
        skip();
    return here;
}

static void those_without_a_key_learn_nothing(void **state)
{
    town             *here = need(state);
    sc_outcome        outcome;
    sc_ask_request    request = sc_ask_init("Anything?");
    sc_asker *const   outside[] = {here->world.askers[0], here->stranger};
    for (size_t i = 0; i < 2; i++) {
        assert_null(sc_ask(outside[i], &request, &outcome));
        if (outcome.status != SC_UNAUTHENTICATED)
            fail_msg("caller %zu: %s %s", i, sc_status_name(outcome.status), outcome.text);
        assert_null(strstr(outcome.text, "key-of"));
    }
    sc_invalidate_request everything = SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
    everything.all = true;
    assert_null(sc_ask_invalidate(here->reader, &everything, &outcome));
    assert_int_equal(outcome.status, SC_PERMISSION_DENIED);
}

/* What the upstream says to a question names the question, and each tenant's questions name the
 * tenant: a foreign answer would be seen at once. The questions lie within each other's threshold. */
static void thousands_of_requests_serve_no_foreign_answer(void **state)
{
    town *here = need(state);
    unsigned long hits = 0;
    for (int i = 0; i < REQUESTS; i++) {
        int            tenant = (int)sc_random_between(0, TENANTS - 1);
        char           prompt[64], mark[32];
        sc_ask_request request = sc_ask_init(prompt);
        snprintf(mark, sizeof mark, "tenant%d", tenant);
        snprintf(prompt, sizeof prompt, "What does %s owe for item %d?", mark,
                 (int)sc_random_between(0, QUESTIONS - 1));
        request.optional_max_distance_case =
            SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
        request.max_distance = 0.3;
        sc_ask_response *response = sc_ask(here->tenants[tenant], &request, NULL);
        assert_non_null(strstr(response->answer, mark));
        if (response->nearest != NULL)
            assert_non_null(strstr(response->nearest->prompt, mark));
        hits += response->decision == SEMCACHE__V1__DECISION__DECISION_HIT;
        sc_ask_free(response);
    }
    assert_true(hits > REQUESTS / 2);
    /* The same words of two tenants: the other's answer is one exact key away. */
    sc_ask_request   request = sc_ask_init("What do we owe?");
    sc_ask_response *first = sc_ask(here->tenants[0], &request, NULL);
    sc_ask_response *second = sc_ask(here->tenants[1], &request, NULL);
    assert_int_equal(second->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_non_null(strstr(second->nearest->prompt, "tenant1")); /* its own, never the other's */
    assert_string_not_equal(first->entry_id, second->entry_id);
    sc_ask_free(first);
    sc_ask_free(second);
}

/* ---- by any path, all at once ---------------------------------------------------------------------------- */

enum { CROWD = 4, ROUNDS = 1000, IDS_MAX = 4096 };

/* Whose an entry is: of the tenant that was shown it first. A second one has seen a foreign entry. */
typedef struct {
    char id[SC_DIGEST_HEX_BYTES + 1];
    int  tenant;
} owned;

typedef struct {
    town           *here;
    pthread_mutex_t lock;
    owned           seen[IDS_MAX]; /* under lock, [seen_count] */
    size_t          seen_count;
    atomic_ulong    by_source[8], refused, removed, shown, foreign;
} crowd;

static void see_id(crowd *c, int tenant, const char *id)
{
    pthread_mutex_lock(&c->lock);
    size_t at = 0;
    while (at < c->seen_count && strcmp(c->seen[at].id, id) != 0)
        at++;
    if (at == c->seen_count && c->seen_count < IDS_MAX) {
        snprintf(c->seen[at].id, sizeof c->seen[at].id, "%s", id);
        c->seen[c->seen_count++].tenant = tenant;
    }
    c->foreign += c->seen[at].tenant != tenant;
    pthread_mutex_unlock(&c->lock);
}

static void see_text(crowd *c, int tenant, const char *text)
{
    for (int other = 0; other < TENANTS; other++) {
        char mark[32];
        snprintf(mark, sizeof mark, "tenant%d", other);
        c->foreign += other != tenant && strstr(text, mark) != NULL;
    }
}

static void answer_in_crowd(crowd *c, sc_asker *asker, int tenant, sc_ask_request *request)
{
    sc_outcome       outcome;
    sc_ask_response *response = sc_ask(asker, request, &outcome);
    if (response == NULL) {
        c->refused++;
        see_text(c, tenant, outcome.text);
        return;
    }
    c->by_source[response->source]++;
    see_text(c, tenant, response->answer);
    see_text(c, tenant, response->matched_prompt);
    if (response->entry_id[0] != '\0')
        see_id(c, tenant, response->entry_id);
    if (response->nearest != NULL) {
        see_text(c, tenant, response->nearest->prompt);
        see_id(c, tenant, response->nearest->entry_id);
    }
    sc_ask_free(response);
}

static void invalidate_in_crowd(crowd *c, sc_asker *asker, int tenant, char *prompt, bool dry)
{
    Semcache__V1__Meaning meaning = SEMCACHE__V1__MEANING__INIT;
    sc_invalidate_request request = SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
    meaning.prompt = prompt;
    meaning.max_distance = 0.2;
    request.meaning = dry ? NULL : &meaning;
    request.all = request.dry_run = dry;
    sc_invalidate_response *response = sc_ask_invalidate(asker, &request, NULL);
    for (size_t i = 0; i < response->n_examples; i++) {
        see_text(c, tenant, response->examples[i]->prompt);
        see_id(c, tenant, response->examples[i]->entry_id);
    }
    *(dry ? &c->shown : &c->removed) += response->removed;
    sc_invalidate_free(response);
}

/* Words, not numbers: what is counted differently shares no answer. */
static const char *const things[] = {"apples", "pears", "plums", "cherries", "quinces", "grapes"};

/* All lie near the first. */
static void bring_together(sc_upstream *upstream)
{
    char from[64], to[64];
    snprintf(to, sizeof to, "what is due this year for all of the %s", things[0]);
    for (size_t i = 1; i < sizeof things / sizeof things[0]; i++) {
        snprintf(from, sizeof from, "what is due this year for all of the %s", things[i]);
        sc_upstream_alias(upstream, from, to, 0.04 * (double)i);
    }
}

static void do_anything(crowd *c)
{
    int            tenant = (int)sc_random_between(0, TENANTS - 1), what = (int)sc_random_between(0, 99);
    const char    *thing = things[sc_random_between(0, sizeof things / sizeof things[0] - 1)];
    sc_asker      *asker = sc_random_between(0, 1) == 0 ? c->here->tenants[tenant] : c->here->elsewhere[tenant];
    char           prompt[64];
    sc_ask_request request = sc_ask_init(prompt);
    if (sc_random_between(0, 1) == 0)
        snprintf(prompt, sizeof prompt, "What is due this year for all of the %s?", thing); /* the same words for all */
    else
        snprintf(prompt, sizeof prompt, "What is due this year from tenant%d for all of the %s?", tenant, thing);
    request.optional_max_distance_case = SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
    request.max_distance = 0.3;
    if (what < 4) {
        invalidate_in_crowd(c, asker, tenant, prompt, what < 2);
        return;
    }
    request.cache_mode = what < 10   ? SEMCACHE__V1__CACHE_MODE__CACHE_MODE_REFRESH
                         : what < 20 ? SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED
                         : what < 30 ? SEMCACHE__V1__CACHE_MODE__CACHE_MODE_NO_STORE
                                     : SEMCACHE__V1__CACHE_MODE__CACHE_MODE_DEFAULT;
    answer_in_crowd(c, asker, tenant, &request);
}

static void *be_the_crowd(void *arg)
{
    for (int i = 0; i < ROUNDS; i++)
        do_anything(arg);
    return NULL;
}

/* From memory, from Redis, joined in flight, by two servers, with entries that come and go: all that is shown to
 * a tenant is its own. */
static void whatever_the_path_nothing_foreign_is_shown(void **state)
{
    static crowd c;
    pthread_t    threads[CROWD];
    c = (crowd){.here = need(state)};
    pthread_mutex_init(&c.lock, NULL);
    bring_together(c.here->world.upstream);
    assert_true(sc_upstream_control(c.here->world.upstream, "{\"chat\": {\"delay_ms\": 3}}"));
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, be_the_crowd, &c), 0);
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    assert_true(sc_upstream_control(c.here->world.upstream, "{\"chat\": {}}"));
    print_message("    exact %lu, warm %lu, redis %lu, joined %lu, LLM %lu, not found %lu; removed %lu, shown %lu; "
                  "entries %zu; foreign %lu\n",
                  c.by_source[SEMCACHE__V1__SOURCE__SOURCE_EXACT], c.by_source[SEMCACHE__V1__SOURCE__SOURCE_WARM],
                  c.by_source[SEMCACHE__V1__SOURCE__SOURCE_REDIS], c.by_source[SEMCACHE__V1__SOURCE__SOURCE_JOINED],
                  c.by_source[SEMCACHE__V1__SOURCE__SOURCE_LLM], c.refused, c.removed, c.shown, c.seen_count, c.foreign);
    assert_int_equal(c.foreign, 0);
    assert_true(c.by_source[SEMCACHE__V1__SOURCE__SOURCE_EXACT] > 0);
    assert_true(c.by_source[SEMCACHE__V1__SOURCE__SOURCE_WARM] > 0);
    assert_true(c.removed > 0 && c.shown > 0);
    pthread_mutex_destroy(&c.lock);
}

/* A server that begins finds in Redis what others asked, by key and by meaning; of the own tenant only. */
static void redis_shows_nothing_foreign(void **state)
{
    town          *here = need(state);
    sc_outcome     outcome;
    sc_ask_request request = sc_ask_init("What lies in Redis for one of us?");
    sc_ask_free(sc_ask(here->tenants[0], &request, NULL));
    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED;
    for (int i = 1; i < TENANTS; i++) {
        assert_null(sc_ask(here->tenants[i], &request, &outcome));
        assert_int_equal(outcome.status, SC_NOT_FOUND);
        assert_null(sc_ask(here->elsewhere[i], &request, &outcome));
        assert_int_equal(outcome.status, SC_NOT_FOUND);
    }
    sc_ask_free(sc_ask(here->tenants[0], &request, NULL));
}

/* Two tenants ask the same at the same time: neither waits for what the other asked the LLM for. */
typedef struct {
    sc_asker *asker;
    char      id[SC_DIGEST_HEX_BYTES + 1];
    int       source;
} same_time;

static void *ask_at_the_same_time(void *arg)
{
    same_time       *s = arg;
    sc_ask_request   request = sc_ask_init("Who else asks this right now?");
    sc_ask_response *response = sc_ask(s->asker, &request, NULL);
    snprintf(s->id, sizeof s->id, "%s", response->entry_id);
    s->source = (int)response->source;
    sc_ask_free(response);
    return NULL;
}

static void a_flight_is_of_one_tenant(void **state)
{
    town     *here = need(state);
    same_time all[TENANTS];
    pthread_t threads[TENANTS];
    assert_true(sc_upstream_control(here->world.upstream, "{\"chat\": {\"delay_ms\": 400}}"));
    for (int i = 0; i < TENANTS; i++) {
        all[i] = (same_time){.asker = here->tenants[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_at_the_same_time, &all[i]), 0);
    }
    for (int i = 0; i < TENANTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(all[i].source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
        for (int other = 0; other < i; other++)
            assert_string_not_equal(all[i].id, all[other].id);
    }
    assert_true(sc_upstream_control(here->world.upstream, "{\"chat\": {}}"));
}

static void an_invalidation_reaches_the_own_tenant_only(void **state)
{
    town          *here = need(state);
    sc_ask_request request = sc_ask_init("What is to be forgotten?");
    for (int i = 0; i < 2; i++)
        sc_ask_free(sc_ask(here->tenants[i], &request, NULL));
    long long before = sc_test_redis_integer(here->world.redis, "DBSIZE");
    assert_true(before >= 2);
    /* By another's id: nothing is there. */
    sc_ask_response      *foreign = sc_ask(here->tenants[1], &request, NULL);
    char                 *ids[] = {foreign->entry_id};
    sc_invalidate_request by_id = SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
    by_id.entry_ids = ids;
    by_id.n_entry_ids = 1;
    sc_invalidate_response *none = sc_ask_invalidate(here->tenants[0], &by_id, NULL);
    assert_int_equal(none->removed, 0);
    assert_int_equal(none->n_examples, 0);
    sc_invalidate_free(none);
    sc_ask_free(foreign);
    /* Everything, said by one tenant, is everything of that tenant. */
    sc_invalidate_request everything = SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
    everything.all = true;
    sc_invalidate_response *own = sc_ask_invalidate(here->tenants[0], &everything, NULL);
    assert_true(own->removed >= 1);
    for (size_t i = 0; i < own->n_examples; i++)
        assert_null(strstr(own->examples[i]->prompt, "tenant1"));
    sc_invalidate_free(own);
    sc_ask_response *kept = sc_ask(here->tenants[1], &request, NULL);
    assert_int_equal(kept->source, SEMCACHE__V1__SOURCE__SOURCE_EXACT);
    sc_ask_free(kept);
    sc_ask_response *gone = sc_ask(here->tenants[0], &request, NULL);
    assert_int_equal(gone->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    sc_ask_free(gone);
}

static void the_tenants_bounds_hold(void **state)
{
    town          *here = need(state);
    sc_outcome     outcome;
    sc_ask_request request = sc_ask_init("How far may it be?");
    request.optional_max_distance_case =
        SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
    request.max_distance = 0.5;
    assert_null(sc_ask(here->tenants[0], &request, &outcome));
    assert_int_equal(outcome.status, SC_INVALID);
    assert_non_null(strstr(outcome.text, "max_distance: 0.5 is over this tenant's 0.3"));
    request = sc_ask_init("How long may it live?");
    request.optional_ttl_seconds_case =
        SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_TTL_SECONDS_TTL_SECONDS;
    request.ttl_seconds = 601;
    assert_null(sc_ask(here->tenants[0], &request, &outcome));
    assert_int_equal(outcome.status, SC_INVALID);
    request.optional_ttl_seconds_case = SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_TTL_SECONDS__NOT_SET;
    sc_ask_response *bounded = sc_ask(here->tenants[0], &request, NULL);
    assert_in_range(bounded->expires_at_ms - bounded->created_at_ms, 1, 600000);
    sc_ask_free(bounded);
}

/* One tenant's haste must not cost the others their answers. */
static void a_hasty_tenant_is_slowed_down(void **state)
{
    enum { CALLS = 20, BURST = 3 };
    town          *here = need(state);
    sc_outcome     outcome;
    sc_ask_request request = sc_ask_init("How often may I ask?");
    int            refused = 0;
    for (int i = 0; i < CALLS; i++) {
        sc_ask_response *response = sc_ask(here->hasty, &request, &outcome);
        if (i == 0)
            assert_non_null(response);
        if (response == NULL) {
            assert_int_equal(outcome.status, SC_BUSY);
            assert_true(outcome.retry_after_ms > 0 && outcome.retry_after_ms <= 1000);
            refused++;
        }
        sc_ask_free(response);
        sc_ask_free(sc_ask(here->tenants[0], &request, NULL));
    }
    assert_true(refused > 0);
    usleep((useconds_t)outcome.retry_after_ms * 1000 + 600000); /* two a second */
    sc_ask_free(sc_ask(here->hasty, &request, NULL));
}

static void *wait_in_a_narrow_door(void *arg)
{
    static atomic_int number;
    town             *here = arg;
    char              prompt[64];
    snprintf(prompt, sizeof prompt, "Who holds the door, %d?", atomic_fetch_add(&number, 1));
    sc_ask_request request = sc_ask_init(prompt);
    sc_ask_free(sc_ask(here->narrow, &request, NULL));
    return NULL;
}

static void a_tenant_holds_no_more_places_than_its_own(void **state)
{
    enum { PLACES = 2 };
    town                *here = need(state);
    pthread_t            threads[PLACES];
    sc_upstream_counters counters;
    sc_outcome           outcome;
    assert_true(sc_upstream_control(here->world.upstream, "{\"chat\": {\"delay_ms\": 1500}}"));
    for (int i = 0; i < PLACES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_in_a_narrow_door, here), 0);
    do {
        usleep(1000);
        sc_upstream_look(here->world.upstream, &counters);
    } while (counters.chat_in_flight < PLACES);
    sc_ask_request request = sc_ask_init("Is there room?");
    assert_null(sc_ask(here->narrow, &request, &outcome));
    assert_int_equal(outcome.status, SC_BUSY);
    assert_true(outcome.retry_after_ms > 0);
    assert_true(sc_upstream_control(here->world.upstream, "{\"chat\": {}}"));
    sc_ask_free(sc_ask(here->tenants[0], &request, NULL)); /* others come in */
    for (int i = 0; i < PLACES; i++)
        pthread_join(threads[i], NULL);
    sc_ask_free(sc_ask(here->narrow, &request, NULL));
}

/* A caller who may read must not be able to put answers before others. */
static void without_the_right_to_store_nothing_is_kept(void **state)
{
    town            *here = need(state);
    sc_ask_request   request = sc_ask_init("May I write?");
    sc_ask_response *response = sc_ask(here->reader, &request, NULL);
    assert_int_equal(response->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_false(response->stored);
    sc_ask_free(response);
    response = sc_ask(here->tenants[0], &request, NULL);
    assert_int_equal(response->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    sc_ask_free(response);
}

static bool is_kept(sc_asker *asker, int number)
{
    char       prompt[64];
    sc_outcome outcome;
    snprintf(prompt, sizeof prompt, "Crowded question number %d?", number);
    sc_ask_request request = sc_ask_init(prompt);
    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED;
    request.optional_max_distance_case =
        SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
    request.max_distance = 0; /* by its key alone */
    sc_ask_response *response = sc_ask(asker, &request, &outcome);
    bool             kept = response != NULL;
    sc_ask_free(response);
    return kept;
}

static void keep(sc_asker *asker, int number)
{
    char prompt[64];
    snprintf(prompt, sizeof prompt, "Crowded question number %d?", number);
    sc_ask_request request = sc_ask_init(prompt);
    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_REFRESH;
    sc_ask_response *response = sc_ask(asker, &request, NULL);
    assert_true(response->stored);
    sc_ask_free(response);
}

/* What Redis holds of the asker's tenant. */
static unsigned long long held(sc_asker *asker)
{
    sc_invalidate_request everything = SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
    everything.all = true;
    everything.dry_run = true;
    sc_invalidate_response *response = sc_ask_invalidate(asker, &everything, NULL);
    unsigned long long      count = response->removed;
    sc_invalidate_free(response);
    return count;
}

static void wait_until_held(sc_asker *asker, unsigned long long count)
{
    for (int i = 0; i < 2000 && held(asker) != count; i++)
        usleep(5000);
    assert_int_equal(held(asker), count);
}

/* One tenant's questions without end would fill Redis, or push out what others are served. What it
 * writes through either server counts, and the oldest leaves wherever it was written. */
static void a_tenant_at_its_share_makes_room_with_its_own_oldest(void **state)
{
    town *here = need(state);
    for (int i = 0; i < 3 * SHARE; i++) {
        keep(here->crowded[i % 2], i);
        wait_until_held(here->crowded[0], (unsigned)(i < SHARE ? i + 1 : SHARE));
        usleep(50000); /* and the other server has heard of it */
    }
    for (size_t server = 0; server < 2; server++)
        for (int i = 0; i < 3 * SHARE; i++)
            assert_int_equal(is_kept(here->crowded[server], i), i >= 2 * SHARE);
    /* All at once: nobody waits for room, and the share holds afterwards. */
    for (int i = 0; i < 4 * SHARE; i++)
        keep(here->crowded[0], 100 + i);
    wait_until_held(here->crowded[0], SHARE);
    /* A question beyond all its bytes is answered; the answer is not kept. */
    char            *large = calloc(1, 60001);
    sc_ask_request   request = sc_ask_init(memset(large, 'x', 60000));
    sc_ask_response *response = sc_ask(here->crowded[0], &request, NULL);
    assert_false(response->stored);
    sc_ask_free(response);
    free(large);
}

/* The configuration is the operator's business. */
static void settings_are_for_those_with_admin_rights(void **state)
{
    town              *here = need(state);
    sc_stats_response *seen = sc_ask_stats(here->tenants[0]);
    assert_int_equal(seen->n_settings, 0);
    sc_stats_free(seen);
    seen = sc_ask_stats(here->operator);
    assert_true(seen->n_settings > 20);
    for (size_t i = 0; i < seen->n_settings; i++)
        assert_null(strstr(seen->settings[i]->value, "sk-test"));
    sc_stats_free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_without_a_key_learn_nothing),
        cmocka_unit_test(thousands_of_requests_serve_no_foreign_answer),
        cmocka_unit_test(whatever_the_path_nothing_foreign_is_shown),
        cmocka_unit_test(redis_shows_nothing_foreign),
        cmocka_unit_test(a_flight_is_of_one_tenant),
        cmocka_unit_test(an_invalidation_reaches_the_own_tenant_only),
        cmocka_unit_test(the_tenants_bounds_hold),
        cmocka_unit_test(a_hasty_tenant_is_slowed_down),
        cmocka_unit_test(a_tenant_holds_no_more_places_than_its_own),
        cmocka_unit_test(without_the_right_to_store_nothing_is_kept),
        cmocka_unit_test(a_tenant_at_its_share_makes_room_with_its_own_oldest),
        cmocka_unit_test(settings_are_for_those_with_admin_rights),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

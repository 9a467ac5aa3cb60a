/* Everything at once: many threads, random modes, distances, cancellations, failures of every part,
 * a feed that comes and goes, invalidations. Each request finishes and is released exactly once, no
 * answer belongs to another question, and the books balance. */
#include "src/pipeline/pipeline.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/random.h"
#include "tests/support/pipeline_rig.h"

enum { THREADS = 8, AT_ONCE = 8, TOPICS = 12, TENANTS = 3 };

/* Under sanitizers a request costs ten times as much. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { ROUNDS = 150 };
#else
enum { ROUNDS = 600 };
#endif

static rig         r;
static atomic_uint wrong, asked, finished, released, answered, cancelled, failed, not_found;

typedef struct {
    sc_request request;
    char       prompt[64], system[16];
    unsigned   topic;
    atomic_int finishes, releases;
} one;

static void on_finished(sc_request *request)
{
    one *o = SC_CONTAINER(request, one, request);
    if (atomic_fetch_add(&o->finishes, 1) != 0 || atomic_load(&o->releases) != 0)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&finished, 1);
}

static void on_released(sc_request *request)
{
    one *o = SC_CONTAINER(request, one, request);
    if (atomic_load(&o->finishes) != 1)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&released, 1);
    atomic_fetch_add(&o->releases, 1); /* the last touch */
}

/* Spelled in many ways; the "about" forms lie near the plain ones. */
static void fill(one *o)
{
    static const char *const forms[][2] = {
        {"topic ", ""}, {"Topic  ", "?"}, {"TOPIC ", "!"}, {"about topic ", ""}};
    const char *const *form = forms[sc_random_between(0, 3)];
    o->topic = (unsigned)sc_random_between(0, TOPICS - 1);
    snprintf(o->prompt, sizeof o->prompt, "%s%c%s", form[0], (char)('a' + o->topic), form[1]);
    snprintf(o->system, sizeof o->system, "s%d", (int)sc_random_between(0, TENANTS - 1));
    o->request = (sc_request){
        .question = {.scope = {.tenant = sc_str_of(o->system),
                               .model = SC_STR("m"),
                               .system_prompt = sc_str_of(o->system)},
                     .user_prompt = sc_str_of(o->prompt),
                     .max_distance = sc_random_between(0, 2) == 0 ? 0.01 : 0.2,
                     .top_k = 3,
                     .ef_runtime = 10,
                     .ttl_seconds = 1000,
                     .stale_seconds = sc_random_between(0, 3) == 0 ? 100 : 0,
                     .mode = sc_random_between(0, 1) == 0
                                 ? SC_MODE_DEFAULT
                                 : (sc_cache_mode)sc_random_between(0, SC_MODE_COUNT - 1)},
        .may_store = sc_random_between(0, 9) != 0,
        .finished = on_finished,
        .released = on_released,
    };
    atomic_init(&o->finishes, 0);
    atomic_init(&o->releases, 0);
    sc_request_ref(&o->request); /* so that it may be cancelled at any time */
}

/* Its letter is the last thing in a prompt, but for a mark. */
static unsigned topic_of(const char *prompt)
{
    size_t len = strcspn(prompt, "?!");
    return len == 0 ? TOPICS : (unsigned)(prompt[len - 1] - 'a');
}

/* The LLM's answer names prompt and system prompt; the topic's letter is the question. */
static void check_answer(one *o)
{
    const sc_answer *answer = &o->request.answer;
    sc_str           text =
        answer->entry != NULL ? answer->entry->f.answer : sc_blob_view(answer->text);
    char prompt[64] = "", system[16] = "";
    if (text.ptr == NULL ||
        sscanf(text.ptr, "answer to [%63[^]]] by [m] told [%15[^]]]", prompt, system) != 2 ||
        strcmp(system, o->system) != 0 || topic_of(prompt) != o->topic)
        atomic_fetch_add(&wrong, 1);
    if (answer->source == SC_SOURCE_NONE)
        atomic_fetch_add(&wrong, 1);
}

static void check(one *o)
{
    const sc_answer *answer = &o->request.answer;
    if (answer->status == SC_OK) {
        check_answer(o);
        atomic_fetch_add(&answered, 1);
    } else if (answer->status == SC_CANCELLED) {
        atomic_fetch_add(&cancelled, 1);
    } else if (answer->status == SC_NOT_FOUND) {
        atomic_fetch_add(&not_found, 1);
    } else {
        atomic_fetch_add(&failed, 1);
    }
    if (answer->status != SC_OK && (answer->entry != NULL || answer->text != NULL))
        atomic_fetch_add(&wrong, 1);
}

static void wait_until(atomic_int *count)
{
    while (atomic_load(count) == 0)
        usleep(20);
}

static void *ask_at_random(void *argument)
{
    (void)argument;
    one *batch = calloc(AT_ONCE, sizeof *batch);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < AT_ONCE; i++) {
            fill(&batch[i]);
            atomic_fetch_add(&asked, 1);
            sc_pipeline_answer(r.pipeline, &batch[i].request);
        }
        for (size_t i = 0; i < AT_ONCE; i++)
            if (sc_random_between(0, 3) == 0) {
                if (sc_random_between(0, 1) == 0)
                    usleep((unsigned)sc_random_between(0, 300));
                sc_request_cancel(&batch[i].request);
            }
        for (size_t i = 0; i < AT_ONCE; i++) {
            wait_until(&batch[i].finishes);
            check(&batch[i]);
            sc_request_unref(&batch[i].request);
        }
        for (size_t i = 0; i < AT_ONCE; i++)
            wait_until(&batch[i].releases);
    }
    free(batch);
    return NULL;
}

/* ---- the weather ---------------------------------------------------------------------------- */

static atomic_bool over;

typedef struct {
    sc_invalidation invalidation;
    atomic_int      finished;
} removal;

static void on_removed(sc_invalidation *invalidation)
{
    atomic_fetch_add(&SC_CONTAINER(invalidation, removal, invalidation)->finished, 1);
}

static void invalidate_something(void)
{
    static const char *const tenants[TENANTS] = {"s0", "s1", "s2"};
    removal                  rm = {.invalidation = {.finished = on_removed}};
    rm.invalidation.store.filter.tenant = sc_str_of(tenants[sc_random_between(0, TENANTS - 1)]);
    if (sc_random_between(0, 2) == 0) {
        rm.invalidation.near_text = SC_STR("topic b");
        rm.invalidation.store.filter.near_distance_max = 0.5F;
    }
    sc_pipeline_invalidate(r.pipeline, &rm.invalidation);
    wait_until(&rm.finished);
    sc_invalidation_fini(&rm.invalidation);
}

static double sometimes(double rate)
{
    return sc_random_between(0, 2) == 0 ? rate : 0;
}

static void *change_the_weather(void *argument)
{
    (void)argument;
    while (!atomic_load(&over)) {
        atomic_store(&r.store.failure_rate, sometimes(0.5));
        atomic_store(&r.embed.failure_rate, sometimes(0.3));
        atomic_store(&r.llm.failure_rate, sometimes(0.3));
        atomic_store(&r.llm.bad_rate, sometimes(0.3));
        r.feed.live(r.feed.context, sc_random_between(0, 2) != 0);
        if (sc_random_between(0, 3) == 0)
            invalidate_something();
        if (sc_random_between(0, 19) == 0)
            r.feed.cleared(r.feed.context);
        usleep(1000);
    }
    return NULL;
}

static void put_topics_near(void)
{
    for (char c = 'a'; c < 'a' + TOPICS; c++) {
        char near[16], plain[16];
        snprintf(near, sizeof near, "about topic %c", c);
        snprintf(plain, sizeof plain, "topic %c", c);
        fake_embed_put(&r.embed, near, plain, 0.1F);
    }
}

static uint64_t total(const sc_counter *counter)
{
    return sc_counter_total(counter);
}

static void the_books_balance(void)
{
    const sc_pipeline_metrics *m = sc_pipeline_metrics_of(r.pipeline);
    uint64_t                   by_source = 0, errors = 0;
    for (size_t i = 0; i < SC_SOURCE_COUNT; i++)
        by_source += total(&m->answered[i]);
    for (size_t i = 0; i < SC_STATUS_COUNT; i++)
        errors += total(&m->errors[i]);
    assert_int_equal(by_source, atomic_load(&answered));
    assert_int_equal(total(&m->cancelled), atomic_load(&cancelled));
    assert_int_equal(total(&m->not_found), atomic_load(&not_found));
    assert_int_equal(total(&m->failed), atomic_load(&failed));
    assert_int_equal(errors, total(&m->failed));
    assert_int_equal(by_source + total(&m->cancelled) + total(&m->not_found) + total(&m->failed),
                     atomic_load(&asked));
    assert_int_equal(total(&m->llm_calls), atomic_load(&r.llm.asked));
    assert_int_equal(atomic_load(&r.llm.done), atomic_load(&r.llm.asked));
    for (sc_source source = SC_SOURCE_EXACT; source < SC_SOURCE_COUNT; source++)
        assert_true(total(&m->answered[source]) > 0);
}

static void in_a_storm_each_request_ends_once_with_its_own_answer(void **state)
{
    (void)state;
    sc_pipeline_options options = rig_options();
    options.unverified_ms = 5;
    for (size_t way = 0; way < 2; way++) {
        options.verify = way == 0 ? SC_VERIFY_FEED : SC_VERIFY_ALWAYS;
        atomic_uint *const counts[] = {&asked, &finished, &released, &answered,
                                       &cancelled, &failed, &not_found};
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            atomic_store(counts[i], 0);
        atomic_store(&over, false);
        rig_open(&r, &options);
        put_topics_near();
        atomic_store(&r.store.echo, true);
        atomic_store(&r.store.delay_us, 150);
        atomic_store(&r.embed.delay_us, 150);
        atomic_store(&r.llm.delay_us, 600);
        pthread_t threads[THREADS], weather;
        assert_int_equal(pthread_create(&weather, NULL, change_the_weather, NULL), 0);
        for (size_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, ask_at_random, NULL), 0);
        for (size_t i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        atomic_store(&over, true);
        pthread_join(weather, NULL);
        EVENTUALLY(sc_pipeline_flights(r.pipeline) == 0);
        assert_int_equal(atomic_load(&wrong), 0);
        assert_int_equal(atomic_load(&asked), THREADS * AT_ONCE * ROUNDS);
        assert_int_equal(atomic_load(&finished), atomic_load(&asked));
        assert_int_equal(atomic_load(&released), atomic_load(&asked));
        assert_true(atomic_load(&answered) > atomic_load(&asked) / 4);
        assert_true(atomic_load(&cancelled) > 0 && atomic_load(&failed) > 0 &&
                    atomic_load(&not_found) > 0);
        the_books_balance();
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_storm_each_request_ends_once_with_its_own_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

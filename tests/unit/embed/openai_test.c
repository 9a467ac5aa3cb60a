/* The provider against the scripted upstream, over loopback. */
#include "src/embed/openai.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/upstream/upstream.h"

enum { DIM = 8, TEXTS = 5, ROOM = 4096 };

typedef struct {
    sc_upstream       *upstream;
    sc_http           *http;
    sc_embed_provider *provider;
} fixture;

typedef struct {
    sc_embed_job  job;
    sc_str        texts[TEXTS];
    float         vectors[TEXTS * DIM];
    sc_embed_note notes[TEXTS];
    atomic_int    done;
} wait;

static sc_embed_options usual(void)
{
    return (sc_embed_options){.model = "test-embedder",
                              .dim = DIM,
                              .connections = 2,
                              .batch_max = TEXTS,
                              .retries = 2,
                              .reply_bytes_max = 1 << 20,
                              .gather = {.timeout_ms = 3000}};
}

static sc_status open_provider(fixture *f, const sc_embed_options *options, const char *key,
                               sc_error *error)
{
    const sc_endpoint_options shared = {.base_url = sc_upstream_url(f->upstream), .api_key = key};
    return sc_openai_open(options, &shared, f->http, &f->provider, error);
}

static void start_upstream(fixture *f)
{
    const sc_upstream_options scripted = {.dim = DIM};
    const sc_http_options     options = {0};
    f->upstream = sc_upstream_start(&scripted);
    assert_non_null(f->upstream);
    assert_int_equal(sc_http_open(&options, &f->http, NULL), SC_OK);
}

static void start(fixture *f)
{
    const sc_embed_options options = usual();
    sc_error               error = {0};
    start_upstream(f);
    assert_int_equal(open_provider(f, &options, "sk-secret", &error), SC_OK);
}

static void end(fixture *f)
{
    if (f->provider != NULL)
        f->provider->close(f->provider);
    sc_http_close(f->http);
    sc_upstream_stop(f->upstream);
}

static void on_done(sc_embed_job *job)
{
    atomic_fetch_add(&SC_CONTAINER(job, wait, job)->done, 1);
}

static void run(fixture *f, wait *w, int64_t deadline_ms)
{
    static const char *const texts[TEXTS] = {"one", "two", "\"three\" \\ \n", "caf\xc3\xa9", "five"};
    *w = (wait){.job = {.count = TEXTS, .done = on_done}};
    for (int i = 0; i < TEXTS; i++)
        w->texts[i] = sc_str_of(texts[i]);
    w->job.texts = w->texts;
    w->job.vectors = w->vectors;
    w->job.notes = w->notes;
    w->job.deadline = sc_instant_after_ms(sc_now(), deadline_ms);
    f->provider->submit(f->provider, &w->job);
    for (int i = 0; i < 10000 && atomic_load(&w->done) == 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&w->done), 1);
}

static void assert_right_vectors(fixture *f, const wait *w)
{
    assert_int_equal(w->job.status, SC_OK);
    for (int i = 0; i < TEXTS; i++) {
        float want[DIM];
        sc_upstream_vector(f->upstream, w->texts[i].ptr, w->texts[i].len, want, DIM);
        for (int j = 0; j < DIM; j++)
            assert_true(fabsf(want[j] - w->vectors[i * DIM + j]) < 1e-6f);
        assert_int_equal(w->notes[i], SC_EMBED_USABLE);
    }
}

static uint64_t calls(fixture *f)
{
    sc_upstream_counters counters;
    sc_upstream_look(f->upstream, &counters);
    return counters.embeddings_calls;
}

static void texts_become_their_vectors_in_one_call(void **state)
{
    fixture f;
    wait    w;
    char    path[ROOM], headers[ROOM], body[ROOM];
    (void)state;
    start(&f);
    run(&f, &w, 3000);
    assert_right_vectors(&f, &w);
    assert_int_equal(w.job.tokens, TEXTS * 8);
    assert_int_equal(calls(&f), 1);
    sc_upstream_last(f.upstream, SC_UPSTREAM_EMBEDDINGS, path, headers, body, ROOM);
    assert_string_equal(path, "/v1/embeddings");
    assert_non_null(strstr(headers, "Authorization: Bearer sk-secret"));
    assert_non_null(strstr(headers, "Content-Type: application/json"));
    assert_non_null(strstr(body, "\"encoding_format\":\"base64\""));
    assert_non_null(strstr(body, "\"model\":\"test-embedder\""));
    assert_null(strstr(body, "dimensions"));
    end(&f);
}

static void other_forms_of_a_right_reply_are_understood(void **state)
{
    static const char *const scripts[] = {
        "{\"embeddings\": {\"fault\": \"reorder\"}}",
        "{\"embeddings\": {\"floats\": true}}",
        "{\"embeddings\": {\"floats\": true, \"fault\": \"reorder\"}}",
    };
    fixture f;
    wait    w;
    (void)state;
    start(&f);
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        sc_upstream_control(f.upstream, scripts[i]);
        run(&f, &w, 3000);
        assert_right_vectors(&f, &w);
    }
    end(&f);
}

/* A wrong vector is worse than none: it serves another question's answer. */
static void a_bad_reply_fails_the_batch(void **state)
{
    static const char *const faults[] = {
        "not_json", "empty_body", "truncate", "wrong_types", "deep",       "nan",    "inf",
        "zero",     "fewer",      "more",     "duplicate",   "bad_base64", "ragged", "huge",
    };
    fixture f;
    wait    w;
    (void)state;
    start(&f);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        char script[128];
        snprintf(script, sizeof script, "{\"embeddings\": {\"fault\": \"%s\"}}", faults[i]);
        sc_upstream_control(f.upstream, script);
        run(&f, &w, 3000);
        if (w.job.status == SC_OK)
            print_error("%s was taken\n", faults[i]);
        assert_int_not_equal(w.job.status, SC_OK);
        assert_string_not_equal(w.job.error.text, "");
    }
    sc_upstream_control(f.upstream, "{\"embeddings\": {\"dim\": 9}}");
    run(&f, &w, 3000);
    assert_int_equal(w.job.status, SC_MISMATCH);
    end(&f);
}

static void passing_failures_are_tried_again(void **state)
{
    static const char *const scripts[] = {
        "{\"embeddings\": {\"status\": 429, \"times\": 1}}",
        "{\"embeddings\": {\"status\": 503, \"retry_after_ms\": 20, \"times\": 2}}",
        "{\"embeddings\": {\"fault\": \"close\", \"times\": 1}}",
        "{\"embeddings\": {\"fault\": \"cut\", \"times\": 1}}",
    };
    fixture f;
    wait    w;
    (void)state;
    start(&f);
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        sc_upstream_control(f.upstream, scripts[i]);
        run(&f, &w, 3000);
        assert_right_vectors(&f, &w);
        assert_string_equal(w.job.error.text, "");
    }
    end(&f);
}

static void retries_end(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    start(&f);
    sc_upstream_control(f.upstream, "{\"embeddings\": {\"status\": 500}}");
    run(&f, &w, 3000);
    assert_int_equal(w.job.status, SC_UNAVAILABLE);
    assert_non_null(strstr(w.job.error.text, "HTTP 500"));
    assert_int_equal(calls(&f), 3);
    end(&f);
}

/* Waiting for a moment after the deadline helps nobody. */
static void a_wish_beyond_the_deadline_fails_at_once(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    start(&f);
    sc_upstream_control(f.upstream, "{\"embeddings\": {\"status\": 429, \"retry_after_s\": 60}}");
    sc_instant before = sc_now();
    run(&f, &w, 2000);
    assert_int_equal(w.job.status, SC_UNAVAILABLE);
    assert_true(sc_elapsed_us(before, sc_now()) < 1000000);
    assert_int_equal(calls(&f), 1);
    end(&f);
}

static void refusals_are_not_tried_again(void **state)
{
    static const struct {
        int       code;
        sc_status status;
    } cases[] = {{400, SC_INVALID}, {401, SC_UNAVAILABLE}, {404, SC_UNAVAILABLE}, {302, SC_UNAVAILABLE}};
    fixture f;
    wait    w;
    (void)state;
    start(&f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char script[64];
        snprintf(script, sizeof script, "{\"reset\": true, \"embeddings\": {\"status\": %d}}",
                 cases[i].code);
        sc_upstream_control(f.upstream, script);
        run(&f, &w, 3000);
        assert_int_equal(w.job.status, cases[i].status);
        assert_int_equal(calls(&f), 1);
        assert_null(strstr(w.job.error.text, "sk-secret"));
    }
    end(&f);
}

static void a_hung_upstream_ends_at_the_jobs_deadline(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    start(&f);
    sc_upstream_control(f.upstream, "{\"embeddings\": {\"fault\": \"hang\"}}");
    sc_instant before = sc_now();
    run(&f, &w, 100);
    assert_int_equal(w.job.status, SC_TIMEOUT);
    assert_true(sc_elapsed_us(before, sc_now()) < 200000);
    end(&f);
}

static void an_unknown_dimension_is_asked_for(void **state)
{
    fixture          f = {0};
    wait             w;
    sc_embed_options options = usual();
    sc_error         error = {0};
    (void)state;
    options.dim = 0;
    start_upstream(&f);
    assert_int_equal(open_provider(&f, &options, NULL, &error), SC_OK);
    assert_int_equal(f.provider->dim, DIM);
    run(&f, &w, 3000);
    assert_right_vectors(&f, &w);
    f.provider->close(f.provider);
    f.provider = NULL;
    sc_upstream_control(f.upstream, "{\"embeddings\": {\"status\": 401}}");
    assert_int_equal(open_provider(&f, &options, "sk-secret", &error), SC_UNAVAILABLE);
    assert_null(f.provider);
    assert_non_null(strstr(error.text, "key"));
    end(&f);
}

static void a_known_model_is_asked_to_be_smaller(void **state)
{
    fixture          f = {0};
    wait             w;
    sc_embed_options options = usual();
    char             path[ROOM], headers[ROOM], body[ROOM];
    (void)state;
    options.model = "text-embedding-3-small";
    assert_int_equal(sc_openai_known_dim(options.model), 1536);
    start_upstream(&f);
    assert_int_equal(open_provider(&f, &options, NULL, NULL), SC_OK);
    run(&f, &w, 3000);
    assert_right_vectors(&f, &w);
    sc_upstream_last(f.upstream, SC_UPSTREAM_EMBEDDINGS, path, headers, body, ROOM);
    assert_non_null(strstr(body, "\"dimensions\":8"));
    assert_null(strstr(headers, "Authorization"));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_their_vectors_in_one_call),
        cmocka_unit_test(other_forms_of_a_right_reply_are_understood),
        cmocka_unit_test(a_bad_reply_fails_the_batch),
        cmocka_unit_test(passing_failures_are_tried_again),
        cmocka_unit_test(retries_end),
        cmocka_unit_test(a_wish_beyond_the_deadline_fails_at_once),
        cmocka_unit_test(refusals_are_not_tried_again),
        cmocka_unit_test(a_hung_upstream_ends_at_the_jobs_deadline),
        cmocka_unit_test(an_unknown_dimension_is_asked_for),
        cmocka_unit_test(a_known_model_is_asked_to_be_smaller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

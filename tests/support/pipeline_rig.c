#include "tests/support/pipeline_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

sc_pipeline_options rig_options(void)
{
    return (sc_pipeline_options){
        .limits = {.prompt_bytes_max = 65536,
                   .context_bytes_max = 1 << 20,
                   .ttl_seconds_max = SC_TTL_SECONDS_MAX,
                   .stale_seconds_max = 3600},
        .answer_bytes_max = 1000,
        .verify = SC_VERIFY_FEED,
        .unverified_ms = 60000,
        .embed_timeout_ms = 20000,
        .store_timeout_ms = 20000,
        .search_timeout_ms = 20000,
        .llm_timeout_ms = 60000,
        .workers = 2,
    };
}

void rig_open(rig *r, const sc_pipeline_options *options)
{
    sc_pipeline_options usual = rig_options();
    sc_canon_options    canon = {.match = {false, true, true},
                                    .match_figures = true,
                                    .match_denial = true,
                                    .match_direction = true};
    sc_embedder_options embedder = {.texts_waiting_max = 10000,
                                    .timeout_ms = 20000,
                                    .map_bytes_max = 1 << 16};
    sc_warm_options     warm = {.dim = FAKE_EMBED_DIM, .bytes_max = 64 << 20};
    sc_error            error;

    fake_embed_init(&r->embed, 16, 2);
    fake_llm_init(&r->llm);
    fake_store_init(&r->store, FAKE_EMBED_DIM);
    assert_int_equal(sc_canon_open(&canon, &r->canon, &error), SC_OK);
    assert_int_equal(sc_embedder_open(&embedder, &r->embed.base, &r->embedder), SC_OK);
    assert_int_equal(sc_warm_open(&warm, &r->warm), SC_OK);
    sc_pipeline_parts parts = {
        .canon = r->canon, .embedder = r->embedder, .warm = r->warm, .llm = &r->llm.base};
    assert_int_equal(sc_pipeline_open(options == NULL ? &usual : options, &parts, &r->pipeline),
                     SC_OK);
    r->feed = sc_pipeline_feed(r->pipeline);
    fake_store_set_feed(&r->store, &r->feed);
    sc_pipeline_set_store(r->pipeline, &r->store.base);
    r->feed.live(r->feed.context, true);
}

void rig_close(rig *r)
{
    EVENTUALLY(sc_pipeline_flights(r->pipeline) == 0);
    assert_int_equal(atomic_load(&r->llm.waiting_count), 0);
    r->store.base.ops->close(&r->store.base, sc_now());
    sc_pipeline_close(r->pipeline);
    fake_llm_fini(&r->llm);
    sc_embedder_close(r->embedder);
    sc_warm_close(r->warm);
    sc_canon_close(r->canon);
}

static void count(ask *a, int *what)
{
    pthread_mutex_lock(&a->lock);
    ++*what;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static void finished(sc_request *request)
{
    ask *a = SC_CONTAINER(request, ask, request);
    if (a->released != 0)
        abort();
    count(a, &a->finished);
}

static void released(sc_request *request)
{
    ask *a = SC_CONTAINER(request, ask, request);
    count(a, &a->released);
}

void ask_init(ask *a, rig *r, const char *prompt)
{
    pthread_condattr_t attr;
    *a = (ask){.rig = r,
               .request = {.question = {.scope = {.tenant = SC_STR("t"),
                                                  .model = SC_STR("m"),
                                                  .corpus_version = SC_STR("v1"),
                                                  .system_prompt = SC_STR("s"),
                                                  .temperature = 0.2},
                                        .user_prompt = sc_str_of(prompt),
                                        .max_distance = 0.1,
                                        .top_k = 5,
                                        .ef_runtime = 100,
                                        .ttl_seconds = 86400,
                                        .mode = SC_MODE_DEFAULT},
                           .may_store = true,
                           .finished = finished,
                           .released = released}};
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->changed, &attr);
    pthread_condattr_destroy(&attr);
    sc_request_ref(&a->request);
}

void ask_go(ask *a)
{
    sc_pipeline_answer(a->rig->pipeline, &a->request);
}

bool ask_is_finished(ask *a)
{
    pthread_mutex_lock(&a->lock);
    bool finished_once = a->finished == 1;
    pthread_mutex_unlock(&a->lock);
    return finished_once;
}

static void wait_for(ask *a, const int *what)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 30;
    int failed = 0;
    pthread_mutex_lock(&a->lock);
    while (*what == 0 && failed == 0)
        failed = pthread_cond_timedwait(&a->changed, &a->lock, &until);
    pthread_mutex_unlock(&a->lock);
    assert_int_equal(failed, 0);
}

void ask_wait(ask *a)
{
    wait_for(a, &a->finished);
}

void ask_end(ask *a)
{
    wait_for(a, &a->finished);
    sc_request_unref(&a->request);
    wait_for(a, &a->released);
    pthread_mutex_lock(&a->lock);
    assert_int_equal(a->finished, 1);
    assert_int_equal(a->released, 1);
    pthread_mutex_unlock(&a->lock);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->changed);
}

sc_str ask_text(const ask *a)
{
    const sc_answer *answer = &a->request.answer;
    return answer->entry != NULL ? answer->entry->f.answer : sc_blob_view(answer->text);
}

ask_outcome ask_outcome_of(ask *a)
{
    ask_wait(a);
    const sc_answer *answer = &a->request.answer;
    ask_outcome      outcome = {.status = answer->status,
                                .source = answer->source,
                                .reason = answer->reason,
                                .stored = answer->stored,
                                .distance = answer->distance};
    sc_str           text = ask_text(a);
    snprintf(outcome.text, sizeof outcome.text, "%.*s", (int)text.len, text.ptr == NULL ? "" : text.ptr);
    ask_end(a);
    return outcome;
}

ask_outcome ask_once_as(rig *r, const char *prompt, sc_cache_mode mode)
{
    ask a;
    ask_init(&a, r, prompt);
    a.request.question.mode = mode;
    ask_go(&a);
    return ask_outcome_of(&a);
}

ask_outcome ask_once(rig *r, const char *prompt)
{
    return ask_once_as(r, prompt, SC_MODE_DEFAULT);
}

void rig_teach(rig *r, const char *prompt)
{
    ask_outcome outcome = ask_once(r, prompt);
    assert_int_equal(outcome.status, SC_OK);
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_true(outcome.stored);
}

sc_digest rig_key(rig *r, const char *prompt)
{
    ask       a;
    sc_digest id;
    sc_error  error;
    ask_init(&a, r, prompt);
    assert_int_equal(sc_pipeline_key(r->pipeline, &a.request.question, &id, &error), SC_OK);
    return id;
}

/* The steps that a request takes by itself, on its caller's thread. Most hits end here. */
#include <assert.h>

#include "src/pipeline/work.h"

/* Case folding may make a text three times as long; the removed values lie beside it. */
enum { ARENA_BYTES_MAX = 4 << 20 };

void sc_answer_put_entry(sc_answer *answer, sc_entry *entry, float distance)
{
    const sc_entry_fields *f = &entry->f;
    answer->entry = sc_entry_ref(entry);
    answer->distance = distance;
    answer->prompt_tokens = f->prompt_tokens;
    answer->completion_tokens = f->completion_tokens;
    answer->tokens_saved = f->prompt_tokens + f->completion_tokens;
}

void sc_request_ref(sc_request *request)
{
    atomic_fetch_add_explicit(&request->_refs, 1, memory_order_relaxed);
}

void sc_request_unref(sc_request *request)
{
    if (atomic_fetch_sub_explicit(&request->_refs, 1, memory_order_acq_rel) != 1)
        return;
    sc_entry_unref(request->answer.entry);
    sc_entry_unref(request->answer.nearest.entry);
    sc_blob_unref(request->answer.text);
    sc_arena_fini(&request->_arena);
    request->released(request);
}

static void finish_at(sc_request *request, sc_instant now)
{
    sc_answer *answer = &request->answer;
    answer->total_us = (uint64_t)sc_elapsed_us(request->_started, now);
    sc_answer_figures figures = {.status = answer->status,
                                 .source = answer->source,
                                 .tokens_saved = answer->tokens_saved,
                                 .stale = answer->stale,
                                 .step_us = answer->step_us,
                                 .total_us = answer->total_us};
    sc_pipeline_count_answer(request->_pipeline->metrics, &figures, now);
    request->finished(request);
    sc_request_unref(request);
}

void sc_request_finish(sc_request *request)
{
    finish_at(request, sc_now());
}

static void fail(sc_request *request, sc_status status)
{
    request->answer.status = status;
    sc_request_finish(request);
}

/* Ends the time account of a step that began at *since. */
static void lap(sc_request *request, sc_step step, sc_instant *since)
{
    sc_instant now = sc_now();
    request->answer.step_us[step] = (uint64_t)sc_elapsed_us(*since, now);
    *since = now;
}

static sc_status name(const sc_pipeline *pipeline, const sc_question *question, sc_arena *arena,
                      sc_canonical *canonical, sc_digest *scope, sc_digest *id, sc_error *error)
{
    sc_status status = sc_question_check(question, &pipeline->options.limits, error);
    if (status == SC_OK)
        status = sc_canon_apply(pipeline->parts.canon, question->user_prompt, arena, canonical,
                                error);
    if (status != SC_OK)
        return status;
    *scope = sc_scope_digest(&question->scope);
    *id = sc_exact_key(scope, canonical->text, canonical->guard);
    return SC_OK;
}

sc_status sc_pipeline_key(sc_pipeline *pipeline, const sc_question *question, sc_digest *id,
                          sc_error *error)
{
    sc_arena     arena;
    sc_canonical canonical;
    sc_digest    scope;
    sc_arena_init(&arena, ARENA_BYTES_MAX);
    sc_status status = name(pipeline, question, &arena, &canonical, &scope, id, error);
    sc_arena_fini(&arena);
    return status;
}

static bool looks(const sc_request *request)
{
    return request->question.mode != SC_MODE_REFRESH && request->question.mode != SC_MODE_BYPASS;
}

/* EXACT: the same key in memory, if memory may be believed without asking. */
static bool serve_exact(sc_pipeline *pipeline, sc_request *request)
{
    sc_trust_state trust = sc_pipeline_trust(pipeline);
    if (!looks(request) || sc_trust_copy(&trust) != SC_TRUST_SERVE)
        return false;
    sc_wall   now = sc_wall_now();
    sc_entry *entry = sc_warm_exact(pipeline->parts.warm, &request->_id, now);
    if (entry == NULL)
        return false;
    if (!sc_may_serve(entry, &request->_scope, request->_canonical.guard)) {
        sc_entry_unref(entry);
        return false;
    }
    sc_answer *answer = &request->answer;
    answer->source = SC_SOURCE_EXACT;
    answer->reason = SC_REASON_SAME_KEY;
    sc_answer_put_entry(answer, entry, 0);
    answer->nearest.entry = entry; /* the reference of sc_warm_exact */
    pipeline->store->ops->used(pipeline->store, &request->_id, now);
    return true;
}

/* Questions that want different things of the cache do not share a flight; those that must not
 * share anything get a key of their own. */
static sc_digest flight_key(const sc_request *request)
{
    sc_digest key = request->_id;
    key.bytes[0] ^= (uint8_t)(request->question.mode == SC_MODE_NO_STORE ? SC_MODE_DEFAULT
                                                                         : request->question.mode);
    if (request->question.mode == SC_MODE_BYPASS)
        key = sc_sha256(&request, sizeof request);
    return key;
}

static void leave(sc_request *request)
{
    sc_flight *abandoned;
    if (sc_flights_leave(request->_pipeline->flights, &request->_waiter, &abandoned) ==
        SC_LEFT_NOT)
        return;
    if (abandoned != NULL)
        sc_work_abandon(SC_CONTAINER(abandoned, sc_work, flight));
    fail(request, sc_fail(&request->answer.error, SC_CANCELLED,
                          "the caller went away or its deadline passed"));
}

/* WAIT: on the flight of the same question, or at the head of a new one. */
static void join(sc_pipeline *pipeline, sc_request *request)
{
    sc_digest  key = flight_key(request);
    sc_flight *flight;
    bool       first;
    request->_joined_at = sc_now();
    sc_request_ref(request); /* it may be finished by another thread while we still look at it */
    sc_status status =
        sc_flights_join(pipeline->flights, &key, &request->_waiter, &flight, &first);
    if (status != SC_OK) {
        fail(request, sc_fail(&request->answer.error, status, "no memory for another question"));
        goto out;
    }
    atomic_store(&request->_joined, true);
    if (atomic_load(&request->_cancelled))
        leave(request);
    if (first) {
        sc_work_start(SC_CONTAINER(flight, sc_work, flight));
    } else {
        sc_work_serve_joiner(SC_CONTAINER(flight, sc_work, flight), request);
        sc_flight_unref(pipeline->flights, flight);
    }
out:
    sc_request_unref(request);
}

void sc_pipeline_answer(sc_pipeline *pipeline, sc_request *request)
{
    assert(pipeline->store != NULL);
    request->_pipeline = pipeline;
    request->_started = sc_now();
    sc_request_ref(request); /* not a store: the caller may hold references from before */
    sc_arena_init(&request->_arena, ARENA_BYTES_MAX);
    sc_arena *arena = request->arena == NULL ? &request->_arena : request->arena;

    sc_instant since = request->_started;
    sc_status  status = name(pipeline, &request->question, arena, &request->_canonical,
                             &request->_scope, &request->_id, &request->answer.error);
    lap(request, SC_STEP_CANONICAL, &since);
    if (status != SC_OK) {
        fail(request, status);
        return;
    }
    bool served = serve_exact(pipeline, request);
    lap(request, SC_STEP_EXACT, &since);
    if (served)
        finish_at(request, since);
    else
        join(pipeline, request);
}

void sc_request_cancel(sc_request *request)
{
    atomic_store(&request->_cancelled, true);
    if (atomic_load(&request->_joined))
        leave(request);
}

/* A work is a small state machine over the table `moves`. Each step may start operations
 * (an embedding, a store call, the LLM) and park; the operation that comes back last goes
 * on with the step's second half on its own thread. `pending` counts operations under way
 * plus one for the half that starts them, so that an operation which ends at once, on
 * this very stack, does not recurse and does not park.
 *
 * After a step has parked, its thread must not touch the work: it may be finished and freed.
 *
 * Alternative dropped: a queue of runnable works drained by a pool. It cost a thread hop
 * a step; here a hit found by Redis is answered by the thread that read Redis' reply. */
#include "src/pipeline/work.h"

#include <assert.h>
#include <stdlib.h>

#include "src/base/log.h"
#include "src/base/random.h"

typedef enum {
    STEP_NEXT,
    STEP_AGAIN,  /* the same step, from its start */
    STEP_PARKED, /* an operation will go on */
    STEP_END
} outcome;

static void resume(sc_work *work);

/* ---- operations under way ---------------------------------------------------------------- */

static void begin(sc_work *work)
{
    atomic_store_explicit(&work->pending, 1, memory_order_relaxed);
}

static void expect(sc_work *work)
{
    atomic_fetch_add_explicit(&work->pending, 1, memory_order_relaxed);
}

static bool settled(sc_work *work)
{
    return atomic_fetch_sub_explicit(&work->pending, 1, memory_order_acq_rel) == 1;
}

/* The end of every starting half. */
static outcome park(sc_work *work)
{
    return settled(work) ? STEP_NEXT : STEP_PARKED;
}

/* The end of every operation. */
static void came_back(sc_work *work)
{
    if (settled(work))
        resume(work);
}

static sc_instant in_ms(int64_t ms)
{
    return sc_instant_after_ms(sc_now(), ms);
}

/* ---- serving ----------------------------------------------------------------------------- */

/* Adds the time since the step began to its account. */
static void lap(sc_work *work)
{
    sc_instant now = sc_now();
    work->step_us[work->step] += (uint64_t)sc_elapsed_us(work->step_started, now);
    work->step_started = now;
}

static void put_times(const sc_work *work, sc_request *request)
{
    uint64_t *us = request->answer.step_us;
    if (request == work->origin) {
        for (sc_step step = SC_STEP_EMBED; step < SC_STEP_COUNT; step++)
            us[step] = work->step_us[step];
        /* Looked at by the request first, then by its flight. */
        us[SC_STEP_EXACT] += work->step_us[SC_STEP_EXACT];
    } else {
        us[SC_STEP_WAIT] = (uint64_t)sc_elapsed_us(request->_joined_at, sc_now());
    }
}

static const sc_candidate *nearest_of(const sc_work *work)
{
    static const sc_candidate none;
    const sc_candidate *warm = work->warm_hits[0].entry == NULL ? &none : &work->warm_hits[0];
    const sc_candidate *found = work->search.found_count == 0 ? &none : &work->search.found[0];
    if (warm->entry == NULL || (found->entry != NULL && found->distance < warm->distance))
        return found;
    return warm;
}

static void put_nearest(sc_answer *answer, const sc_candidate *nearest)
{
    if (nearest->entry == NULL)
        return;
    answer->nearest = *nearest;
    sc_entry_ref(nearest->entry);
}

static void finish_hit(sc_work *work, sc_request *request, const sc_candidate *hit,
                       sc_source source)
{
    sc_answer *answer = &request->answer;
    answer->source = source;
    answer->reason =
        source == SC_SOURCE_EXACT ? SC_REASON_SAME_KEY : SC_REASON_WITHIN_DISTANCE;
    answer->exact_only = work->exact_only;
    sc_answer_put_entry(answer, hit->entry, hit->distance);
    put_nearest(answer, hit);
    put_times(work, request);
    sc_request_finish(request);
}

static void count_use(sc_pipeline *pipeline, const sc_entry *entry)
{
    sc_wall now = sc_wall_now();
    sc_warm_used(pipeline->parts.warm, &entry->f.id, now);
    pipeline->store->ops->used(pipeline->store, &entry->f.id, now);
}

static bool wants(sc_waiter *waiter, void *candidate)
{
    const sc_request   *request = SC_CONTAINER(waiter, sc_request, _waiter);
    const sc_candidate *hit = candidate;
    return sc_is_hit(hit->distance, request->question.max_distance);
}

static bool may_serve(const sc_work *work, const sc_entry *entry)
{
    return sc_may_serve(entry, &work->origin->_scope, work->origin->_canonical.guard);
}

static void reading(sc_work *work)
{
    work->read_at = atomic_load(&work->pipeline->invalidated);
}

/* Has no invalidation ended since? */
static bool still_true(const sc_work *work)
{
    return atomic_load(&work->pipeline->invalidated) == work->read_at;
}

typedef struct {
    const sc_work *work;
    sc_candidate  *hit;
    sc_source      source;
} offer;

/* Under the flight's lock, and so after the waiter has joined: who asked when an invalidation had
 * returned is not served what was read before. */
static bool takes(sc_waiter *waiter, void *context)
{
    const offer *offered = context;
    return still_true(offered->work) &&
           (offered->source == SC_SOURCE_EXACT || wants(waiter, offered->hit));
}

/* Answers everyone for whom the hit is near enough; an exact one is for everyone. */
static void serve(sc_work *work, sc_candidate *hit, sc_source source)
{
    sc_link served;
    offer   offered = {work, hit, source};
    if (!may_serve(work, hit->entry))
        return;
    sc_list_init(&served);
    lap(work);
    sc_flights_take(work->pipeline->flights, &work->flight, takes, &offered, &served);
    if (sc_list_empty(&served))
        return;
    count_use(work->pipeline, hit->entry);
    for (sc_link *link; (link = sc_list_pop_front(&served)) != NULL;)
        finish_hit(work, sc_request_of(link), hit, source);
}

static void serve_exact(sc_work *work, sc_entry *entry)
{
    sc_candidate hit = {.entry = entry};
    if (sc_digest_equal(&entry->f.id, &work->origin->_id))
        serve(work, &hit, SC_SOURCE_EXACT);
}

static sc_reason miss_reason(const sc_work *work, const sc_request *request)
{
    if (work->kind == SC_WORK_REFRESH || work->kind == SC_WORK_BYPASS)
        return SC_REASON_NOT_LOOKED;
    if (work->stale.entry != NULL &&
        sc_is_hit(work->stale.distance, request->question.max_distance))
        return SC_REASON_STALE;
    if (work->exact_only != SC_REASON_NONE)
        return work->exact_only;
    return sc_miss_reason(nearest_of(work), &work->gather.query.refused,
                          request->question.max_distance);
}

/* The candidate that the reason is about. */
static const sc_candidate *reason_of(const sc_work *work, sc_reason reason)
{
    if (reason == SC_REASON_VOLATILE_DIFFERS)
        return &work->gather.query.refused;
    if (reason == SC_REASON_STALE && work->stale.entry != NULL)
        return &work->stale;
    return nearest_of(work);
}

static void put_miss(const sc_work *work, sc_request *request)
{
    sc_answer *answer = &request->answer;
    answer->reason = miss_reason(work, request);
    answer->exact_only = work->exact_only;
    put_nearest(answer, reason_of(work, answer->reason));
    put_times(work, request);
}

/* ---- EXACT: the same key in memory -------------------------------------------------------- */

/* Looked up once by each request already. Once more here, because between a request's look and its
 * flight another flight of the same question may have ended: without it that request would ask the
 * LLM again. */
static void verify_done(sc_store_call *call)
{
    sc_work *work = SC_CONTAINER(SC_CONTAINER(call, sc_store_verify, call), sc_work, verify);
    if (call->status == SC_OK && work->verify.fresh)
        atomic_store(&work->verifying->verified_ns, sc_now().ns);
    came_back(work);
}

static void verify_start(sc_work *work, sc_entry *entry)
{
    work->verifying = entry;
    work->verify = (sc_store_verify){
        .call = {.deadline = in_ms(work->pipeline->options.store_timeout_ms), .done = verify_done},
        .id = entry->f.id,
        .version = entry->f.version,
    };
    expect(work);
    work->pipeline->store->ops->verify(work->pipeline->store, &work->verify);
}

/* A copy that memory had and that may not be served: the nearest one is named in the reply. */
static void note_stale(sc_work *work, const sc_candidate *copy)
{
    if (work->stale.entry != NULL)
        return;
    work->stale = *copy;
    sc_entry_ref(copy->entry);
}

/* What the verification means for the copy; drops it from memory when it is stale. */
static bool verify_outcome(sc_work *work, const sc_candidate *copy)
{
    sc_pipeline *pipeline = work->pipeline;
    sc_entry    *entry = copy->entry;
    bool         asked = work->verify.call.status == SC_OK;
    if (asked && work->verify.fresh)
        return true;
    sc_trust_state trust = sc_pipeline_trust(pipeline);
    if (!asked && sc_trust_unverified(&trust, atomic_load(&entry->verified_ns), sc_now()))
        return true;
    if (asked)
        sc_warm_remove(pipeline->parts.warm, &entry->f.id, entry->f.version);
    note_stale(work, copy);
    return false;
}

/* Asks the store about the copy, or takes it as it is when memory may be believed. */
static outcome trust_or_verify(sc_work *work, sc_entry *entry)
{
    sc_trust_state trust = sc_pipeline_trust(work->pipeline);
    begin(work);
    if (sc_trust_copy(&trust) == SC_TRUST_VERIFY)
        verify_start(work, entry);
    else
        work->verify = (sc_store_verify){.call = {.status = SC_OK}, .fresh = true};
    return park(work);
}

static outcome exact(sc_work *work)
{
    sc_pipeline *pipeline = work->pipeline;
    if (work->kind == SC_WORK_REFRESH || work->kind == SC_WORK_BYPASS)
        return STEP_NEXT;
    reading(work);
    sc_entry *entry = sc_warm_exact(pipeline->parts.warm, &work->origin->_id, sc_wall_now());
    if (entry == NULL)
        return STEP_NEXT;
    work->kept = entry;
    return trust_or_verify(work, entry);
}

static outcome exact_after(sc_work *work)
{
    sc_entry *entry = work->kept;
    if (entry == NULL)
        return STEP_NEXT;
    work->kept = NULL;
    if (verify_outcome(work, &(sc_candidate){.entry = entry}))
        serve_exact(work, entry);
    sc_entry_unref(entry);
    return STEP_NEXT;
}

/* ---- EMBED: the vector; meanwhile the same key in the store -------------------------------- */

static void embed_done(sc_embed_call *call)
{
    sc_work *work = SC_CONTAINER(call, sc_work, embed);
    atomic_store(&work->embedded, true);
    came_back(work);
}

static void embed_start(sc_work *work)
{
    sc_str text = work->origin->_canonical.text;
    work->embed = (sc_embed_call){
        .text = text,
        .hash = sc_sha256(text.ptr, text.len),
        .vector = work->vector,
        .deadline = in_ms(work->pipeline->options.embed_timeout_ms),
        .done = embed_done,
    };
    expect(work);
    sc_embedder_ask(work->pipeline->parts.embedder, &work->embed);
}

static void get_done(sc_store_call *call)
{
    sc_work *work = SC_CONTAINER(SC_CONTAINER(call, sc_store_get, call), sc_work, get);
    /* Served before the embedding is back: nothing else may touch the work until came_back. */
    if (work->get.call.status == SC_OK && work->get.found != NULL)
        serve_exact(work, work->get.found);
    came_back(work);
}

static void get_start(sc_work *work)
{
    work->looked = true;
    work->id_changes = sc_pipeline_changes_of(work->pipeline, &work->origin->_id);
    work->get = (sc_store_get){
        .call = {.deadline = in_ms(work->pipeline->options.store_timeout_ms), .done = get_done},
        .id = work->origin->_id,
    };
    expect(work);
    work->pipeline->store->ops->get(work->pipeline->store, &work->get);
}

/* A text whose characters were all volatile has nothing to compare. */
static bool embeddable(const sc_work *work)
{
    return work->origin->_canonical.text.len != 0;
}

static outcome embed(sc_work *work)
{
    if (work->kind == SC_WORK_BYPASS)
        return STEP_NEXT;
    reading(work);
    begin(work);
    if (embeddable(work))
        embed_start(work);
    else
        work->exact_only = SC_REASON_NOT_EMBEDDABLE;
    /* A known text needs no time in which to look: memory is asked first, the store after it. */
    if (work->kind != SC_WORK_REFRESH && embeddable(work) && !atomic_load(&work->embedded))
        get_start(work);
    return park(work);
}

static void publish_embed(void *context)
{
    sc_work *work = context;
    if (work->embed.status != SC_OK)
        work->exact_only = SC_REASON_EMBEDDING_UNAVAILABLE;
    else if (work->embed.note != SC_EMBED_USABLE)
        work->exact_only = SC_REASON_NOT_EMBEDDABLE;
}

static const float *vector_of(const sc_work *work)
{
    return work->exact_only == SC_REASON_NONE ? work->vector : NULL;
}

/* An entry that only the store had: memory should have it next time. */
static void warm_up(sc_work *work)
{
    sc_entry *entry = work->get.found;
    if (entry != NULL && may_serve(work, entry))
        sc_pipeline_recall(work->pipeline, entry, vector_of(work), work->id_changes);
}

/* What was found by key could not be served: the store is asked once more, in CONFIRM. */
static void get_again(sc_work *work)
{
    sc_entry_unref(work->get.found);
    work->get.found = NULL;
    work->looked = false;
}

static outcome embed_after(sc_work *work)
{
    if (work->kind == SC_WORK_BYPASS)
        return STEP_NEXT;
    if (embeddable(work))
        sc_flights_publish(work->pipeline->flights, &work->flight, publish_embed, work);
    warm_up(work);
    if (work->get.found != NULL && !still_true(work))
        get_again(work);
    return STEP_NEXT;
}

/* ---- PREFILTER: the scope's warm entries ---------------------------------------------------- */

static bool compares(const sc_work *work)
{
    return work->exact_only == SC_REASON_NONE &&
           (work->kind == SC_WORK_LOOK_AND_ASK || work->kind == SC_WORK_LOOK_ONLY);
}

static void gather_done(sc_gather_call *call)
{
    came_back(SC_CONTAINER(call, sc_work, gather));
}

/* A known text has come this far on its caller's thread. A small scope is searched there as well: the
 * hop to a worker costs about 10 us, as much as 2 000 rows of 384 by the int8 pass; from there on
 * sharing one pass over memory with others is worth more than the hop. */
static bool searches_at_once(const sc_work *work)
{
    enum { FLOATS_MAX = 1 << 20 };
    size_t rows_max = FLOATS_MAX / work->pipeline->dim;
    return work->embed.from_map &&
           sc_warm_rows(work->pipeline->parts.warm, &work->origin->_scope) <= rows_max;
}

static outcome prefilter(sc_work *work)
{
    if (!compares(work))
        return STEP_NEXT;
    work->gather = (sc_gather_call){
        .scope = work->origin->_scope,
        .query = {.vector = work->vector,
                  .guard = work->origin->_canonical.guard,
                  .hits = work->warm_hits,
                  .k = work->origin->question.top_k},
        .done = gather_done,
    };
    reading(work);
    if (searches_at_once(work)) {
        sc_gather_now(work->pipeline->gather, &work->gather);
        return STEP_NEXT;
    }
    begin(work);
    expect(work);
    sc_gather_ask(work->pipeline->gather, &work->gather);
    return park(work);
}

/* ---- VERIFY: warm candidates, nearest first -------------------------------------------------- */

static void publish_warm(void *context)
{
    sc_work *work = context;
    work->warm_count = work->gather.query.hits_used;
}

static bool anyone(sc_waiter *waiter, void *context)
{
    struct {
        const sc_candidate *hit;
        bool                found;
    } *look = context;
    look->found |= sc_is_hit(look->hit->distance,
                             SC_CONTAINER(waiter, sc_request, _waiter)->question.max_distance);
    return false;
}

static bool somebody_wants(sc_work *work, const sc_candidate *hit)
{
    struct {
        const sc_candidate *hit;
        bool                found;
    } look = {hit, false};
    sc_link none;
    sc_list_init(&none);
    sc_flights_take(work->pipeline->flights, &work->flight, anyone, &look, &none);
    return look.found;
}

static outcome verify(sc_work *work)
{
    work->checking = compares(work) && work->gather.query.hits_used != 0 &&
                     somebody_wants(work, &work->warm_hits[0]);
    return work->checking ? trust_or_verify(work, work->warm_hits[0].entry) : STEP_NEXT;
}

/* The nearest was stale: the next one moves up. */
static void drop_nearest(sc_work *work)
{
    sc_warm_query *query = &work->gather.query;
    sc_entry_unref(work->warm_hits[0].entry);
    query->hits_used--;
    memmove(work->warm_hits, work->warm_hits + 1, query->hits_used * sizeof *work->warm_hits);
    work->warm_hits[query->hits_used] = (sc_candidate){0};
}

/* Published before it is served: who joins in between is in one of the two looks. */
static outcome verify_after(sc_work *work)
{
    sc_candidate *nearest = &work->warm_hits[0];
    bool          fresh = work->checking && verify_outcome(work, nearest);
    if (work->checking && !fresh && work->verify.call.status == SC_OK) {
        drop_nearest(work);
        return STEP_AGAIN;
    }
    sc_flights_publish(work->pipeline->flights, &work->flight, publish_warm, work);
    /* Nobody wanted it a moment ago; somebody may have joined who does. A store that did not answer
     * for the nearest would not answer for the next. */
    sc_trust_state trust = sc_pipeline_trust(work->pipeline);
    if (!work->checking && work->warm_count != 0)
        fresh = sc_trust_copy(&trust) == SC_TRUST_SERVE;
    if (fresh)
        serve(work, nearest, SC_SOURCE_WARM);
    return STEP_NEXT;
}

/* ---- CONFIRM: the store's index ---------------------------------------------------------------- */

static void search_done(sc_store_call *call)
{
    came_back(SC_CONTAINER(SC_CONTAINER(call, sc_store_search, call), sc_work, search));
}

static void search_start(sc_work *work)
{
    const sc_question *question = &work->origin->question;
    work->all_changes = atomic_load(&work->pipeline->changes);
    work->search = (sc_store_search){
        .call = {.deadline = in_ms(work->pipeline->options.store_timeout_ms), .done = search_done},
        .scope = work->origin->_scope,
        .guard = work->origin->_canonical.guard,
        .vector = work->vector,
        .k = question->top_k,
        .ef_runtime = question->ef_runtime,
    };
    expect(work);
    work->pipeline->store->ops->search(work->pipeline->store, &work->search);
}

static outcome confirm(sc_work *work)
{
    if (work->kind == SC_WORK_REFRESH || work->kind == SC_WORK_BYPASS)
        return STEP_NEXT;
    reading(work);
    work->confirmed++;
    begin(work);
    if (!work->looked)
        get_start(work);
    if (compares(work))
        search_start(work);
    return park(work);
}

static void publish_found(void *context)
{
    sc_work *work = context;
    work->found_count = work->search.found_count;
}

static void unpublish_found(void *context)
{
    sc_work *work = context;
    work->found_count = 0;
    sc_candidates_unref(work->search.found, work->search.found_count);
    work->search.found_count = 0;
}

/* The store was asked for this scope and these volatile values; what it gave is looked at once more. */
static void drop_foreign(sc_work *work)
{
    sc_store_search *search = &work->search;
    size_t           kept = 0;
    for (size_t i = 0; i < search->found_count; i++)
        if (may_serve(work, search->found[i].entry))
            search->found[kept++] = search->found[i];
        else
            sc_entry_unref(search->found[i].entry);
    search->found_count = kept;
}

/* An invalidation ended meanwhile, and there was something to serve: it may be there still. Not for
 * ever, should invalidations come without end. */
static bool reads_again(sc_work *work)
{
    enum { CONFIRM_MAX = 3 };
    bool found = work->get.found != NULL || work->search.found_count != 0;
    if (still_true(work) || !found || work->confirmed == CONFIRM_MAX)
        return false;
    get_again(work);
    sc_flights_publish(work->pipeline->flights, &work->flight, unpublish_found, work);
    return true;
}

static outcome confirm_after(sc_work *work)
{
    warm_up(work);
    drop_foreign(work);
    if (work->search.found_count != 0) {
        sc_flights_publish(work->pipeline->flights, &work->flight, publish_found, work);
        serve(work, &work->search.found[0], SC_SOURCE_REDIS);
    }
    return reads_again(work) ? STEP_AGAIN : STEP_NEXT;
}

/* ---- ASK: the LLM --------------------------------------------------------------------------------- */

static void finish_failed(sc_work *work, sc_request *request, sc_status status,
                          const sc_error *error)
{
    put_miss(work, request);
    request->answer.status = status;
    request->answer.error = *error;
    sc_request_finish(request);
}

static outcome not_found(sc_work *work)
{
    sc_error error;
    sc_link  all;
    sc_list_init(&all);
    sc_status status = sc_fail(&error, SC_NOT_FOUND, "not in the cache, and cache_mode forbids to ask");
    lap(work);
    sc_flights_take(work->pipeline->flights, &work->flight, NULL, NULL, &all);
    for (sc_link *link; (link = sc_list_pop_front(&all)) != NULL;)
        finish_failed(work, sc_request_of(link), status, &error);
    return STEP_END;
}

static void llm_done(sc_llm_call *call)
{
    came_back(SC_CONTAINER(call, sc_work, llm));
}

static void llm_start(sc_work *work)
{
    const sc_question *question = &work->origin->question;
    work->llm = (sc_llm_call){
        .model = question->scope.model,
        .system_prompt = question->scope.system_prompt,
        .turns = question->scope.turns,
        .turns_count = question->scope.turns_count,
        .user_prompt = question->user_prompt,
        .temperature = question->scope.temperature,
        .params = question->scope.params,
        .params_count = question->scope.params_count,
        .deadline = in_ms(work->pipeline->options.llm_timeout_ms),
        .done = llm_done,
    };
    expect(work);
    work->pipeline->parts.llm->ask(work->pipeline->parts.llm, &work->llm);
}

static outcome ask(sc_work *work)
{
    sc_pipeline *pipeline = work->pipeline;
    if (work->kind == SC_WORK_LOOK_ONLY)
        return not_found(work);
    if (atomic_load(&work->flight.landed))
        return STEP_END; /* nobody waits any more, and nothing has been paid for yet */
    work->epoch = sc_pipeline_epoch(pipeline);
    begin(work);
    llm_start(work);
    atomic_store(&work->asked, true);
    /* The last waiter may have left before the call could be cancelled. */
    if (atomic_load(&work->flight.landed))
        pipeline->parts.llm->cancel(pipeline->parts.llm, &work->llm);
    return park(work);
}

static outcome ask_after(sc_work *work)
{
    const sc_llm_call *llm = &work->llm;
    uint64_t           us = (uint64_t)sc_elapsed_us(work->step_started, sc_now());
    sc_pipeline_count_llm(work->pipeline->metrics, llm->status, us,
                          (uint64_t)llm->prompt_tokens + llm->completion_tokens);
    return STEP_NEXT;
}

/* ---- KEEP: to memory and store ---------------------------------------------------------------------- */

static bool keeps(const sc_request *request)
{
    return request->may_store && request->question.mode != SC_MODE_NO_STORE &&
           request->question.mode != SC_MODE_BYPASS &&
           request->question.mode != SC_MODE_ONLY_IF_CACHED;
}

/* The entry takes the time to live and the tags of the first who lets it be kept. When all have
 * left, the answer is paid for all the same, and the first asker's word counts. */
static void publish_keeper(void *context)
{
    sc_work    *work = context;
    sc_request *keeper = work->flight.waiters_count == 0 && keeps(work->origin) ? work->origin : NULL;
    SC_LIST_EACH (link, &work->flight.waiters)
        if (keeper == NULL && keeps(sc_request_of(link)))
            keeper = sc_request_of(link);
    if (keeper != NULL)
        sc_request_ref(keeper);
    work->keeper = keeper;
}

static bool good(const sc_work *work)
{
    const sc_llm_call *llm = &work->llm;
    return llm->status == SC_OK && llm->answer != NULL && llm->answer->len != 0 &&
           llm->answer->len <= (size_t)work->pipeline->options.answer_bytes_max &&
           sc_str_equal(sc_str_of(llm->finish_reason), SC_STR("stop"));
}

/* Shortened at random: entries written together should not expire together, since each
 * expiry costs Redis a repair of its index. Never lengthened: a time to live is a promise. */
static int64_t life_ms(const sc_pipeline *pipeline, int64_t ttl_seconds)
{
    int64_t ms = ttl_seconds * 1000;
    int64_t jitter = ms / 100 * pipeline->options.ttl_jitter_percent;
    return jitter == 0 ? ms : ms - sc_random_between(0, jitter);
}

static sc_entry *entry_of(const sc_work *work)
{
    const sc_request  *origin = work->origin;
    const sc_question *question = &work->keeper->question;
    const sc_llm_call *llm = &work->llm;
    sc_wall            now = sc_wall_now();
    sc_entry_fields    fields = {
           .id = origin->_id,
           .scope = origin->_scope,
           .guard = origin->_canonical.guard,
           .version = sc_random_u64() | 1,
           .created = now,
           .expires = {now.ms + life_ms(work->pipeline, question->ttl_seconds)},
           .tenant = origin->question.scope.tenant,
           .model = origin->question.scope.model,
           .corpus_version = origin->question.scope.corpus_version,
           .system_hash = sc_system_hash(origin->question.scope.system_prompt),
           .temperature = origin->question.scope.temperature,
           .prompt = origin->question.user_prompt,
           .canonical = origin->_canonical.text,
           .answer = sc_blob_view(llm->answer),
           .finish_reason = sc_str_of(llm->finish_reason),
           .answered_by = sc_str_of(llm->answered_by),
           .prompt_tokens = llm->prompt_tokens,
           .completion_tokens = llm->completion_tokens,
           .tags = question->tags,
           .tags_count = (uint32_t)question->tags_count,
    };
    return sc_entry_make(&fields);
}

static void put_done(sc_store_call *call)
{
    static sc_log_limit limit;
    sc_work            *work = SC_CONTAINER(SC_CONTAINER(call, sc_store_put, call), sc_work, put);
    int64_t             left_out = 0;
    if (call->status != SC_OK && sc_log_allow(&limit, 1000, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "store.put_failed", sc_kv_text("status", sc_status_name(call->status)),
               sc_kv_text("cause", call->error.text), sc_kv_int("left_out", left_out));
    sc_pipeline_put_ends(work->pipeline);
    sc_flight_unref(work->pipeline->flights, &work->flight);
}

static void put_start(sc_work *work)
{
    work->put = (sc_store_put){
        .call = {.deadline = in_ms(work->pipeline->options.store_timeout_ms), .done = put_done},
        .entry = work->kept,
        .vector = vector_of(work),
    };
    sc_flight_ref(&work->flight);
    work->pipeline->store->ops->put(work->pipeline->store, &work->put);
}

/* What was invalidated while the LLM was thinking must not come back. */
static void keep_unless_invalidated(sc_work *work, sc_entry *entry)
{
    if (!sc_pipeline_put_begins(work->pipeline, work->epoch))
        return;
    work->kept = sc_entry_ref(entry);
    sc_room_note(work->pipeline, entry, vector_of(work));
    sc_pipeline_learn(work->pipeline, entry, vector_of(work));
    sc_room_make(work->pipeline, entry->f.tenant, &work->keeper->question.quota, &entry->f.id);
    put_start(work);
}

static outcome keep(sc_work *work)
{
    if (!good(work))
        return STEP_NEXT;
    sc_flights_publish(work->pipeline->flights, &work->flight, publish_keeper, work);
    sc_entry *entry = work->keeper == NULL ? NULL : entry_of(work);
    if (entry == NULL)
        return STEP_NEXT;
    atomic_store(&entry->verified_ns, sc_now().ns);
    if (sc_room_suffices(work->pipeline, &work->keeper->question.quota, entry, vector_of(work)))
        keep_unless_invalidated(work, entry);
    sc_entry_unref(entry);
    return STEP_NEXT;
}

/* ---- REPLY: to everyone who still waits ------------------------------------------------------------- */

static void finish_answered(sc_work *work, sc_request *request, sc_source source)
{
    sc_answer         *answer = &request->answer;
    const sc_llm_call *llm = &work->llm;
    put_miss(work, request);
    answer->source = source;
    answer->stored = work->kept != NULL;
    if (work->kept != NULL)
        answer->entry = sc_entry_ref(work->kept);
    else if (llm->answer != NULL)
        answer->text = sc_blob_ref(llm->answer);
    memcpy(answer->finish_reason, llm->finish_reason, sizeof answer->finish_reason);
    memcpy(answer->answered_by, llm->answered_by, sizeof answer->answered_by);
    answer->prompt_tokens = llm->prompt_tokens;
    answer->completion_tokens = llm->completion_tokens;
    if (source == SC_SOURCE_JOINED)
        answer->tokens_saved = llm->prompt_tokens + llm->completion_tokens;
    sc_request_finish(request);
}

/* The LLM failed. The caller may have said that an answer which has just expired is better. */
static bool finish_stale(sc_work *work, sc_request *request)
{
    sc_pipeline *pipeline = work->pipeline;
    int64_t      seconds = request->question.stale_seconds;
    if (seconds > pipeline->options.limits.stale_seconds_max)
        seconds = pipeline->options.limits.stale_seconds_max;
    if (seconds == 0 || work->kind == SC_WORK_BYPASS)
        return false;
    sc_wall   then = {sc_wall_now().ms - seconds * 1000};
    sc_entry *entry = sc_warm_exact(pipeline->parts.warm, &work->origin->_id, then);
    sc_candidate hit = {.entry = entry};
    bool         served = entry != NULL && may_serve(work, entry);
    if (served) {
        request->answer.stale = true;
        finish_hit(work, request, &hit, SC_SOURCE_EXACT);
    }
    sc_entry_unref(entry);
    return served;
}

/* Those who still wait have not left, and have not asked for a cached answer that is not there;
 * whatever it was that the LLM sent instead of an answer, they can only try again later. The
 * error's text tells what. */
static sc_status failure_of(sc_status of_llm)
{
    bool ours = of_llm == SC_CANCELLED || of_llm == SC_NOT_FOUND || of_llm == SC_CORRUPT ||
                of_llm == SC_TOO_LARGE || of_llm == SC_MISMATCH;
    return ours ? SC_UNAVAILABLE : of_llm;
}

static outcome reply(sc_work *work)
{
    sc_link all;
    sc_list_init(&all);
    sc_flights_take(work->pipeline->flights, &work->flight, NULL, NULL, &all);
    /* One LLM call is one LLM answer; everyone else shared it. */
    sc_source source = SC_SOURCE_LLM;
    for (sc_link *link; (link = sc_list_pop_front(&all)) != NULL;) {
        sc_request *request = sc_request_of(link);
        if (work->llm.status == SC_OK) {
            finish_answered(work, request, source);
            source = SC_SOURCE_JOINED;
        } else if (!finish_stale(work, request)) {
            finish_failed(work, request, failure_of(work->llm.status), &work->llm.error);
        }
    }
    return STEP_END;
}

/* ---- the machine ---------------------------------------------------------------------------------------- */

static const struct {
    outcome (*start)(sc_work *work);
    outcome (*after)(sc_work *work); /* once every operation of start has come back; may be NULL */
} moves[SC_STEP_COUNT] = {
    [SC_STEP_EXACT] = {exact, exact_after},
    [SC_STEP_WAIT] = {NULL, NULL},
    [SC_STEP_EMBED] = {embed, embed_after},
    [SC_STEP_PREFILTER] = {prefilter, NULL},
    [SC_STEP_VERIFY] = {verify, verify_after},
    [SC_STEP_CONFIRM] = {confirm, confirm_after},
    [SC_STEP_ASK] = {ask, ask_after},
    [SC_STEP_KEEP] = {keep, NULL},
    [SC_STEP_REPLY] = {reply, NULL},
};

static outcome start_half(sc_work *work)
{
    return moves[work->step].start == NULL ? STEP_NEXT : moves[work->step].start(work);
}

static outcome second_half(sc_work *work)
{
    return moves[work->step].after == NULL ? STEP_NEXT : moves[work->step].after(work);
}

/* Nobody waits, and there is no answer yet that would be worth keeping. */
static bool pointless(const sc_work *work)
{
    return work->step < SC_STEP_ASK && atomic_load(&work->flight.landed);
}

static void run(sc_work *work, bool parked)
{
    for (;;) {
        outcome went = parked ? STEP_NEXT : start_half(work);
        if (went == STEP_PARKED)
            return;
        parked = false;
        if (went == STEP_NEXT)
            went = second_half(work);
        lap(work);
        if (went == STEP_END || pointless(work))
            break;
        if (went == STEP_NEXT)
            work->step++;
    }
    sc_flight_unref(work->pipeline->flights, &work->flight);
}

static void resume(sc_work *work)
{
    run(work, true);
}

void sc_work_start(sc_work *work)
{
    work->step = SC_STEP_EXACT;
    work->step_started = sc_now();
    run(work, false);
}

void sc_work_abandon(sc_work *work)
{
    sc_pipeline *pipeline = work->pipeline;
    if (atomic_load(&work->asked))
        pipeline->parts.llm->cancel(pipeline->parts.llm, &work->llm);
    sc_flight_unref(pipeline->flights, &work->flight);
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

static sc_work_kind kind_of(const sc_request *request)
{
    static const sc_work_kind kinds[SC_MODE_COUNT] = {
        [SC_MODE_DEFAULT] = SC_WORK_LOOK_AND_ASK,
        [SC_MODE_NO_STORE] = SC_WORK_LOOK_AND_ASK,
        [SC_MODE_REFRESH] = SC_WORK_REFRESH,
        [SC_MODE_BYPASS] = SC_WORK_BYPASS,
        [SC_MODE_ONLY_IF_CACHED] = SC_WORK_LOOK_ONLY,
    };
    return kinds[request->question.mode];
}

sc_flight *sc_work_make(void *pipeline, sc_waiter *first)
{
    sc_pipeline *owner = pipeline;
    sc_request  *origin = SC_CONTAINER(first, sc_request, _waiter);
    sc_work     *work = malloc(sizeof *work + owner->dim * sizeof(float));
    if (work == NULL)
        return NULL;
    *work = (sc_work){.pipeline = owner, .origin = origin, .kind = kind_of(origin)};
    sc_request_ref(origin);
    return &work->flight;
}

void sc_work_release(sc_flight *flight)
{
    sc_work *work = SC_CONTAINER(flight, sc_work, flight);
    sc_candidates_unref(work->warm_hits, work->gather.query.hits_used);
    sc_candidates_unref(work->search.found, work->search.found_count);
    sc_entry_unref(work->gather.query.refused.entry);
    sc_entry_unref(work->get.found);
    sc_entry_unref(work->kept);
    sc_entry_unref(work->stale.entry);
    sc_blob_unref(work->llm.answer);
    if (work->keeper != NULL)
        sc_request_unref(work->keeper);
    sc_request_unref(work->origin);
    free(work);
}

/* ---- joiners --------------------------------------------------------------------------------------------------- */

/* One request's look at what a flight has found so far. */
typedef struct {
    sc_work     *work;
    sc_request  *request;
    sc_candidate hit; /* with a reference, or NULL */
    sc_source    source;
} joiner;

/* Under the flight's lock. */
static void joiner_looks(void *context)
{
    joiner       *look = context;
    sc_work      *work = look->work;
    sc_waiter    *waiter = &look->request->_waiter;
    sc_candidate *hit = NULL;
    if (work->warm_count != 0 && wants(waiter, &work->warm_hits[0])) {
        hit = &work->warm_hits[0];
        look->source = SC_SOURCE_WARM;
    } else if (work->found_count != 0 && wants(waiter, &work->search.found[0])) {
        hit = &work->search.found[0];
        look->source = SC_SOURCE_REDIS;
    }
    if (hit == NULL)
        return;
    look->hit = *hit;
    sc_entry_ref(hit->entry);
}

/* The flight may have found it a minute ago, and be waiting for the LLM since. */
static bool still_there(const joiner *look)
{
    const sc_pipeline     *pipeline = look->work->pipeline;
    const sc_entry_fields *f = &look->hit.entry->f;
    if (f->expires.ms <= sc_wall_now().ms || !may_serve(look->work, look->hit.entry))
        return false;
    if (look->source == SC_SOURCE_REDIS)
        return atomic_load(&pipeline->changes) == look->work->all_changes;
    return sc_warm_version(pipeline->parts.warm, &f->id) == f->version;
}

static bool is_joiner(sc_waiter *waiter, void *context)
{
    const joiner *look = context;
    return waiter == &look->request->_waiter;
}

static void joiner_takes(joiner *look)
{
    sc_work *work = look->work;
    sc_link  served;
    sc_list_init(&served);
    sc_flights_take(work->pipeline->flights, &work->flight, is_joiner, look, &served);
    if (sc_list_empty(&served))
        return;
    sc_list_pop_front(&served);
    count_use(work->pipeline, look->hit.entry);
    finish_hit(work, look->request, &look->hit, look->source);
}

void sc_work_serve_joiner(sc_work *work, sc_request *request)
{
    sc_trust_state trust = sc_pipeline_trust(work->pipeline);
    /* A copy that wants verification is not worth an extra round trip here: the flight goes on. */
    if (sc_trust_copy(&trust) != SC_TRUST_SERVE)
        return;
    joiner look = {.work = work, .request = request};
    sc_flights_publish(work->pipeline->flights, &work->flight, joiner_looks, &look);
    if (look.hit.entry != NULL && still_there(&look))
        joiner_takes(&look);
    sc_entry_unref(look.hit.entry);
}

/* Asking: the LLM once, keeping what is good, telling everyone who still waits. */
#include "src/pipeline/move.h"

#include <stdlib.h>

#include "src/base/log.h"
#include "src/base/random.h"

/* ---- ASK: the LLM --------------------------------------------------------------------------------- */

static void finish_failed(sc_work *work, sc_request *request, sc_status status,
                          const sc_error *error)
{
    sc_work_put_miss(work, request);
    request->answer.status = status;
    request->answer.error = *error;
    sc_request_finish(request);
}

static sc_move not_found(sc_work *work)
{
    sc_error error;
    sc_link  all;
    sc_list_init(&all);
    sc_status status = sc_fail(&error, SC_NOT_FOUND, "not in the cache, and cache_mode forbids to ask");
    sc_work_lap(work);
    sc_flights_take(work->pipeline->flights, &work->flight, NULL, NULL, &all);
    for (sc_link *link; (link = sc_list_pop_front(&all)) != NULL;)
        finish_failed(work, sc_request_of(link), status, &error);
    return SC_MOVE_END;
}

static void llm_done(sc_llm_call *call)
{
    sc_work_came_back(SC_CONTAINER(call, sc_work, llm));
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
        .deadline = sc_in_ms(work->pipeline->options.llm_timeout_ms),
        .done = llm_done,
    };
    sc_work_expect(work);
    work->pipeline->parts.llm->ask(work->pipeline->parts.llm, &work->llm);
}

sc_move sc_move_ask(sc_work *work)
{
    sc_pipeline *pipeline = work->pipeline;
    if (work->kind == SC_WORK_LOOK_ONLY)
        return not_found(work);
    if (atomic_load(&work->flight.landed))
        return SC_MOVE_END; /* nobody waits any more, and nothing has been paid for yet */
    work->epoch = sc_pipeline_epoch(pipeline);
    sc_work_has_looked(work);
    sc_work_begin(work);
    llm_start(work);
    atomic_store(&work->asked, true);
    /* The last waiter may have left before the call could be cancelled. */
    if (atomic_load(&work->flight.landed))
        pipeline->parts.llm->cancel(pipeline->parts.llm, &work->llm);
    return sc_work_park(work);
}

sc_move sc_move_ask_after(sc_work *work)
{
    const sc_llm_call *llm = &work->llm;
    uint64_t           us = (uint64_t)sc_elapsed_us(work->step_started, sc_now());
    sc_pipeline_count_llm(work->pipeline->metrics, llm->status, us,
                          (uint64_t)llm->prompt_tokens + llm->completion_tokens);
    return SC_MOVE_NEXT;
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

/* Not a part of the work: nobody writes while he waits. */
typedef struct {
    sc_store_put put;
    sc_work     *work;
} keeping;

static void log_put(sc_status status, const char *cause)
{
    static sc_log_limit limit;
    int64_t             left_out = 0;
    if (sc_log_allow(&limit, 1000, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "store.put_failed", sc_kv_text("status", sc_status_name(status)),
               sc_kv_text("cause", cause), sc_kv_int("left_out", left_out));
}

static void put_done(sc_store_call *call)
{
    keeping *k = SC_CONTAINER(SC_CONTAINER(call, sc_store_put, call), keeping, put);
    sc_work *work = k->work;
    if (call->status != SC_OK)
        log_put(call->status, call->error.text);
    free(k);
    sc_pipeline_put_ends(work->pipeline);
    sc_flight_unref(work->pipeline->flights, &work->flight);
}

static void put_start(sc_work *work)
{
    keeping *k = malloc(sizeof *k);
    if (k == NULL) {
        log_put(SC_NO_MEMORY, "no memory to write an entry");
        sc_pipeline_put_ends(work->pipeline);
        return;
    }
    *k = (keeping){.work = work};
    k->put = (sc_store_put){
        .call = {.deadline = sc_in_ms(work->pipeline->options.store_timeout_ms), .done = put_done},
        .entry = work->kept,
        .vector = sc_work_vector(work),
    };
    sc_flight_ref(&work->flight);
    work->pipeline->store->ops->put(work->pipeline->store, &k->put);
}

/* What was invalidated while the LLM was thinking must not come back. */
static void keep_unless_invalidated(sc_work *work, sc_entry *entry)
{
    if (!sc_pipeline_put_begins(work->pipeline, work->epoch))
        return;
    work->kept = sc_entry_ref(entry);
    sc_room_note(work->pipeline, entry, sc_work_vector(work));
    sc_pipeline_learn(work->pipeline, entry, sc_work_vector(work));
    sc_room_make(work->pipeline, entry->f.tenant, &work->keeper->question.quota, &entry->f.id);
    put_start(work);
}

sc_move sc_move_keep(sc_work *work)
{
    if (!good(work))
        return SC_MOVE_NEXT;
    sc_flights_publish(work->pipeline->flights, &work->flight, publish_keeper, work);
    sc_entry *entry = work->keeper == NULL ? NULL : entry_of(work);
    if (entry == NULL)
        return SC_MOVE_NEXT;
    atomic_store(&entry->verified_ns, sc_now().ns);
    if (sc_room_suffices(work->pipeline, &work->keeper->question.quota, entry, sc_work_vector(work)))
        keep_unless_invalidated(work, entry);
    sc_entry_unref(entry);
    return SC_MOVE_NEXT;
}

/* ---- REPLY: to everyone who still waits ------------------------------------------------------------- */

static void finish_answered(sc_work *work, sc_request *request, sc_source source)
{
    sc_answer         *answer = &request->answer;
    const sc_llm_call *llm = &work->llm;
    sc_work_put_miss(work, request);
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
    bool         served = entry != NULL && sc_work_may_serve(work, entry);
    if (served) {
        request->answer.stale = true;
        sc_work_finish_hit(work, request, &hit, SC_SOURCE_EXACT);
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

sc_move sc_move_reply(sc_work *work)
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
    return SC_MOVE_END;
}

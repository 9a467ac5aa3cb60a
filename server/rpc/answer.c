#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "server/rpc/question.h"

/* A message becomes at most a few times its size when it is unpacked; the message itself is bounded
 * by the door. */
enum { ARENA_BYTES_MAX = 64 << 20 };

/* Who replies: the handler, when the answer is there before it returns (one batch, one
 * event); else whoever finishes the request. */
enum { STARTING, FINISHED, DETACHED };

typedef struct answer_call {
    sc_request   request;
    sc_rpc_call *call;
    sc_doors    *doors;
    sc_pass      pass;
    sc_arena     arena; /* the message, and what was made of it */
    atomic_int   state;
    atomic_uint  refs; /* the pipeline's, and the handler's or the detached call's */
    /* While it is spare. */
    struct answer_call *next;
    unsigned            depth; /* of the list from here on */
} answer_call;

/* ---- memory: each thread keeps some calls', so that a hit takes none from the heap --------- */

/* As many as a thread may have put aside at a time before workers take them, and some. */
enum { SPARE_MAX = 32 };

/* A list shared by all threads would be one lock for all hits. */
static pthread_key_t  spare_key;
static pthread_once_t spare_once = PTHREAD_ONCE_INIT;

static void answering_destroy(void *context)
{
    answer_call *next;
    for (answer_call *answering = context; answering != NULL; answering = next) {
        next = answering->next;
        sc_arena_fini(&answering->arena);
        free(answering);
    }
}

static void make_spare_key(void)
{
    if (pthread_key_create(&spare_key, answering_destroy) != 0)
        abort();
}

static answer_call *answering_take(void)
{
    pthread_once(&spare_once, make_spare_key);
    answer_call *answering = pthread_getspecific(spare_key);
    if (answering != NULL) {
        pthread_setspecific(spare_key, answering->next);
        answering->next = NULL;
        return answering;
    }
    answering = calloc(1, sizeof *answering);
    if (answering != NULL)
        sc_arena_init(&answering->arena, ARENA_BYTES_MAX);
    return answering;
}

static void answering_give(answer_call *answering)
{
    answer_call *next = pthread_getspecific(spare_key);
    unsigned     depth = next == NULL ? 1 : next->depth + 1;
    sc_arena     arena = answering->arena;
    sc_arena_reset(&arena);
    *answering = (answer_call){.arena = arena};
    if (depth > SPARE_MAX) {
        answering_destroy(answering);
        return;
    }
    answering->next = next;
    answering->depth = depth;
    if (pthread_setspecific(spare_key, answering) != 0) {
        answering->next = NULL;
        answering_destroy(answering);
    }
}

static void answering_free(answer_call *answering)
{
    sc_doors_leave(answering->doors, &answering->pass);
    answering_give(answering);
}

static void unref(answer_call *answering)
{
    if (atomic_fetch_sub(&answering->refs, 1) != 1)
        return;
    answering_free(answering);
}

/* ---- the reply ------------------------------------------------------------------------------- */

static const Semcache__V1__Source sources[SC_SOURCE_COUNT] = {
    [SC_SOURCE_NONE] = SEMCACHE__V1__SOURCE__SOURCE_UNSPECIFIED,
    [SC_SOURCE_EXACT] = SEMCACHE__V1__SOURCE__SOURCE_EXACT,
    [SC_SOURCE_WARM] = SEMCACHE__V1__SOURCE__SOURCE_WARM,
    [SC_SOURCE_REDIS] = SEMCACHE__V1__SOURCE__SOURCE_REDIS,
    [SC_SOURCE_JOINED] = SEMCACHE__V1__SOURCE__SOURCE_JOINED,
    [SC_SOURCE_LLM] = SEMCACHE__V1__SOURCE__SOURCE_LLM,
};

static const Semcache__V1__Reason reasons[SC_REASON_COUNT] = {
    [SC_REASON_NONE] = SEMCACHE__V1__REASON__REASON_UNSPECIFIED,
    [SC_REASON_SAME_KEY] = SEMCACHE__V1__REASON__REASON_SAME_KEY,
    [SC_REASON_WITHIN_DISTANCE] = SEMCACHE__V1__REASON__REASON_WITHIN_DISTANCE,
    [SC_REASON_NO_CANDIDATE] = SEMCACHE__V1__REASON__REASON_NO_CANDIDATE,
    [SC_REASON_TOO_FAR] = SEMCACHE__V1__REASON__REASON_TOO_FAR,
    [SC_REASON_VOLATILE_DIFFERS] = SEMCACHE__V1__REASON__REASON_VOLATILE_DIFFERS,
    [SC_REASON_NOT_LOOKED] = SEMCACHE__V1__REASON__REASON_NOT_LOOKED,
    [SC_REASON_NOT_EMBEDDABLE] = SEMCACHE__V1__REASON__REASON_NOT_EMBEDDABLE,
    [SC_REASON_EMBEDDING_UNAVAILABLE] = SEMCACHE__V1__REASON__REASON_EMBEDDING_UNAVAILABLE,
    [SC_REASON_STALE] = SEMCACHE__V1__REASON__REASON_STALE,
    [SC_REASON_OPPOSED] = SEMCACHE__V1__REASON__REASON_OPPOSED,
};

/* The parts of a response that are messages of their own, and texts made for it. */
typedef struct {
    Semcache__V1__AnswerResponse response;
    Semcache__V1__Usage          usage;
    Semcache__V1__Timings        timings;
    Semcache__V1__Nearest        nearest;
    char                         entry_id[SC_DIGEST_HEX_BYTES + 1];
    char                         nearest_id[SC_DIGEST_HEX_BYTES + 1];
} response_parts;

/* Generated messages have no const. Packing only reads. */
static char *text_of(sc_str text)
{
    return (char *)(uintptr_t)text.ptr;
}

static double tidy(double distance)
{
    return round(distance * 1e6) / 1e6;
}

static void put_entry(response_parts *parts, const sc_answer *answer)
{
    Semcache__V1__AnswerResponse *response = &parts->response;
    const sc_entry_fields        *f = &answer->entry->f;
    sc_hex_encode(f->id.bytes, sizeof f->id.bytes, parts->entry_id);
    int64_t age_ms = sc_wall_now().ms - f->created.ms;
    response->entry_id = parts->entry_id;
    response->created_at_ms = f->created.ms;
    response->expires_at_ms = f->expires.ms;
    response->age_ms = age_ms > 0 ? age_ms : 0;
    response->model = text_of(f->answered_by);
    response->finish_reason = text_of(f->finish_reason);
    if (answer->source == SC_SOURCE_LLM || answer->source == SC_SOURCE_JOINED)
        return;
    response->matched_prompt = text_of(f->prompt);
    response->distance = tidy(answer->distance);
    response->similarity = 1 - response->distance;
}

static void put_nearest(response_parts *parts, const sc_candidate *nearest)
{
    const sc_entry_fields *f = &nearest->entry->f;
    semcache__v1__nearest__init(&parts->nearest);
    sc_hex_encode(f->id.bytes, sizeof f->id.bytes, parts->nearest_id);
    parts->nearest.entry_id = parts->nearest_id;
    parts->nearest.prompt = text_of(f->prompt);
    parts->nearest.distance = tidy(nearest->distance);
    parts->nearest.similarity = 1 - parts->nearest.distance;
    parts->response.nearest = &parts->nearest;
}

static void put_timings(response_parts *parts, const sc_answer *answer)
{
    const uint64_t        *us = answer->step_us;
    Semcache__V1__Timings *timings = &parts->timings;
    semcache__v1__timings__init(timings);
    timings->canonical_us = us[SC_STEP_CANONICAL];
    timings->exact_us = us[SC_STEP_EXACT];
    timings->wait_us = us[SC_STEP_WAIT];
    timings->embed_us = us[SC_STEP_EMBED];
    timings->prefilter_us = us[SC_STEP_PREFILTER];
    timings->confirm_us = us[SC_STEP_VERIFY] + us[SC_STEP_CONFIRM];
    timings->llm_us = us[SC_STEP_ASK];
    timings->keep_us = us[SC_STEP_KEEP];
    timings->total_us = answer->total_us;
    parts->response.timings = timings;
}

static void put_usage(response_parts *parts, const sc_answer *answer)
{
    semcache__v1__usage__init(&parts->usage);
    parts->usage.prompt_tokens = answer->prompt_tokens;
    parts->usage.completion_tokens = answer->completion_tokens;
    parts->usage.total_tokens = answer->prompt_tokens + answer->completion_tokens;
    parts->response.usage = &parts->usage;
    parts->response.tokens_saved = answer->tokens_saved;
}

static bool is_hit(const sc_answer *answer)
{
    return answer->reason == SC_REASON_SAME_KEY || answer->reason == SC_REASON_WITHIN_DISTANCE;
}

static void make_response(answer_call *answering, response_parts *parts)
{
    sc_answer                    *answer = &answering->request.answer;
    Semcache__V1__AnswerResponse *response = &parts->response;
    semcache__v1__answer_response__init(response);
    response->source = sources[answer->source];
    response->decision = is_hit(answer) ? SEMCACHE__V1__DECISION__DECISION_HIT
                                        : SEMCACHE__V1__DECISION__DECISION_MISS;
    response->reason = reasons[answer->reason];
    response->exact_only = reasons[answer->exact_only];
    response->stored = answer->stored;
    response->stale = answer->stale;
    response->canonical_text = text_of(answering->request._canonical.text);
    if (answer->entry != NULL) {
        put_entry(parts, answer);
    } else {
        response->model = answer->answered_by;
        response->finish_reason = answer->finish_reason;
    }
    if (answer->nearest.entry != NULL)
        put_nearest(parts, &answer->nearest);
    put_usage(parts, answer);
    put_timings(parts, answer);
}

static void release_entry(void *entry)
{
    sc_entry_unref(entry);
}

static void release_text(void *text)
{
    sc_blob_unref(text);
}

/* The answer itself is sent from where it lies. */
static sc_rpc_piece answer_piece(const sc_answer *answer)
{
    if (answer->entry != NULL)
        return (sc_rpc_piece){answer->entry->f.answer, release_entry, sc_entry_ref(answer->entry)};
    return (sc_rpc_piece){sc_blob_view(answer->text), release_text, sc_blob_ref(answer->text)};
}

/* How soon a caller that was refused may come again. */
static int64_t retry_after_ms(sc_status status)
{
    enum { SOON_MS = 100 };
    return status == SC_BUSY ? SOON_MS : 0;
}

static void send(answer_call *answering)
{
    enum { ANSWER_FIELD = 1 };
    const sc_answer *answer = &answering->request.answer;
    if (answer->status != SC_OK) {
        sc_rpc_fail(answering->call, answer->status, answer->error.text,
                    retry_after_ms(answer->status));
        return;
    }
    response_parts parts;
    make_response(answering, &parts);
    sc_rpc_piece piece = answer_piece(answer);
    sc_rpc_reply_split(answering->call, ANSWER_FIELD, &piece, &parts.response.base);
}

static void send_once(answer_call *answering)
{
    send(answering);
    sc_request_unref(&answering->request);
}

/* ---- the request ------------------------------------------------------------------------------- */

static answer_call *answering_of(sc_request *request)
{
    return SC_CONTAINER(request, answer_call, request);
}

static void finished(sc_request *request)
{
    answer_call *answering = answering_of(request);
    sc_request_ref(request); /* until the answer is sent, by us or by the handler */
    if (atomic_exchange(&answering->state, FINISHED) == DETACHED)
        send_once(answering);
}

static void released(sc_request *request)
{
    unref(answering_of(request));
}

static void cancelled(sc_rpc_call *call, void *context)
{
    (void)call;
    answer_call *answering = context;
    sc_request_cancel(&answering->request);
}

static void over(void *context)
{
    unref(context);
}

/* The request may have finished while the pipeline still had our thread, or may finish on
 * another one from now on. */
static void reply_or_detach(answer_call *answering)
{
    if (atomic_load(&answering->state) == FINISHED) {
        send_once(answering);
        unref(answering);
        return;
    }
    sc_rpc_detach(answering->call, &(sc_rpc_late){cancelled, over}, answering);
    if (atomic_exchange(&answering->state, DETACHED) == FINISHED)
        send_once(answering);
}

static sc_status read_request(const sc_service *service, sc_str bytes, answer_call *answering,
                              sc_error *error)
{
    Semcache__V1__AnswerRequest *message = NULL;
    sc_status status = sc_message_unpack(&semcache__v1__answer_request__descriptor, bytes,
                                         &answering->arena, &message, error);
    if (status == SC_OK)
        status = sc_question_from(service, message, &answering->pass, &answering->arena,
                                  &answering->request.question, error);
    return status;
}

void sc_service_answer(sc_rpc_call *call, sc_str request, void *context)
{
    sc_service  *service = context;
    sc_error     error = {.status = SC_OK};
    answer_call *answering = answering_take();
    if (answering == NULL) {
        sc_rpc_fail(call, SC_NO_MEMORY, "no memory for another call", 0);
        return;
    }
    if (sc_service_admit(service, call, SC_RIGHT_ANSWER, &answering->pass) != SC_OK) {
        answering_give(answering);
        return;
    }
    answering->call = call;
    answering->doors = service->doors;
    sc_status status = read_request(service, request, answering, &error);
    if (status != SC_OK) {
        sc_rpc_fail(call, status, error.text, 0);
        answering_free(answering);
        return;
    }
    answering->request.may_store = (answering->pass.rights & SC_RIGHT_STORE) != 0;
    answering->request.arena = &answering->arena;
    answering->request.tray = &service->trays[sc_rpc_queue(call)].tray;
    answering->request.finished = finished;
    answering->request.released = released;
    atomic_init(&answering->state, STARTING);
    atomic_init(&answering->refs, 2);
    sc_pipeline_answer(service->pipeline, &answering->request);
    reply_or_detach(answering);
}

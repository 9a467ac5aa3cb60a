#include <math.h>
#include <stdlib.h>

#include "server/rpc/question.h"

enum {
    ARENA_BYTES_MAX = 16 << 20,
    IDS_MAX = 1000,
    /* A scan of the namespace at 50 000 entries takes a third of a second. */
    TIMEOUT_MS = 30000
};

typedef struct {
    sc_invalidation   invalidation;
    const sc_service *service;
    sc_rpc_call      *call;
    sc_pass           pass;
    sc_arena          arena; /* the message, and what was made of it */
    sc_digest         ids[IDS_MAX + 1];
    sc_digest         system_hash;
} invalidate_call;

static void invalidate_free(void *context)
{
    invalidate_call *calling = context;
    sc_invalidation_fini(&calling->invalidation);
    sc_doors_leave(calling->service->doors, &calling->pass);
    sc_arena_fini(&calling->arena);
    free(calling);
}

/* ---- the reply ------------------------------------------------------------------------------- */

typedef struct {
    Semcache__V1__EntrySummary summary;
    char                       id[SC_DIGEST_HEX_BYTES + 1];
    char                      *tags[SC_ENTRY_TAGS_MAX];
} example;

static void put_example(example *to, const sc_candidate *from)
{
    const sc_entry_fields      *f = &from->entry->f;
    Semcache__V1__EntrySummary *summary = &to->summary;
    semcache__v1__entry_summary__init(summary);
    sc_hex_encode(f->id.bytes, sizeof f->id.bytes, to->id);
    for (uint32_t i = 0; i < f->tags_count; i++)
        to->tags[i] = (char *)(uintptr_t)f->tags[i].ptr;
    summary->entry_id = to->id;
    summary->prompt = (char *)(uintptr_t)f->prompt.ptr;
    summary->model = (char *)(uintptr_t)f->model.ptr;
    summary->corpus_version = (char *)(uintptr_t)f->corpus_version.ptr;
    summary->tags = to->tags;
    summary->n_tags = f->tags_count;
    summary->created_at_ms = f->created.ms;
    summary->expires_at_ms = f->expires.ms;
    summary->distance = isnan(from->distance) ? 0 : (double)from->distance;
    summary->answer_bytes = f->answer.len;
}

static void finished(sc_invalidation *invalidation)
{
    invalidate_call           *calling = SC_CONTAINER(invalidation, invalidate_call, invalidation);
    const sc_store_invalidate *outcome = &invalidation->store;
    if (outcome->call.status != SC_OK) {
        sc_rpc_fail(calling->call, outcome->call.status, outcome->call.error.text, 0);
        return;
    }
    Semcache__V1__InvalidateResponse response = SEMCACHE__V1__INVALIDATE_RESPONSE__INIT;
    Semcache__V1__EntrySummary      *list[SC_STORE_EXAMPLES_MAX];
    example                          examples[SC_STORE_EXAMPLES_MAX];
    for (size_t i = 0; i < outcome->examples_count; i++) {
        put_example(&examples[i], &outcome->examples[i]);
        list[i] = &examples[i].summary;
    }
    response.removed = outcome->removed;
    response.examples = list;
    response.n_examples = outcome->examples_count;
    sc_rpc_reply_message(calling->call, &response.base);
}

/* ---- the criteria -------------------------------------------------------------------------------- */

static sc_status put_ids(const Semcache__V1__InvalidateRequest *message, invalidate_call *calling,
                         sc_error *error)
{
    if (message->n_entry_ids > IDS_MAX)
        return sc_fail(error, SC_INVALID, "entry_ids: %zu of them, at most %d",
                       message->n_entry_ids, IDS_MAX);
    for (size_t i = 0; i < message->n_entry_ids; i++)
        if (!sc_hex_decode(sc_str_of(message->entry_ids[i]), calling->ids[i].bytes,
                           SC_DIGEST_BYTES))
            return sc_fail(error, SC_INVALID, "entry_ids: number %zu is not %d hex digits", i + 1,
                           SC_DIGEST_HEX_BYTES);
    calling->invalidation.store.filter.ids = calling->ids;
    calling->invalidation.store.filter.ids_count = message->n_entry_ids;
    return SC_OK;
}

/* Criteria combine with AND: a key that is not among the listed ids matches nothing. */
static void intersect(invalidate_call *calling, const sc_digest *id)
{
    sc_store_filter *filter = &calling->invalidation.store.filter;
    bool             listed = filter->ids_count == 0;
    for (size_t i = 0; i < filter->ids_count; i++)
        listed |= sc_digest_equal(&calling->ids[i], id);
    calling->ids[0] = listed ? *id : (sc_digest){{0}};
    filter->ids = calling->ids;
    filter->ids_count = 1;
}

static sc_status put_exact(const Semcache__V1__InvalidateRequest *message, invalidate_call *calling,
                           sc_error *error)
{
    sc_question question;
    sc_digest   id;
    if (message->exact == NULL)
        return SC_OK;
    if (message->exact->question == NULL)
        return sc_fail(error, SC_INVALID, "exact.question: missing");
    sc_status status =
        sc_question_from(calling->service, message->exact->question,
                         &calling->pass, &calling->arena, &question, error);
    if (status == SC_OK)
        status = sc_pipeline_key(calling->service->pipeline, &question, &id, error);
    if (status == SC_OK)
        intersect(calling, &id);
    return status;
}

static sc_str given(const char *text)
{
    return text[0] == '\0' ? (sc_str){NULL, 0} : sc_str_of(text);
}

static sc_status put_scope(const Semcache__V1__InvalidateRequest *message, invalidate_call *calling,
                           sc_error *error)
{
    sc_store_filter *filter = &calling->invalidation.store.filter;
    filter->model = given(message->model);
    filter->corpus_version = given(message->corpus_version);
    sc_status status = sc_check_text("model", filter->model, SC_NAME_BYTES_MAX, error);
    if (status == SC_OK)
        status = sc_check_text("corpus_version", filter->corpus_version, SC_NAME_BYTES_MAX, error);
    if (status != SC_OK || !message->optional_system_prompt_case)
        return status;
    calling->system_hash = sc_system_hash(sc_str_of(message->system_prompt));
    filter->system_hash = &calling->system_hash;
    return SC_OK;
}

static sc_status put_tags(const Semcache__V1__InvalidateRequest *message, invalidate_call *calling,
                          sc_error *error)
{
    if (message->n_tags > SC_ENTRY_TAGS_MAX)
        return sc_fail(error, SC_INVALID, "tags: %zu of them, at most %d", message->n_tags,
                       SC_ENTRY_TAGS_MAX);
    sc_str *tags = sc_arena_calloc(&calling->arena, message->n_tags + 1, sizeof *tags);
    if (tags == NULL)
        return sc_fail(error, SC_TOO_LARGE, "tags: too large together");
    for (size_t i = 0; i < message->n_tags; i++) {
        tags[i] = sc_str_of(message->tags[i]);
        if (tags[i].len == 0)
            return sc_fail(error, SC_INVALID, "tags: an empty one, 1 to %d bytes are wanted",
                           SC_TAG_BYTES_MAX);
        sc_status status = sc_check_text("tags", tags[i], SC_TAG_BYTES_MAX, error);
        if (status != SC_OK)
            return status;
    }
    calling->invalidation.store.filter.tags = tags;
    calling->invalidation.store.filter.tags_count = message->n_tags;
    return SC_OK;
}

static sc_status put_age(const Semcache__V1__InvalidateRequest *message, invalidate_call *calling,
                         sc_error *error)
{
    if (!message->optional_older_than_seconds_case)
        return SC_OK;
    int64_t seconds = message->older_than_seconds;
    if (seconds < 0 || seconds > SC_TTL_SECONDS_MAX)
        return sc_fail(error, SC_INVALID, "older_than_seconds: %lld is outside 0 to %d",
                       (long long)seconds, SC_TTL_SECONDS_MAX);
    calling->invalidation.store.filter.created_before.ms = sc_wall_now().ms - seconds * 1000;
    return SC_OK;
}

static sc_status put_meaning(const Semcache__V1__InvalidateRequest *message,
                             invalidate_call *calling, sc_error *error)
{
    const Semcache__V1__Meaning *meaning = message->meaning;
    if (meaning == NULL)
        return SC_OK;
    const sc_question_limits *limits =
        &sc_pipeline_options_of(calling->service->pipeline)->limits;
    sc_str prompt = sc_str_of(meaning->prompt);
    if (prompt.len == 0)
        return sc_fail(error, SC_INVALID, "meaning.prompt: empty");
    if (!(meaning->max_distance > 0 && meaning->max_distance <= 2))
        return sc_fail(error, SC_INVALID, "meaning.max_distance: %g is outside 0 (excluded) to 2",
                       meaning->max_distance);
    calling->invalidation.near_text = prompt;
    calling->invalidation.store.filter.near_distance_max = (float)meaning->max_distance;
    return sc_check_text("meaning.prompt", prompt, limits->prompt_bytes_max, error);
}

static bool without_criteria(const Semcache__V1__InvalidateRequest *message)
{
    return message->n_entry_ids == 0 && message->exact == NULL && message->model[0] == '\0' &&
           message->corpus_version[0] == '\0' && !message->optional_system_prompt_case &&
           message->n_tags == 0 && !message->optional_older_than_seconds_case &&
           message->meaning == NULL;
}

static sc_status put_criteria(const Semcache__V1__InvalidateRequest *message,
                              invalidate_call *calling, sc_error *error)
{
    static sc_status (*const parts[])(const Semcache__V1__InvalidateRequest *, invalidate_call *,
                                      sc_error *) = {
        put_ids, put_exact, put_scope, put_tags, put_age, put_meaning,
    };
    if (without_criteria(message) && !message->all)
        return sc_fail(error, SC_INVALID,
                       "request: no criteria; everything in the namespace needs all = true");
    if (!without_criteria(message) && message->all)
        return sc_fail(error, SC_INVALID, "all: cannot be combined with other criteria");
    sc_status status = SC_OK;
    for (size_t i = 0; status == SC_OK && i < sizeof parts / sizeof parts[0]; i++)
        status = parts[i](message, calling, error);
    return status;
}

void sc_service_invalidate(sc_rpc_call *call, sc_str request, void *context)
{
    const sc_service                *service = context;
    Semcache__V1__InvalidateRequest *message = NULL;
    sc_error                         error = {.status = SC_OK};
    invalidate_call                 *calling = calloc(1, sizeof *calling);
    if (calling == NULL) {
        sc_rpc_fail(call, SC_NO_MEMORY, "no memory for another call", 0);
        return;
    }
    if (sc_service_admit(service, call, SC_RIGHT_INVALIDATE, &calling->pass) != SC_OK) {
        free(calling);
        return;
    }
    calling->service = service;
    calling->call = call;
    calling->invalidation.store.filter.tenant = calling->pass.tenant;
    sc_arena_init(&calling->arena, ARENA_BYTES_MAX);
    sc_status status = sc_message_unpack(&semcache__v1__invalidate_request__descriptor, request,
                                         &calling->arena, &message, &error);
    if (status == SC_OK)
        status = put_criteria(message, calling, &error);
    if (status != SC_OK) {
        sc_rpc_fail(call, status, error.text, 0);
        invalidate_free(calling);
        return;
    }
    calling->invalidation.store.dry_run = message->dry_run;
    calling->invalidation.store.filter.any_tenant =
        message->all && (calling->pass.rights & SC_RIGHT_ADMIN) != 0;
    calling->invalidation.store.call.deadline = sc_instant_earlier(
        sc_rpc_deadline(call), sc_instant_after_ms(sc_now(), TIMEOUT_MS));
    calling->invalidation.finished = finished;
    sc_rpc_detach(call, &(sc_rpc_late){NULL, invalidate_free}, calling);
    sc_pipeline_invalidate(service->pipeline, &calling->invalidation);
}

#include "server/rpc/question.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/rpc/wire.h"
#include "src/base/buf.h"
#include "src/text/json.h"

/* ---- unpacking into an arena --------------------------------------------------------------- */

static void *arena_alloc(void *arena, size_t bytes)
{
    return sc_arena_alloc(arena, bytes);
}

static void arena_free(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

sc_status sc_message_unpack(const ProtobufCMessageDescriptor *type, sc_str bytes, sc_arena *arena,
                            void *message_out, sc_error *error)
{
    ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
    sc_status          status = sc_wire_check(type, bytes, error);
    if (status != SC_OK)
        return status;
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, &allocator, bytes.len, (const uint8_t *)bytes.ptr);
    if (message == NULL)
        return sc_fail(error, SC_INVALID, "request: not a %s", type->name);
    *(ProtobufCMessage **)message_out = message;
    return SC_OK;
}

/* ---- further parameters, as JSON ------------------------------------------------------------ */

/* Under construction, in the order of the message; sorted at the end. */
typedef struct {
    sc_arena *arena;
    sc_param  list[SC_PARAMS_MAX + 8]; /* those with a field of their own, too */
    size_t    count;
    sc_error *error;
    sc_status status;
} params;

static void put(params *p, const char *name, sc_str json)
{
    sc_str copy = sc_arena_copy(p->arena, json);
    if (p->status == SC_OK && copy.ptr == NULL)
        p->status = sc_fail(p->error, SC_TOO_LARGE, "parameters: too large together");
    if (p->status == SC_OK)
        p->list[p->count++] = (sc_param){sc_str_of(name), copy};
}

static void put_int(params *p, const char *name, int64_t value, int64_t min, int64_t max)
{
    char text[32];
    if (p->status == SC_OK && (value < min || value > max))
        p->status = sc_fail(p->error, SC_INVALID, "%s: %lld is outside %lld to %lld", name,
                            (long long)value, (long long)min, (long long)max);
    snprintf(text, sizeof text, "%lld", (long long)value);
    put(p, name, sc_str_of(text));
}

static void put_real(params *p, const char *name, double value, double min, double max)
{
    char text[40];
    if (p->status == SC_OK && !(value >= min && value <= max))
        p->status = sc_fail(p->error, SC_INVALID, "%s: %g is outside %g to %g", name, value, min, max);
    /* The short form when it is the same number: 0.1, not 0.10000000000000001. */
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    put(p, name, sc_str_of(text));
}

static void put_stop(params *p, const Semcache__V1__AnswerRequest *message)
{
    enum { STOP_MAX = 4, STOP_BYTES_MAX = 256 };
    sc_buf json;
    if (message->n_stop == 0 || p->status != SC_OK)
        return;
    if (message->n_stop > STOP_MAX) {
        p->status = sc_fail(p->error, SC_INVALID, "stop: %zu texts, at most %d", message->n_stop,
                            STOP_MAX);
        return;
    }
    sc_buf_init(&json, SC_PARAM_JSON_BYTES_MAX);
    for (size_t i = 0; i < message->n_stop && p->status == SC_OK; i++) {
        sc_str text = sc_str_of(message->stop[i]);
        if (text.len == 0)
            p->status = sc_fail(p->error, SC_INVALID, "stop: an empty text, 1 to %d bytes are wanted",
                                STOP_BYTES_MAX);
        else
            p->status = sc_check_text("stop", text, STOP_BYTES_MAX, p->error);
        sc_buf_byte(&json, i == 0 ? '[' : ',');
        sc_json_put_string(&json, text);
    }
    sc_buf_byte(&json, ']');
    put(p, "stop", sc_buf_view(&json));
    sc_buf_fini(&json);
}

static void put_json(params *p, const char *name, const char *json)
{
    sc_str text = sc_str_of(json);
    if (p->status == SC_OK)
        p->status = sc_check_text(name, text, SC_PARAM_JSON_BYTES_MAX, p->error);
    if (p->status == SC_OK && !sc_json_valid(text))
        p->status = sc_fail(p->error, SC_INVALID, "%s: not JSON", name);
    put(p, name, text);
}

/* Names that have a field of their own, or that are not the caller's to choose. */
static bool reserved(const char *name)
{
    static const char *const names[] = {
        "messages",   "model", "stream", "stream_options",   "n",
        "temperature", "top_p", "seed",   "presence_penalty", "frequency_penalty",
        "max_tokens", "stop",  "response_format",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool is_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return len != 0 && len <= SC_PARAM_NAME_BYTES_MAX && name[len] == '\0';
}

static void put_others(params *p, const Semcache__V1__AnswerRequest *message)
{
    if (p->status == SC_OK && message->n_parameters > SC_PARAMS_MAX)
        p->status = sc_fail(p->error, SC_INVALID, "parameters: %zu of them, at most %d",
                            message->n_parameters, SC_PARAMS_MAX);
    for (size_t i = 0; p->status == SC_OK && i < message->n_parameters; i++) {
        const Semcache__V1__Parameter *other = message->parameters[i];
        if (!is_name(other->name))
            p->status = sc_fail(p->error, SC_INVALID,
                                "parameters.name: 1 to %d characters of a-z, 0-9 and _ are wanted",
                                SC_PARAM_NAME_BYTES_MAX);
        else if (reserved(other->name))
            p->status = sc_fail(p->error, SC_INVALID,
                                "parameters.name: %s has a field of its own, or is the cache's",
                                other->name);
        else
            put_json(p, other->name, other->json);
    }
}

static int by_name(const void *a, const void *b)
{
    const sc_param *left = a, *right = b;
    return strcmp(left->name.ptr, right->name.ptr);
}

/* Sorted, so that the order in which a caller names them makes no difference. */
static void finish_params(params *p, sc_question *question)
{
    qsort(p->list, p->count, sizeof *p->list, by_name);
    for (size_t i = 1; p->status == SC_OK && i < p->count; i++)
        if (by_name(&p->list[i - 1], &p->list[i]) == 0)
            p->status = sc_fail(p->error, SC_INVALID, "parameters.name: %s stands there twice",
                                p->list[i].name.ptr);
    sc_param *list = sc_arena_alloc(p->arena, p->count * sizeof *list + 1);
    if (p->status == SC_OK && list == NULL)
        p->status = sc_fail(p->error, SC_TOO_LARGE, "parameters: too large together");
    if (p->status != SC_OK)
        return;
    memcpy(list, p->list, p->count * sizeof *list);
    question->scope.params = list;
    question->scope.params_count = p->count;
}

static sc_status put_params(const Semcache__V1__AnswerRequest *message, sc_arena *arena,
                            sc_question *question, sc_error *error)
{
    enum { MAX_TOKENS_MAX = 1000000 };
    params p = {.arena = arena, .error = error, .status = SC_OK};
    if (message->optional_max_tokens_case)
        put_int(&p, "max_tokens", message->max_tokens, 1, MAX_TOKENS_MAX);
    if (message->optional_top_p_case)
        put_real(&p, "top_p", message->top_p, 0, 1);
    if (message->optional_presence_penalty_case)
        put_real(&p, "presence_penalty", message->presence_penalty, -2, 2);
    if (message->optional_frequency_penalty_case)
        put_real(&p, "frequency_penalty", message->frequency_penalty, -2, 2);
    if (message->optional_seed_case)
        put_int(&p, "seed", message->seed, INT64_MIN, INT64_MAX);
    put_stop(&p, message);
    if (message->response_format[0] != '\0')
        put_json(&p, "response_format", message->response_format);
    put_others(&p, message);
    finish_params(&p, question);
    return p.status;
}

/* ---- the rest ------------------------------------------------------------------------------------ */

static sc_status put_turns(const Semcache__V1__AnswerRequest *message, sc_arena *arena,
                           sc_question *question, sc_error *error)
{
    /* Bounded here as well, before memory is taken for them. */
    if (message->n_turns > SC_TURNS_MAX)
        return sc_fail(error, SC_INVALID, "turns: %zu of them, at most %d", message->n_turns,
                       SC_TURNS_MAX);
    sc_turn *turns = sc_arena_calloc(arena, message->n_turns + 1, sizeof *turns);
    if (turns == NULL)
        return sc_fail(error, SC_TOO_LARGE, "turns: too large together");
    for (size_t i = 0; i < message->n_turns; i++)
        turns[i] = (sc_turn){sc_str_of(message->turns[i]->role),
                             sc_str_of(message->turns[i]->content)};
    question->scope.turns = turns;
    question->scope.turns_count = message->n_turns;
    return SC_OK;
}

static sc_status put_tags(const Semcache__V1__AnswerRequest *message, sc_arena *arena,
                          sc_question *question, sc_error *error)
{
    if (message->n_tags > SC_ENTRY_TAGS_MAX)
        return sc_fail(error, SC_INVALID, "tags: %zu of them, at most %d", message->n_tags,
                       SC_ENTRY_TAGS_MAX);
    sc_str *tags = sc_arena_calloc(arena, message->n_tags + 1, sizeof *tags);
    if (tags == NULL)
        return sc_fail(error, SC_TOO_LARGE, "tags: too large together");
    for (size_t i = 0; i < message->n_tags; i++)
        tags[i] = sc_str_of(message->tags[i]);
    question->tags = tags;
    question->tags_count = message->n_tags;
    return SC_OK;
}

static sc_str text_or(const char *text, const char *fallback)
{
    return sc_str_of(text[0] != '\0' ? text : fallback);
}

/* A tenant's bounds are the operator's word: a default beyond them is brought within, a wish beyond
 * them is refused rather than silently changed. */
static sc_status bound(const sc_tenant_limits *limits, const Semcache__V1__AnswerRequest *message,
                       sc_question *question, sc_error *error)
{
    bool any_distance = limits->distance_max >= 2; /* what is beyond that is no distance */
    if (!any_distance && question->max_distance > limits->distance_max) {
        if (message->optional_max_distance_case)
            return sc_fail(error, SC_INVALID, "max_distance: %g is over this tenant's %g",
                           question->max_distance, limits->distance_max);
        question->max_distance = limits->distance_max;
    }
    int64_t ttl_max = limits->ttl_seconds_max;
    if (ttl_max != 0 && question->ttl_seconds > ttl_max) {
        if (message->optional_ttl_seconds_case)
            return sc_fail(error, SC_INVALID, "ttl_seconds: %lld is over this tenant's %lld",
                           (long long)question->ttl_seconds, (long long)ttl_max);
        question->ttl_seconds = ttl_max;
    }
    return SC_OK;
}

sc_status sc_question_from(const sc_service *service, const Semcache__V1__AnswerRequest *message,
                           const sc_pass *pass, sc_arena *arena, sc_question *question,
                           sc_error *error)
{
    const sc_pipeline_options *defaults = sc_pipeline_options_of(service->pipeline);
    *question = (sc_question){
        .scope = {.tenant = pass->tenant,
                  .model = text_or(message->model, service->chat_model),
                  .corpus_version = text_or(message->corpus_version, defaults->corpus_version),
                  .system_prompt = sc_str_of(message->system_prompt),
                  .temperature = message->optional_temperature_case ? message->temperature
                                                                    : defaults->temperature},
        .user_prompt = sc_str_of(message->user_prompt),
        .max_distance = message->optional_max_distance_case ? message->max_distance
                                                            : defaults->max_distance,
        .top_k = message->optional_top_k_case ? message->top_k : defaults->top_k,
        .ef_runtime = message->optional_ef_runtime_case ? message->ef_runtime : service->ef_runtime,
        .ttl_seconds = message->optional_ttl_seconds_case ? message->ttl_seconds
                                                          : defaults->ttl_seconds,
        .stale_seconds = message->optional_stale_if_error_seconds_case
                             ? message->stale_if_error_seconds
                             : 0,
        .mode = (sc_cache_mode)message->cache_mode,
        .quota = {.entries_max = pass->limits.entries_max, .bytes_max = pass->limits.bytes_max},
    };
    sc_status status = bound(&pass->limits, message, question, error);
    if (status == SC_OK)
        status = put_turns(message, arena, question, error);
    if (status == SC_OK)
        status = put_tags(message, arena, question, error);
    if (status == SC_OK)
        status = put_params(message, arena, question, error);
    return status;
}

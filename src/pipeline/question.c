#include "src/pipeline/question.h"

#include <math.h>

#include "src/text/utf8.h"

sc_status sc_check_text(const char *field, sc_str text, size_t bytes_max, sc_error *error)
{
    size_t bad;
    if (text.len > bytes_max)
        return sc_fail(error, SC_INVALID, "%s: %zu bytes, at most %zu", field, text.len, bytes_max);
    if (!sc_utf8_valid(text, &bad))
        return sc_fail(error, SC_INVALID, "%s: not valid UTF-8 at byte %zu", field, bad);
    if (text.len != 0 && memchr(text.ptr, '\0', text.len) != NULL)
        return sc_fail(error, SC_INVALID, "%s: contains a NUL byte", field);
    return SC_OK;
}

static sc_status check_required(const char *field, sc_str text, size_t bytes_max, sc_error *error)
{
    if (text.len == 0)
        return sc_fail(error, SC_INVALID, "%s: empty, 1 to %zu bytes are wanted", field, bytes_max);
    return sc_check_text(field, text, bytes_max, error);
}

static sc_status check_real(const char *field, double value, double min, double max,
                            sc_error *error)
{
    /* Written so that NaN fails. */
    if (value >= min && value <= max)
        return SC_OK;
    return sc_fail(error, SC_INVALID, "%s: %g is outside %g to %g", field, value, min, max);
}

static sc_status check_int(const char *field, int64_t value, int64_t min, int64_t max,
                           sc_error *error)
{
    if (value >= min && value <= max)
        return SC_OK;
    return sc_fail(error, SC_INVALID, "%s: %lld is outside %lld to %lld", field, (long long)value,
                   (long long)min, (long long)max);
}

static sc_status check_turns(const sc_question *question, size_t bytes_max, sc_error *error)
{
    const sc_scope_fields *scope = &question->scope;
    size_t                 bytes = scope->system_prompt.len;
    sc_status status = check_int("turns", (int64_t)scope->turns_count, 0, SC_TURNS_MAX, error);
    for (size_t i = 0; status == SC_OK && i < scope->turns_count; i++) {
        bytes += scope->turns[i].content.len;
        status = check_required("turns.role", scope->turns[i].role, SC_ROLE_BYTES_MAX, error);
        if (status == SC_OK)
            status = sc_check_text("turns.content", scope->turns[i].content, bytes_max, error);
    }
    if (status == SC_OK && bytes > bytes_max)
        status = sc_fail(error, SC_INVALID, "turns: %zu bytes with the system prompt, at most %zu",
                         bytes, bytes_max);
    return status;
}

static sc_status check_tags(const sc_question *question, sc_error *error)
{
    sc_status status =
        check_int("tags", (int64_t)question->tags_count, 0, SC_ENTRY_TAGS_MAX, error);
    for (size_t i = 0; status == SC_OK && i < question->tags_count; i++)
        status = check_required("tags", question->tags[i], SC_TAG_BYTES_MAX, error);
    return status;
}

static sc_status check_scope(const sc_scope_fields *scope, const sc_question_limits *limits,
                             sc_error *error)
{
    sc_status status =
        sc_check_text("system_prompt", scope->system_prompt, limits->context_bytes_max, error);
    if (status == SC_OK)
        status = check_required("model", scope->model, SC_NAME_BYTES_MAX, error);
    if (status == SC_OK)
        status = sc_check_text("corpus_version", scope->corpus_version, SC_NAME_BYTES_MAX, error);
    if (status == SC_OK)
        status = check_real("temperature", scope->temperature, 0, 2, error);
    return status;
}

static sc_status check_policy(const sc_question *question, const sc_question_limits *limits,
                              sc_error *error)
{
    sc_status status = check_real("max_distance", question->max_distance, 0, 2, error);
    if (status == SC_OK)
        status = check_int("top_k", question->top_k, 1, SC_TOP_K_MAX, error);
    if (status == SC_OK)
        status = check_int("ef_runtime", question->ef_runtime, 1, SC_EF_RUNTIME_MAX, error);
    if (status == SC_OK)
        status = check_int("ttl_seconds", question->ttl_seconds, 1, limits->ttl_seconds_max, error);
    if (status == SC_OK)
        status = check_int("stale_if_error_seconds", question->stale_seconds, 0,
                           SC_TTL_SECONDS_MAX, error);
    if (status == SC_OK)
        status = check_int("cache_mode", question->mode, 0, SC_MODE_COUNT - 1, error);
    return status;
}

sc_status sc_question_check(const sc_question *question, const sc_question_limits *limits,
                            sc_error *error)
{
    sc_status status =
        check_required("user_prompt", question->user_prompt, limits->prompt_bytes_max, error);
    if (status == SC_OK)
        status = check_scope(&question->scope, limits, error);
    if (status == SC_OK)
        status = check_turns(question, limits->context_bytes_max, error);
    if (status == SC_OK)
        status = check_policy(question, limits, error);
    if (status == SC_OK)
        status = check_tags(question, error);
    return status;
}

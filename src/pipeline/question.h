/* question.h - what a caller asks, in our own words, and the bounds it must keep. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"
#include "src/base/str.h"
#include "src/entry/entry.h"
#include "src/pipeline/quota.h"
#include "src/prompt/scope.h"

typedef enum {
    SC_MODE_DEFAULT,
    SC_MODE_REFRESH,        /* do not look; ask and replace */
    SC_MODE_NO_STORE,       /* look, else ask, keep nothing */
    SC_MODE_BYPASS,         /* neither look nor keep */
    SC_MODE_ONLY_IF_CACHED, /* look; SC_NOT_FOUND instead of asking */
    SC_MODE_COUNT
} sc_cache_mode;

/* Everything is borrowed until the request is released. */
typedef struct {
    sc_scope_fields scope;
    sc_str          user_prompt;

    double        max_distance;
    uint32_t      top_k;
    uint32_t      ef_runtime;
    int64_t       ttl_seconds;
    int64_t       stale_seconds; /* an entry that expired no longer ago may answer when the LLM fails */
    const sc_str *tags;          /* [tags_count] */
    size_t        tags_count;
    sc_cache_mode mode;

    sc_quota_limits quota; /* of the tenant, for what the store keeps */
} sc_question;

enum {
    SC_TURNS_MAX = 256,
    SC_PARAMS_MAX = 32,
    SC_NAME_BYTES_MAX = 256, /* model, corpus version */
    SC_ROLE_BYTES_MAX = 32,
    SC_TAG_BYTES_MAX = 128,
    SC_PARAM_NAME_BYTES_MAX = 64,
    SC_PARAM_JSON_BYTES_MAX = 16384,
    SC_TOP_K_MAX = 32,
    SC_EF_RUNTIME_MAX = 4096,
    SC_TTL_SECONDS_MAX = 31536000
};

/* Bounds that are settings. */
typedef struct {
    size_t  prompt_bytes_max; /* of the user prompt */
    size_t  context_bytes_max; /* of the system prompt and all turns together */
    int64_t ttl_seconds_max;
    int64_t stale_seconds_max;
} sc_question_limits;

/* Is the text valid UTF-8 without NUL, and within bytes_max? Names the field otherwise. */
SC_MUST_CHECK sc_status sc_check_text(const char *field, sc_str text, size_t bytes_max,
                                      sc_error *error);

/* Errors: SC_INVALID with the field, the problem and the bound. Parameters have been checked by
 * whoever made their JSON. */
SC_MUST_CHECK sc_status sc_question_check(const sc_question        *question,
                                          const sc_question_limits *limits, sc_error *error);

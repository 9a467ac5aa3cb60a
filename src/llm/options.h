/* options.h - the settings of src/llm. */
#pragma once

#include "src/config/setting.h"
#include "src/http/endpoint.h"

typedef struct {
    const char         *model;    /* when a request names none */
    sc_endpoint_options endpoint; /* NULL members: the shared upstream */
    int64_t             timeout_ms;
    bool                stream;
    uint32_t            retries;
    uint32_t            connections; /* calls under way */
    uint32_t            queue_max;   /* calls that wait for one of those */
    size_t              answer_bytes_max;
    unsigned            breaker_failures;
    int64_t             breaker_open_ms;
} sc_llm_options;

extern const sc_setting_table sc_llm_settings; /* of an sc_llm_options */

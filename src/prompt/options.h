/* options.h - the settings of src/prompt. */
#pragma once

#include <stddef.h>

#include "src/config/setting.h"
#include "src/prompt/canonical.h"

typedef struct {
    size_t           prompt_bytes_max; /* of a user prompt */
    sc_canon_options canon;
} sc_prompt_options;

extern const sc_setting_table sc_prompt_settings;

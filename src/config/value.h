/* value.h - one setting's text becomes the field it stands for, or a sentence saying why not. */
#pragma once

#include <stdbool.h>

#include "src/base/buf.h"
#include "src/base/status.h"
#include "src/config/setting.h"

/* Checks text (NUL-terminated; NULL: absent) against the row and writes the field in options. TEXT
 * and SECRET fields keep the pointer. Errors: SC_INVALID with setting, value and bounds. */
SC_MUST_CHECK sc_status sc_value_store(const sc_setting *row, const char *text, void *options,
                                       sc_error *error);

/* "1..64", "0..2", "local|openai", "true|false"; "" when any text will do. Into line. */
void sc_value_bounds(const sc_setting *row, sc_buf *line);

/* The default, a number in its shortest form; "" when absent or empty. */
void sc_value_default(const sc_setting *row, sc_buf *line);

/* A value as it may be shown: secrets are "set", passwords in URLs are "***". */
void sc_value_show(const sc_setting *row, const char *text, sc_buf *line);

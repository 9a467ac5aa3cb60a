/* log.h - events, not prose: one line of `time level event key=value ...` on stderr.
 *
 * Event names are stable and dotted (`redis.disconnected`). Values with blanks or
 * control characters are quoted and escaped, so no input can forge a line. Prompts,
 * answers and keys are never passed here; a fingerprint stands for a prompt. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/str.h"

typedef enum { SC_LOG_DEBUG, SC_LOG_INFO, SC_LOG_WARN, SC_LOG_ERROR, SC_LOG_OFF } sc_log_level;

/* Lines below the level are dropped at no cost. INFO at start. */
void sc_log_set_level(sc_log_level level);
bool sc_log_on(sc_log_level level);

/* One key and one value. Built by the SC_LOG_* helpers below. */
typedef struct {
    const char *key;
    enum { SC_FIELD_TEXT, SC_FIELD_INT, SC_FIELD_REAL } kind;
    sc_str  text;
    int64_t integer;
    double  real;
} sc_log_field;

#define sc_kv_text(k, v) ((sc_log_field){.key = (k), .kind = SC_FIELD_TEXT, .text = sc_str_of(v)})
#define sc_kv_str(k, v) ((sc_log_field){.key = (k), .kind = SC_FIELD_TEXT, .text = (v)})
#define sc_kv_int(k, v) ((sc_log_field){.key = (k), .kind = SC_FIELD_INT, .integer = (int64_t)(v)})
#define sc_kv_real(k, v) ((sc_log_field){.key = (k), .kind = SC_FIELD_REAL, .real = (v)})

/* sc_log(SC_LOG_WARN, "redis.disconnected", sc_kv_text("cause", text), sc_kv_int("port", 6379));
 *
 * The end mark gives the inner macro's `...` its argument when there are no fields. */
#define sc_log(level, ...) sc_log_fields_(level, __VA_ARGS__, {.key = NULL})
#define sc_log_fields_(level, event, ...)                                                          \
    do {                                                                                           \
        if (sc_log_on(level)) {                                                                    \
            const sc_log_field sc_fields_[] = {__VA_ARGS__};                                       \
            sc_log_write((level), (event), sc_fields_,                                             \
                         sizeof sc_fields_ / sizeof sc_fields_[0] - 1);                            \
        }                                                                                          \
    } while (0)

void sc_log_write(sc_log_level level, const char *event, const sc_log_field *fields, size_t count);

/* Lets one event through per period and counts the rest. Zero-initialise; any thread.
 * Returns true when the caller should log, with *suppressed the number left out since. */
typedef struct {
    _Atomic int64_t next_ns;
    _Atomic int64_t left_out;
} sc_log_limit;
bool sc_log_allow(sc_log_limit *limit, int64_t period_ms, sc_instant now, int64_t *suppressed);

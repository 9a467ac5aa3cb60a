#include "src/base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "src/base/buf.h"

/* One write() a line keeps lines whole when several processes share the descriptor. */
enum { LINE_BYTES_MAX = 4096, VALUE_BYTES_MAX = 1024 };

static _Atomic int level_now = SC_LOG_INFO;

void sc_log_set_level(sc_log_level level)
{
    atomic_store(&level_now, (int)level);
}

bool sc_log_on(sc_log_level level)
{
    return (int)level >= atomic_load_explicit(&level_now, memory_order_relaxed);
}

static bool plain(sc_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f)
            return false;
    }
    return text.len != 0;
}

static void put_quoted(sc_buf *line, sc_str text)
{
    sc_buf_byte(line, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\')
            sc_buf_printf(line, "\\%c", c);
        else if (c < ' ' || c == 0x7f)
            sc_buf_printf(line, "\\x%02x", c);
        else
            sc_buf_byte(line, (char)c);
    }
    sc_buf_byte(line, '"');
}

static void put_value(sc_buf *line, const sc_log_field *field)
{
    sc_str text = field->text;
    if (field->kind == SC_FIELD_INT) {
        sc_buf_printf(line, "%lld", (long long)field->integer);
    } else if (field->kind == SC_FIELD_REAL) {
        sc_buf_printf(line, "%.6g", field->real);
    } else {
        if (text.len > VALUE_BYTES_MAX)
            text.len = VALUE_BYTES_MAX;
        if (plain(text))
            sc_buf_str(line, text);
        else
            put_quoted(line, text);
    }
}

static void put_time(sc_buf *line)
{
    sc_wall   now = sc_wall_now();
    time_t    seconds = (time_t)(now.ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    sc_buf_printf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                  utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(now.ms % 1000));
}

void sc_log_write(sc_log_level level, const char *event, const sc_log_field *fields, size_t count)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "off"};
    sc_buf                   line;
    sc_buf_init(&line, LINE_BYTES_MAX);
    put_time(&line);
    sc_buf_printf(&line, " %s %s", names[level], event);
    for (size_t i = 0; i < count; i++) {
        sc_buf_printf(&line, " %s=", fields[i].key);
        put_value(&line, &fields[i]);
    }
    /* A line that outgrew its bound keeps what fitted. */
    line.failed = SC_OK;
    line.bytes_max++;
    sc_buf_byte(&line, '\n');
    /* A full disk or a closed pipe must not stop the service: there is nobody to tell. */
    ssize_t ignored = line.data == NULL ? 0 : write(STDERR_FILENO, line.data, line.len);
    (void)ignored;
    sc_buf_fini(&line);
}

bool sc_log_allow(sc_log_limit *limit, int64_t period_ms, sc_instant now, int64_t *suppressed)
{
    int64_t next = atomic_load(&limit->next_ns);
    if (now.ns < next ||
        !atomic_compare_exchange_strong(&limit->next_ns, &next, now.ns + period_ms * 1000000)) {
        atomic_fetch_add(&limit->left_out, 1);
        return false;
    }
    *suppressed = atomic_exchange(&limit->left_out, 0);
    return true;
}

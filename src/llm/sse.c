#include "src/llm/sse.h"

#include <stdio.h>

void sc_sse_init(sc_sse *sse, size_t event_bytes_max)
{
    *sse = (sc_sse){0};
    sc_buf_init(&sse->line, event_bytes_max);
    sc_buf_init(&sse->data, event_bytes_max);
}

void sc_sse_fini(sc_sse *sse)
{
    sc_buf_fini(&sse->line);
    sc_buf_fini(&sse->data);
}

static sc_status end_event(sc_sse *sse, sc_sse_on_event on_event, void *user)
{
    sc_status status = SC_OK;
    if (sse->has_data)
        status = on_event(user, sc_str_of(sse->name), sc_buf_view(&sse->data));
    sc_buf_clear(&sse->data);
    sse->has_data = false;
    sse->name[0] = '\0';
    return status;
}

static sc_status add_data(sc_sse *sse, sc_str value)
{
    if (sse->has_data)
        sc_buf_byte(&sse->data, '\n');
    sse->has_data = true;
    return sc_buf_str(&sse->data, value);
}

static bool is_field(sc_str line, size_t name_len, const char *name)
{
    return name_len == strlen(name) && memcmp(line.ptr, name, name_len) == 0;
}

static sc_status end_line(sc_sse *sse, sc_str line, sc_sse_on_event on_event, void *user)
{
    if (line.len == 0)
        return end_event(sse, on_event, user);
    const char *colon = memchr(line.ptr, ':', line.len);
    size_t      name_len = colon == NULL ? line.len : (size_t)(colon - line.ptr);
    size_t      from = colon == NULL ? line.len : name_len + 1;
    if (from < line.len && line.ptr[from] == ' ')
        from++;
    sc_str value = {line.ptr + from, line.len - from};
    if (is_field(line, name_len, "data"))
        return add_data(sse, value);
    if (is_field(line, name_len, "event"))
        snprintf(sse->name, sizeof sse->name, "%.*s", value.len > 31 ? 31 : (int)value.len,
                 value.ptr);
    return SC_OK;
}

/* Length of the line at the front, without its end; bytes.len when the end is not there. */
static size_t line_length(sc_str bytes)
{
    size_t at = 0;
    while (at < bytes.len && bytes.ptr[at] != '\n' && bytes.ptr[at] != '\r')
        at++;
    return at;
}

static sc_str without_mark(sc_sse *sse, sc_str line)
{
    bool mark = !sse->started && line.len >= 3 && memcmp(line.ptr, "\xef\xbb\xbf", 3) == 0;
    sse->started = true;
    return mark ? (sc_str){line.ptr + 3, line.len - 3} : line;
}

/* Takes one line, or what there is of it, off the front of *bytes. */
static sc_status take_line(sc_sse *sse, sc_str *bytes, sc_sse_on_event on_event, void *user)
{
    size_t    len = line_length(*bytes);
    sc_str    line = {bytes->ptr, len};
    bool      whole = len < bytes->len;
    sc_status status = SC_OK;
    sse->after_cr = whole && bytes->ptr[len] == '\r';
    *bytes = (sc_str){bytes->ptr + len + whole, bytes->len - len - whole};
    if (!whole || sse->line.len != 0) {
        status = sc_buf_str(&sse->line, line);
        line = sc_buf_view(&sse->line);
    }
    if (status != SC_OK || !whole)
        return status;
    if (line.len > sse->line.bytes_max)
        return SC_TOO_LARGE;
    status = end_line(sse, without_mark(sse, line), on_event, user);
    sc_buf_clear(&sse->line);
    return status;
}

sc_status sc_sse_feed(sc_sse *sse, sc_str bytes, sc_sse_on_event on_event, void *user)
{
    sc_status status = SC_OK;
    while (status == SC_OK && bytes.len != 0) {
        if (sse->after_cr && bytes.ptr[0] == '\n') { /* the second half of a CRLF */
            sse->after_cr = false;
            bytes = (sc_str){bytes.ptr + 1, bytes.len - 1};
            continue;
        }
        status = take_line(sse, &bytes, on_event, user);
    }
    return status;
}

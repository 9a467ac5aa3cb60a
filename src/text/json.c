#include "src/text/json.h"

/* Deepest nesting of brackets outside strings; what is not JSON may give any number. */
static size_t depth_of(sc_str text)
{
    size_t depth = 0, deepest = 0;
    bool   quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{'))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!quoted && (c == ']' || c == '}') && depth > 0)
            depth--;
    }
    return deepest;
}

sc_status sc_json_parse(sc_str text, size_t bytes_max, json_t **out, sc_error *error)
{
    json_error_t cause;
    *out = NULL;
    if (text.len > bytes_max)
        return sc_fail(error, SC_TOO_LARGE, "JSON of %zu bytes, at most %zu", text.len, bytes_max);
    if (depth_of(text) > SC_JSON_DEPTH_MAX)
        return sc_fail(error, SC_TOO_LARGE, "JSON nested more than %d deep", SC_JSON_DEPTH_MAX);
    *out = json_loadb(text.ptr == NULL ? "" : text.ptr, text.len, JSON_DECODE_ANY, &cause);
    if (*out == NULL)
        return sc_fail(error, SC_CORRUPT, "not JSON at byte %d", cause.position);
    return SC_OK;
}

bool sc_json_valid(sc_str text)
{
    json_t *value;
    if (sc_json_parse(text, text.len, &value, NULL) != SC_OK)
        return false;
    json_decref(value);
    return true;
}

static void put_escaped(sc_buf *out, unsigned char c)
{
    static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof short_forms; i += 2)
        if ((unsigned char)short_forms[i] == c) {
            sc_buf_byte(out, '\\');
            sc_buf_byte(out, short_forms[i + 1]);
            return;
        }
    sc_buf_printf(out, "\\u%04x", c);
}

void sc_json_put_string(sc_buf *out, sc_str text)
{
    size_t from = 0;
    sc_buf_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= ' ' && c != '"' && c != '\\')
            continue;
        sc_buf_append(out, text.ptr + from, i - from);
        put_escaped(out, c);
        from = i + 1;
    }
    if (from < text.len)
        sc_buf_append(out, text.ptr + from, text.len - from);
    sc_buf_byte(out, '"');
}

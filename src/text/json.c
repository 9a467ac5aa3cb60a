#include "src/text/json.h"

/* What a tree of the text would be at most; what is not JSON may give any numbers. */
typedef struct {
    size_t depth, values;
} shape;

/* Behind the closing quote of the string whose opening quote is at `at`. */
static size_t skip_string(sc_str text, size_t at)
{
    for (at++; at < text.len && text.ptr[at] != '"'; at++)
        if (text.ptr[at] == '\\')
            at++;
    return at;
}

static shape shape_of(sc_str text)
{
    shape  found = {0, 1};
    size_t depth = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '"') {
            i = skip_string(text, i);
        } else if (c == '[' || c == '{') {
            found.values++;
            found.depth = ++depth > found.depth ? depth : found.depth;
        } else if (c == ',' || c == ':') {
            found.values++;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return found;
}

sc_status sc_json_parse(sc_str text, size_t bytes_max, json_t **out, sc_error *error)
{
    json_error_t cause;
    *out = NULL;
    if (text.len > bytes_max)
        return sc_fail(error, SC_TOO_LARGE, "JSON of %zu bytes, at most %zu", text.len, bytes_max);
    shape all = shape_of(text);
    if (all.values > SC_JSON_VALUES_MAX)
        return sc_fail(error, SC_TOO_LARGE, "JSON of more than %d values", SC_JSON_VALUES_MAX);
    if (all.depth > SC_JSON_DEPTH_MAX)
        return sc_fail(error, SC_TOO_LARGE, "JSON nested more than %d deep", SC_JSON_DEPTH_MAX);
    /* jansson takes a NUL after a value for the end of the text. */
    if (text.len != 0 && memchr(text.ptr, '\0', text.len) != NULL)
        return sc_fail(error, SC_CORRUPT, "JSON with a NUL byte");
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

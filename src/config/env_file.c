#include "src/config/env_file.h"

#include <stdbool.h>
#include <string.h>

void sc_env_reader_init(sc_env_reader *reader, sc_str text)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    *reader = (sc_env_reader){.rest = text};
    sc_buf_init(&reader->value, SC_ENV_VALUE_BYTES_MAX);
    if (text.len >= 3 && memcmp(text.ptr, byte_order_mark, 3) == 0)
        reader->rest = (sc_str){text.ptr + 3, text.len - 3};
}

void sc_env_reader_fini(sc_env_reader *reader)
{
    /* It may have held a key. */
    if (reader->value.data != NULL)
        explicit_bzero(reader->value.data, reader->value.room);
    sc_buf_fini(&reader->value);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static sc_str trim(sc_str text)
{
    while (text.len != 0 && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len != 0 && is_blank(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

static sc_str take_line(sc_env_reader *reader)
{
    sc_str      rest = reader->rest;
    const char *end = memchr(rest.ptr, '\n', rest.len);
    size_t      len = end == NULL ? rest.len : (size_t)(end - rest.ptr);
    size_t      skip = len + (end != NULL);
    reader->rest = (sc_str){rest.ptr + skip, rest.len - skip};
    reader->line++;
    return trim((sc_str){rest.ptr, len});
}

static sc_str without_export(sc_str line)
{
    static const char word[] = "export";
    size_t            len = sizeof word - 1;
    if (line.len > len && memcmp(line.ptr, word, len) == 0 && is_blank(line.ptr[len]))
        return trim((sc_str){line.ptr + len, line.len - len});
    return line;
}

static bool is_name(sc_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool inner = (c >= '0' && c <= '9') || c == '.' || c == '-';
        if (!letter && !(inner && i != 0))
            return false;
    }
    return name.len != 0;
}

/* What follows a closing quote: nothing, or a comment. */
static bool is_tail(sc_str text)
{
    text = trim(text);
    return text.len == 0 || text.ptr[0] == '#';
}

static char unescape(char c)
{
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
}

/* Returns the problem, or NULL. */
static const char *read_quoted(sc_str text, sc_buf *value)
{
    char   quote = text.ptr[0];
    size_t at = 1;
    while (at < text.len && text.ptr[at] != quote) {
        char c = text.ptr[at++];
        if (quote == '"' && c == '\\' && at < text.len)
            c = unescape(text.ptr[at++]);
        sc_buf_byte(value, c);
    }
    if (at == text.len)
        return "a quote that is not closed on its line";
    if (!is_tail((sc_str){text.ptr + at + 1, text.len - at - 1}))
        return "something behind the closing quote";
    return NULL;
}

/* A '#' starts a comment only after a blank: it is ordinary in passwords and URLs. */
static void read_plain(sc_str text, sc_buf *value)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == '#' && (i == 0 || is_blank(text.ptr[i - 1])))
            text.len = i;
    sc_buf_str(value, trim(text));
}

static const char *read_value(sc_str text, sc_buf *value)
{
    sc_buf_clear(value);
    sc_buf_append(value, "", 0);
    if (text.len != 0 && (text.ptr[0] == '"' || text.ptr[0] == '\''))
        return read_quoted(text, value);
    read_plain(text, value);
    return NULL;
}

static sc_status read_pair(sc_env_reader *reader, sc_str line, sc_str *name, sc_error *error)
{
    line = without_export(line);
    const char *equals = memchr(line.ptr, '=', line.len);
    const char *problem = "NAME=VALUE is expected";
    if (memchr(line.ptr, '\0', line.len) != NULL) {
        problem = "a NUL byte";
    } else if (equals != NULL) {
        size_t at = (size_t)(equals - line.ptr);
        *name = trim((sc_str){line.ptr, at});
        if (is_name(*name))
            problem = read_value(trim((sc_str){equals + 1, line.len - at - 1}), &reader->value);
    }
    if (problem != NULL)
        return sc_fail(error, SC_INVALID, "line %u: %s", reader->line, problem);
    if (reader->value.failed == SC_TOO_LARGE)
        return sc_fail(error, SC_INVALID, "line %u: a value over %d bytes", reader->line,
                       SC_ENV_VALUE_BYTES_MAX);
    return reader->value.failed;
}

sc_status sc_env_next(sc_env_reader *reader, sc_str *name, sc_str *value, sc_error *error)
{
    while (reader->rest.len != 0) {
        sc_str line = take_line(reader);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        sc_status status = read_pair(reader, line, name, error);
        *value = sc_buf_view(&reader->value);
        return status;
    }
    return SC_NOT_FOUND;
}

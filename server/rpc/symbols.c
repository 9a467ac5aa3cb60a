#include "server/rpc/symbols.h"

#include <stdint.h>
#include <stdlib.h>

#include "src/base/buf.h"

enum { NAMES_MAX = 65536, NAME_BYTES_MAX = 1024, DEPTH_MAX = 32, TEXT_BYTES_MAX = 8 << 20 };

/* Field numbers of descriptor.proto. */
enum {
    SET_FILE = 1,
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_IMPORT = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    FILE_EXTENSION = 7,
    ANY_NAME = 1, /* of messages, fields, enums, values, services, methods */
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    MESSAGE_EXTENSION = 6,
    MESSAGE_ONEOF = 8,
    ENUM_VALUE = 2,
    SERVICE_METHOD = 2,
};

typedef enum { KIND_OTHER, KIND_MESSAGE, KIND_SERVICE } name_kind;

typedef struct {
    size_t    at, len; /* in texts */
    int       file;
    name_kind kind;
} name_row;

typedef struct {
    sc_str bytes, path;
} file_row;

struct sc_symbols {
    file_row  files[SC_SYMBOLS_FILES_MAX];
    int       files_count;
    sc_buf    texts; /* the full names, one after the other */
    name_row *names; /* [names_count], sorted by text */
    size_t    names_count, names_room;
};

/* ---- the wire ---- */

static bool varint(sc_str *in, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && in->len != 0; shift += 7) {
        uint8_t byte = (uint8_t)*in->ptr;
        in->ptr++;
        in->len--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take(sc_str *in, uint64_t len, sc_str *out)
{
    if (len > in->len)
        return false;
    *out = (sc_str){in->ptr, (size_t)len};
    in->ptr += len;
    in->len -= (size_t)len;
    return true;
}

/* The next field of a message; *value holds only length-delimited ones. False at the end, and
 * with *bad when the bytes are no message. */
static bool field_next(sc_str *in, uint32_t *number, sc_str *value, bool *bad)
{
    uint64_t key, size = 0;

    *value = (sc_str){NULL, 0};
    if (in->len == 0)
        return false;
    bool ok = varint(in, &key) && key >> 3 != 0 && key >> 3 <= 0x1fffffff;
    *number = (uint32_t)(key >> 3);
    sc_str skipped;
    switch (ok ? key & 7 : 7) {
    case 0:
        ok = varint(in, &size);
        break;
    case 1:
        ok = take(in, 8, &skipped);
        break;
    case 2:
        ok = varint(in, &size) && take(in, size, value);
        break;
    case 5:
        ok = take(in, 4, &skipped);
        break;
    default:
        ok = false;
    }
    *bad = *bad || !ok;
    return ok;
}

/* The last value of a string field; empty without one. */
static sc_str field_text(sc_str message, uint32_t wanted)
{
    sc_str   value, found = {NULL, 0};
    uint32_t number;
    bool     bad = false;
    while (field_next(&message, &number, &value, &bad))
        if (number == wanted)
            found = value;
    return found;
}

/* ---- building ---- */

typedef struct {
    sc_symbols *symbols;
    int         file;
    sc_status   status;
} builder;

static void name_add(builder *b, sc_str scope, sc_str name, name_kind kind)
{
    sc_symbols *s = b->symbols;

    if (b->status != SC_OK)
        return;
    if (s->names_count == NAMES_MAX || scope.len + name.len > NAME_BYTES_MAX) {
        b->status = SC_TOO_LARGE;
        return;
    }
    if (s->names_count == s->names_room) {
        size_t    room = s->names_room != 0 ? 2 * s->names_room : 256;
        name_row *names = realloc(s->names, room * sizeof *names);
        if (names == NULL) {
            b->status = SC_NO_MEMORY;
            return;
        }
        s->names = names;
        s->names_room = room;
    }
    name_row row = {s->texts.len, scope.len + (scope.len != 0) + name.len, b->file, kind};
    sc_buf_str(&s->texts, scope);
    if (scope.len != 0)
        sc_buf_byte(&s->texts, '.');
    b->status = sc_buf_str(&s->texts, name);
    if (b->status == SC_OK)
        s->names[s->names_count++] = row;
}

/* Names of the given field's messages, in scope. */
static void children_add(builder *b, sc_str message, uint32_t wanted, sc_str scope)
{
    sc_str   value;
    uint32_t number;
    bool     bad = false;
    while (field_next(&message, &number, &value, &bad))
        if (number == wanted)
            name_add(b, scope, field_text(value, ANY_NAME), KIND_OTHER);
    if (bad && b->status == SC_OK)
        b->status = SC_CORRUPT;
}

/* scope + "." + the message's own name, in out[NAME_BYTES_MAX]; empty when it does not fit. */
static sc_str scope_of(sc_str scope, sc_str message, char *out)
{
    sc_str name = field_text(message, ANY_NAME);
    size_t len = scope.len + (scope.len != 0) + name.len;
    if (name.len == 0 || len > NAME_BYTES_MAX)
        return (sc_str){NULL, 0};
    if (scope.len != 0) {
        memcpy(out, scope.ptr, scope.len);
        out[scope.len] = '.';
    }
    memcpy(out + len - name.len, name.ptr, name.len);
    return (sc_str){out, len};
}

static void enum_add(builder *b, sc_str message, sc_str scope)
{
    name_add(b, scope, field_text(message, ANY_NAME), KIND_OTHER);
    children_add(b, message, ENUM_VALUE, scope); /* values are siblings of their enum */
}

static void message_add(builder *b, sc_str message, sc_str scope, unsigned depth)
{
    char     text[NAME_BYTES_MAX];
    sc_str   own = scope_of(scope, message, text);
    sc_str   rest = message, value;
    uint32_t number;
    bool     bad = false;

    if (own.len == 0 || depth == DEPTH_MAX) {
        b->status = SC_CORRUPT;
        return;
    }
    name_add(b, scope, field_text(message, ANY_NAME), KIND_MESSAGE);
    while (b->status == SC_OK && field_next(&rest, &number, &value, &bad)) {
        if (number == MESSAGE_FIELD || number == MESSAGE_ONEOF || number == MESSAGE_EXTENSION)
            name_add(b, own, field_text(value, ANY_NAME), KIND_OTHER);
        else if (number == MESSAGE_NESTED)
            message_add(b, value, own, depth + 1);
        else if (number == MESSAGE_ENUM)
            enum_add(b, value, own);
    }
    if (bad)
        b->status = SC_CORRUPT;
}

static void service_add(builder *b, sc_str service, sc_str scope)
{
    char   text[NAME_BYTES_MAX];
    sc_str own = scope_of(scope, service, text);

    name_add(b, scope, field_text(service, ANY_NAME), KIND_SERVICE);
    children_add(b, service, SERVICE_METHOD, own);
}

static void file_add(builder *b, sc_str file)
{
    sc_symbols *s = b->symbols;
    sc_str      package = field_text(file, FILE_PACKAGE);
    sc_str      rest = file, value;
    uint32_t    number;
    bool        bad = false;

    if (s->files_count == SC_SYMBOLS_FILES_MAX) {
        b->status = SC_TOO_LARGE;
        return;
    }
    b->file = s->files_count;
    s->files[s->files_count++] = (file_row){file, field_text(file, FILE_NAME)};
    while (b->status == SC_OK && field_next(&rest, &number, &value, &bad)) {
        if (number == FILE_MESSAGE)
            message_add(b, value, package, 0);
        else if (number == FILE_ENUM)
            enum_add(b, value, package);
        else if (number == FILE_SERVICE)
            service_add(b, value, package);
        else if (number == FILE_EXTENSION)
            name_add(b, package, field_text(value, ANY_NAME), KIND_OTHER);
    }
    if (bad)
        b->status = SC_CORRUPT;
}

static sc_str row_text(const sc_symbols *s, const name_row *row)
{
    return (sc_str){s->texts.data + row->at, row->len};
}

static int text_compare(sc_str a, sc_str b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int row_compare(const void *a, const void *b, void *symbols)
{
    return text_compare(row_text(symbols, a), row_text(symbols, b));
}

sc_status sc_symbols_open(const void *set, size_t len, sc_symbols **out)
{
    sc_symbols *s = calloc(1, sizeof *s);
    sc_str      rest = {set, len}, value;
    uint32_t    number;
    bool        bad = false;

    *out = NULL;
    if (s == NULL)
        return SC_NO_MEMORY;
    sc_buf_init(&s->texts, TEXT_BYTES_MAX);
    builder b = {s, 0, SC_OK};
    while (b.status == SC_OK && field_next(&rest, &number, &value, &bad))
        if (number == SET_FILE)
            file_add(&b, value);
    if (b.status == SC_OK && bad)
        b.status = SC_CORRUPT;
    if (b.status != SC_OK) {
        sc_symbols_close(s);
        return b.status;
    }
    if (s->names_count != 0)
        qsort_r(s->names, s->names_count, sizeof *s->names, row_compare, s);
    *out = s;
    return SC_OK;
}

void sc_symbols_close(sc_symbols *s)
{
    if (s == NULL)
        return;
    sc_buf_fini(&s->texts);
    free(s->names);
    free(s);
}

/* ---- asking ---- */

int sc_symbols_file_by_path(const sc_symbols *s, sc_str path)
{
    for (int i = 0; i < s->files_count; i++)
        if (sc_str_equal(s->files[i].path, path))
            return i;
    return -1;
}

static const name_row *row_find(const sc_symbols *s, sc_str name)
{
    size_t low = 0, high = s->names_count;
    if (name.len == 0)
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int    order = text_compare(name, row_text(s, &s->names[middle]));
        if (order == 0)
            return &s->names[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

int sc_symbols_file_by_name(const sc_symbols *s, sc_str name)
{
    const name_row *row = row_find(s, name);
    return row != NULL ? row->file : -1;
}

bool sc_symbols_is_message(const sc_symbols *s, sc_str name)
{
    const name_row *row = row_find(s, name);
    return row != NULL && row->kind == KIND_MESSAGE;
}

size_t sc_symbols_closure(const sc_symbols *s, int file, sc_str *out, size_t max)
{
    bool   seen[SC_SYMBOLS_FILES_MAX] = {false};
    int    queue[SC_SYMBOLS_FILES_MAX];
    size_t count = 0, done = 0;

    queue[count++] = file;
    seen[file] = true;
    for (; done < count && done < max; done++) {
        sc_str   rest = s->files[queue[done]].bytes, value;
        uint32_t number;
        bool     bad = false;
        out[done] = rest;
        while (field_next(&rest, &number, &value, &bad)) {
            int import = number == FILE_IMPORT ? sc_symbols_file_by_path(s, value) : -1;
            if (import >= 0 && !seen[import]) {
                seen[import] = true;
                queue[count++] = import;
            }
        }
    }
    return done;
}

sc_str sc_symbols_service(const sc_symbols *s, size_t nth)
{
    for (size_t i = 0; i < s->names_count; i++)
        if (s->names[i].kind == KIND_SERVICE && nth-- == 0)
            return row_text(s, &s->names[i]);
    return (sc_str){NULL, 0};
}
